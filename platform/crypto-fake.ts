// Suite for simulations: same interface and same verdicts as the real one, no security at all. Everything is a
// function of its inputs through one fast non-cryptographic mix, so that thousands of nodes fit into one process.
import { concat, equalBytes, fromHex, fromUtf8, toHex, utf8 } from './bytes.ts';
import type {
  ChainRequest, ChainResult, ControlAead, DhGroup, DhKeyPair, Encapsulation, HashName, HmacName, KemId, KemKeyPair, SignatureAlgorithm, Suite,
} from './crypto.ts';
import { DH_PUBLIC_BYTES, DH_SHARED_BYTES, KEM_SHARED_BYTES, KEM_SIZES } from './crypto.ts';
import { InternalError } from './errors.ts';
import type { Random } from './random.ts';
import { rfc3339 } from './time.ts';
import type { TlsEngine, TlsOptions } from './tls-engine.ts';
import { openFakeTls } from './tls-fake.ts';

const HASH_BYTES: Readonly<Record<HmacName, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };
const AEAD_KEY_BYTES: Readonly<Record<ControlAead, number>> = { 'aes-128-gcm': 16, 'aes-256-gcm': 32, 'chacha20-poly1305': 32 };
const TAG_BYTES = 16;
const BLOCK_BYTES = 16;
const PRIVATE_BYTES = 16;
const ID_BYTES = 16;

const KEY_MARK = utf8('fake-key');
const PUBLIC_MARK = utf8('fake-public');
const CERTIFICATE_MARK = utf8('fake-certificate');
const CRL_MARK = utf8('fake-crl:');

/** Two lanes of multiply-and-xor; every step is a bijection of the state, so one changed octet always shows. */
function mix(length: number, label: string, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  for (let i = 0; i < label.length; i++) {
    a = Math.imul(a ^ label.charCodeAt(i), 0x01000193);
    b = Math.imul(b ^ label.charCodeAt(i), 0x85ebca6b);
  }
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      a = Math.imul(a ^ part[i]!, 0x01000193);
      b = Math.imul(b ^ part[i]! ^ (b >>> 15), 0x85ebca6b);
    }
  }
  const out = new Uint8Array(length);
  for (let at = 0; at < length; at++) {
    if (at % 4 === 0) {
      a = (a + 0x9e3779b9) | 0;
      b = Math.imul(b ^ (b >>> 16) ^ a, 0x21f0aaad);
      b ^= b >>> 15;
    }
    out[at] = b >>> (8 * (at % 4));
  }
  return out;
}

/** Parts whose borders matter: each is preceded by its length. */
function mixBounded(length: number, label: string, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bounded = parts.flatMap((part) => [Uint8Array.of(part.length >>> 16, part.length >>> 8, part.length), part]);
  return mix(length, label, ...bounded);
}

// A public value is an id and a check over it, so that a value nobody made is refused as an off-curve point would be.
function publicValue(group: DhGroup, id: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(id, mix(DH_PUBLIC_BYTES[group] - ID_BYTES, `public ${group}`, id));
}

// So is a KEM's public key; its ciphertext is the encapsulated value, open to everybody, padded likewise.
function kemPublicKey(kem: KemId, id: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(id, mix(KEM_SIZES[kem].publicBytes - ID_BYTES, `public ${kem}`, id));
}

export interface FakeKeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** A signing key of the fake suite, for any algorithm. */
export function fakeKeyPair(random: Random): FakeKeyPair {
  const privateKey = concat(KEY_MARK, random.bytes(PRIVATE_BYTES));
  return { privateKey, publicKey: fakePublicKey(privateKey) };
}

export function fakePublicKey(privateKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(PUBLIC_MARK, mix(ID_BYTES, 'signer', privateKey));
}

function isFakePublicKey(key: Uint8Array): boolean {
  return key.length === PUBLIC_MARK.length + ID_BYTES && equalBytes(key.subarray(0, PUBLIC_MARK.length), PUBLIC_MARK);
}

export interface FakeCertificate {
  readonly emails: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly publicKey: Uint8Array;
  /** Hexadecimal; derived from the public key when absent. */
  readonly serialNumber?: string;
  readonly notBeforeUnixMs?: number;
  readonly notAfterUnixMs?: number;
  /** The anchor that signed it; `fakeAnchor()` when absent. */
  readonly anchor?: Uint8Array;
}

interface FakeCertificateText {
  readonly emails: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly publicKey: string;
  readonly serialNumber: string;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  readonly anchor: string;
}

const FOREVER_UNIX_MS = 253_402_300_799_000; // end of the year 9999

/** The trust anchor of this name, in place of a root certificate's DER. */
export function fakeAnchor(name = 'fake authority'): Uint8Array<ArrayBuffer> {
  return concat(utf8('fake-anchor:'), utf8(name));
}

/** In place of a certificate's DER: mark | 16 octets of check | JSON. */
export function fakeCertificate(certificate: FakeCertificate): Uint8Array<ArrayBuffer> {
  const text: FakeCertificateText = {
    emails: certificate.emails,
    uris: certificate.uris,
    dnsNames: certificate.dnsNames ?? [],
    publicKey: toHex(certificate.publicKey),
    serialNumber: certificate.serialNumber ?? toHex(mix(8, 'serial', certificate.publicKey)),
    notBeforeUnixMs: certificate.notBeforeUnixMs ?? 0,
    notAfterUnixMs: certificate.notAfterUnixMs ?? FOREVER_UNIX_MS,
    anchor: toHex(mix(ID_BYTES, 'anchor', certificate.anchor ?? fakeAnchor())),
  };
  const body = utf8(JSON.stringify(text));
  return concat(CERTIFICATE_MARK, mix(TAG_BYTES, 'certificate', body), body);
}

function openFakeCertificate(bytes: Uint8Array): FakeCertificateText | undefined {
  const start = CERTIFICATE_MARK.length + TAG_BYTES;
  const body = bytes.subarray(start);
  const good = bytes.length > start && equalBytes(bytes.subarray(0, CERTIFICATE_MARK.length), CERTIFICATE_MARK);
  if (!good || !equalBytes(bytes.subarray(CERTIFICATE_MARK.length, start), mix(TAG_BYTES, 'certificate', body))) return undefined;
  return JSON.parse(fromUtf8(body)) as FakeCertificateText;
}

export interface FakeCrl {
  /** Hexadecimal. */
  readonly revokedSerialNumbers: readonly string[];
  readonly revokedUnixMs: number;
  readonly nextUpdateUnixMs: number;
  /** Who signed it; `fakeAnchor()` when absent. */
  readonly anchor?: Uint8Array;
}

/** In place of a revocation list's DER. */
export function fakeCrl({ anchor = fakeAnchor(), ...text }: FakeCrl): Uint8Array<ArrayBuffer> {
  return concat(CRL_MARK, mix(ID_BYTES, 'crl', anchor), utf8(JSON.stringify(text)));
}

/** Why a list of the anchor keeps a certificate from being good. */
function fakeRevocation(certificate: FakeCertificateText, anchor: Uint8Array, { revocation, unixMs }: ChainRequest): ChainResult | undefined {
  if (revocation === undefined) return undefined;
  const head = concat(CRL_MARK, mix(ID_BYTES, 'crl', anchor));
  const lists = revocation.crls.filter((crl) => equalBytes(crl.subarray(0, head.length), head)).map((crl) => JSON.parse(fromUtf8(crl.subarray(head.length))) as FakeCrl);
  const list = lists.find(({ revokedSerialNumbers }) => revokedSerialNumbers.includes(certificate.serialNumber));
  if (list !== undefined) return { ok: false, cause: `certificate was revoked on ${rfc3339(list.revokedUnixMs).slice(0, 10)}`, revoked: true };
  if (revocation.policy === 'soft' || lists.some(({ nextUpdateUnixMs }) => unixMs <= nextUpdateUnixMs)) return undefined;
  return { ok: false, cause: 'certificate cannot be checked: no current CRL of its issuer (hard fail)' };
}

export class FakeSuite implements Suite {
  readonly name = 'fake';

  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array {
    return mix(HASH_BYTES[name], name, ...parts);
  }

  hmac(name: HmacName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
    return mix(HASH_BYTES[name], `hmac ${name} ${key.length}`, key, ...parts);
  }

  dhGenerate(group: DhGroup, random: Random): DhKeyPair {
    const privateValue = random.bytes(PRIVATE_BYTES);
    return { group, privateValue, publicValue: publicValue(group, mix(ID_BYTES, 'private', privateValue)) };
  }

  dhShared(pair: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined {
    const { group } = pair;
    const peer = peerPublic.subarray(0, ID_BYTES);
    if (peerPublic.length !== DH_PUBLIC_BYTES[group] || !equalBytes(publicValue(group, peer), peerPublic)) return undefined;
    const own = mix(ID_BYTES, 'private', pair.privateValue);
    const [low, high] = Buffer.compare(own, peer) <= 0 ? [own, peer] : [peer, own];
    return mix(DH_SHARED_BYTES[group], `shared ${group}`, low, high);
  }

  kemGenerate(kem: KemId, random: Random): KemKeyPair {
    const privateKey = random.bytes(PRIVATE_BYTES);
    return { kem, privateKey, publicKey: kemPublicKey(kem, mix(ID_BYTES, 'kem', privateKey)) };
  }

  kemEncapsulate(kem: KemId, publicKey: Uint8Array, random: Random): Encapsulation | undefined {
    const id = publicKey.subarray(0, ID_BYTES);
    if (publicKey.length !== KEM_SIZES[kem].publicBytes || !equalBytes(kemPublicKey(kem, id), publicKey)) return undefined;
    const value = random.bytes(ID_BYTES);
    const ciphertext = concat(value, mix(KEM_SIZES[kem].ciphertextBytes - ID_BYTES, `ciphertext ${kem}`, value));
    return { ciphertext, shared: mix(KEM_SHARED_BYTES, `kem ${kem}`, id, ciphertext) };
  }

  kemDecapsulate(pair: KemKeyPair, ciphertext: Uint8Array): Uint8Array | undefined {
    if (ciphertext.length !== KEM_SIZES[pair.kem].ciphertextBytes) return undefined;
    return mix(KEM_SHARED_BYTES, `kem ${pair.kem}`, mix(ID_BYTES, 'kem', pair.privateKey), ciphertext);
  }

  sign(algorithm: SignatureAlgorithm, privateKey: Uint8Array, data: Uint8Array): Uint8Array {
    return mixBounded(64, algorithm, fakePublicKey(privateKey), data);
  }

  verify(algorithm: SignatureAlgorithm, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
    return isFakePublicKey(publicKey) && equalBytes(mixBounded(64, algorithm, publicKey, data), signature);
  }

  aeadSeal(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (key.length !== AEAD_KEY_BYTES[aead] || nonce.length !== 12) throw new InternalError(`${aead} was given ${key.length} octets of key and ${nonce.length} of nonce`);
    const body = xor(plaintext, mix(plaintext.length, aead, key, nonce));
    return concat(body, mixBounded(TAG_BYTES, aead, key, nonce, aad, plaintext));
  }

  aeadOpen(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const length = sealed.length - TAG_BYTES;
    if (length < 0) return undefined;
    const plaintext = xor(sealed.subarray(0, length), mix(length, aead, key, nonce));
    return equalBytes(mixBounded(TAG_BYTES, aead, key, nonce, aad, plaintext), sealed.subarray(length)) ? plaintext : undefined;
  }

  cbcEncrypt(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (iv.length !== BLOCK_BYTES || plaintext.length % BLOCK_BYTES !== 0) throw new InternalError(`CBC was given ${iv.length} octets of IV and ${plaintext.length} of text`);
    return xor(plaintext, mix(plaintext.length, 'cbc', key, iv));
  }

  cbcDecrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    return ciphertext.length % BLOCK_BYTES === 0 ? xor(ciphertext, mix(ciphertext.length, 'cbc', key, iv)) : undefined;
  }

  desEncrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
    return mixBounded(block.length, 'des', key, block);
  }

  certificatePublicKey(certificate: Uint8Array): Uint8Array | undefined {
    const opened = openFakeCertificate(certificate);
    return opened === undefined ? undefined : fromHex(opened.publicKey);
  }

  openTls(options: TlsOptions): TlsEngine {
    return openFakeTls(options, (length, ...parts) => mixBounded(length, 'tls', ...parts));
  }

  checkChain(request: ChainRequest): ChainResult {
    const leaf = request.chain[0];
    if (leaf === undefined) return { ok: false, cause: 'there is no certificate' };
    const certificate = openFakeCertificate(leaf);
    if (certificate === undefined) return { ok: false, cause: 'certificate is not readable' };
    const { unixMs } = request;
    const day = (at: number): string => rfc3339(at).slice(0, 10);
    if (unixMs < certificate.notBeforeUnixMs) return { ok: false, cause: `certificate is not valid before ${day(certificate.notBeforeUnixMs)}` };
    if (unixMs > certificate.notAfterUnixMs) return { ok: false, cause: `certificate expired on ${day(certificate.notAfterUnixMs)}` };
    const trusted = request.anchors.find((anchor) => toHex(mix(ID_BYTES, 'anchor', anchor)) === certificate.anchor);
    if (trusted === undefined) return { ok: false, cause: 'certificate leads to no trust anchor' };
    const revoked = fakeRevocation(certificate, trusted, request);
    if (revoked !== undefined) return revoked;
    const { emails, uris, dnsNames, serialNumber, notAfterUnixMs } = certificate;
    return { ok: true, publicKey: fromHex(certificate.publicKey), keyType: 'ecdsa', emails, uris, dnsNames, ipAddresses: [], subject: new Uint8Array(0), serialNumber, notAfterUnixMs };
  }
}

function xor(bytes: Uint8Array, pad: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < out.length; i++) out[i] = bytes[i]! ^ pad[i]!;
  return out;
}
