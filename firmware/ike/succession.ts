// A connection that takes over from another one of ours: to a gateway that the peer named (RFC 5685), or for another
// authentication (RFC 7296 2.8.3). It makes before it breaks: the former one is left when the new one is up.
import type { Instant } from '../../platform/time.ts';
import type { IkeSa } from './ike-sa.ts';
import type { HistoryEvent } from './input-output.ts';
import type { Task } from './task.ts';

export interface Succession {
  /** Number of the established connection that the attempt is to replace. */
  readonly connection: number;
  /** Why that one ends then. */
  readonly reason: string;
  readonly event: HistoryEvent;
}

/** The last task of IKE_AUTH: the new connection is up, the one that it replaces is left. */
export class LeaveFormer implements Task {
  build(): void {}
  process(): undefined {}

  finish(sa: IkeSa, now: Instant): void {
    const { replaces } = sa.origin;
    if (replaces !== undefined) sa.env.connection(replaces.connection)?.end({ reason: replaces.reason, event: replaces.event, tell: 'delete' }, now);
  }
}
