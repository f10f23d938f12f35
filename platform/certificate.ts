// Reading X.509 certificates (RFC 5280) synchronously: the fields that trust decisions need, exactly as encoded.
// Names inside subjectAltName are read from the DER because the text form of OpenSSL can be ambiguous.
import { fromUtf8, Reader, toHex } from './bytes.ts';
import { bitStringOctets, expectElement, oidText, peekTag, readElement, smallInteger, Tag, timeUnixMs } from './der.ts';
import { WireError } from './errors.ts';
import { decodeNameConstraints } from './name-constraints.ts';
import type { NameConstraints } from './name-constraints.ts';

export const LARGEST_CERTIFICATE_BYTES = 64 * 1024;
const MOST_EXTENSIONS = 64;
const MOST_NAMES = 1024;
const MOST_OIDS = 64;
const COMMON_NAME = '2.5.4.3';
const ACCESS_OCSP = '1.3.6.1.5.5.7.48.1';

export const ExtensionOid = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
} as const;

export interface CertificateFields {
  /** Lower-case hex of the INTEGER's content octets without leading zero octets. */
  readonly serialNumber: string;
  /** OBJECT IDENTIFIER of the signature. */
  readonly signatureOid: string;
  /** DER of the names. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  /** SPKI DER. */
  readonly publicKey: Uint8Array;
  readonly criticalOids: readonly string[];
  readonly ca: boolean;
  readonly pathLength: number | undefined;
  /** First octet of the bit string, bit 0x80 = digitalSignature, 0x04 = keyCertSign; undefined = no restriction. */
  readonly keyUsage: number | undefined;
  readonly names: SubjectNames;
  /** OBJECT IDENTIFIERs; undefined = no restriction. */
  readonly extendedKeyUsages: readonly string[] | undefined;
  /** OBJECT IDENTIFIERs; undefined when the extension is absent. */
  readonly policies: readonly string[] | undefined;
  readonly nameConstraints: NameConstraints | undefined;
  /** Where OCSP responders of the issuer are said to be. */
  readonly ocspUrls: readonly string[];
}

/** Entries of subjectAltName, in the order in which they are encoded. */
export interface SubjectNames {
  readonly emails: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** Octets in hexadecimal. */
  readonly ipAddresses: readonly string[];
}

const NO_NAMES: SubjectNames = { emails: [], uris: [], dnsNames: [], ipAddresses: [] };

/** Throws WireError for what is not one well-formed certificate. */
export function decodeCertificate(der: Uint8Array): CertificateFields {
  if (der.length > LARGEST_CERTIFICATE_BYTES) throw new WireError(`certificate has ${der.length} octets, at most ${LARGEST_CERTIFICATE_BYTES} are read`);
  const outer = new Reader(der, 'certificate');
  const certificate = expectElement(outer, Tag.sequence, 'certificate').content;
  outer.expectEnd();
  const tbs = expectElement(certificate, Tag.sequence, 'tbsCertificate').content;
  if (peekTag(tbs) === 0xa0) readElement(tbs, 'version');
  const serialNumber = toHex(expectElement(tbs, Tag.integer, 'serialNumber').content.rest()).replace(/^(00)+(?=..)/, '');
  const signatureOid = algorithmOid(tbs);
  const issuer = expectElement(tbs, Tag.sequence, 'issuer').encoded;
  const validity = expectElement(tbs, Tag.sequence, 'validity').content;
  const notBeforeUnixMs = timeUnixMs(readElement(validity, 'notBefore'));
  const notAfterUnixMs = timeUnixMs(readElement(validity, 'notAfter'));
  const subject = expectElement(tbs, Tag.sequence, 'subject').encoded;
  const publicKey = expectElement(tbs, Tag.sequence, 'subjectPublicKeyInfo').encoded;
  const extensions = decodeExtensions(tbs);
  if (algorithmOid(certificate) !== signatureOid) throw new WireError('certificate names two signature algorithms');
  expectElement(certificate, Tag.bitString, 'signatureValue');
  certificate.expectEnd();
  return { serialNumber, signatureOid, issuer, subject, notBeforeUnixMs, notAfterUnixMs, publicKey, ...extensions };
}

function algorithmOid(reader: Reader): string {
  return oidText(expectElement(expectElement(reader, Tag.sequence, 'signature').content, Tag.oid, 'signature algorithm').content);
}

type ExtensionFields = Pick<CertificateFields, 'criticalOids' | 'ca' | 'pathLength' | 'keyUsage' | 'names' | 'extendedKeyUsages' | 'policies' | 'nameConstraints' | 'ocspUrls'>;

function decodeExtensions(tbs: Reader): ExtensionFields {
  const values = new Map<string, Reader>();
  const criticalOids: string[] = [];
  while (tbs.remaining > 0) {
    const field = readElement(tbs, 'tbsCertificate field');
    if (field.tag !== 0xa3) continue; // issuerUniqueID and subjectUniqueID mean nothing today
    const list = expectElement(field.content, Tag.sequence, 'extensions').content;
    while (list.remaining > 0) {
      const extension = expectElement(list, Tag.sequence, 'extension').content;
      const oid = oidText(expectElement(extension, Tag.oid, 'extension id').content);
      if (values.has(oid)) throw new WireError(`certificate has extension ${oid} twice`);
      if (values.size === MOST_EXTENSIONS) throw new WireError(`certificate has more than ${MOST_EXTENSIONS} extensions`);
      if (peekTag(extension) === Tag.boolean && expectElement(extension, Tag.boolean, 'critical').content.u8() !== 0) criticalOids.push(oid);
      values.set(oid, expectElement(extension, Tag.octetString, 'extension value').content);
    }
  }
  const usage = values.get(ExtensionOid.keyUsage);
  const alternative = values.get(ExtensionOid.subjectAltName);
  const usages = values.get(ExtensionOid.extendedKeyUsage);
  const policies = values.get(ExtensionOid.certificatePolicies);
  const constraints = values.get(ExtensionOid.nameConstraints);
  const access = values.get(ExtensionOid.authorityInfoAccess);
  return {
    criticalOids,
    ...decodeBasicConstraints(values.get(ExtensionOid.basicConstraints)),
    keyUsage: usage === undefined ? undefined : (bitStringOctets(expectElement(usage, Tag.bitString, 'keyUsage').content)[0] ?? 0),
    names: alternative === undefined ? NO_NAMES : decodeNames(expectElement(alternative, Tag.sequence, 'subjectAltName').content),
    extendedKeyUsages: usages === undefined ? undefined : decodeOids(usages, 'extKeyUsage', (list) => expectElement(list, Tag.oid, 'key purpose').content),
    policies: policies === undefined ? undefined : decodeOids(policies, 'certificatePolicies', (list) => expectElement(expectElement(list, Tag.sequence, 'policy').content, Tag.oid, 'policy id').content),
    nameConstraints: constraints === undefined ? undefined : decodeNameConstraints(constraints),
    ocspUrls: access === undefined ? [] : decodeOcspUrls(access),
  };
}

/** AuthorityInfoAccess (RFC 5280 4.2.2.1): addresses of method id-ad-ocsp that are URIs. */
function decodeOcspUrls(value: Reader): readonly string[] {
  const list = expectElement(value, Tag.sequence, 'authorityInfoAccess').content;
  const urls: string[] = [];
  for (let count = 0; list.remaining > 0; count++) {
    if (count === MOST_OIDS) throw new WireError(`authorityInfoAccess has more than ${MOST_OIDS} entries`);
    const access = expectElement(list, Tag.sequence, 'access description').content;
    const method = oidText(expectElement(access, Tag.oid, 'access method').content);
    const location = readElement(access, 'access location');
    if (method === ACCESS_OCSP && location.tag === URI_TAG) urls.push(visibleAscii(location.content, 'authorityInfoAccess'));
  }
  return urls;
}

function decodeOids(value: Reader, what: string, next: (list: Reader) => Reader): readonly string[] {
  const list = expectElement(value, Tag.sequence, what).content;
  const oids: string[] = [];
  while (list.remaining > 0) {
    if (oids.length === MOST_OIDS) throw new WireError(`${what} has more than ${MOST_OIDS} entries`);
    oids.push(oidText(next(list)));
  }
  return oids;
}

function decodeBasicConstraints(value: Reader | undefined): Pick<CertificateFields, 'ca' | 'pathLength'> {
  if (value === undefined) return { ca: false, pathLength: undefined };
  const constraints = expectElement(value, Tag.sequence, 'basicConstraints').content;
  const ca = peekTag(constraints) === Tag.boolean && expectElement(constraints, Tag.boolean, 'cA').content.u8() !== 0;
  const pathLength = peekTag(constraints) === Tag.integer ? smallInteger(expectElement(constraints, Tag.integer, 'pathLenConstraint').content) : undefined;
  return { ca, pathLength };
}

// GeneralName (RFC 5280 4.2.1.6): [1] rfc822Name, [2] dNSName, [6] uniformResourceIdentifier, all IA5String; [7] iPAddress.
const URI_TAG = 0x86;
const ADDRESS_TAG = 0x87;
const NAME_LISTS: Readonly<Record<number, keyof SubjectNames | undefined>> = { 0x81: 'emails', 0x82: 'dnsNames', 0x86: 'uris', 0x87: 'ipAddresses' };

function decodeNames(list: Reader): SubjectNames {
  const names: Record<keyof SubjectNames, string[]> = { emails: [], uris: [], dnsNames: [], ipAddresses: [] };
  for (let count = 0; list.remaining > 0; count++) {
    if (count === MOST_NAMES) throw new WireError(`subjectAltName has more than ${MOST_NAMES} names`);
    const element = readElement(list, 'name in subjectAltName');
    const into = NAME_LISTS[element.tag];
    if (into !== undefined) names[into].push(element.tag === ADDRESS_TAG ? toHex(element.content.rest()) : visibleAscii(element.content, 'subjectAltName'));
  }
  return names;
}

/** Refuses NUL, spaces and controls, with which one name could pose as another. */
function visibleAscii(content: Reader, what: string): string {
  const octets = content.rest();
  if (octets.length === 0 || octets.some((octet) => octet < 0x21 || octet > 0x7e)) throw new WireError(`${what} has a name with characters that are not allowed`);
  return Buffer.from(octets).toString('latin1');
}

/** The common name in a name's DER, or '' when there is none; throws WireError for what is no name. */
export function commonName(name: Uint8Array): string {
  const list = expectElement(new Reader(name, 'name'), Tag.sequence, 'name').content;
  while (list.remaining > 0) {
    const set = readElement(list, 'part of a name').content;
    const attribute = expectElement(set, Tag.sequence, 'attribute').content;
    if (oidText(expectElement(attribute, Tag.oid, 'attribute type').content) === COMMON_NAME) return fromUtf8(readElement(attribute, 'common name').content.rest());
  }
  return '';
}
