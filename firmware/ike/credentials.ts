// Which of our certificates a peer gets (RFC 7427 4, RFC 7296 3.7): one whose signature it can verify, and of those one
// that its CERTREQ asks for, if there is any.
import { concat } from '../../platform/bytes.ts';
import { CertEncoding } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { leadsToRequested } from './certificate-request.ts';
import type { IkeSa } from './ike-sa.ts';
import type { CertificateAuth, SigningCredential } from './profile.ts';
import type { SignatureAuth } from './signatures.ts';
import { classicAuth, signatureAuth, signatureHash, signsClassically } from './signatures.ts';

/** More authorities than this in a CERTREQ are not remembered. */
const MOST_REQUESTED_BYTES = 20 * 64;

/** Remembers the peer's CERTREQ, where there is a choice. */
export function readCertificateRequest(sa: IkeSa, payloads: readonly Payload[]): void {
  const { localAuth } = sa.profile;
  if (localAuth.kind !== 'certificate' || localAuth.alternatives === undefined) return;
  const hashes = payloads.flatMap((payload) => (payload.kind === 'CERTREQ' && payload.encoding === CertEncoding.x509Signature ? [payload.data] : []));
  sa.peer.authorities = concat(...hashes).slice(0, MOST_REQUESTED_BYTES);
}

function all(local: CertificateAuth): readonly SigningCredential[] {
  return [local, ...(local.alternatives ?? [])];
}

/** A peer without SIGNATURE_HASH_ALGORITHMS knows the classic methods alone. */
function isClassic(sa: IkeSa): boolean {
  return sa.peer.hashes.length === 0;
}

function publicKeyOf(sa: IkeSa, { chain }: SigningCredential): Uint8Array | undefined {
  return chain[0] === undefined ? undefined : sa.env.suite.certificatePublicKey(chain[0]);
}

function isVerifiable(sa: IkeSa, credential: SigningCredential): boolean {
  const hash = signatureHash(credential.algorithm);
  if (!isClassic(sa)) return hash !== undefined && sa.peer.hashes.includes(hash);
  const publicKey = publicKeyOf(sa, credential);
  return publicKey !== undefined && signsClassically(publicKey, sa.profile.legacy);
}

/** The credential for this peer, or undefined when it can verify none of ours. */
export function chooseCredential(sa: IkeSa, local: CertificateAuth): SigningCredential | undefined {
  const usable = all(local).filter((credential) => isVerifiable(sa, credential));
  const { remoteAuth } = sa.profile;
  const anchors = remoteAuth.kind === 'certificate' ? remoteAuth.anchors : [];
  // CERTREQ is a hint: a peer may well know more than it says.
  const requested = usable.length > 1 ? usable.find(({ chain }) => leadsToRequested(sa.peer.authorities, chain, anchors)) : undefined;
  return requested ?? usable[0];
}

/** A clause that says why the peer can verify no signature of ours. */
export function unverifiable(local: CertificateAuth): string {
  return `the peer does not accept ${all(local).map(({ algorithm }) => algorithm).join(' or ')} signatures`;
}

export function sign(sa: IkeSa, credential: SigningCredential, octets: Uint8Array): SignatureAuth {
  const { suite } = sa.env;
  const { privateKey, algorithm } = credential;
  return isClassic(sa) ? classicAuth(suite, publicKeyOf(sa, credential)!, privateKey, octets) : signatureAuth(suite, algorithm, privateKey, octets);
}
