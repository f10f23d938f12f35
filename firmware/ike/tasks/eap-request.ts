// IKE_AUTH with EAP (RFC 7296 2.16), the initiator's side; the ladder is in eap-answer.ts.
import { assert } from '../../../platform/errors.ts';
import type { Instant } from '../../../platform/time.ts';
import { NotifyType } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findPayload, notify } from '../../wire/ike/payloads.ts';
import { EapClient } from '../eap/client.ts';
import type { EapClientMethod } from '../eap/method.ts';
import { MsChapV2Client } from '../eap/mschapv2.ts';
import type { EapClientRun } from '../eap/run.ts';
import { endEap } from '../eap/run.ts';
import { EapTlsClient } from '../eap/tls.ts';
import { tlsPort, trustIn } from '../eap/tls-trust.ts';
import { ownRow } from '../exchanges.ts';
import type { IkeSa } from '../ike-sa.ts';
import { settleAsInitiator } from '../ppk.ts';
import type { EapUser } from '../profile.ts';
import { LeaveFormer } from '../succession.ts';
import type { Failure, Request, Task, Verdict } from '../task.ts';
import { errorNotify } from '../task.ts';
import { AuthRequest, authenticateResponder, distrusted, refusedByPeer, responderIdentity } from './auth.ts';
import { ChildRequest } from './child.ts';
import { ConfigRequest } from './config.ts';
import { keyedAuthMatches, keyedAuthWithPpk } from './eap-key.ts';
import { MobikeSupport } from './mobike.ts';

/** What the first request asked for, which the last answer brings. */
class Wanted {
  readonly tasks: readonly Task[] = [new AuthRequest(), new ConfigRequest(), new MobikeSupport(), new ChildRequest({ kind: 'first' }), new LeaveFormer()];

  abandon(sa: IkeSa, now: Instant): void {
    for (const task of this.tasks) task.abandon?.(sa, now);
  }
}

export function eapRequest(): Request {
  return { row: ownRow('eap-first'), tasks: [new EapFirstRequest()] };
}

class EapFirstRequest implements Task {
  readonly #wanted = new Wanted();
  #next: Request | undefined;

  build(sa: IkeSa, out: Payload[], now: Instant): void {
    for (const task of this.#wanted.tasks) task.build(sa, out, now);
    if (allowsEapOnly(sa)) out.push(notify(NotifyType.EAP_ONLY_AUTHENTICATION));
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const failure = sa.eap === undefined ? this.#begin(sa, payloads) : undefined;
    if (failure !== undefined) return failure;
    const step = nextRequest(sa, payloads, this.#wanted);
    if (step === 'wait' || 'cause' in step) return step;
    this.#next = step;
    return undefined;
  }

  #begin(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const error = errorNotify(payloads);
    if (error !== undefined) return refusedByPeer(sa, error);
    const failure = this.#authenticate(sa, payloads);
    if (failure !== undefined) return failure;
    const { localAuth } = sa.profile;
    assert(localAuth.kind === 'eap', 'EAP without a user');
    sa.eap = { machine: new EapClient(localAuth.identity, methodOf(sa, localAuth)), peerId: findPayload(payloads, 'IDr')! };
    return undefined;
  }

  #authenticate(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    if (findPayload(payloads, 'AUTH') !== undefined) return authenticateResponder(sa, payloads);
    if (!allowsEapOnly(sa)) return distrusted('the peer did not prove its identity before EAP');
    const identity = responderIdentity(sa, findPayload(payloads, 'IDr')!);
    if ('cause' in identity) return identity;
    // The method's key proves it, in the last AUTH.
    sa.peer.identity = identity;
    return undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.conversation.enqueue(this.#next!, now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#wanted.abandon(sa, now);
  }
}

function allowsEapOnly(sa: IkeSa): boolean {
  const { localAuth } = sa.profile;
  return localAuth.kind === 'eap' && 'certificate' in localAuth && localAuth.eapOnly === true;
}

/** The EAP server must be the responder, by one and the same authority. */
function methodOf(sa: IkeSa, user: EapUser): EapClientMethod {
  if ('password' in user) return new MsChapV2Client(sa.env, user.identity, user.password);
  const { remoteAuth } = sa.profile;
  const anchors = remoteAuth.kind === 'certificate' ? remoteAuth.anchors : [];
  return new EapTlsClient({ ...user.certificate, port: tlsPort(sa), anchors, trust: trustIn(sa, anchors, sa.peer.identity) });
}

/** What follows the EAP packet in `payloads`: another one of ours, our AUTH, or the end. */
function nextRequest(sa: IkeSa, payloads: readonly Payload[], wanted: Wanted): Request | Failure | 'wait' {
  const run = sa.eap as EapClientRun;
  const step = run.ready ?? run.machine.receive(findPayload(payloads, 'EAP')!.data);
  run.ready = undefined;
  switch (step.kind) {
    case 'wait':
      return 'wait';
    case 'send':
      return { row: ownRow('eap'), tasks: [new EapRequest(step.packet, wanted)] };
    case 'success':
      return { row: ownRow('eap-last'), tasks: [new EapLastRequest(wanted)] };
    case 'failed':
      return distrusted(step.cause);
  }
}

class EapRequest implements Task {
  readonly #packet: Uint8Array;
  readonly #wanted: Wanted;
  #next: Request | undefined;

  constructor(packet: Uint8Array, wanted: Wanted) {
    this.#packet = packet;
    this.#wanted = wanted;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push({ kind: 'EAP', data: this.#packet });
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const { refusal } = (sa.eap as EapClientRun).machine;
    const error = errorNotify(payloads);
    if (error !== undefined) return refusal === undefined ? refusedByPeer(sa, error) : { ...refusedByPeer(sa, error), cause: `peer refuses: ${refusal}` };
    const step = nextRequest(sa, payloads, this.#wanted);
    if (step === 'wait' || 'cause' in step) return step;
    this.#next = step;
    return undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.conversation.enqueue(this.#next!, now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#wanted.abandon(sa, now);
  }
}

class EapLastRequest implements Task {
  readonly #wanted: Wanted;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
  }

  build(sa: IkeSa, out: Payload[]): void {
    out.push(...keyedAuthWithPpk(sa));
  }

  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Failure | undefined {
    const error = errorNotify(payloads);
    if (findPayload(payloads, 'AUTH') === undefined) return refusedByPeer(sa, error);
    const unmixed = settleAsInitiator(sa, payloads);
    if (unmixed !== undefined) return distrusted(unmixed);
    if (!keyedAuthMatches(sa, payloads)) return distrusted("the peer's AUTH is not made with the key of EAP");
    sa.peer.certificate ??= (sa.eap as EapClientRun).machine.certificate;
    for (const task of this.#wanted.tasks) {
      const failure = task.process(sa, payloads, now);
      if (typeof failure === 'object') return failure;
    }
    return undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    endEap(sa);
    for (const task of this.#wanted.tasks) task.finish?.(sa, now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#wanted.abandon(sa, now);
  }
}
