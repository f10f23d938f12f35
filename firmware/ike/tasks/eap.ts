// IKE_AUTH with EAP (RFC 7296 2.16):
//
//   IDi, [CERTREQ], [IDr], [CP], SA, TSi, TSr   -->          no AUTH: EAP, please
//                                               <--          IDr, CERT, AUTH, EAP      the responder proves itself
//   EAP                                         -->          as often as the method needs
//                                               <--          EAP
//   AUTH                                        -->          made with the method's key, both of them
//                                               <--          AUTH, N(AUTH_LIFETIME), [CP], SA, TSi, TSr
//
// With RFC 5998 the responder's first AUTH may be left out, where both profiles allow it. Deviations: EAP methods must
// make a key; RFC 8784 and RFC 6023 do not go together with EAP here.
import { equalConstantTime } from '../../../platform/bytes.ts';
import { assert } from '../../../platform/errors.ts';
import type { Instant } from '../../../platform/time.ts';
import { after } from '../../../platform/time.ts';
import { AuthMethod, NotifyType } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../../wire/ike/payloads.ts';
import { identityBody, sharedKeyAuth } from '../auth-data.ts';
import { authLifetimeNotify, DEFAULT_AUTH_LIFETIME_MS } from '../auth-lifetime.ts';
import { readCertificateRequest } from '../credentials.ts';
import { EapClient } from '../eap/client.ts';
import { EapServer } from '../eap/server.ts';
import { ownRow } from '../exchanges.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { EapAuth, IkeIdentity, LocalAuth } from '../profile.ts';
import { decodeIdentity, encodeIdentity, identityText, sameIdentity } from '../profile.ts';
import { LeaveFormer } from '../redirect.ts';
import type { Failure, Request, Task } from '../task.ts';
import { errorNotify } from '../task.ts';
import { AuthAnswer, AuthRequest, authenticateResponder, credentialProblem, distrusted, octetsOf, ownAuth, ownIdentity, refusedByPeer, refuseInitiator, responderIdentity } from './auth.ts';
import { ChildAnswer } from './child-answer.ts';
import { ChildRequest } from './child.ts';
import { ConfigAnswer, ConfigRequest } from './config.ts';
import { MobikeSupport } from './mobike.ts';

/** A person may be typing at the other end; each of its messages starts this anew. */
const STEP_MS = 60_000;
const NO_EAP = 'the peer asks for EAP, which this profile does not offer';

/** The contents of AUTH that `signer` makes with the method's key (RFC 7296 2.16). */
function keyedAuth(sa: IkeSa, signer: 'initiator' | 'responder'): Uint8Array {
  const { machine, peerId } = sa.eap!;
  const own = encodeIdentity(sa.profile.localIdentity);
  const body = signer === sa.role ? identityBody(own.idType, own.data) : identityBody(peerId.idType, peerId.data);
  return sharedKeyAuth(sa.env.suite, sa.algorithms!.prf, machine.msk!, octetsOf(sa, signer, body));
}

function ownKeyedAuth(sa: IkeSa): Payload {
  return { kind: 'AUTH', method: AuthMethod.sharedKey, data: keyedAuth(sa, sa.role) };
}

function keyedAuthMatches(sa: IkeSa, payloads: readonly Payload[]): boolean {
  const auth = findPayload(payloads, 'AUTH');
  if (auth?.method !== AuthMethod.sharedKey) return false;
  return equalConstantTime(keyedAuth(sa, sa.role === 'initiator' ? 'responder' : 'initiator'), auth.data);
}

function userOf({ identity }: EapServer): IkeIdentity | undefined {
  return identity === undefined ? undefined : { kind: 'user', value: identity };
}

function endConversation(sa: IkeSa): void {
  sa.eap?.machine.wipe();
  sa.eap = undefined;
}

// ---------------------------------------------------------------------------------------------- responder

/** The first request: proves us and asks who the user is. */
export class EapFirstAnswer implements Task {
  #auth: Payload[] = [];
  #request: Uint8Array = new Uint8Array(0);

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const id = findPayload(payloads, 'IDi')!;
    const identity = decodeIdentity(id.idType, id.data);
    const { remoteAuth, remoteIdentity, localAuth } = sa.profile;
    if (remoteAuth.kind !== 'eap') return refuseInitiator(sa, identity, NO_EAP);
    // Who comes is known only later; clients fill in IDi as they like, often with an address.
    const expected = remoteIdentity === undefined || (identity !== undefined && sameIdentity(identity, remoteIdentity));
    if (!expected) return refuseInitiator(sa, identity, `the identity ${identity === undefined ? `of type ${id.idType}` : identityText(identity)} is not expected here`);
    readCertificateRequest(sa, payloads);
    const withoutAuth = remoteAuth.eapOnly === true && findNotify(payloads, NotifyType.EAP_ONLY_AUTHENTICATION) !== undefined;
    const problem = withoutAuth ? undefined : certificateProblem(sa, localAuth);
    if (problem !== undefined) return refuseInitiator(sa, identity, problem);
    this.#auth = withoutAuth ? [{ kind: 'IDr', ...encodeIdentity(sa.profile.localIdentity) }] : [...ownIdentity(sa, 'IDr'), ownAuth(sa, localAuth)];
    const machine = this.#startServer(sa, remoteAuth);
    this.#request = machine.begin();
    sa.eap = { machine, peerId: id, request: payloads };
    return undefined;
  }

  #startServer(sa: IkeSa, { methods }: EapAuth): EapServer {
    const { suite, random } = sa.env;
    const name = identityText(sa.profile.localIdentity);
    return new EapServer({ suite, random, methods, name, lookup: (user) => sa.env.lookupEap(sa.profile, user) });
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push(...this.#auth, { kind: 'EAP', data: this.#request });
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.setTimer('half-open', after(now, STEP_MS));
  }
}

/** An EAP user must see a signature first: who only shared a secret could be anybody who shares it (RFC 7296 2.16). */
function certificateProblem(sa: IkeSa, local: LocalAuth): string | undefined {
  if (local.kind !== 'certificate') return 'EAP needs a certificate of our own, none is configured';
  if (sa.profile.ppk?.required === true) return 'a post-quantum pre-shared key cannot be required together with EAP';
  return credentialProblem(sa, local);
}

export class EapAnswer implements Task {
  #packet: Uint8Array = new Uint8Array(0);

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const machine = sa.eap!.machine as EapServer;
    const step = machine.receive(findPayload(payloads, 'EAP')!.data);
    this.#packet = step.packet;
    if (step.kind === 'send') {
      if (step.attempt !== undefined) this.#refused(sa, machine.identity!, step.attempt);
      return undefined;
    }
    return { ...refuseInitiator(sa, userOf(machine), step.cause), payloads: [{ kind: 'EAP', data: step.packet }] };
  }

  #refused(sa: IkeSa, user: string, cause: string): void {
    sa.log('warning', 'EAP user refused', { user, cause });
    sa.env.onEapFailure(sa.profile, user, sa.path.remote);
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push({ kind: 'EAP', data: this.#packet });
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.setTimer('half-open', after(now, STEP_MS));
  }
}

/** The last request: what the first one asked for is granted now. */
export class EapLastAnswer implements Task {
  readonly #granted: readonly Task[] = [new AuthAnswer(), new ConfigAnswer(), new MobikeSupport(), new ChildAnswer('first')];
  #auth: Payload | undefined;

  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Failure | undefined {
    const { machine, request } = sa.eap!;
    if (machine.msk === undefined) return refuseInitiator(sa, undefined, 'the peer sends AUTH before EAP has succeeded');
    if (!keyedAuthMatches(sa, payloads)) return refuseInitiator(sa, undefined, "the peer's AUTH is not made with the key of EAP");
    this.#auth = ownKeyedAuth(sa);
    for (const task of this.#granted) {
      const failure = task.process(sa, request, now);
      if (failure !== undefined && failure !== 'again') return failure;
    }
    return undefined;
  }

  build(sa: IkeSa, out: Payload[], now: Instant): void {
    out.push(this.#auth!, authLifetimeNotify(this.#lifetimeMs(sa)));
    for (const task of this.#granted) task.build(sa, out, now);
  }

  #lifetimeMs(sa: IkeSa): number {
    const { remoteAuth } = sa.profile;
    return (remoteAuth.kind === 'eap' ? remoteAuth.lifetimeMs : undefined) ?? DEFAULT_AUTH_LIFETIME_MS;
  }

  finish(sa: IkeSa, now: Instant): void {
    endConversation(sa);
    for (const task of this.#granted) task.finish?.(sa, now);
    sa.setTimer('expire-auth', after(now, this.#lifetimeMs(sa)));
  }

  abandon(sa: IkeSa, now: Instant): void {
    for (const task of this.#granted) task.abandon?.(sa, now);
  }
}

// ---------------------------------------------------------------------------------------------- initiator

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

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const error = errorNotify(payloads);
    if (error !== undefined) return refusedByPeer(sa, error);
    const failure = this.#authenticate(sa, payloads);
    if (failure !== undefined) return failure;
    const { localAuth } = sa.profile;
    assert(localAuth.kind === 'eap', 'EAP without a user');
    const machine = new EapClient(sa.env, localAuth.identity, localAuth.password);
    sa.eap = { machine, peerId: findPayload(payloads, 'IDr')!, request: [] };
    const step = nextRequest(sa, payloads, this.#wanted);
    if ('cause' in step) return step;
    this.#next = step;
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
  return localAuth.kind === 'eap' && localAuth.eapOnly === true;
}

/** What follows the EAP packet in `payloads`: another one of ours, our AUTH, or the end. */
function nextRequest(sa: IkeSa, payloads: readonly Payload[], wanted: Wanted): Request | Failure {
  const machine = sa.eap!.machine as EapClient;
  const step = machine.receive(findPayload(payloads, 'EAP')!.data);
  switch (step.kind) {
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

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const { refusal } = sa.eap!.machine as EapClient;
    const error = errorNotify(payloads);
    if (error !== undefined) return refusal === undefined ? refusedByPeer(sa, error) : { ...refusedByPeer(sa, error), cause: `peer refuses: ${refusal}` };
    const step = nextRequest(sa, payloads, this.#wanted);
    if ('cause' in step) return step;
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
    out.push(ownKeyedAuth(sa));
  }

  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Failure | undefined {
    const error = errorNotify(payloads);
    if (findPayload(payloads, 'AUTH') === undefined) return refusedByPeer(sa, error);
    if (!keyedAuthMatches(sa, payloads)) return distrusted("the peer's AUTH is not made with the key of EAP");
    for (const task of this.#wanted.tasks) {
      const failure = task.process(sa, payloads, now);
      if (failure !== undefined && failure !== 'again') return failure;
    }
    return undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    endConversation(sa);
    for (const task of this.#wanted.tasks) task.finish?.(sa, now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#wanted.abandon(sa, now);
  }
}
