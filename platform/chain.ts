// Path validation of device certificates (RFC 5280 6), without name constraints and policies: a chain whose critical
// extensions ask for more than is checked here is refused.
import { X509Certificate } from 'node:crypto';
import { toHex } from './bytes.ts';
import { decodeCertificate, ExtensionOid } from './certificate.ts';
import type { CertificateFields } from './certificate.ts';
import type { ChainRequest, ChainResult } from './crypto.ts';
import { rfc3339 } from './time.ts';

export const LONGEST_CHAIN = 8;

const USAGE_DIGITAL_SIGNATURE = 0x80;
const USAGE_KEY_CERT_SIGN = 0x04;

const UNDERSTOOD: ReadonlySet<string> = new Set([ExtensionOid.keyUsage, ExtensionOid.subjectAltName, ExtensionOid.basicConstraints, ExtensionOid.extendedKeyUsage]);

const SIGNATURE_OIDS: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2', // ecdsa-with-SHA256
  '1.2.840.10045.4.3.3', // ecdsa-with-SHA384
  '1.2.840.10045.4.3.4', // ecdsa-with-SHA512
  '1.3.101.112', // Ed25519
  '1.2.840.113549.1.1.11', // sha256WithRSAEncryption
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
]);

const KEY_TYPES: Readonly<Record<string, 'ecdsa' | 'ed25519' | 'rsa'>> = { ec: 'ecdsa', ed25519: 'ed25519', rsa: 'rsa' };

interface Link {
  readonly fields: CertificateFields;
  readonly x509: X509Certificate;
}

/** A cause that becomes `ok: false`; never leaves this file. */
class Refused extends Error {}

/** See Suite.checkChain. Never throws for what is in the chain. */
export function checkChain(request: ChainRequest): ChainResult {
  try {
    return check(request);
  } catch (error) {
    if (error instanceof Refused) return { ok: false, cause: error.message };
    throw error;
  }
}

function check(request: ChainRequest): ChainResult {
  const { chain, unixMs } = request;
  if (chain.length === 0) throw new Refused('there is no certificate');
  if (chain.length > LONGEST_CHAIN) throw new Refused(`chain has ${chain.length} certificates, at most ${LONGEST_CHAIN} are read`);
  const links = chain.map((der, i) => open(der, i === 0 ? 'certificate' : `intermediate certificate ${i}`));
  const anchors = request.anchors.map((der) => open(der, 'trust anchor'));
  const leaf = links[0]!;
  checkLeaf(leaf, unixMs);
  walk(leaf, links.slice(1), anchors, unixMs);
  const keyType = keyTypeOf(leaf);
  const { publicKey, names, serialNumber, notAfterUnixMs } = leaf.fields;
  return { ok: true, publicKey, keyType, emails: names.emails, uris: names.uris, serialNumber, notAfterUnixMs };
}

function open(der: Uint8Array, what: string): Link {
  let link: Link;
  try {
    link = { fields: decodeCertificate(der), x509: new X509Certificate(der) };
  } catch (error) {
    throw new Refused(`${what} is not readable (${(error as Error).message})`);
  }
  // OpenSSL also takes PEM and ignores trailing octets; both views must be of the same octets.
  if (!link.x509.raw.equals(der)) throw new Refused(`${what} has octets after its end`);
  return link;
}

function keyTypeOf(leaf: Link): 'ecdsa' | 'ed25519' | 'rsa' {
  let found: string | undefined;
  try {
    found = leaf.x509.publicKey.asymmetricKeyType;
  } catch {
    throw new Refused('certificate has a key that is not readable');
  }
  const keyType = KEY_TYPES[found ?? ''];
  if (keyType === undefined) throw new Refused(`certificate has a key of type ${found}, which is not supported`);
  return keyType;
}

function checkLeaf(leaf: Link, unixMs: number): void {
  const { keyUsage, ca } = leaf.fields;
  checkCommon(leaf, 'certificate', unixMs);
  if (ca) throw new Refused('certificate is an authority, not a device');
  if (keyUsage !== undefined && (keyUsage & USAGE_DIGITAL_SIGNATURE) === 0) throw new Refused('certificate is not for signatures (keyUsage)');
}

function checkCommon({ fields }: Link, what: string, unixMs: number): void {
  if (unixMs < fields.notBeforeUnixMs) throw new Refused(`${what} is not valid before ${day(fields.notBeforeUnixMs)}`);
  if (unixMs > fields.notAfterUnixMs) throw new Refused(`${what} expired on ${day(fields.notAfterUnixMs)}`);
  const strange = fields.criticalOids.find((oid) => !UNDERSTOOD.has(oid));
  if (strange !== undefined) throw new Refused(`${what} has the critical extension ${strange}, which is not understood`);
}

/** `below` is the number of intermediates between this authority and the leaf. */
function checkAuthority(link: Link, below: number, what: string, unixMs: number): void {
  const { ca, pathLength, keyUsage } = link.fields;
  checkCommon(link, what, unixMs);
  if (!ca) throw new Refused(`${what} is not an authority (basicConstraints)`);
  if (pathLength !== undefined && below > pathLength) throw new Refused(`${what} allows ${pathLength} intermediates below it, there are ${below}`);
  if (keyUsage !== undefined && (keyUsage & USAGE_KEY_CERT_SIGN) === 0) throw new Refused(`${what} may not sign certificates (keyUsage)`);
}

/** Climbs from the leaf to an anchor; each intermediate is used at most once, so the work is bounded. */
function walk(leaf: Link, intermediates: readonly Link[], anchors: readonly Link[], unixMs: number): void {
  const unused = new Set(intermediates);
  let current = leaf;
  for (let below = 0; ; below++) {
    if (!SIGNATURE_OIDS.has(current.fields.signatureOid)) throw new Refused(`certificate is signed with algorithm ${current.fields.signatureOid}, which is not accepted`);
    const anchor = anchors.find((candidate) => issued(candidate, current));
    if (anchor !== undefined) return checkAuthority(anchor, below, 'trust anchor', unixMs);
    const next = [...unused].find((candidate) => issued(candidate, current));
    if (next === undefined) {
      const known = [...anchors, ...unused].some((candidate) => sameName(candidate, current));
      throw new Refused(known ? 'certificate is not signed by the authority that it names' : 'certificate leads to no trust anchor');
    }
    unused.delete(next);
    checkAuthority(next, below, 'intermediate certificate', unixMs);
    current = next;
  }
}

function sameName(issuer: Link, subject: Link): boolean {
  return toHex(issuer.fields.subject) === toHex(subject.fields.issuer);
}

function issued(issuer: Link, subject: Link): boolean {
  if (!sameName(issuer, subject)) return false;
  try {
    return subject.x509.verify(issuer.x509.publicKey);
  } catch {
    return false; // key and signature are of different kinds
  }
}

function day(unixMs: number): string {
  return rfc3339(unixMs).slice(0, 10);
}
