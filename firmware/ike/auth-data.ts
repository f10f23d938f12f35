// The contents of AUTH (RFC 7296 2.15, RFC 7427, RFC 8420).
import { concat, equalBytes, equalConstantTime, utf8, wipe } from '../../platform/bytes.ts';
import type { HashName, SignatureAlgorithm, Suite } from '../../platform/crypto.ts';
import { SignatureHash } from '../wire/ike/numbers.ts';

const KEY_PAD = utf8('Key Pad for IKEv2');

export interface SignedParts {
  /** The signer's first message, as it was on the wire. */
  readonly message: Uint8Array;
  /** The other end's nonce. */
  readonly nonce: Uint8Array;
  /** SK_pi or SK_pr: the signer's. */
  readonly skP: Uint8Array;
  /** Body of the signer's ID payload. */
  readonly identity: Uint8Array;
  /** RFC 9242 3.3.1: empty without IKE_INTERMEDIATE. */
  readonly intermediate: Uint8Array;
}

/** RFC 7296 2.15: message | nonce | prf(SK_p, ID body), and IntAuth. */
export function signedOctets(suite: Suite, prf: HashName, parts: SignedParts): Uint8Array<ArrayBuffer> {
  return concat(parts.message, parts.nonce, suite.hmac(prf, parts.skP, parts.identity), parts.intermediate);
}

/** Body of an ID payload: type | reserved 3 | data. */
export function identityBody(idType: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(Uint8Array.of(idType, 0, 0, 0), data);
}

export function sharedKeyAuth(suite: Suite, prf: HashName, key: Uint8Array, octets: Uint8Array): Uint8Array {
  const padded = suite.hmac(prf, key, KEY_PAD);
  const auth = suite.hmac(prf, padded, octets);
  wipe(padded);
  return auth;
}

export function sharedKeyMatches(suite: Suite, prf: HashName, key: Uint8Array, octets: Uint8Array, auth: Uint8Array): boolean {
  return equalConstantTime(sharedKeyAuth(suite, prf, key, octets), auth);
}

interface Signature {
  readonly algorithm: SignatureAlgorithm;
  readonly keyType: 'ecdsa' | 'ed25519';
  /** Announced in SIGNATURE_HASH_ALGORITHMS. */
  readonly hash: number;
  /** DER AlgorithmIdentifier (RFC 7427 A.3, RFC 8420 A). */
  readonly identifier: Uint8Array;
}

function ecdsaIdentifier(last: number): Uint8Array {
  return Uint8Array.of(0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last);
}

const SIGNATURES: readonly Signature[] = [
  { algorithm: 'ecdsa-sha256', keyType: 'ecdsa', hash: SignatureHash.sha256, identifier: ecdsaIdentifier(2) },
  { algorithm: 'ecdsa-sha384', keyType: 'ecdsa', hash: SignatureHash.sha384, identifier: ecdsaIdentifier(3) },
  { algorithm: 'ecdsa-sha512', keyType: 'ecdsa', hash: SignatureHash.sha512, identifier: ecdsaIdentifier(4) },
  { algorithm: 'ed25519', keyType: 'ed25519', hash: SignatureHash.identity, identifier: Uint8Array.of(0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70) },
];

/** Contents of our SIGNATURE_HASH_ALGORITHMS. */
export const SIGNATURE_HASHES: readonly number[] = SIGNATURES.map((entry) => entry.hash);

/** The hash that an algorithm needs the peer to know. */
export function signatureHash(algorithm: SignatureAlgorithm): number {
  return SIGNATURES.find((entry) => entry.algorithm === algorithm)!.hash;
}

/** RFC 7427 3: length of the AlgorithmIdentifier 1 | AlgorithmIdentifier | signature. */
export function signatureAuth(suite: Suite, algorithm: SignatureAlgorithm, privateKey: Uint8Array, octets: Uint8Array): Uint8Array<ArrayBuffer> {
  const { identifier } = SIGNATURES.find((entry) => entry.algorithm === algorithm)!;
  return concat(Uint8Array.of(identifier.length), identifier, suite.sign(algorithm, privateKey, octets));
}

/** Undefined when the signature is good, else a clause that says why not. */
export function signatureProblem(suite: Suite, key: { publicKey: Uint8Array; keyType: string }, octets: Uint8Array, auth: Uint8Array): string | undefined {
  const length = auth[0] ?? 0;
  const identifier = auth.subarray(1, 1 + length);
  const known = SIGNATURES.find((entry) => equalBytes(entry.identifier, identifier));
  if (known === undefined) return 'the signature algorithm is not supported';
  if (known.keyType !== key.keyType) return `the signature is ${known.algorithm} but the certificate's key is ${key.keyType}`;
  return suite.verify(known.algorithm, key.publicKey, octets, auth.subarray(1 + length)) ? undefined : 'the signature does not verify';
}
