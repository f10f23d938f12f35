// The responder's answer to IKE_FOLLOWUP_KE (RFC 9370 2.2.4).
import { wipe } from '../../../platform/bytes.ts';
import type { Instant } from '../../../platform/time.ts';
import { NotifyType } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findPayload } from '../../wire/ike/payloads.ts';
import type { Continuation } from '../followup.ts';
import { pendingOf } from '../followup.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Failure, Task } from '../task.ts';

function refusal(notify: number, cause: string): Failure {
  return { notify, cause, nextStep: '', scope: 'exchange' };
}

export class FollowupAnswer implements Task {
  #continuation: Continuation | undefined;
  #ciphertext: Uint8Array = new Uint8Array(0);

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const continuation = pendingOf(sa, payloads);
    if (continuation === undefined) return refusal(NotifyType.STATE_NOT_FOUND, 'the key exchange that it goes on with is not known');
    const { kem } = continuation;
    const ke = findPayload(payloads, 'KE')!;
    if (ke.group !== kem) return refusal(NotifyType.INVALID_SYNTAX, `the additional key exchange is of method ${ke.group}, agreed is ${kem}`);
    const made = sa.env.suite.kemEncapsulate(kem, ke.data, sa.env.random);
    if (made === undefined) return refusal(NotifyType.INVALID_SYNTAX, "the peer's encapsulation key is not valid");
    this.#ciphertext = made.ciphertext;
    continuation.mix(sa, made.shared);
    wipe(made.shared);
    this.#continuation = continuation;
    return undefined;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push({ kind: 'KE', group: this.#continuation!.kem, data: this.#ciphertext });
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.pending = undefined;
    sa.clearTimer('followup');
    this.#continuation!.complete(sa, now);
  }
}
