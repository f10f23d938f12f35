// Certificates of both ends, all of ECDSA P-256, in the shape that each end takes them.
import { webcrypto } from 'node:crypto';
import { encodePem } from '../../platform/pem.ts';
import { installReflectMetadata } from '../../platform/reflect-metadata.ts';
import { dateFromUnixMs, SystemClock } from '../../platform/time.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr } from '../../platform/x509.ts';
import type { Authority } from '../../platform/x509.ts';
import type { PeerCredential } from '../system/ike-peer.ts';

const DAY_MS = 86_400_000;
const EC_KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const EC_SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;

export interface CertificateFiles {
  readonly ours: PeerCredential;
  /** Files under swanctl's directory. */
  readonly theirs: Readonly<Record<string, string>>;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** A certificate for a mail address or a DNS name, which is its common name as well. */
async function issueDevice(authority: Authority, identity: string, serialNumber: string): Promise<Authority> {
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  const csr = await createCsr({ privateKey, subject: identity });
  const isMail = identity.includes('@');
  const names = { emails: isMail ? [identity] : [], uris: [], dnsNames: isMail ? [] : [identity], ipAddresses: [] };
  const request = { subject: identity, ...names, days: 1, unixMs: new SystemClock().unixMs(), serialNumber, client: false, server: false };
  return { certificate: await issueFromCsr(authority, csr, request), privateKey };
}

function bundle(device: Authority, between: readonly Uint8Array[], root: Uint8Array): { ours: PeerCredential; theirs: Record<string, string> } {
  const authorities = Object.fromEntries([...between, root].map((der, i) => [`x509ca/ca-${i}.pem`, encodePem('CERTIFICATE', der)]));
  return {
    ours: { kind: 'certificate', chain: [device.certificate, ...between].map(base64), privateKey: base64(device.privateKey), anchors: [base64(root)] },
    theirs: { ...authorities, 'x509/peer.pem': encodePem('CERTIFICATE', device.certificate), 'private/peer.pem': encodePem('PRIVATE KEY', device.privateKey) },
  };
}

/** Both ends' certificates from one new authority. */
export async function issueBoth(ourIdentity: string, theirIdentity: string, authorityName = 'Interop CA'): Promise<CertificateFiles> {
  const root = await createAuthority({ commonName: authorityName, unixMs: new SystemClock().unixMs(), days: 1 });
  const ours = await issueDevice(root, ourIdentity, '02');
  const theirs = await issueDevice(root, theirIdentity, '03');
  return { ours: bundle(ours, [], root.certificate).ours, theirs: bundle(theirs, [], root.certificate).theirs };
}

/** Each end's certificate from an intermediate authority of its own; only the root is known to both. */
export async function issueBothByIntermediates(ourIdentity: string, theirIdentity: string): Promise<CertificateFiles> {
  const root = await selfSigned('Interop Root CA');
  const [ourCa, theirCa] = [await subordinate(root, 'Interop Intermediate CA One', '11'), await subordinate(root, 'Interop Intermediate CA Two', '12')];
  const ours = await issueDevice(ourCa, ourIdentity, '02');
  const theirs = await issueDevice(theirCa, theirIdentity, '03');
  return { ours: bundle(ours, [ourCa.certificate], root.certificate).ours, theirs: bundle(theirs, [theirCa.certificate], root.certificate).theirs };
}

async function library(): Promise<typeof import('@peculiar/x509')> {
  installReflectMetadata();
  return import('@peculiar/x509');
}

/** A root that may have authorities below it, unlike the product's own. */
function selfSigned(commonName: string): Promise<Authority> {
  return authority(commonName, '10', undefined);
}

function subordinate(issuer: Authority, commonName: string, serialNumber: string): Promise<Authority> {
  return authority(commonName, serialNumber, issuer);
}

async function authority(commonName: string, serialNumber: string, issuer: Authority | undefined): Promise<Authority> {
  const x509 = await library();
  const keys = await webcrypto.subtle.generateKey(EC_KEY, true, ['sign', 'verify']);
  const unixMs = new SystemClock().unixMs();
  const above = issuer === undefined ? undefined : new x509.X509Certificate(new Uint8Array(issuer.certificate));
  const signingKey = issuer === undefined ? keys.privateKey : await webcrypto.subtle.importKey('pkcs8', new Uint8Array(issuer.privateKey), EC_KEY, false, ['sign']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber,
    subject: [{ CN: [commonName] }],
    issuer: above?.subjectName ?? [{ CN: [commonName] }],
    notBefore: dateFromUnixMs(unixMs - DAY_MS),
    notAfter: dateFromUnixMs(unixMs + DAY_MS),
    signingAlgorithm: EC_SIGNATURE,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(true, issuer === undefined ? 1 : 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(above === undefined ? [] : [await x509.AuthorityKeyIdentifierExtension.create(above.publicKey)]),
    ],
  });
  return { certificate: new Uint8Array(certificate.rawData), privateKey: new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)) };
}
