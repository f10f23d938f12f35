// Signatures in AUTH: RFC 7427 with the AlgorithmIdentifiers of its appendix A (RSA, ECDSA) and of RFC 8420 (Ed25519),
// and for peers that know nothing of it the ECDSA methods of RFC 4754.
import { concat, equalBytes, fromHex, Reader } from '../../platform/bytes.ts';
import type { SignatureAlgorithm, Suite } from '../../platform/crypto.ts';
import { encodeElement, encodeUnsigned, expectElement, Tag } from '../../platform/der.ts';
import { AuthMethod, SignatureHash } from '../wire/ike/numbers.ts';

type KeyType = 'ecdsa' | 'ed25519' | 'rsa';

interface Signature {
  readonly algorithm: SignatureAlgorithm;
  readonly keyType: KeyType;
  /** Announced in SIGNATURE_HASH_ALGORITHMS. */
  readonly hash: number;
  /** DER AlgorithmIdentifiers: the one that we send, then others that mean the same. */
  readonly identifiers: readonly Uint8Array[];
}

function identifiers(...hex: readonly string[]): readonly Uint8Array[] {
  return hex.map((text) => fromHex(text));
}

/** RFC 7427 A.4: RSASSA-PSS with MGF1, the same hash twice, and a salt of its length; some leave out the NULL parameters. */
function pssIdentifiers(lastArc: string, saltBytes: string): readonly Uint8Array[] {
  const hash = `060960864801650304020${lastArc}`;
  const salt = `a2030201${saltBytes}`;
  return identifiers(
    `304106092a864886f70d01010a3034a00f300d${hash}0500a11c301a06092a864886f70d010108300d${hash}0500${salt}`,
    `303d06092a864886f70d01010a3030a00d300b${hash}a11a301806092a864886f70d010108300b${hash}${salt}`,
  );
}

/** RFC 7427 A.1. */
function pkcs1Identifiers(lastArc: string): readonly Uint8Array[] {
  return identifiers(`300d06092a864886f70d0101${lastArc}0500`, `300b06092a864886f70d0101${lastArc}`);
}

const SIGNATURES: readonly Signature[] = [
  { algorithm: 'ecdsa-sha256', keyType: 'ecdsa', hash: SignatureHash.sha256, identifiers: identifiers('300a06082a8648ce3d040302') },
  { algorithm: 'ecdsa-sha384', keyType: 'ecdsa', hash: SignatureHash.sha384, identifiers: identifiers('300a06082a8648ce3d040303') },
  { algorithm: 'ecdsa-sha512', keyType: 'ecdsa', hash: SignatureHash.sha512, identifiers: identifiers('300a06082a8648ce3d040304') },
  { algorithm: 'ed25519', keyType: 'ed25519', hash: SignatureHash.identity, identifiers: identifiers('300506032b6570') },
  { algorithm: 'rsa-pss-sha256', keyType: 'rsa', hash: SignatureHash.sha256, identifiers: pssIdentifiers('1', '20') },
  { algorithm: 'rsa-pss-sha384', keyType: 'rsa', hash: SignatureHash.sha384, identifiers: pssIdentifiers('2', '30') },
  { algorithm: 'rsa-pss-sha512', keyType: 'rsa', hash: SignatureHash.sha512, identifiers: pssIdentifiers('3', '40') },
  { algorithm: 'rsa-pkcs1-sha256', keyType: 'rsa', hash: SignatureHash.sha256, identifiers: pkcs1Identifiers('0b') },
  { algorithm: 'rsa-pkcs1-sha384', keyType: 'rsa', hash: SignatureHash.sha384, identifiers: pkcs1Identifiers('0c') },
  { algorithm: 'rsa-pkcs1-sha512', keyType: 'rsa', hash: SignatureHash.sha512, identifiers: pkcs1Identifiers('0d') },
];

/** Contents of our SIGNATURE_HASH_ALGORITHMS. */
export const SIGNATURE_HASHES: readonly number[] = [...new Set(SIGNATURES.map((entry) => entry.hash))];

/** A method of RFC 4754: its curve and its hash go together, and the signature is r | s. */
interface ClassicMethod {
  readonly method: number;
  readonly algorithm: SignatureAlgorithm;
  /** How the SubjectPublicKeyInfo of a key on the curve begins. */
  readonly keyStart: Uint8Array;
  /** Octets of r, and of s. */
  readonly halfBytes: number;
}

const CLASSIC_METHODS: readonly ClassicMethod[] = [
  { method: AuthMethod.ecdsa256, algorithm: 'ecdsa-sha256', keyStart: fromHex('3059301306072a8648ce3d020106082a8648ce3d030107'), halfBytes: 32 },
  { method: AuthMethod.ecdsa384, algorithm: 'ecdsa-sha384', keyStart: fromHex('3076301006072a8648ce3d020106052b81040022'), halfBytes: 48 },
  { method: AuthMethod.ecdsa521, algorithm: 'ecdsa-sha512', keyStart: fromHex('30819b301006072a8648ce3d020106052b81040023'), halfBytes: 66 },
];

export interface SignatureAuth {
  readonly method: number;
  readonly data: Uint8Array;
}

export interface PeerKey {
  /** SPKI DER. */
  readonly publicKey: Uint8Array;
  readonly keyType: KeyType;
}

/** The hash that an algorithm needs the peer to know. */
export function signatureHash(algorithm: SignatureAlgorithm): number {
  return SIGNATURES.find((entry) => entry.algorithm === algorithm)!.hash;
}

/** Whether a method of AUTH is a signature that is understood here. */
export function isSignature(method: number): boolean {
  return method === AuthMethod.digitalSignature || CLASSIC_METHODS.some((entry) => entry.method === method);
}

/** Whether a key (SPKI DER) can sign for a peer that does not know RFC 7427. */
export function signsClassically(publicKey: Uint8Array): boolean {
  return classicMethodOf(publicKey) !== undefined;
}

function classicMethodOf(publicKey: Uint8Array): ClassicMethod | undefined {
  return CLASSIC_METHODS.find(({ keyStart }) => equalBytes(keyStart, publicKey.subarray(0, keyStart.length)));
}

/** RFC 7427 3: length of the AlgorithmIdentifier 1 | AlgorithmIdentifier | signature. */
export function signatureAuth(suite: Suite, algorithm: SignatureAlgorithm, privateKey: Uint8Array, octets: Uint8Array): SignatureAuth {
  const [identifier] = SIGNATURES.find((entry) => entry.algorithm === algorithm)!.identifiers;
  return { method: AuthMethod.digitalSignature, data: concat(Uint8Array.of(identifier!.length), identifier!, suite.sign(algorithm, privateKey, octets)) };
}

/** RFC 4754, for a key that `signsClassically`. */
export function classicAuth(suite: Suite, publicKey: Uint8Array, privateKey: Uint8Array, octets: Uint8Array): SignatureAuth {
  const { method, algorithm, halfBytes } = classicMethodOf(publicKey)!;
  return { method, data: halves(suite.sign(algorithm, privateKey, octets), halfBytes) };
}

/** r | s of a signature in DER. */
function halves(der: Uint8Array, halfBytes: number): Uint8Array {
  const parts = expectElement(new Reader(der, 'signature'), Tag.sequence, 'signature').content;
  const out = new Uint8Array(2 * halfBytes);
  for (const end of [halfBytes, 2 * halfBytes]) {
    const value = expectElement(parts, Tag.integer, 'half of a signature').content.rest();
    const unsigned = value[0] === 0 ? value.subarray(1) : value;
    out.set(unsigned, end - unsigned.length);
  }
  return out;
}

/** Undefined when the signature is good, else a clause that says why not. */
export function signatureProblem(suite: Suite, key: PeerKey, octets: Uint8Array, auth: SignatureAuth): string | undefined {
  if (auth.method !== AuthMethod.digitalSignature) return classicProblem(suite, key, octets, auth);
  const length = auth.data[0] ?? 0;
  const identifier = auth.data.subarray(1, 1 + length);
  const known = SIGNATURES.find((entry) => entry.identifiers.some((octetsOfOne) => equalBytes(octetsOfOne, identifier)));
  if (known === undefined) return 'the signature algorithm is not supported';
  if (known.keyType !== key.keyType) return `the signature is ${known.algorithm} but the certificate's key is ${key.keyType}`;
  return verdict(suite.verify(known.algorithm, key.publicKey, octets, auth.data.subarray(1 + length)));
}

function classicProblem(suite: Suite, key: PeerKey, octets: Uint8Array, { method, data }: SignatureAuth): string | undefined {
  const known = CLASSIC_METHODS.find((entry) => entry.method === method)!;
  if (classicMethodOf(key.publicKey) !== known) return `authentication method ${method} does not fit the certificate's key`;
  if (data.length !== 2 * known.halfBytes) return `the signature has ${data.length} octets, its curve needs ${2 * known.halfBytes}`;
  const der = encodeElement(Tag.sequence, encodeUnsigned(data.subarray(0, known.halfBytes)), encodeUnsigned(data.subarray(known.halfBytes)));
  return verdict(suite.verify(known.algorithm, key.publicKey, octets, der));
}

function verdict(good: boolean): string | undefined {
  return good ? undefined : 'the signature does not verify';
}
