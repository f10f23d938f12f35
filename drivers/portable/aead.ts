// The AEAD engine in JavaScript (@noble/ciphers): twin of the native one, for the simulator and tests. AES-GCM keeps
// the expanded key and the GHASH table per key (NIST SP 800-38D); ChaCha20-Poly1305 has no schedule to keep (RFC 8439).
// AES-CBC with an HMAC is in cbc.ts.
import { unsafe } from '@noble/ciphers/aes.js';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { GHASH } from '@noble/ciphers/_polyval.js';
import { equalConstantTime, wipe } from '../../platform/bytes.ts';
import { assert } from '../../platform/errors.ts';
import type { AeadEngine, AeadKey } from '../aead.ts';
import { Next, OUTPUT_BYTES, OUTPUT_START, SLOT_BYTES, type Burst } from '../burst.ts';
import { ESP_SHAPES, isCbc, type AeadEspSuite, type EspShape } from '../esp-suite.ts';
import { isSealable, partsOf, writePart } from '../super-packet.ts';
import { Cbc } from './cbc.ts';

const SALT_BYTES = 4;
const HEADER_BYTES = 8;
const IV_BYTES = 8;
const ICV_BYTES = 16;
const NONCE_BYTES = SALT_BYTES + IV_BYTES;
const AAD_BYTES = HEADER_BYTES;
const AAD_ESN_BYTES = HEADER_BYTES + 4;
/** What noble sizes the GHASH table for; more than this makes its windows as large as they get. */
const EXPECTED_MESSAGE_BYTES = 64 * 1024;

interface Cipher {
  /** Encrypts `text` in place and writes the tag. */
  seal(nonce: Uint8Array, aad: Uint8Array, text: Uint8Array, tag: Uint8Array): void;
  /** Leaves `text` alone and returns false when the tag is wrong; else decrypts in place. */
  open(nonce: Uint8Array, aad: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean;
  wipe(): void;
}

/** GHASH that starts again under the same key without computing its table again. */
class KeptGhash extends GHASH {
  restart(): void {
    this.s0 = 0;
    this.s1 = 0;
    this.s2 = 0;
    this.s3 = 0;
    this.finished = false;
  }
}

class AesGcm implements Cipher {
  readonly #schedule: Uint32Array;
  readonly #hash: KeptGhash;
  readonly #counter = new Uint8Array(16);
  readonly #tag = new Uint8Array(16);
  readonly #lengths = new Uint8Array(16);
  readonly #zero = new Uint8Array(16);
  /** Aligned scratch, because the cipher works on 32-bit words. */
  readonly #work = new Uint8Array(SLOT_BYTES);

  constructor(key: Uint8Array) {
    this.#schedule = unsafe.expandKeyLE(key);
    const hashKey = unsafe.encryptBlock(this.#schedule, new Uint8Array(16));
    this.#hash = new KeptGhash(hashKey, EXPECTED_MESSAGE_BYTES);
    wipe(hashKey);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, text: Uint8Array, tag: Uint8Array): void {
    const mask = this.#start(nonce);
    this.#crypt(text);
    tag.set(this.#authenticate(mask, aad, text));
  }

  open(nonce: Uint8Array, aad: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean {
    const mask = this.#start(nonce);
    if (!equalConstantTime(this.#authenticate(mask, aad, text), tag)) return false;
    this.#crypt(text);
    return true;
  }

  wipe(): void {
    this.#schedule.fill(0);
    this.#hash.destroy();
    wipe(this.#work, this.#counter, this.#tag);
  }

  /** Sets the counter block J0, returns E(J0) and leaves the counter at inc32(J0). */
  #start(nonce: Uint8Array): Uint8Array {
    this.#counter.set(nonce);
    this.#counter.fill(0, NONCE_BYTES);
    this.#counter[15] = 1;
    return unsafe.ctr32(this.#schedule, false, this.#counter, this.#zero);
  }

  #crypt(text: Uint8Array): void {
    const work = this.#work.subarray(0, text.length);
    work.set(text);
    text.set(unsafe.ctr32(this.#schedule, false, this.#counter, work));
  }

  #authenticate(mask: Uint8Array, aad: Uint8Array, text: Uint8Array): Uint8Array {
    const lengths = this.#lengths;
    lengths[7] = aad.length * 8;
    lengths[13] = (text.length * 8) >>> 16;
    lengths[14] = (text.length * 8) >>> 8;
    lengths[15] = text.length * 8;
    this.#hash.restart();
    this.#hash.update(aad).update(text).update(lengths).digestInto(this.#tag);
    for (let i = 0; i < ICV_BYTES; i++) this.#tag[i] = this.#tag[i]! ^ mask[i]!;
    return this.#tag;
  }
}

class ChaCha implements Cipher {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key.slice();
  }

  seal(nonce: Uint8Array, aad: Uint8Array, text: Uint8Array, tag: Uint8Array): void {
    const sealed = chacha20poly1305(this.#key, nonce, aad).encrypt(text);
    text.set(sealed.subarray(0, text.length));
    tag.set(sealed.subarray(text.length));
  }

  open(nonce: Uint8Array, aad: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean {
    const sealed = new Uint8Array(text.length + ICV_BYTES);
    sealed.set(text);
    sealed.set(tag, text.length);
    try {
      text.set(chacha20poly1305(this.#key, nonce, aad).decrypt(sealed));
      return true;
    } catch {
      // The library says "invalid tag" by throwing; nothing was written.
      return false;
    }
  }

  wipe(): void {
    wipe(this.#key);
  }
}

const CIPHERS: Readonly<Record<AeadEspSuite, (key: Uint8Array) => Cipher>> = {
  'aes-128-gcm-16': (key) => new AesGcm(key),
  'aes-256-gcm-16': (key) => new AesGcm(key),
  'chacha20-poly1305': (key) => new ChaCha(key),
};

/** What an SA does to its packets, from the ESP header to the end of the ICV; false for one that it cannot or must not take. */
interface Protection {
  seal(esp: Uint8Array, seqHi: number): boolean;
  open(esp: Uint8Array, seqHi: number): boolean;
  wipe(): void;
}

class Aead implements Protection {
  readonly #cipher: Cipher;
  /** Salt, then room for the IV of the packet at hand. */
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #aad: Uint8Array;

  constructor(cipher: Cipher, salt: Uint8Array, esn: boolean) {
    this.#cipher = cipher;
    this.#nonce.set(salt);
    this.#aad = new Uint8Array(esn ? AAD_ESN_BYTES : AAD_BYTES);
  }

  seal(esp: Uint8Array, seqHi: number): boolean {
    if (!this.#prepare(esp, seqHi)) return false;
    const end = esp.length - ICV_BYTES;
    this.#cipher.seal(this.#nonce, this.#aad, esp.subarray(HEADER_BYTES + IV_BYTES, end), esp.subarray(end));
    return true;
  }

  open(esp: Uint8Array, seqHi: number): boolean {
    if (!this.#prepare(esp, seqHi)) return false;
    const end = esp.length - ICV_BYTES;
    return this.#cipher.open(this.#nonce, this.#aad, esp.subarray(HEADER_BYTES + IV_BYTES, end), esp.subarray(end));
  }

  wipe(): void {
    this.#cipher.wipe();
    wipe(this.#nonce);
  }

  /** Fills nonce and AAD in; false for what is too short. */
  #prepare(esp: Uint8Array, seqHi: number): boolean {
    if (esp.length < HEADER_BYTES + IV_BYTES + ICV_BYTES) return false;
    this.#nonce.set(esp.subarray(HEADER_BYTES, HEADER_BYTES + IV_BYTES), SALT_BYTES);
    const aad = this.#aad;
    aad.set(esp.subarray(0, 4));
    if (aad.length === AAD_ESN_BYTES) new DataView(aad.buffer).setUint32(4, seqHi);
    aad.set(esp.subarray(4, 8), aad.length - 4);
    return true;
  }
}

interface InstalledKey {
  readonly protection: Protection;
  readonly shape: EspShape;
}

export class PortableAead implements AeadEngine {
  readonly name = 'portable';
  readonly #keys: (InstalledKey | undefined)[] = [];

  install({ suite, key, salt, esn }: AeadKey): number {
    const shape = ESP_SHAPES[suite];
    assert(key.length === shape.keyBytes, `a key of ${suite} has ${shape.keyBytes} octets, not ${key.length}`);
    assert(salt.length === shape.saltBytes, `a salt of ${suite} has ${shape.saltBytes} octets, not ${salt.length}`);
    const free = this.#keys.indexOf(undefined);
    const handle = free < 0 ? this.#keys.length : free;
    this.#keys[handle] = { shape, protection: isCbc(suite) ? new Cbc(suite, key, esn) : new Aead(CIPHERS[suite](key), salt, esn) };
    return handle;
  }

  remove(handle: number): void {
    const installed = this.#keys[handle];
    if (installed === undefined) return;
    installed.protection.wipe();
    this.#keys[handle] = undefined;
  }

  seal(burst: Burst, select: number, then: number, failReason: number): void {
    let used = 0;
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      const superPacket = burst.segment[i]! > 0;
      const good = superPacket ? isSealable(burst, i) && this.#sealSuper(burst, i, used) : this.#seal(burst, i, burst.esp[i]!, burst.espLength[i]!, burst.seqHi[i]!);
      if (superPacket && good) used += burst.length[i]!;
      settle(burst, i, good, then, failReason);
    }
  }

  open(burst: Burst, select: number, then: number, failReason: number): void {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      settle(burst, i, this.#open(burst, i), then, failReason);
    }
  }

  /** Cuts row `i` up behind `used` octets of the output room; the row becomes the run of its sealed parts. */
  #sealSuper(burst: Burst, i: number, used: number): boolean {
    const { bytes } = burst;
    const shape = this.#keys[burst.sa[i]!]?.shape;
    const outer = burst.offset[i]!;
    const inner = burst.inner[i]!;
    const espAt = burst.esp[i]! - outer;
    if (shape === undefined || inner < burst.esp[i]! + HEADER_BYTES + shape.ivBytes) return false;
    const { ivBytes, icvBytes, blockBytes } = shape;
    const parts = partsOf(burst, i, inner);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    let sequence = view.getBigUint64(burst.esp[i]! + HEADER_BYTES);
    const start = OUTPUT_START + used;
    let at = start;
    let largest = 0;
    for (let part = 0; part < parts; part++, sequence++) {
      if (at + SLOT_BYTES > OUTPUT_START + OUTPUT_BYTES) return false;
      bytes.copyWithin(at, outer, inner);
      const text = inner - burst.esp[i]! - HEADER_BYTES - ivBytes + writePart(burst, i, inner, part, bytes, at + inner - outer);
      const esp = at + espAt;
      view.setUint32(esp + 4, Number(sequence & 0xffff_ffffn));
      view.setBigUint64(esp + HEADER_BYTES, sequence);
      const padding = -(text + 2) & (blockBytes - 1);
      const end = esp + HEADER_BYTES + ivBytes + text;
      for (let k = 0; k < padding; k++) bytes[end + k] = k + 1;
      bytes[end + padding] = padding;
      bytes[end + padding + 1] = burst.trailer[i]!;
      const espLength = HEADER_BYTES + ivBytes + text + padding + 2 + icvBytes;
      if (!this.#seal(burst, i, esp, espLength, Number(sequence >> 32n))) return false;
      at = esp + espLength;
      if (part === 0) largest = at - start;
    }
    burst.offset[i] = start;
    burst.length[i] = at - start;
    burst.segment[i] = parts > 1 ? largest : 0;
    burst.headers[i] = 0;
    burst.inner[i] = 0;
    return true;
  }

  #seal(burst: Burst, i: number, esp: number, espLength: number, seqHi: number): boolean {
    return this.#keys[burst.sa[i]!]?.protection.seal(burst.bytes.subarray(esp, esp + espLength), seqHi) ?? false;
  }

  #open(burst: Burst, i: number): boolean {
    const esp = burst.esp[i]!;
    return this.#keys[burst.sa[i]!]?.protection.open(burst.bytes.subarray(esp, esp + burst.espLength[i]!), burst.seqHi[i]!) ?? false;
  }
}

function settle(burst: Burst, i: number, good: boolean, then: number, failReason: number): void {
  if (good) {
    burst.next[i] = then;
    return;
  }
  burst.next[i] = Next.drop;
  burst.reason[i] = failReason;
}
