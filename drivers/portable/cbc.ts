// AES-CBC and an HMAC for ESP in JavaScript's own crypto (RFC 3602, RFC 4868): twin of native/src/cbc.c.
//
//   SPI 32 | sequence number 32 | IV 128 | ciphertext | ICV
//
// The ICV covers everything before it and, with extended sequence numbers, their high half behind it (RFC 4303 2.2.1).
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { equalConstantTime, wipe } from '../../platform/bytes.ts';
import { ESP_SHAPES, type CbcEspSuite } from '../esp-suite.ts';

const HEADER_BYTES = 8;
const IV_BYTES = 16;
const BLOCK_BYTES = 16;

function digestOf(suite: CbcEspSuite): string {
  return suite.replace(/^.*hmac-(sha\d+)-.*$/, '$1');
}

export class Cbc {
  readonly #cipher: string;
  readonly #digest: string;
  readonly #icvBytes: number;
  readonly #key: Uint8Array;
  readonly #integrity: Uint8Array;
  readonly #esn: boolean;

  constructor(suite: CbcEspSuite, key: Uint8Array, esn: boolean) {
    const { cipherKeyBytes, icvBytes } = ESP_SHAPES[suite];
    this.#cipher = `aes-${8 * cipherKeyBytes}-cbc`;
    this.#digest = digestOf(suite);
    this.#icvBytes = icvBytes;
    this.#key = key.slice(0, cipherKeyBytes);
    this.#integrity = key.slice(cipherKeyBytes);
    this.#esn = esn;
  }

  /**
   * The IV must not be foreseeable (RFC 3602 3): it is the packet's number, which stands in its place and never comes
   * again under one key, encrypted under that key (NIST SP 800-38A C). That is what CBC with an IV of zeros makes of a
   * first block that holds the number.
   */
  seal(esp: Uint8Array, seqHi: number): boolean {
    const end = esp.length - this.#icvBytes;
    if (!isWhole(end)) return false;
    const cipher = createCipheriv(this.#cipher, this.#key, new Uint8Array(IV_BYTES)).setAutoPadding(false);
    esp.set(cipher.update(esp.subarray(HEADER_BYTES, end)), HEADER_BYTES);
    esp.set(this.#icv(esp.subarray(0, end), seqHi), end);
    return true;
  }

  /** Decrypts nothing before the ICV is good. */
  open(esp: Uint8Array, seqHi: number): boolean {
    const end = esp.length - this.#icvBytes;
    if (!isWhole(end) || !equalConstantTime(this.#icv(esp.subarray(0, end), seqHi), esp.subarray(end))) return false;
    const text = esp.subarray(HEADER_BYTES + IV_BYTES, end);
    const decipher = createDecipheriv(this.#cipher, this.#key, esp.subarray(HEADER_BYTES, HEADER_BYTES + IV_BYTES)).setAutoPadding(false);
    text.set(decipher.update(text));
    return true;
  }

  wipe(): void {
    wipe(this.#key, this.#integrity);
  }

  #icv(covered: Uint8Array, seqHi: number): Uint8Array {
    const hmac = createHmac(this.#digest, this.#integrity).update(covered);
    if (this.#esn) hmac.update(Uint8Array.of(seqHi >>> 24, seqHi >>> 16, seqHi >>> 8, seqHi));
    return new Uint8Array(hmac.digest()).subarray(0, this.#icvBytes);
  }
}

/** Whether header, IV and whole blocks, one at least, end at `end`. */
function isWhole(end: number): boolean {
  const textBytes = end - HEADER_BYTES - IV_BYTES;
  return textBytes >= BLOCK_BYTES && textBytes % BLOCK_BYTES === 0;
}
