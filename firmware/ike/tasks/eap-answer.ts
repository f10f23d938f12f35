// IKE_AUTH with EAP (RFC 7296 2.16), the responder's side:
//
//   IDi, [CERTREQ], [IDr], [CP], SA, TSi, TSr   -->          no AUTH: EAP, please
//                                               <--          IDr, CERT, AUTH, EAP      the responder proves itself
//   EAP                                         -->          as often as the method needs
//                                               <--          EAP
//   AUTH                                        -->          made with the method's key, both of them
//                                               <--          AUTH, N(AUTH_LIFETIME), [CP], SA, TSi, TSr
//
// With RFC 5998 the responder's first AUTH may be left out, where both profiles allow it and the method is safe without
// it. A post-quantum pre-shared key is named with the last AUTH (RFC 8784 3). Deviations: EAP methods must make a key;
// RFC 6023 does not go together with EAP here.
import type { Instant } from '../../../platform/time.ts';
import { after } from '../../../platform/time.ts';
import { NotifyType } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../../wire/ike/payloads.ts';
import { authLifetimeNotify, DEFAULT_AUTH_LIFETIME_MS } from '../auth-lifetime.ts';
import { readCertificateRequest } from '../credentials.ts';
import type { EapMethodName } from '../eap/method.ts';
import type { EapServerRun } from '../eap/run.ts';
import { endEap } from '../eap/run.ts';
import { EapServer } from '../eap/server.ts';
import type { EapTlsOptions } from '../eap/tls.ts';
import { tlsPort, trustIn } from '../eap/tls-trust.ts';
import type { IkeSa } from '../ike-sa.ts';
import { settleAsResponder } from '../ppk.ts';
import type { EapAuth, IkeIdentity, LocalAuth } from '../profile.ts';
import { decodeIdentity, encodeIdentity, identityText, sameIdentity } from '../profile.ts';
import type { Failure, Task, Verdict } from '../task.ts';
import { AuthAnswer, credentialProblem, ownAuth, ownIdentity, refuseInitiator } from './auth.ts';
import { ChildAnswer } from './child-answer.ts';
import { ConfigAnswer } from './config.ts';
import { keyedAuthMatches, ownKeyedAuth } from './eap-key.ts';
import { MobikeSupport } from './mobike.ts';

/** A person may be typing at the other end; each of its messages starts this anew. */
const STEP_MS = 60_000;
/** All of the conversation: the SA counts as half-open as long as it lasts. */
const CONVERSATION_MS = 300_000;
const NO_EAP = 'the peer asks for EAP, which this profile does not offer';
/** Both ends prove themselves, and nobody learns enough to guess passwords (RFC 5998 4). */
const SAFE_ALONE: readonly EapMethodName[] = ['tls'];

/** The peer has this long for its next message. */
function awaitPeer(sa: IkeSa, now: Instant): void {
  const { endsAt } = sa.eap as EapServerRun;
  const next = after(now, STEP_MS);
  sa.setTimer('half-open', next < endsAt ? next : endsAt);
}

function userOf({ identity }: EapServer): IkeIdentity | undefined {
  return identity === undefined ? undefined : { kind: 'user', value: identity };
}

/** Undefined where there is no certificate for it, of our own or to trust. */
function tlsOptions(sa: IkeSa, { anchors = [] }: EapAuth): EapTlsOptions | undefined {
  const { localAuth } = sa.profile;
  if (localAuth.kind !== 'certificate' || anchors.length === 0) return undefined;
  const { chain, privateKey } = localAuth;
  return { port: tlsPort(sa), chain, privateKey, anchors, trust: trustIn(sa, anchors, undefined) };
}

/** The first request: proves us and asks who the user is. */
export class EapFirstAnswer implements Task {
  #auth: Payload[] = [];
  #request: Uint8Array = new Uint8Array(0);

  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Failure | undefined {
    const id = findPayload(payloads, 'IDi')!;
    const identity = decodeIdentity(id.idType, id.data);
    const { remoteAuth, remoteIdentity, localAuth } = sa.profile;
    if (remoteAuth.kind !== 'eap') return refuseInitiator(sa, identity, NO_EAP);
    // Who comes is known only later; clients fill in IDi as they like, often with an address.
    const expected = remoteIdentity === undefined || (identity !== undefined && sameIdentity(identity, remoteIdentity));
    if (!expected) return refuseInitiator(sa, identity, `the identity ${identity === undefined ? `of type ${id.idType}` : identityText(identity)} is not expected here`);
    readCertificateRequest(sa, payloads);
    const usable = remoteAuth.methods.filter((name) => name !== 'tls' || tlsOptions(sa, remoteAuth) !== undefined);
    const safe = usable.filter((name) => SAFE_ALONE.includes(name));
    const withoutAuth = safe.length > 0 && remoteAuth.eapOnly === true && findNotify(payloads, NotifyType.EAP_ONLY_AUTHENTICATION) !== undefined;
    const problem = withoutAuth ? undefined : certificateProblem(sa, localAuth);
    if (problem !== undefined) return refuseInitiator(sa, identity, problem);
    this.#auth = withoutAuth ? [{ kind: 'IDr', ...encodeIdentity(sa.profile.localIdentity) }] : [...ownIdentity(sa, 'IDr'), ownAuth(sa, localAuth)];
    const machine = this.#startServer(sa, remoteAuth, withoutAuth ? safe : usable);
    this.#request = machine.begin();
    sa.eap = { machine, peerId: id, request: payloads, endsAt: after(now, CONVERSATION_MS) };
    return undefined;
  }

  #startServer(sa: IkeSa, auth: EapAuth, methods: readonly EapMethodName[]): EapServer {
    const { suite, random } = sa.env;
    const name = identityText(sa.profile.localIdentity);
    return new EapServer({ suite, random, methods, name, lookup: (user) => sa.env.lookupEap(sa.profile, user), tls: tlsOptions(sa, auth) });
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push(...this.#auth, { kind: 'EAP', data: this.#request });
  }

  finish(sa: IkeSa, now: Instant): void {
    awaitPeer(sa, now);
  }
}

/** An EAP user must see a signature first: who only shared a secret could be anybody who shares it (RFC 7296 2.16). */
function certificateProblem(sa: IkeSa, local: LocalAuth): string | undefined {
  if (local.kind !== 'certificate') return 'EAP needs a certificate of our own, none is configured';
  return credentialProblem(sa, local);
}

export class EapAnswer implements Task {
  #packet: Uint8Array = new Uint8Array(0);

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const run = sa.eap as EapServerRun;
    const { machine } = run;
    const step = run.ready ?? machine.receive(findPayload(payloads, 'EAP')!.data);
    run.ready = undefined;
    if (step.kind === 'wait') return 'wait';
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
    awaitPeer(sa, now);
  }
}

/** The last request: what the first one asked for is granted now. */
export class EapLastAnswer implements Task {
  readonly #granted: readonly Task[] = [new AuthAnswer(), new ConfigAnswer(), new MobikeSupport(), new ChildAnswer('first')];
  #auth: Payload | undefined;
  #ppkUsed = false;

  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Failure | undefined {
    const { machine, request } = sa.eap as EapServerRun;
    if (machine.msk === undefined) return refuseInitiator(sa, undefined, 'the peer sends AUTH before EAP has succeeded');
    const ppk = settleAsResponder(sa, payloads);
    if (!ppk.ok) return refuseInitiator(sa, userOf(machine), ppk.cause);
    this.#ppkUsed = ppk.used;
    if (!keyedAuthMatches(sa, ppk.payloads)) return refuseInitiator(sa, userOf(machine), "the peer's AUTH is not made with the key of EAP");
    this.#auth = ownKeyedAuth(sa);
    for (const task of this.#granted) {
      const failure = task.process(sa, request, now);
      if (typeof failure === 'object') return failure;
    }
    return undefined;
  }

  build(sa: IkeSa, out: Payload[], now: Instant): void {
    out.push(this.#auth!, authLifetimeNotify(this.#lifetimeMs(sa)));
    if (this.#ppkUsed) out.push(notify(NotifyType.PPK_IDENTITY));
    for (const task of this.#granted) task.build(sa, out, now);
  }

  #lifetimeMs(sa: IkeSa): number {
    const { remoteAuth } = sa.profile;
    return (remoteAuth.kind === 'eap' ? remoteAuth.lifetimeMs : undefined) ?? DEFAULT_AUTH_LIFETIME_MS;
  }

  finish(sa: IkeSa, now: Instant): void {
    endEap(sa);
    for (const task of this.#granted) task.finish?.(sa, now);
    sa.setTimer('expire-auth', after(now, this.#lifetimeMs(sa)));
  }

  abandon(sa: IkeSa, now: Instant): void {
    for (const task of this.#granted) task.abandon?.(sa, now);
  }
}
