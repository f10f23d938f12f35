// Signatures on node:crypto: ECDSA (RFC 5480), Ed25519 (RFC 8032), RSA-PSS and RSASSA-PKCS1-v1_5 (RFC 8017).
import { constants, sign, verify } from 'node:crypto';
import type { KeyObject, SignKeyObjectInput } from 'node:crypto';
import type { HashName, HmacName, SignatureAlgorithm } from './crypto.ts';
import type { KeyMemory } from './key-memory.ts';

/** Shorter RSA keys are not accepted (RFC 8247 3.2.1), longer ones cost more than a peer may ask of us. */
export const LEAST_RSA_BITS = 2048;
const MOST_RSA_BITS = 8192;

interface Scheme {
  readonly keyType: 'ec' | 'ed25519' | 'rsa';
  readonly hash: HmacName | null;
  /** Of RSA only: a key with options around it costs Node two exceptions, which take as long as an ECDSA signature. */
  readonly options?: Omit<SignKeyObjectInput, 'key'>;
}

function ecdsa(hash: HashName): Scheme {
  return { keyType: 'ec', hash };
}

function pss(hash: HashName): Scheme {
  return { keyType: 'rsa', hash, options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } };
}

function pkcs1(hash: HmacName): Scheme {
  return { keyType: 'rsa', hash, options: { padding: constants.RSA_PKCS1_PADDING } };
}

const SCHEMES: Readonly<Record<SignatureAlgorithm, Scheme>> = {
  'ecdsa-sha256': ecdsa('sha256'),
  'ecdsa-sha384': ecdsa('sha384'),
  'ecdsa-sha512': ecdsa('sha512'),
  ed25519: { keyType: 'ed25519', hash: null },
  'rsa-pss-sha256': pss('sha256'),
  'rsa-pss-sha384': pss('sha384'),
  'rsa-pss-sha512': pss('sha512'),
  'rsa-pkcs1-sha1': pkcs1('sha1'),
  'rsa-pkcs1-sha256': pkcs1('sha256'),
  'rsa-pkcs1-sha384': pkcs1('sha384'),
  'rsa-pkcs1-sha512': pkcs1('sha512'),
};

/** See Suite.sign. */
export function signWith(keys: KeyMemory, algorithm: SignatureAlgorithm, privateKey: Uint8Array, data: Uint8Array): Uint8Array {
  const key = keys.privateKey(privateKey);
  const { hash, options } = SCHEMES[algorithm];
  return new Uint8Array(sign(hash, data, options === undefined ? key : { key, ...options }));
}

/** See Suite.verify. */
export function verifyWith(keys: KeyMemory, algorithm: SignatureAlgorithm, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    const key = keys.publicKey(publicKey);
    const { keyType, hash, options } = SCHEMES[algorithm];
    return key.asymmetricKeyType === keyType && isUsable(key) && verify(hash, data, options === undefined ? key : { key, ...options }, signature);
  } catch {
    return false; // not a key, or not a signature
  }
}

function isUsable(key: KeyObject): boolean {
  const bits = key.asymmetricKeyDetails?.modulusLength;
  return bits === undefined || (bits >= LEAST_RSA_BITS && bits <= MOST_RSA_BITS);
}
