// The first child by an exchange of its own (RFC 6023): its keys have a Diffie-Hellman exchange of their own.
import type { Instant } from '../../../platform/time.ts';
import { ownRow } from '../exchanges.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Task } from '../task.ts';
import { ChildRequest } from './child.ts';

/** Stands where the first child would be in IKE_AUTH. */
export class ChildLater implements Task {
  build(): void {}
  process(): undefined {}

  finish(sa: IkeSa, now: Instant): void {
    sa.conversation.enqueue({ row: ownRow('create-child'), tasks: [new ChildRequest({ kind: 'create' })] }, now);
  }
}
