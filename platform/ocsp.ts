// OCSP (RFC 6960, in the profile of RFC 5019): asking for the state of one certificate, and reading what a responder says.
// A response counts when its issuer has signed it, or a responder whom that issuer has delegated (id-kp-OCSPSigning).
// Deviations: requests are not signed; of the hashes in a CertID SHA-1 and SHA-256 are understood; other responses than
// the basic one are not.
import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import { equalBytes, fromHex, Reader, toHex } from './bytes.ts';
import { decodeCertificate, ExtensionOid, LARGEST_CERTIFICATE_BYTES } from './certificate.ts';
import type { CertificateFields } from './certificate.ts';
import { SIGNATURE_HASHES } from './crl.ts';
import { bitStringOctets, encodeElement, encodeUnsigned, expectElement, oidText, peekTag, readElement, Tag, timeUnixMs } from './der.ts';
import { WireError } from './errors.ts';

export const LARGEST_OCSP_BYTES = 128 * 1024;
const MOST_ANSWERS = 64;
const MOST_CERTIFICATES = 8;
const ENUMERATED = 0x0a;
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';
const NONCE = '1.3.6.1.5.5.7.48.1.2';
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const USAGE_DIGITAL_SIGNATURE = 0x80;
const UNDERSTOOD: ReadonlySet<string> = new Set([ExtensionOid.keyUsage, ExtensionOid.extendedKeyUsage, ExtensionOid.basicConstraints]);
const CERT_ID_HASHES: Readonly<Record<string, 'sha1' | 'sha256' | undefined>> = { '1.3.14.3.2.26': 'sha1', '2.16.840.1.101.3.4.2.1': 'sha256' };
/** AlgorithmIdentifier of SHA-1, the hash of RFC 5019; it names an issuer and protects nothing. */
const SHA1_ALGORITHM = fromHex('300906052b0e03021a0500');
const NONCE_OID = fromHex('06092b0601050507300102');

/** RFC 6960 4.2.1. */
const STATUS_WORDS: Readonly<Record<number, string>> = { 1: 'malformedRequest', 2: 'internalError', 3: 'tryLater', 5: 'sigRequired', 6: 'unauthorized' };

export interface CertificateStatus {
  readonly hash: 'sha1' | 'sha256';
  readonly issuerNameHash: Uint8Array;
  readonly issuerKeyHash: Uint8Array;
  /** As in CertificateFields. */
  readonly serialNumber: string;
  readonly state: 'good' | 'revoked' | 'unknown';
  readonly revokedUnixMs: number | undefined;
  readonly thisUpdateUnixMs: number;
  /** Undefined: newer information is there at any time. */
  readonly nextUpdateUnixMs: number | undefined;
}

export interface OcspResponse {
  readonly producedAtUnixMs: number;
  readonly statuses: readonly CertificateStatus[];
  readonly nonce: Uint8Array | undefined;
  readonly signatureOid: string;
  readonly signature: Uint8Array;
  /** What is signed. */
  readonly signed: Uint8Array;
  /** DER of certificates that came along. */
  readonly certificates: readonly Uint8Array[];
}

type Issuer = Pick<CertificateFields, 'subject' | 'publicKey'>;

/**
 * A request for the state of one certificate.
 * @param nonce 1 to 32 octets; undefined: a response that was made before is as good (RFC 5019 2.1.1)
 */
export function encodeOcspRequest(serialNumber: string, issuer: Issuer, nonce: Uint8Array | undefined): Uint8Array<ArrayBuffer> {
  const [nameHash, keyHash] = issuerHashes(issuer, 'sha1');
  const octets = (bytes: Uint8Array): Uint8Array => encodeElement(Tag.octetString, bytes);
  const certId = encodeElement(Tag.sequence, SHA1_ALGORITHM, octets(nameHash), octets(keyHash), encodeUnsigned(fromHex(serialNumber)));
  const list = encodeElement(Tag.sequence, encodeElement(Tag.sequence, certId));
  const extensions = nonce === undefined ? [] : [encodeElement(0xa2, encodeElement(Tag.sequence, encodeElement(Tag.sequence, NONCE_OID, octets(octets(nonce)))))];
  return encodeElement(Tag.sequence, encodeElement(Tag.sequence, list, ...extensions));
}

function issuerHashes({ subject, publicKey }: Issuer, hash: 'sha1' | 'sha256'): [Uint8Array, Uint8Array] {
  const spki = expectElement(new Reader(publicKey, 'public key'), Tag.sequence, 'subjectPublicKeyInfo').content;
  readElement(spki, 'algorithm');
  const key = bitStringOctets(expectElement(spki, Tag.bitString, 'subjectPublicKey').content);
  return [createHash(hash).update(subject).digest(), createHash(hash).update(key).digest()];
}

/** Throws WireError for what is not a successful, well-formed basic response. Nothing of it may be believed before `isResponseSigned`. */
export function decodeOcspResponse(der: Uint8Array): OcspResponse {
  if (der.length > LARGEST_OCSP_BYTES) throw new WireError(`OCSP response has ${der.length} octets, at most ${LARGEST_OCSP_BYTES} are read`);
  const outer = new Reader(der, 'OCSP response');
  const response = expectElement(outer, Tag.sequence, 'OCSP response').content;
  outer.expectEnd();
  const status = expectElement(response, ENUMERATED, 'responseStatus').content;
  const code = status.u8();
  status.expectEnd();
  if (code !== 0) throw new WireError(`the responder answers ${STATUS_WORDS[code] ?? `status ${code}`}`);
  const bytes = expectElement(expectElement(response, 0xa0, 'responseBytes').content, Tag.sequence, 'responseBytes').content;
  const type = oidText(expectElement(bytes, Tag.oid, 'responseType').content);
  if (type !== BASIC_RESPONSE) throw new WireError(`OCSP response is of type ${type}, which is not understood`);
  const basic = expectElement(expectElement(bytes, Tag.octetString, 'response').content, Tag.sequence, 'basic OCSP response').content;
  const { content, encoded: signed } = expectElement(basic, Tag.sequence, 'tbsResponseData');
  const data = decodeData(content);
  const signatureOid = oidText(expectElement(expectElement(basic, Tag.sequence, 'signatureAlgorithm').content, Tag.oid, 'signature algorithm').content);
  const signature = bitStringOctets(expectElement(basic, Tag.bitString, 'signature').content);
  const certificates = basic.remaining === 0 ? [] : decodeCertificates(expectElement(basic, 0xa0, 'certs').content);
  basic.expectEnd();
  return { ...data, signatureOid, signature, signed, certificates };
}

function decodeCertificates(explicit: Reader): readonly Uint8Array[] {
  const list = expectElement(explicit, Tag.sequence, 'certs').content;
  const certificates: Uint8Array[] = [];
  while (list.remaining > 0) {
    if (certificates.length === MOST_CERTIFICATES) throw new WireError(`OCSP response has more than ${MOST_CERTIFICATES} certificates`);
    const { encoded } = expectElement(list, Tag.sequence, 'certificate');
    if (encoded.length > LARGEST_CERTIFICATE_BYTES) throw new WireError(`certificate has ${encoded.length} octets, at most ${LARGEST_CERTIFICATE_BYTES} are read`);
    certificates.push(encoded);
  }
  return certificates;
}

function decodeData(data: Reader): Pick<OcspResponse, 'producedAtUnixMs' | 'statuses' | 'nonce'> {
  if (peekTag(data) === 0xa0) readElement(data, 'version');
  // The responder's name is not needed: whose key has signed is found by trying.
  const id = readElement(data, 'responderID');
  if (id.tag !== 0xa1 && id.tag !== 0xa2) throw new WireError(`responderID has tag ${id.tag}`);
  const producedAtUnixMs = timeUnixMs(expectElement(data, Tag.generalizedTime, 'producedAt'));
  const answers = expectElement(data, Tag.sequence, 'responses').content;
  const statuses: CertificateStatus[] = [];
  while (answers.remaining > 0) {
    if (statuses.length === MOST_ANSWERS) throw new WireError(`OCSP response has more than ${MOST_ANSWERS} answers`);
    statuses.push(decodeStatus(expectElement(answers, Tag.sequence, 'single response').content));
  }
  const extensions = data.remaining === 0 ? undefined : readExtensions(expectElement(data, 0xa1, 'responseExtensions').content);
  data.expectEnd();
  const nonce = extensions?.get(NONCE);
  return { producedAtUnixMs, statuses, nonce: nonce && expectElement(nonce, Tag.octetString, 'nonce').content.rest() };
}

function decodeStatus(answer: Reader): CertificateStatus {
  const id = expectElement(answer, Tag.sequence, 'certID').content;
  const algorithm = oidText(expectElement(expectElement(id, Tag.sequence, 'hashAlgorithm').content, Tag.oid, 'hash algorithm').content);
  const hash = CERT_ID_HASHES[algorithm];
  if (hash === undefined) throw new WireError(`certID has hash ${algorithm}, which is not understood`);
  const issuerNameHash = expectElement(id, Tag.octetString, 'issuerNameHash').content.rest();
  const issuerKeyHash = expectElement(id, Tag.octetString, 'issuerKeyHash').content.rest();
  const serialNumber = toHex(expectElement(id, Tag.integer, 'serialNumber').content.rest()).replace(/^(00)+(?=..)/, '');
  const status = readElement(answer, 'certStatus');
  const state = status.tag === 0x80 ? 'good' : status.tag === 0xa1 ? 'revoked' : status.tag === 0x82 ? 'unknown' : undefined;
  if (state === undefined) throw new WireError(`certStatus has tag ${status.tag}`);
  const revokedUnixMs = state === 'revoked' ? timeUnixMs(expectElement(status.content, Tag.generalizedTime, 'revocationTime')) : undefined;
  const thisUpdateUnixMs = timeUnixMs(expectElement(answer, Tag.generalizedTime, 'thisUpdate'));
  const next = peekTag(answer) === 0xa0 ? expectElement(readElement(answer, 'nextUpdate').content, Tag.generalizedTime, 'nextUpdate') : undefined;
  if (answer.remaining > 0) readExtensions(expectElement(answer, 0xa1, 'singleExtensions').content);
  answer.expectEnd();
  return { hash, issuerNameHash, issuerKeyHash, serialNumber, state, revokedUnixMs, thisUpdateUnixMs, nextUpdateUnixMs: next && timeUnixMs(next) };
}

function readExtensions(explicit: Reader): ReadonlyMap<string, Reader> {
  const list = expectElement(explicit, Tag.sequence, 'extensions').content;
  const values = new Map<string, Reader>();
  while (list.remaining > 0) {
    const extension = expectElement(list, Tag.sequence, 'extension').content;
    const oid = oidText(expectElement(extension, Tag.oid, 'extension id').content);
    const critical = peekTag(extension) === Tag.boolean && expectElement(extension, Tag.boolean, 'critical').content.u8() !== 0;
    if (critical && oid !== NONCE) throw new WireError(`OCSP response has the critical extension ${oid}, which is not understood`);
    values.set(oid, expectElement(extension, Tag.octetString, 'extension value').content);
  }
  return values;
}

/** What a response says of one certificate of this issuer, or undefined. */
export function statusOf(response: OcspResponse, serialNumber: string, issuer: Issuer): CertificateStatus | undefined {
  return response.statuses.find((status) => {
    if (status.serialNumber !== serialNumber) return false;
    const [nameHash, keyHash] = issuerHashes(issuer, status.hash);
    return equalBytes(status.issuerNameHash, nameHash) && equalBytes(status.issuerKeyHash, keyHash);
  });
}

/**
 * Whether the issuer has signed a response, or somebody whom it has delegated and whose certificate is in force.
 * @param isRevoked whether the issuer is known to have revoked a delegate, by serial number
 */
export function isResponseSigned(response: OcspResponse, issuer: Issuer, unixMs: number, isRevoked: (serialNumber: string) => boolean): boolean {
  return isSignedBy(response, issuer.publicKey) || response.certificates.some((der) => isDelegate(der, issuer, unixMs, isRevoked) && isSignedBy(response, decodeCertificate(der).publicKey));
}

/** RFC 6960 4.2.2.2: directly under the issuer, and for this purpose. */
function isDelegate(der: Uint8Array, issuer: Issuer, unixMs: number, isRevoked: (serialNumber: string) => boolean): boolean {
  try {
    const fields = decodeCertificate(der);
    const inForce = unixMs >= fields.notBeforeUnixMs && unixMs <= fields.notAfterUnixMs && !isRevoked(fields.serialNumber);
    const { keyUsage, criticalOids } = fields;
    const maySign = (keyUsage === undefined || (keyUsage & USAGE_DIGITAL_SIGNATURE) !== 0) && criticalOids.every((oid) => UNDERSTOOD.has(oid));
    const isFor = fields.extendedKeyUsages?.includes(OCSP_SIGNING) === true && !fields.ca;
    return inForce && isFor && maySign && equalBytes(fields.issuer, issuer.subject) && SIGNATURE_HASHES.has(fields.signatureOid) && new X509Certificate(der).verify(keyOf(issuer.publicKey));
  } catch {
    return false; // not a certificate, or key and signature are of different kinds
  }
}

function isSignedBy(response: OcspResponse, publicKey: Uint8Array): boolean {
  const hash = SIGNATURE_HASHES.get(response.signatureOid);
  if (hash === undefined) return false;
  try {
    return verify(hash, response.signed, keyOf(publicKey), response.signature);
  } catch {
    return false; // key and signature are of different kinds
  }
}

function keyOf(publicKey: Uint8Array): ReturnType<typeof createPublicKey> {
  return createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
}
