// ML-KEM (FIPS 203) on node:crypto. A private key is its seed of 64 octets, drawn from the injected Random; the DER around
// keys is that of RFC 9935.
import { createPrivateKey, createPublicKey, decapsulate, encapsulate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { concat, fromHex } from './bytes.ts';
import type { Encapsulation, KemId, KemKeyPair } from './crypto.ts';
import { KEM_SIZES } from './crypto.ts';
import { encodeElement, encodeUnsigned, Tag } from './der.ts';
import { readPublicKey } from './key-memory.ts';
import type { Random } from './random.ts';

const SEED_BYTES = 64;
const SEED_TAG = 0x80;
/** 2.16.840.1.101.3.4.4, without the last arc that tells the three apart. */
const OID_START = fromHex('06096086480165030404');
const LAST_ARC: Readonly<Record<KemId, number>> = { 35: 1, 36: 2, 37: 3 };

function algorithm(kem: KemId): Uint8Array<ArrayBuffer> {
  return encodeElement(Tag.sequence, OID_START, Uint8Array.of(LAST_ARC[kem]));
}

function privateKeyOf(kem: KemId, seed: Uint8Array): KeyObject {
  const der = encodeElement(Tag.sequence, encodeUnsigned(Uint8Array.of(0)), algorithm(kem), encodeElement(Tag.octetString, Uint8Array.of(SEED_TAG, SEED_BYTES), seed));
  const key = createPrivateKey({ key: Buffer.from(der.buffer), format: 'der', type: 'pkcs8' });
  der.fill(0);
  return key;
}

/** Throws when OpenSSL finds that the key fails the checks of FIPS 203 7.2. */
function publicKeyOf(kem: KemId, raw: Uint8Array): KeyObject {
  const der = encodeElement(Tag.sequence, algorithm(kem), encodeElement(Tag.bitString, Uint8Array.of(0), raw));
  return readPublicKey(der);
}

/** See Suite.kemGenerate. */
export function generateMlKem(kem: KemId, random: Random): KemKeyPair {
  const privateKey = random.bytes(SEED_BYTES);
  // Node accepts a private KeyObject here; its types do not say so.
  const spki = createPublicKey(privateKeyOf(kem, privateKey) as unknown as string).export({ format: 'der', type: 'spki' });
  return { kem, privateKey, publicKey: concat(spki.subarray(spki.length - KEM_SIZES[kem].publicBytes)) };
}

/** See Suite.kemEncapsulate; OpenSSL draws the randomness by itself. */
export function encapsulateMlKem(kem: KemId, publicKey: Uint8Array): Encapsulation | undefined {
  if (publicKey.length !== KEM_SIZES[kem].publicBytes) return undefined;
  try {
    const { ciphertext, sharedKey } = encapsulate(publicKeyOf(kem, publicKey));
    return { ciphertext: new Uint8Array(ciphertext), shared: new Uint8Array(sharedKey) };
  } catch {
    return undefined; // OpenSSL refused the peer's key
  }
}

/** See Suite.kemDecapsulate. */
export function decapsulateMlKem(pair: KemKeyPair, ciphertext: Uint8Array): Uint8Array | undefined {
  if (ciphertext.length !== KEM_SIZES[pair.kem].ciphertextBytes) return undefined;
  return new Uint8Array(decapsulate(privateKeyOf(pair.kem, pair.privateKey), ciphertext));
}
