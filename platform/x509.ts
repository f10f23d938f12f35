// Issuing: authorities, certificate requests, certificates and revocation lists with @peculiar/x509 on WebCrypto, all
// ECDSA P-256 with SHA-256. Asynchronous, and loaded at first use: machines check chains with Suite.checkChain.
import { createHash, webcrypto } from 'node:crypto';
import { equalBytes, fromHex, toHex } from './bytes.ts';
import { commonName, decodeCertificate } from './certificate.ts';
import { encodeUnsigned } from './der.ts';
import { UsageError, WireError } from './errors.ts';
import { installReflectMetadata } from './reflect-metadata.ts';
import { dateFromUnixMs } from './time.ts';

const EC_KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const EC_SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
/** A box whose clock is a little behind must be able to use its new certificate at once. */
export const BACKDATE_MS = 3_600_000;
const EKU_SERVER = '1.3.6.1.5.5.7.3.1';
const EKU_CLIENT = '1.3.6.1.5.5.7.3.2';
const CRL_NUMBER = '2.5.29.20';

export interface KeyPair {
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array<ArrayBuffer>;
  /** SPKI DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/** Who signs: a certificate and its key. */
export interface Authority {
  readonly certificate: Uint8Array;
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
}

export interface AuthorityRequest {
  readonly commonName: string;
  readonly unixMs: number;
  readonly days: number;
}

export interface IssueRequest {
  /** Becomes the common name; what the request itself asks for is ignored. */
  readonly subject: string;
  readonly emails: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly days: number;
  readonly unixMs: number;
  /** Hexadecimal, at most 20 octets, not starting with a bit set. */
  readonly serialNumber: string;
  /** Extended key usages. */
  readonly client: boolean;
  readonly server: boolean;
}

export interface CsrFacts {
  readonly commonName: string;
  readonly publicKey: Uint8Array;
}

export interface Revocation {
  readonly serialNumber: string;
  readonly revokedUnixMs: number;
}

export interface RevocationList {
  readonly thisUpdateUnixMs: number;
  readonly nextUpdateUnixMs: number | undefined;
  readonly revoked: readonly Revocation[];
}

export interface CertificateFacts {
  /** Common name, or '' when there is none. */
  readonly subject: string;
  readonly issuer: string;
  readonly ca: boolean;
  readonly emails: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** Octets in hexadecimal. */
  readonly ipAddresses: readonly string[];
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  /** Lower-case hexadecimal. */
  readonly serialNumber: string;
  /** SPKI DER. */
  readonly publicKey: Uint8Array;
  /** Lower-case hexadecimal over the DER. */
  readonly sha256: string;
}

async function library(): Promise<typeof import('@peculiar/x509')> {
  installReflectMetadata();
  return import('@peculiar/x509');
}

/** A fresh key pair from the system's entropy. */
export async function generateKeyPair(_algorithm: 'ecdsa-p256'): Promise<KeyPair> {
  const pair = await webcrypto.subtle.generateKey(EC_KEY, true, ['sign', 'verify']);
  return {
    privateKey: new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', pair.privateKey)),
    publicKey: new Uint8Array(await webcrypto.subtle.exportKey('spki', pair.publicKey)),
  };
}

function importPrivate(pkcs8: Uint8Array, extractable = false): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), EC_KEY, extractable, ['sign']);
}

function importPublic(spki: Uint8Array): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('spki', new Uint8Array(spki), EC_KEY, true, ['verify']);
}

/** Both halves of a PKCS#8 P-256 key as WebCrypto keys. */
async function importPair(pkcs8: Uint8Array): Promise<webcrypto.CryptoKeyPair> {
  const privateKey = await importPrivate(pkcs8, true);
  const { kty, crv, x, y } = await webcrypto.subtle.exportKey('jwk', privateKey);
  const publicKey = await webcrypto.subtle.importKey('jwk', { kty, crv, x, y } as webcrypto.JsonWebKey, EC_KEY, true, ['verify']);
  return { privateKey, publicKey };
}

/** A new self-signed root that may issue devices directly (path length 0). */
export async function createAuthority(request: AuthorityRequest): Promise<Authority & KeyPair> {
  const x509 = await library();
  const pair = await generateKeyPair('ecdsa-p256');
  const keys = await importPair(pair.privateKey);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: toHex(createHash('sha256').update(pair.publicKey).digest().subarray(0, 16)).replace(/^./, '4'),
    name: [{ CN: [request.commonName] }],
    notBefore: dateFromUnixMs(request.unixMs - BACKDATE_MS),
    notAfter: dateFromUnixMs(request.unixMs + request.days * DAY_MS),
    signingAlgorithm: EC_SIGNATURE,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: new Uint8Array(certificate.rawData), ...pair };
}

/** A PKCS #10 request (DER) signed by the key that it is for. */
export async function createCsr(request: { readonly privateKey: Uint8Array; readonly subject: string }): Promise<Uint8Array<ArrayBuffer>> {
  const x509 = await library();
  const keys = await importPair(request.privateKey);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ name: [{ CN: [request.subject] }], keys, signingAlgorithm: EC_SIGNATURE });
  return new Uint8Array(csr.rawData);
}

/** What the request says, once its proof of possession holds; undefined for anything else. */
export async function verifyCsr(csr: Uint8Array): Promise<CsrFacts | undefined> {
  const x509 = await library();
  try {
    const request = new x509.Pkcs10CertificateRequest(new Uint8Array(csr));
    if (!(await request.verify())) return undefined;
    return { commonName: request.subjectName.getField('CN')[0] ?? '', publicKey: new Uint8Array(request.publicKey.rawData) };
  } catch {
    return undefined; // not a request, or of a key that is not supported
  }
}

/** Issues a device certificate (DER) for the key of a request. Throws UsageError when the request does not hold. */
export async function issueFromCsr(authority: Authority, csr: Uint8Array, request: IssueRequest): Promise<Uint8Array<ArrayBuffer>> {
  const x509 = await library();
  const facts = await verifyCsr(csr);
  if (facts === undefined) throw new UsageError('the certificate request is not readable, or is not signed by its own key');
  const issuer = new x509.X509Certificate(new Uint8Array(authority.certificate));
  const names = [
    ...request.emails.map((value) => ({ type: 'email' as const, value })),
    ...request.uris.map((value) => ({ type: 'url' as const, value })),
    ...request.dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...request.ipAddresses.map((value) => ({ type: 'ip' as const, value })),
  ];
  const usages = [...(request.client ? [EKU_CLIENT] : []), ...(request.server ? [EKU_SERVER] : [])];
  const publicKey = await importPublic(facts.publicKey);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: request.serialNumber,
    subject: [{ CN: [request.subject] }],
    issuer: issuer.subjectName,
    notBefore: dateFromUnixMs(request.unixMs - BACKDATE_MS),
    notAfter: dateFromUnixMs(request.unixMs + request.days * DAY_MS),
    signingAlgorithm: EC_SIGNATURE,
    publicKey,
    signingKey: await importPrivate(authority.privateKey),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      ...(usages.length > 0 ? [new x509.ExtendedKeyUsageExtension(usages)] : []),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

export interface CrlRequest {
  readonly revoked: readonly Revocation[];
  readonly unixMs: number;
  readonly days: number;
  /** CRL number; rises with every list of the authority. */
  readonly number: number;
}

/** A revocation list (DER) of everything that the authority has revoked. */
export async function issueCrl(authority: Authority, request: CrlRequest): Promise<Uint8Array<ArrayBuffer>> {
  const x509 = await library();
  const issuer = new x509.X509Certificate(new Uint8Array(authority.certificate));
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.subjectName,
    thisUpdate: dateFromUnixMs(request.unixMs),
    nextUpdate: dateFromUnixMs(request.unixMs + request.days * DAY_MS),
    signingAlgorithm: EC_SIGNATURE,
    signingKey: await importPrivate(authority.privateKey),
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new x509.Extension(CRL_NUMBER, false, encodeUnsigned(fromHex(request.number.toString(16).padStart(16, '0')))),
    ],
    entries: request.revoked.map(({ serialNumber, revokedUnixMs }) => ({ serialNumber, revocationDate: dateFromUnixMs(revokedUnixMs) })),
  });
  return new Uint8Array(crl.rawData);
}

/** Reads a list and checks that this authority signed it; throws WireError otherwise. */
export async function readCrl(crl: Uint8Array, authorityCertificate: Uint8Array): Promise<RevocationList> {
  const x509 = await library();
  try {
    const list = new x509.X509Crl(new Uint8Array(crl));
    const issuer = new x509.X509Certificate(new Uint8Array(authorityCertificate));
    if (list.issuer !== issuer.subject || !(await list.verify({ publicKey: issuer }))) throw new WireError('revocation list is not signed by the authority');
    return {
      thisUpdateUnixMs: list.thisUpdate.getTime(),
      nextUpdateUnixMs: list.nextUpdate?.getTime(),
      revoked: list.entries.map((entry) => ({ serialNumber: entry.serialNumber.toLowerCase(), revokedUnixMs: entry.revocationDate.getTime() })),
    };
  } catch (error) {
    throw error instanceof WireError ? error : new WireError(`revocation list is not readable (${(error as Error).message})`);
  }
}

/** The facts of one certificate (DER), without any check of trust; throws WireError when it is not readable. */
export function certificateFacts(der: Uint8Array): CertificateFacts {
  const { issuer, subject, ca, names, notBeforeUnixMs, notAfterUnixMs, serialNumber, publicKey } = decodeCertificate(der);
  const sha256 = createHash('sha256').update(der).digest('hex');
  return { subject: commonName(subject), issuer: commonName(issuer), ca, ...names, notBeforeUnixMs, notAfterUnixMs, serialNumber, publicKey, sha256 };
}

/** True when the octets are a private key (PKCS#8) of the kind that generateKeyPair makes. */
export async function isPrivateKey(octets: Uint8Array): Promise<boolean> {
  try {
    await importPair(octets);
    return true;
  } catch {
    return false;
  }
}

/** True when the private key (PKCS#8) is that of the certificate. */
export async function keyMatches(certificate: Uint8Array, privateKey: Uint8Array): Promise<boolean> {
  const { publicKey } = await importPair(privateKey);
  const spki = new Uint8Array(await webcrypto.subtle.exportKey('spki', publicKey));
  return equalBytes(spki, decodeCertificate(certificate).publicKey);
}
