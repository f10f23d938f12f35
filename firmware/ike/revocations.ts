// IKE SAs end when a certificate that vouched for their peer is revoked; at the time of IKE_AUTH it was still good. A
// Controller with thousands of peers looks at them in slices, so that nobody waits for the others.
import type { Instant } from '../../platform/time.ts';
import type { IkeSa } from './ike-sa.ts';
import type { SaRegister } from './sa-register.ts';

/** Chains that are checked in one go; one takes some tenths of a millisecond. */
const SLICE = 20;

export class RevocationSweep {
  readonly #register: SaRegister;
  #waiting: IkeSa[] = [];
  #since: Instant | undefined;

  constructor(register: SaRegister) {
    this.#register = register;
  }

  /** Looks at every connection that is up now, from the first one. */
  begin(now: Instant): void {
    this.#waiting = this.#register.all().filter((sa) => sa.announced && sa.peer.certificate?.chain !== undefined);
    this.step(now);
  }

  /** A check that fails for another cause than a revocation ends nothing: the peer was authenticated when it was good. */
  step(now: Instant): void {
    for (const found of this.#waiting.splice(0, SLICE)) {
      // It may have been rekeyed before it had its turn.
      const sa = found.announced ? found : this.#register.current(found.number);
      const cause = sa && revocationOf(sa);
      if (cause !== undefined) sa!.end({ reason: `peer's ${cause}`, event: 'IKE Deleted', tell: 'delete' }, now);
    }
    this.#since = this.#waiting.length > 0 ? now : undefined;
  }

  deadline(): Instant | undefined {
    return this.#since;
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
