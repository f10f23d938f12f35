// IKEv2 for one box: all its IKE SAs, both roles. Sans-IO (firmware/machine.ts).
//
// Standards: RFC 7296 (PSK and certificates, tunnel mode), 5282 and 7634 (AEADs in SK), 3602 and 4868 (AES-CBC with HMAC
// in SK), 7383 (fragmentation), 7427, 8420 and 4754 (signatures: RSA, ECDSA, Ed25519), 3526, 8031, 5903, 6989 (groups), 3948
// (UDP encapsulation), 4555 (MOBIKE), 5685 (redirection), 6023 (childless), 8784 (PPK), 9242 and 9370 (ML-KEM), EAP-MSCHAPv2
// and EAP-TLS with 5998 and 4478.
// Deviations: window size 1 only; an IKE SA without any child is closed after some seconds; AUTHENTICATION_FAILED carries
// its cause to peers of our own kind, inside SK.
// Not here: transport mode, AH, IPComp, resumption.
//
// What a peer sends never throws. A malformed or unauthentic datagram leaves no trace but a debug line.
import type { RevocationCheck, Suite } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { earlier } from '../../platform/time.ts';
import type { Endpoint } from '../model.ts';
import type { Machine, Timeout } from '../machine.ts';
import { rekeyChild, rekeyIke } from './clocks.ts';
import type { EapCredentials } from './eap/method.ts';
import { resumeEap } from './eap/run.ts';
import type { Authorization, AuthorizationRequest } from './environment.ts';
import type { HalfOpenLimits } from './half-open.ts';
import type { InitRates } from './init-rate.ts';
import type { IkeSa, Path } from './ike-sa.ts';
import type { IkeInput, IkeOutput, IkeSnapshot, InitiateInput, RekeyReason } from './input-output.ts';
import type { CompleteProfile, IkeIdentity, IkeProfile, PeerCredentials } from './profile.ts';
import { completeProfile } from './profile.ts';
import { Reception } from './reception.ts';
import { redirectPeer } from './redirect.ts';
import { RevocationSweep } from './revocations.ts';
import { SaRegister } from './sa-register.ts';
import { move } from './move.ts';
import type { SessionKeys, SessionKeysOwner } from './session-keys.ts';
import { snapshotOf } from './snapshot.ts';
import { observedRequest } from './tasks/informational.ts';
import type { Retransmission } from './window.ts';
import { DEFAULT_RETRANSMISSION } from './window.ts';

export type { Authorization, AuthorizationRequest } from './environment.ts';
export type { IkeInput, IkeOutput, IkeSnapshot } from './input-output.ts';

const NATT_PORT = 4500;

/** Peers between IKE_SA_INIT and IKE_AUTH (half-open.ts). */
export const DEFAULT_HALF_OPEN_LIMITS: HalfOpenLimits = { cookieThreshold: 100, total: 1000, perSource: 10, perNetwork: 40 };
/** IKE_SA_INIT requests that are looked at (init-rate.ts). */
export const DEFAULT_INIT_RATES: InitRates = {
  perSource: { perSecond: 20, burst: 60 },
  perNetwork: { perSecond: 100, burst: 300 },
  total: { perSecond: 500, burst: 1000 },
};

export interface IkeEndpointOptions {
  readonly suite: Suite;
  readonly random: Random;
  /** Wall clock, for certificates and history. */
  unixMs(): number;
  readonly profiles: readonly IkeProfile[];
  /** Which profile answers on this socket; undefined: nobody does. */
  responderProfile(request: { readonly local: Endpoint; readonly remote: Endpoint; readonly socket: string }): IkeProfile | undefined;
  /** Credentials of a peer, for profiles whose remoteAuth is `lookup`. */
  lookupPeer?(profile: IkeProfile, identity: IkeIdentity): PeerCredentials | undefined;
  /** Password or NT hash of an EAP user, for profiles whose remoteAuth is `eap`; asked at every try. */
  lookupEap?(profile: IkeProfile, identity: string): EapCredentials | undefined;
  /** An EAP user was refused once: for whoever locks users out, who then lets lookupEap know nobody. */
  onEapFailure?(profile: IkeProfile, identity: string, remote: Endpoint): void;
  /** Whether an authenticated peer may come, and what it gets. Default: everybody, nothing. */
  authorize?(request: AuthorizationRequest): Authorization;
  /** What is known of revoked certificates, asked for at each authentication. Default: nothing. */
  revocation?(): RevocationCheck | undefined;
  /** Decryptable debugging: whether the keys of an IKE SA are given out as `session-keys`. Default: never. */
  exportsKeys?(owner: SessionKeysOwner): boolean;
  /** Ids of SaSpecs, unique in the process. Default: counted per endpoint from 1. */
  nextSaId?(): number;
  readonly retransmission?: Retransmission;
  readonly halfOpen?: HalfOpenLimits;
  readonly initRates?: InitRates;
}

export class IkeEndpoint implements Machine<IkeInput, IkeOutput> {
  readonly #outputs: IkeOutput[] = [];
  readonly #register: SaRegister;
  readonly #reception: Reception;
  readonly #sweep: RevocationSweep;
  readonly #profiles = new Map<string, CompleteProfile>();

  constructor(options: IkeEndpointOptions) {
    const complete = (profile: IkeProfile | undefined): CompleteProfile | undefined => (profile === undefined ? undefined : completeProfile(profile));
    let saId = 0;
    this.#register = new SaRegister({
      suite: options.suite,
      random: options.random,
      retransmission: options.retransmission ?? DEFAULT_RETRANSMISSION,
      halfOpen: options.halfOpen ?? DEFAULT_HALF_OPEN_LIMITS,
      unixMs: () => options.unixMs(),
      emit: (output) => void this.#outputs.push(output),
      nextSaId: () => options.nextSaId?.() ?? ++saId,
      lookupPeer: (profile, identity) => options.lookupPeer?.(profile, identity),
      lookupEap: (profile, identity) => options.lookupEap?.(profile, identity),
      onEapFailure: (profile, identity, remote) => options.onEapFailure?.(profile, identity, remote),
      authorize: (request) => options.authorize?.(request) ?? { ok: true },
      revocation: () => options.revocation?.(),
      exportsKeys: (owner) => options.exportsKeys?.(owner) ?? false,
    });
    this.#reception = new Reception(this.#register, options.initRates ?? DEFAULT_INIT_RATES, (request) => complete(options.responderProfile(request)));
    this.#sweep = new RevocationSweep(this.#register);
    this.#replaceProfiles(options.profiles);
  }

  handle(input: IkeInput | Timeout, now: Instant): void {
    switch (input.kind) {
      case 'datagram':
        this.#reception.receive(input, now);
        return;
      case 'timeout':
        this.#register.handleTimers(now);
        this.#sweep.step(now);
        return;
      case 'initiate':
        this.#initiate(input, now);
        return;
      case 'terminate':
        this.#register.current(input.ikeSa)?.end({ reason: input.reason, event: 'IKE Deleted', tell: 'delete' }, now);
        return;
      case 'rekey-child':
        this.#rekeyChild(input.child, input.reason ?? 'order', now);
        return;
      case 'rekey-ike':
        this.#whenUp(input.ikeSa, (sa) => rekeyIke(sa, 'order', now));
        return;
      case 'move':
        this.#whenUp(input.ikeSa, (sa) => move(sa, this.#register.all(), input, now));
        return;
      case 'redirect':
        this.#whenUp(input.ikeSa, (sa) => redirectPeer(sa, input.gateway, now));
        return;
      case 'observed-endpoint':
        this.#whenUp(input.ikeSa, (sa) => {
          if (sa.peer.vendor) sa.conversation.enqueue(observedRequest(input.endpoint), now);
        });
        return;
      case 'revocations':
        this.#sweep.begin(now);
        return;
      case 'tls':
        resumeEap(this.#register.current(input.ikeSa), input.step, now);
        return;
      case 'profiles':
        this.#replaceProfiles(input.profiles);
        this.#followProfiles(now);
        return;
    }
  }

  poll(): IkeOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return earlier(this.#register.deadline(), this.#sweep.deadline());
  }

  /** Everything that lives, for `show`. */
  snapshot(): IkeSnapshot {
    return snapshotOf(this.#register.all());
  }

  /** Keys of the SAs that live now and whose keys `exportsKeys` wants. */
  sessionKeys(): readonly SessionKeys[] {
    return this.#register.sessionKeys();
  }

  #replaceProfiles(profiles: readonly IkeProfile[]): void {
    this.#profiles.clear();
    for (const profile of profiles) this.#profiles.set(profile.name, completeProfile(profile));
  }

  /** Live SAs take what they can from a changed profile: lifetimes and proposals count from the next rekey on. */
  #followProfiles(now: Instant): void {
    for (const sa of this.#register.all()) {
      const profile = this.#profiles.get(sa.profile.name);
      if (profile !== undefined) sa.profile = profile;
      else sa.end({ reason: 'its profile was removed', event: 'IKE Deleted', tell: 'delete' }, now);
    }
  }

  #whenUp(ikeSa: number, act: (sa: IkeSa) => void): void {
    const sa = this.#register.current(ikeSa);
    if (sa?.announced === true) act(sa);
  }

  #rekeyChild(number: number, reason: RekeyReason, now: Instant): void {
    for (const sa of this.#register.all()) {
      const child = sa.children.get(number);
      if (child?.state === 'up') rekeyChild(sa, child, reason, now);
    }
  }

  #initiate(input: InitiateInput, now: Instant): void {
    const profile = this.#profiles.get(input.profile);
    const refuse = (cause: string, nextStep: string): void => {
      this.#outputs.push({ kind: 'connect-failed', profile: input.profile, remote: input.remote, cause, nextStep });
    };
    if (profile === undefined) return refuse('there is no profile of this name', 'configure the profile first');
    const { socket, nattSocket, local, remote } = input;
    this.#register.leaveAttempts(profile.name, local, remote, now);
    if (this.#register.headsFor(profile.name, remote)) return refuse('the profile is already connecting or connected to this peer', 'terminate it first');
    this.#register.begin({ profile, path: { socket, natt: false, local, remote }, nattPath: nattPath(input, nattSocket) }, now);
  }
}

function nattPath(input: InitiateInput, socket: string | undefined): Path | undefined {
  if (socket === undefined) return undefined;
  const local = input.nattLocal ?? { address: input.local.address, port: NATT_PORT };
  return { socket, natt: true, local, remote: { address: input.remote.address, port: NATT_PORT } };
}
