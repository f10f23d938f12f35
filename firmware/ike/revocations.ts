// IKE SAs end when a certificate that vouched for their peer is revoked; at the time of IKE_AUTH it was still good.
import type { Instant } from '../../platform/time.ts';
import type { IkeSa } from './ike-sa.ts';

/** A check that fails for another cause ends nothing: the peer was authenticated when it was good. */
export function endRevoked(all: Iterable<IkeSa>, now: Instant): void {
  for (const sa of [...all]) {
    const cause = revocationOf(sa);
    if (cause !== undefined) sa.end({ reason: `peer's ${cause}`, event: 'IKE Deleted', tell: 'delete' }, now);
  }
}

function revocationOf(sa: IkeSa): string | undefined {
  const chain = sa.peer.certificate?.chain;
  const { remoteAuth } = sa.profile;
  const credentials = remoteAuth.kind === 'lookup' && sa.peer.identity !== undefined ? sa.env.lookupPeer(sa.profile, sa.peer.identity) : remoteAuth;
  const anchors = credentials !== undefined && 'anchors' in credentials ? credentials.anchors : undefined;
  if (chain === undefined || anchors === undefined) return undefined;
  const result = sa.env.suite.checkChain({ chain, anchors, unixMs: sa.env.unixMs(), revocation: sa.env.revocation() });
  return !result.ok && result.revoked === true ? result.cause : undefined;
}
