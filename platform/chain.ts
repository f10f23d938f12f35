// Path validation of device certificates (RFC 5280 6): every path from the leaf to an anchor is tried, whatever the order
// of the intermediates and however authorities certify each other. Names, purposes, name constraints and revocation
// lists are checked; of policies only anyPolicy is understood, and other critical extensions are refused.
import type { KeyObject } from 'node:crypto';
import { toHex } from './bytes.ts';
import { ExtensionOid } from './certificate.ts';
import { ChainMemory, isNamed } from './chain-memory.ts';
import type { Link } from './chain-memory.ts';
import { SIGNATURE_HASHES } from './crl.ts';
import type { CertificatePath, ChainRequest, ChainResult, RevocationCheck } from './crypto.ts';
import { nameProblem } from './name-constraints.ts';
import { nameOf, revocationProblem } from './revocation.ts';
import { LEAST_RSA_BITS } from './signature.ts';
import { rfc3339 } from './time.ts';

export const LONGEST_CHAIN = 8;
/** Ways to an anchor that are judged, and steps to find them; authorities that certify each other could make very many. */
const MOST_PATHS = 16;
const MOST_STEPS = 256;

/** digitalSignature or contentCommitment (nonRepudiation): either will do for who signs AUTH (RFC 4945 5.1.3.2). */
const USAGE_SIGNATURES = 0x80 | 0x40;
const USAGE_KEY_CERT_SIGN = 0x04;

const ANY_POLICY = '2.5.29.32.0';

const UNDERSTOOD: ReadonlySet<string> = new Set([
  ExtensionOid.keyUsage, ExtensionOid.subjectAltName, ExtensionOid.basicConstraints, ExtensionOid.extendedKeyUsage,
  ExtensionOid.nameConstraints, ExtensionOid.certificatePolicies,
]);

/** A certificate that names its purposes must name one of these; all of them mean that it may prove who a peer is. */
const PURPOSES: ReadonlySet<string> = new Set([
  '2.5.29.37.0', // anyExtendedKeyUsage
  '1.3.6.1.5.5.7.3.1', // serverAuth
  '1.3.6.1.5.5.7.3.2', // clientAuth
  '1.3.6.1.5.5.7.3.17', // ipsecIKE (RFC 4945 5.1.3.12)
]);

const KEY_TYPES: Readonly<Record<string, 'ecdsa' | 'ed25519' | 'rsa'>> = { ec: 'ecdsa', ed25519: 'ed25519', rsa: 'rsa' };

/** A cause that becomes `ok: false`; never leaves this file. */
class Refused extends Error {
  readonly more: { readonly revoked?: true; readonly path?: CertificatePath };

  constructor(cause: string, more: Refused['more'] = {}) {
    super(cause);
    this.more = more;
  }
}

/** See Suite.checkChain. Never throws for what is in the chain. */
export function checkChain(request: ChainRequest, memory = new ChainMemory()): ChainResult {
  try {
    return check(request, memory);
  } catch (error) {
    if (error instanceof Refused) return { ok: false, cause: error.message, ...error.more };
    throw error;
  }
}

function check(request: ChainRequest, memory: ChainMemory): ChainResult {
  const { chain, unixMs, revocation } = request;
  const time: Time = { unixMs, isLowerBound: request.isLowerBound === true };
  if (chain.length === 0) throw new Refused('there is no certificate');
  if (chain.length > LONGEST_CHAIN) throw new Refused(`chain has ${chain.length} certificates, at most ${LONGEST_CHAIN} are read`);
  const links = chain.map((der, i) => open(i === 0 ? 'certificate' : `intermediate certificate ${i}`, () => memory.certificate(der)));
  const anchors = request.anchors.map((der) => open('trust anchor', () => memory.anchor(der)));
  const leaf = links[0]!;
  checkLeaf(leaf, time);
  const path = climb(leaf, links.slice(1), anchors, memory, (way) => checkPath(way, { ...time, revocation, memory }));
  const keyType = keyTypeOf(leaf, memory);
  memory.keep(path.slice(0, -1));
  const { publicKey, names, subject, serialNumber, notAfterUnixMs } = leaf.fields;
  return { ok: true, publicKey, keyType, ...names, subject, serialNumber, notAfterUnixMs, ...(revocation === undefined ? {} : { path: derOf(path) }) };
}

function open(what: string, read: () => Link): Link {
  try {
    return read();
  } catch (error) {
    throw new Refused(`${what} is not readable (${(error as Error).message})`);
  }
}

/** The key of a certificate, if it is readable and strong enough (RFC 8247 3.2.1). */
function keyOf(link: Link, what: string, memory: ChainMemory): KeyObject {
  let key: KeyObject;
  try {
    key = memory.keyOf(link);
  } catch {
    throw new Refused(`${what} has a key that is not readable`);
  }
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < LEAST_RSA_BITS) throw new Refused(`${what} has an RSA key of ${bits} bits, at least ${LEAST_RSA_BITS} are needed`);
  return key;
}

function keyTypeOf(leaf: Link, memory: ChainMemory): 'ecdsa' | 'ed25519' | 'rsa' {
  const found = keyOf(leaf, 'certificate', memory).asymmetricKeyType;
  const keyType = KEY_TYPES[found ?? ''];
  if (keyType === undefined) throw new Refused(`certificate has a key of type ${found}, which is not supported`);
  return keyType;
}

interface Time {
  readonly unixMs: number;
  readonly isLowerBound: boolean;
}

function checkLeaf(leaf: Link, time: Time): void {
  const { keyUsage, ca } = leaf.fields;
  checkCommon(leaf, 'certificate', time);
  if (ca) throw new Refused('certificate is an authority, not a device');
  if (keyUsage !== undefined && (keyUsage & USAGE_SIGNATURES) === 0) throw new Refused('certificate is not for signatures (keyUsage)');
}

function checkCommon({ fields }: Link, what: string, { unixMs, isLowerBound }: Time): void {
  if (!isLowerBound && unixMs < fields.notBeforeUnixMs) throw new Refused(`${what} is not valid before ${day(fields.notBeforeUnixMs)}`);
  if (unixMs > fields.notAfterUnixMs) throw new Refused(`${what} expired on ${day(fields.notAfterUnixMs)}`);
  const strange = fields.criticalOids.find((oid) => !UNDERSTOOD.has(oid));
  if (strange !== undefined) throw new Refused(`${what} has the critical extension ${strange}, which is not understood`);
  const policy = fields.criticalOids.includes(ExtensionOid.certificatePolicies) ? fields.policies!.find((oid) => oid !== ANY_POLICY) : undefined;
  if (policy !== undefined) throw new Refused(`${what} is for policy ${policy} only, which is not understood`);
  const purposes = fields.extendedKeyUsages;
  if (purposes !== undefined && !purposes.some((oid) => PURPOSES.has(oid))) throw new Refused(`${what} is not for authentication of peers (extendedKeyUsage ${purposes.join(' ')})`);
}

/** Leaf first, trust anchor last. */
type Path = readonly Link[];

interface PathContext extends Time {
  readonly revocation: RevocationCheck | undefined;
  readonly memory: ChainMemory;
}

/**
 * Tries every way from the leaf to an anchor until one is good. Each certificate is on a way at most once, and signatures
 * are checked at most once per pair, so the work is bounded.
 * @returns the way that is good
 * @throws Refused with the cause of the first way that led to an anchor, or why none did
 */
function climb(leaf: Link, intermediates: readonly Link[], anchors: readonly Link[], memory: ChainMemory, judge: (path: Path) => void): Path {
  const waiting: Path[] = [[leaf]];
  let [judged, steps] = [0, 0];
  let refused: Refused | undefined;
  for (let way = waiting.pop(); way !== undefined && judged < MOST_PATHS && steps < MOST_STEPS; way = waiting.pop(), steps++) {
    const path = way;
    const top = path.at(-1)!;
    for (const anchor of anchors.filter((candidate) => memory.isIssued(candidate, top))) {
      try {
        judged++;
        judge([...path, anchor]);
        return [...path, anchor];
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        refused ??= error;
      }
    }
    const next = intermediates.filter((candidate) => !path.includes(candidate) && memory.isIssued(candidate, top));
    waiting.push(...next.reverse().map((candidate) => [...path, candidate]));
  }
  if (refused !== undefined) throw refused;
  const isKnown = [...anchors, ...intermediates].some((candidate) => isNamed(candidate, leaf)) && ![...anchors, ...intermediates].some((candidate) => memory.isIssued(candidate, leaf));
  throw new Refused(isKnown ? 'certificate is not signed by the authority that it names' : 'certificate leads to no trust anchor');
}

function checkPath(path: Path, context: PathContext): void {
  path.forEach((link, i) => {
    const what = i === 0 ? 'certificate' : i === path.length - 1 ? 'trust anchor' : 'intermediate certificate';
    if (i > 0) checkAuthority(link, path.slice(1, i).filter((below) => !isSelfIssued(below)).length, what, context);
    const { signatureOid } = link.fields;
    if (i < path.length - 1 && !SIGNATURE_HASHES.has(signatureOid)) throw new Refused(`certificate is signed with algorithm ${signatureOid}, which is not accepted`);
  });
  path.forEach((authority, i) => checkNames(authority, path.slice(0, i)));
  for (let i = path.length - 2; i >= 0; i--) checkRevocation(path, i, context);
}

/** `below` is the number of intermediates between this authority and the leaf. */
function checkAuthority(link: Link, below: number, what: string, context: PathContext): void {
  const { ca, pathLength, keyUsage } = link.fields;
  checkCommon(link, what, context);
  if (!ca) throw new Refused(`${what} is not an authority (basicConstraints)`);
  keyOf(link, what, context.memory);
  if (pathLength !== undefined && below > pathLength) throw new Refused(`${what} allows ${pathLength} intermediates below it, there are ${below}`);
  if (keyUsage !== undefined && (keyUsage & USAGE_KEY_CERT_SIGN) === 0) throw new Refused(`${what} may not sign certificates (keyUsage)`);
}

/** RFC 5280 6.1.3 b and c: an authority that renews its own key is not held to the constraints, the leaf always is. */
function checkNames(authority: Link, below: readonly Link[]): void {
  const constraints = authority.fields.nameConstraints;
  if (constraints === undefined) return;
  const issuer = nameOf(authority.fields.subject);
  if (constraints.hasStrangeForms) throw new Refused(`authority ${issuer} constrains a form of name that is not understood`);
  for (const [i, link] of below.entries()) {
    const problem = i > 0 && isSelfIssued(link) ? undefined : nameProblem(link.fields.names, constraints);
    if (problem !== undefined) throw new Refused(`certificate is outside of the name constraints of authority ${issuer}: ${problem}`);
  }
}

function checkRevocation(path: Path, at: number, { revocation, memory, unixMs }: PathContext): void {
  if (revocation === undefined) return;
  const question = { certificate: path[at]!.fields, issuer: path[at + 1]!.fields, unixMs };
  const problem = revocationProblem(memory.revocations, question, revocation, at === 0 ? 'certificate' : 'intermediate certificate');
  if (problem !== undefined) throw new Refused(problem.cause, problem.revoked ? { revoked: true } : { path: derOf(path) });
}

function derOf(path: Path): CertificatePath {
  return path.map(({ x509 }) => new Uint8Array(x509.raw));
}

function isSelfIssued({ fields }: Link): boolean {
  return toHex(fields.subject) === toHex(fields.issuer);
}

function day(unixMs: number): string {
  return rfc3339(unixMs).slice(0, 10);
}
