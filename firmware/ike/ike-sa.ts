// One IKE SA: its peers' facts, keys, state and clocks. Messages are conversation.ts, their contents tasks/.
import { toHex, wipe } from '../../platform/bytes.ts';
import type { Fields, LogLevel } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { after, TimerTable } from '../../platform/time.ts';
import type { Endpoint, IpAddress } from '../model.ts';
import { formatEndpoint, sameEndpoint } from '../model.ts';
import type { IkeAlgorithms } from './algorithms.ts';
import { ikeAlgorithmsText } from './algorithms.ts';
import type { ChildSa } from './child-sa.ts';
import { CHILDLESS_MS, removeChild } from './child-sa.ts';
import { Conversation } from './conversation.ts';
import type { Environment } from './environment.ts';
import type { EapRun } from './eap/run.ts';
import { endEap } from './eap/run.ts';
import type { SaState } from './exchanges.ts';
import { ownRow } from './exchanges.ts';
import type { Extensions } from './extensions.ts';
import { NO_EXTENSIONS } from './extensions.ts';
import type { PendingExchange } from './followup.ts';
import { dropPending } from './followup.ts';
import type { CertificateFacts, ClientSettings, HistoryEntry, HistoryEvent } from './input-output.ts';
import { IntermediateTranscript } from './intermediate.ts';
import type { IkeKeys } from './keymat.ts';
import { wipeIkeKeys } from './keymat.ts';
import type { NatFinding } from './nat.ts';
import { NO_NAT } from './nat.ts';
import type { CompleteProfile, IkeIdentity } from './profile.ts';
import { identityText } from './profile.ts';
import { Sealing } from './sealing.ts';
import type { Redirections } from './redirect.ts';
import type { Succession } from './succession.ts';
import type { Sentence } from './sentences.ts';
import type { Failure } from './task.ts';
import { onSaTimer } from './clocks.ts';
import { endRequest } from './tasks/informational.ts';
import { IkeRekeyRequest } from './tasks/rekey.ts';

/** Repeated requests are still answered from the cache this long after the end. */
const LINGER_MS = 10_000;
/** A replaced IKE SA whose deletion never comes is dropped in silence. */
const REPLACED_MS = 60_000;
const KEEPALIVE_MS = 20_000;
const REKEY_SHARE = 0.7;
const REKEY_SPREAD = 0.1;

export type SaTimer =
  | 'retransmit'
  | 'refusal'
  | 'half-open'
  | 'dpd'
  | 'keepalive'
  | 'childless'
  | 'rekey-ike'
  | 'expire-ike'
  | 'reauth'
  | 'expire-auth'
  | 'followup'
  | 'linger'
  | `rekey-child:${number}`
  | `expire-child:${number}`;

export interface Path {
  readonly socket: string;
  readonly natt: boolean;
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** What the peer told about itself. */
export interface PeerFacts {
  /** It sent our Vendor ID. */
  vendor: boolean;
  fragmentation: boolean;
  /** It takes part in IKE_INTERMEDIATE. */
  intermediate: boolean;
  /** Its SIGNATURE_HASH_ALGORITHMS. */
  hashes: readonly number[];
  /** Its CERTREQ: hashes of the authorities' keys that it knows, 20 octets each. */
  authorities: Uint8Array;
  identity: IkeIdentity | undefined;
  serial: string | undefined;
  tenant: number | undefined;
  certificate: CertificateFacts | undefined;
}

/** What the responder grants the initiator. */
export interface Grant {
  assigned: IpAddress | undefined;
  directorAddresses: readonly IpAddress[] | undefined;
  observed: Endpoint | undefined;
  /** A second overlay address, of the other family. */
  alsoAssigned: IpAddress | undefined;
  settings: ClientSettings | undefined;
}

export interface SaOptions {
  readonly number: number;
  readonly role: 'initiator' | 'responder';
  readonly profile: CompleteProfile;
  readonly path: Path;
  /** Where an initiator goes on when there is a NAT. */
  readonly nattPath?: Path | undefined;
  readonly spiInitiator: Uint8Array;
  readonly spiResponder: Uint8Array;
  /** Of the SA that this one replaces: what stays the same for the connection. */
  readonly origin?: Origin;
}

/** How the connection began; `role` of an IKE SA changes with who rekeys it, this does not. */
export interface Origin {
  readonly role: 'initiator' | 'responder';
  /** Where the initiator was sent to; the path may float from there. */
  readonly remote: Endpoint;
  /** What led there, if the configuration did not. */
  readonly redirections?: Redirections | undefined;
  /** The connection that this one is to take over from. */
  readonly replaces?: Succession | undefined;
}

export interface Ending {
  readonly reason: string;
  readonly nextStep?: string;
  readonly event: HistoryEvent;
  readonly tell?: Failure['tell'];
  /** Another attempt follows at once: the service need not hear of this one. */
  readonly goesOn?: boolean;
}

export class IkeSa {
  readonly env: Environment;
  readonly number: number;
  readonly role: 'initiator' | 'responder';
  readonly conversation: Conversation;
  readonly children = new Map<number, ChildSa>();
  readonly peer: PeerFacts = { vendor: false, fragmentation: false, intermediate: false, hashes: [], authorities: new Uint8Array(0), identity: undefined, serial: undefined, tenant: undefined, certificate: undefined };
  readonly grant: Grant = { assigned: undefined, directorAddresses: undefined, observed: undefined, alsoAssigned: undefined, settings: undefined };
  readonly extensions: Extensions = { ...NO_EXTENSIONS };
  profile: CompleteProfile;
  state: SaState = 'new';
  path: Path;
  readonly origin: Origin;
  /** Where the message that is being handled arrived. */
  heardOn: Path;
  nattPath: Path | undefined;
  /** What replaced this SA. */
  successor: IkeSa | undefined;
  nat: NatFinding = NO_NAT;
  spiInitiator: Uint8Array;
  spiResponder: Uint8Array;
  /** The SPI in the header of an answer to IKE_SA_INIT, before that answer is accepted. */
  answeredSpi: Uint8Array = new Uint8Array(8);
  initRequest: Uint8Array = new Uint8Array(0);
  initResponse: Uint8Array = new Uint8Array(0);
  nonceInitiator: Uint8Array = new Uint8Array(0);
  nonceResponder: Uint8Array = new Uint8Array(0);
  algorithms: IkeAlgorithms | undefined;
  keys: IkeKeys | undefined;
  /** ESP SPIs that the peer deleted while a child of ours was being made; one may be that child's. */
  readonly deletedEarly = new Set<number>();
  /** While IKE_AUTH goes on with EAP. */
  eap: EapRun | undefined;
  /** Additional key exchanges that must come before IKE_AUTH. */
  keyExchangesDue = 0;
  /** A CREATE_CHILD_SA of the peer that goes on with IKE_FOLLOWUP_KE. */
  pending: PendingExchange | undefined;
  readonly intermediates = new IntermediateTranscript();
  /** This SA stands for its connection: the service knows it as up. */
  announced = false;
  /** It, or the SA that it replaces, has been up. */
  everUp = false;
  readonly #timers = new TimerTable<SaTimer>();

  constructor(env: Environment, options: SaOptions, now: Instant) {
    this.env = env;
    this.number = options.number;
    this.role = options.role;
    this.profile = options.profile;
    this.path = options.path;
    this.heardOn = options.path;
    this.origin = options.origin ?? { role: options.role, remote: options.path.remote };
    this.nattPath = options.nattPath;
    this.spiInitiator = options.spiInitiator;
    this.spiResponder = options.spiResponder;
    this.conversation = new Conversation(this, now);
  }

  // ------------------------------------------------------------------------------------------------ facts

  get localSpi(): string {
    return toHex(this.role === 'initiator' ? this.spiInitiator : this.spiResponder);
  }

  get spis(): string {
    return `${toHex(this.spiInitiator)}/${toHex(this.spiResponder)}`;
  }

  get suiteText(): string {
    return this.algorithms === undefined ? '' : ikeAlgorithmsText(this.algorithms);
  }

  get peerText(): string {
    return this.peer.identity === undefined ? formatEndpoint(this.path.remote) : identityText(this.peer.identity);
  }

  /** ESP goes in UDP 4500. */
  get encapsulates(): boolean {
    return this.nat.local || this.nat.remote;
  }

  /** A responder's SA that has not authenticated its peer. */
  get halfOpen(): boolean {
    return this.role === 'responder' && !this.everUp;
  }

  /** Made by the peer's rekey while our own is on its way: not in use before that is settled. */
  get undecided(): boolean {
    return this.everUp && !this.announced && this.state === 'established';
  }

  log(level: LogLevel, sentence: Sentence, fields: Fields): void {
    const { tenant, name } = this.profile;
    this.env.log(level, sentence, { tenant, profile: name, peer: this.peerText, remote: formatEndpoint(this.path.remote), spis: this.spis, role: this.role, ...fields });
  }

  history(event: HistoryEvent, cause: string, more: Partial<Pick<HistoryEntry, 'spis' | 'replaces' | 'replacedBy'>> = {}): void {
    const { name, tenant } = this.profile;
    const remote = formatEndpoint(this.path.remote);
    const entry = { unixMs: this.env.unixMs(), event, profile: name, tenant, role: this.origin.role, peer: this.peerText, remote, spis: this.spis, nat: this.encapsulates, cause, ...more };
    this.env.emit({ kind: 'history', entry });
  }

  // ----------------------------------------------------------------------------------------------- clocks

  setTimer(name: SaTimer, when: Instant): void {
    this.#timers.set(name, when);
    this.env.touch(this);
  }

  clearTimer(name: SaTimer): void {
    this.#timers.clear(name);
    this.env.touch(this);
  }

  timerAt(name: SaTimer): Instant | undefined {
    return this.#timers.get(name);
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  handleTimers(now: Instant): void {
    for (let name = this.#timers.takeDue(now); name !== undefined; name = this.#timers.takeDue(now)) onSaTimer(this, name, now);
    this.env.touch(this);
  }

  /** 70 % of a lifetime less up to 10 %. */
  rekeyDelayMs(lifetimeMs: number): number {
    return lifetimeMs * REKEY_SHARE - randomBelow(this.env.random, Math.floor(lifetimeMs * REKEY_SPREAD) + 1);
  }

  // -------------------------------------------------------------------------------------------- life

  /** Puts keys to use for every message after IKE_SA_INIT (or from the first message of a rekeyed SA). */
  useKeys(algorithms: IkeAlgorithms, keys: IkeKeys): void {
    this.algorithms = algorithms;
    this.#useKeys(keys);
  }

  /** Keys of an additional key exchange: everything but the ciphers' keys, which may still open a repeated request, is wiped. */
  replaceKeys(keys: IkeKeys): void {
    const { skD, skPi, skPr } = this.keys!;
    wipe(skD, skPi, skPr);
    this.#useKeys(keys);
  }

  #useKeys(keys: IkeKeys): void {
    this.keys = keys;
    const [seal, open] = this.role === 'initiator' ? [keys.skEi, keys.skEr] : [keys.skEr, keys.skEi];
    this.conversation.protect(new Sealing(this.env.suite, this.env.random, this.algorithms!, seal, open));
    this.env.keysInUse(this);
  }

  /** Authentic messages move the path: the responder follows the first IKE_AUTH, and later a peer behind a NAT (RFC 7296 2.23). */
  follow(path: Path): void {
    if (path.socket === this.path.socket && sameEndpoint(path.remote, this.path.remote) && sameEndpoint(path.local, this.path.local)) return;
    const first = this.state === 'half-open';
    // RFC 4555 3.8: with MOBIKE only an update of the addresses changes them, so that a path can be tried out.
    if (!first && (this.extensions.mobike || !this.nat.remote || this.nat.local)) return;
    this.path = path;
    if (first) return;
    this.tellEndpoint();
    this.log('info', 'IKE peer moved to another endpoint', {});
  }

  /** The children go over this SA's path from now on. */
  tellEndpoint(): void {
    const { socket, local, remote } = this.path;
    this.env.emit({ kind: 'endpoint', ikeSa: this.number, socket, local, remote, natt: this.encapsulates, nat: this.nat });
  }

  /** The peer is authenticated: tells the service. */
  establish(now: Instant): void {
    const { profile, path, peer, grant } = this;
    this.everUp = true;
    this.announced = true;
    this.env.emit({
      kind: 'ike-up',
      ikeSa: this.number,
      profile: profile.name,
      tenant: profile.tenant,
      role: this.role,
      localIdentity: profile.localIdentity,
      remoteIdentity: peer.identity!,
      local: path.local,
      remote: path.remote,
      socket: path.socket,
      natt: path.natt,
      nat: this.nat,
      ...grant,
      serial: peer.serial,
      peerTenant: peer.tenant,
      certificate: peer.certificate,
      spis: this.spis,
      suite: this.suiteText,
    });
    this.log('info', 'IKE SA established', { algorithms: this.suiteText, localNat: this.nat.local, remoteNat: this.nat.remote, assigned: this.grant.assigned });
    this.history('IKE Done', '');
    this.startClocks(now);
  }

  /** The clocks of an established SA. */
  startClocks(now: Instant): void {
    this.clearTimer('half-open');
    this.setTimer('rekey-ike', after(now, this.rekeyDelayMs(this.profile.ikeLifetimeMs)));
    this.setTimer('expire-ike', after(now, this.profile.ikeLifetimeMs));
    if (this.children.size === 0) this.setTimer('childless', after(now, CHILDLESS_MS));
    if (this.profile.dpdMs > 0) this.setTimer('dpd', after(now, this.profile.dpdMs));
    if (this.nat.local) this.setTimer('keepalive', after(now, KEEPALIVE_MS));
  }

  keepAlive(now: Instant): void {
    const { socket, local, remote } = this.path;
    this.env.emit({ kind: 'keepalive', socket, local, remote });
    this.setTimer('keepalive', after(now, KEEPALIVE_MS));
  }

  /** Our request was never answered. */
  unanswered(refusal: Failure | undefined, sendings: number, now: Instant): void {
    if (this.state === 'deleting' || this.state === 'rekeyed') return this.close(now, 0);
    if (refusal !== undefined) return this.end({ reason: refusal.cause, nextStep: refusal.nextStep, event: 'IKE Failed' }, now);
    const reason = `the peer did not answer ${sendings} sendings`;
    this.log('warning', 'IKE peer does not answer', { sendings });
    this.end({ reason, nextStep: 'check the path to the peer and that UDP 500 and 4500 pass', event: this.announced ? 'Peer Down' : 'IKE Failed' }, now);
  }

  /** Ends the SA for a cause and says so to the service, the history and, where asked, the peer. */
  end(ending: Ending, now: Instant): void {
    if (this.state === 'closed' || this.state === 'deleting') return;
    this.#announceEnd(ending, now);
    if (ending.tell === undefined || !this.conversation.protected) {
      this.conversation.clear(now);
      this.close(now, this.conversation.protected ? LINGER_MS : 0);
      return;
    }
    this.#clearClocks();
    this.state = 'deleting';
    this.conversation.enqueueLast({ row: ownRow('informational'), tasks: [endRequest(ending.tell, ending.reason)] }, now);
  }

  /** The peer's Delete, or its word that it does not trust us. */
  endedByPeer(reason: string, now: Instant): void {
    for (const task of this.conversation.currentTasks) {
      if (task instanceof IkeRekeyRequest) task.yieldToRival(this, now);
    }
    if (this.state === 'established' || this.state === 'eap') this.end({ reason, event: 'IKE Deleted' }, now);
    else this.close(now, LINGER_MS);
  }

  #announceEnd(ending: Ending, now: Instant): void {
    const { reason, event } = ending;
    const { remote } = this.path;
    for (const child of [...this.children.values()]) removeChild(this, child, reason, now);
    if (this.announced) {
      this.announced = false;
      this.env.emit({ kind: 'ike-down', ikeSa: this.number, profile: this.profile.name, reason, remote });
      this.log('info', 'IKE SA deleted', { cause: reason });
      this.history(event === 'IKE Failed' ? 'IKE Deleted' : event, reason);
    } else if (ending.goesOn === true) {
      this.history(event, reason);
    } else if (!this.everUp) {
      const nextStep = ending.nextStep ?? '';
      this.log('warning', 'IKE SA could not be established', { cause: reason, nextStep });
      this.history('IKE Failed', reason);
      if (this.role === 'initiator') this.env.emit({ kind: 'connect-failed', profile: this.profile.name, remote: this.origin.remote, cause: reason, nextStep });
    }
  }

  /** Only repeats its last reply from now on, then is forgotten. */
  close(now: Instant, lingerMs: number): void {
    this.#clearClocks();
    endEap(this);
    this.conversation.clear(now);
    this.clearTimer('retransmit');
    this.state = 'closed';
    dropPending(this, now);
    if (lingerMs === 0) this.env.forget(this);
    else this.setTimer('linger', after(now, lingerMs));
  }

  #clearClocks(): void {
    const names: readonly SaTimer[] = ['refusal', 'half-open', 'dpd', 'keepalive', 'childless', 'rekey-ike', 'expire-ike', 'reauth', 'expire-auth'];
    for (const name of names) this.clearTimer(name);
  }

  /** Another IKE SA stands for the connection now; this one waits for its deletion. */
  replacedBy(successor: IkeSa, now: Instant): void {
    // New keys are no new authentication (RFC 4478 3).
    for (const name of ['reauth', 'expire-auth'] as const) {
      const when = this.timerAt(name);
      if (when !== undefined) successor.setTimer(name, when);
    }
    this.#clearClocks();
    this.announced = false;
    this.state = 'rekeyed';
    dropPending(this, now);
    this.setTimer('linger', after(now, REPLACED_MS));
    successor.announced = true;
    this.successor = successor;
    for (const request of this.conversation.takeQueue()) successor.conversation.enqueue(request, now);
  }

  wipeSecrets(): void {
    this.conversation.wipeSecrets();
    wipeIkeKeys(this.keys);
    this.keys = undefined;
    endEap(this);
  }
}
