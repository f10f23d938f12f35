// Signatures in AUTH: RFC 7427 with the AlgorithmIdentifiers of its appendix A (RSA, ECDSA) and of RFC 8420 (Ed25519),
// and for peers that know nothing of it the ECDSA methods of RFC 4754, and RSA with SHA-1 where a legacy profile allows it.
import { concat, equalBytes, fromHex, Reader } from '../../platform/bytes.ts';
import type { SignatureAlgorithm, Suite } from '../../platform/crypto.ts';
import { encodeElement, encodeUnsigned, expectElement, readElement, Tag } from '../../platform/der.ts';
import { WireError } from '../../platform/errors.ts';
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

/** A method of RFC 4754, whose curve and hash go together and whose signature is r | s; or RSA (RFC 7296 2.15). */
interface ClassicMethod {
  readonly method: number;
  readonly algorithm: SignatureAlgorithm;
  /** AlgorithmIdentifier of a key in its SubjectPublicKeyInfo. */
  readonly keyType: Uint8Array;
  /** Octets of r, and of s; undefined: the signature is sent as it is. */
  readonly halfBytes?: number;
  readonly legacy?: true;
}

const CLASSIC_METHODS: readonly ClassicMethod[] = [
  { method: AuthMethod.ecdsa256, algorithm: 'ecdsa-sha256', keyType: fromHex('301306072a8648ce3d020106082a8648ce3d030107'), halfBytes: 32 },
  { method: AuthMethod.ecdsa384, algorithm: 'ecdsa-sha384', keyType: fromHex('301006072a8648ce3d020106052b81040022'), halfBytes: 48 },
  { method: AuthMethod.ecdsa521, algorithm: 'ecdsa-sha512', keyType: fromHex('301006072a8648ce3d020106052b81040023'), halfBytes: 66 },
  { method: AuthMethod.rsaSha1, algorithm: 'rsa-pkcs1-sha1', keyType: fromHex('300d06092a864886f70d0101010500'), legacy: true },
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

/** The hash that an algorithm needs the peer to know; undefined for one that is only a method of its own. */
export function signatureHash(algorithm: SignatureAlgorithm): number | undefined {
  return SIGNATURES.find((entry) => entry.algorithm === algorithm)?.hash;
}

/** Whether a method of AUTH is a signature that is taken; some only from peers of a legacy profile. */
export function isSignature(method: number, legacy: boolean): boolean {
  return method === AuthMethod.digitalSignature || CLASSIC_METHODS.some((entry) => entry.method === method && (legacy || entry.legacy !== true));
}

/** Whether a key (SPKI DER) can sign for a peer that does not know RFC 7427. */
export function signsClassically(publicKey: Uint8Array, legacy: boolean): boolean {
  const found = classicMethodOf(publicKey);
  return found !== undefined && isSignature(found.method, legacy);
}

function classicMethodOf(publicKey: Uint8Array): ClassicMethod | undefined {
  try {
    const algorithm = readElement(expectElement(new Reader(publicKey, 'public key'), Tag.sequence, 'public key').content, 'algorithm').encoded;
    return CLASSIC_METHODS.find(({ keyType }) => equalBytes(keyType, algorithm));
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** RFC 7427 3: length of the AlgorithmIdentifier 1 | AlgorithmIdentifier | signature. */
export function signatureAuth(suite: Suite, algorithm: SignatureAlgorithm, privateKey: Uint8Array, octets: Uint8Array): SignatureAuth {
  const [identifier] = SIGNATURES.find((entry) => entry.algorithm === algorithm)!.identifiers;
  return { method: AuthMethod.digitalSignature, data: concat(Uint8Array.of(identifier!.length), identifier!, suite.sign(algorithm, privateKey, octets)) };
}

/** For a key that `signsClassically`. */
export function classicAuth(suite: Suite, publicKey: Uint8Array, privateKey: Uint8Array, octets: Uint8Array): SignatureAuth {
  const { method, algorithm, halfBytes } = classicMethodOf(publicKey)!;
  const signature = suite.sign(algorithm, privateKey, octets);
  return { method, data: halfBytes === undefined ? signature : halves(signature, halfBytes) };
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
  const { algorithm, halfBytes } = known;
  if (halfBytes === undefined) return verdict(suite.verify(algorithm, key.publicKey, octets, data));
  if (data.length !== 2 * halfBytes) return `the signature has ${data.length} octets, its curve needs ${2 * halfBytes}`;
  const der = encodeElement(Tag.sequence, encodeUnsigned(data.subarray(0, halfBytes)), encodeUnsigned(data.subarray(halfBytes)));
  return verdict(suite.verify(algorithm, key.publicKey, octets, der));
}

function verdict(good: boolean): string | undefined {
  return good ? undefined : 'the signature does not verify';
}
