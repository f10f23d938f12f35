// All IKE SAs of an endpoint, and what they share: numbers, SPIs, the half-open table, deadlines.
import { equalBytes, toHex } from '../../platform/bytes.ts';
import type { RevocationCheck, Suite } from '../../platform/crypto.ts';
import { Deadlines } from '../../platform/deadlines.ts';
import type { Fields, LogLevel } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import type { Endpoint } from '../model.ts';
import { formatEndpoint, sameEndpoint } from '../model.ts';
import type { EapCredentials } from './eap/method.ts';
import type { Authorization, AuthorizationRequest, BeginOptions, Environment } from './environment.ts';
import { ownRow } from './exchanges.ts';
import type { HalfOpenLimits, InitOrigin } from './half-open.ts';
import { HalfOpenTable, originOf } from './half-open.ts';
import type { SaOptions } from './ike-sa.ts';
import { IkeSa } from './ike-sa.ts';
import type { IkeOutput } from './input-output.ts';
import { PeerIndex } from './peer-index.ts';
import type { CompleteProfile, IkeIdentity, PeerCredentials } from './profile.ts';
import type { Sentence } from './sentences.ts';
import type { SessionKeys, SessionKeysOwner } from './session-keys.ts';
import { sessionKeysOf, sessionKeysOwner } from './session-keys.ts';
import { InitRequest } from './tasks/init.ts';
import type { Retransmission } from './window.ts';

/** ESP SPIs are 0x02 and a 24-bit index, as in the IKE-less tables. */
const ESP_SPI_BASE = 0x0200_0000;
const ESP_SPI_MASK = 0x00ff_ffff;
const IKE_SPI_BYTES = 8;

export interface RegisterOptions {
  readonly suite: Suite;
  readonly random: Random;
  readonly retransmission: Retransmission;
  readonly halfOpen: HalfOpenLimits;
  unixMs(): number;
  emit(output: IkeOutput): void;
  nextSaId(): number;
  lookupPeer(profile: CompleteProfile, identity: IkeIdentity): PeerCredentials | undefined;
  lookupEap(profile: CompleteProfile, identity: string): EapCredentials | undefined;
  onEapFailure(profile: CompleteProfile, identity: string, remote: Endpoint): void;
  authorize(request: AuthorizationRequest): Authorization;
  revocation(): RevocationCheck | undefined;
  exportsKeys(owner: SessionKeysOwner): boolean;
}

export class SaRegister implements Environment {
  readonly suite: Suite;
  readonly random: Random;
  readonly retransmission: Retransmission;
  readonly halfOpen: HalfOpenTable;
  readonly #options: RegisterOptions;
  readonly #bySpi = new Map<string, IkeSa>();
  /** Half-open SAs by local SPI, with the origin that they count for. */
  readonly #halfOpen = new Map<string, InitOrigin>();
  /** Responder SAs by the hash of their IKE_SA_INIT request, for its repetitions. */
  readonly #byInitRequest = new Map<string, IkeSa>();
  readonly #deadlines = new Deadlines<string>();
  readonly #peers = new PeerIndex();
  readonly #espSpis = new Set<number>();
  #espIndex: number;
  #number = 0;
  #childNumber = 0;

  constructor(options: RegisterOptions) {
    this.#options = options;
    this.suite = options.suite;
    this.random = options.random;
    this.retransmission = options.retransmission;
    this.halfOpen = new HalfOpenTable(options.halfOpen);
    this.#espIndex = options.random.uint32() & ESP_SPI_MASK;
  }

  // ------------------------------------------------------------------------------------------------- SAs

  create(options: SaOptions, now: Instant): IkeSa {
    const sa = new IkeSa(this, options, now);
    this.#bySpi.set(sa.localSpi, sa);
    this.#peers.place(sa);
    return sa;
  }

  begin({ profile, path, nattPath, redirections, replaces }: BeginOptions, now: Instant): IkeSa {
    const origin = { role: 'initiator', remote: path.remote, redirections, replaces } as const;
    const sa = this.create({ number: this.nextNumber(), role: 'initiator', profile, path, nattPath, spiInitiator: this.allocateIkeSpi(), spiResponder: new Uint8Array(8), origin }, now);
    sa.state = 'init-sent';
    sa.log('info', 'IKE SA is being initiated', { local: formatEndpoint(path.local) });
    sa.conversation.enqueue({ row: ownRow('init'), tasks: [new InitRequest()] }, now);
    return sa;
  }

  headsFor(profile: string, remote: Endpoint): boolean {
    const isLive = (sa: IkeSa): boolean => sa.state !== 'closed' && sa.state !== 'deleting';
    return this.all().some((sa) => isLive(sa) && sa.origin.role === 'initiator' && sa.profile.name === profile && sameEndpoint(sa.origin.remote, remote));
  }

  /** Attempts to get there that began at another address of ours end: nothing comes back to that one. */
  leaveAttempts(profile: string, local: Endpoint, remote: Endpoint, now: Instant): void {
    for (const sa of [...this.all()]) {
      const isAttempt = sa.origin.role === 'initiator' && !sa.everUp && sa.state !== 'closed' && sa.state !== 'deleting';
      if (!isAttempt || sa.profile.name !== profile || !sameEndpoint(sa.origin.remote, remote) || sa.path.local.address === local.address) continue;
      sa.end({ reason: 'our address changed', event: 'IKE Failed', goesOn: true }, now);
    }
  }

  connection(number: number): IkeSa | undefined {
    return this.current(number);
  }

  /** Counts a responder's new SA as half-open, and finds it again when its request is repeated. */
  enterHalfOpen(sa: IkeSa, request: Uint8Array): void {
    const origin = originOf(sa.path.remote.address, sa.profile.vxlan !== undefined);
    this.halfOpen.add(origin);
    this.#halfOpen.set(sa.localSpi, origin);
    this.#byInitRequest.set(this.#requestKey(request), sa);
  }

  #leaveHalfOpen(sa: IkeSa): void {
    const origin = this.#halfOpen.get(sa.localSpi);
    if (origin === undefined) return;
    this.halfOpen.remove(origin);
    this.#halfOpen.delete(sa.localSpi);
  }

  #requestKey(request: Uint8Array): string {
    return toHex(this.suite.hash('sha256', request));
  }

  findInit(request: Uint8Array): IkeSa | undefined {
    return this.#byInitRequest.get(this.#requestKey(request));
  }

  find(localSpi: Uint8Array): IkeSa | undefined {
    return this.#bySpi.get(toHex(localSpi));
  }

  all(): IkeSa[] {
    return [...this.#bySpi.values()];
  }

  /** The SA that stands for a connection now. */
  current(number: number): IkeSa | undefined {
    const candidates = this.all().filter((sa) => sa.number === number);
    return candidates.find((sa) => sa.announced) ?? candidates.find((sa) => !sa.everUp);
  }

  forget(sa: IkeSa): void {
    sa.state = 'closed';
    this.#leaveHalfOpen(sa);
    if (sa.role === 'responder' && sa.initRequest.length > 0) this.#byInitRequest.delete(this.#requestKey(sa.initRequest));
    this.#bySpi.delete(sa.localSpi);
    this.#deadlines.clear(sa.localSpi);
    this.#peers.remove(sa);
    sa.wipeSecrets();
  }

  isInitialContact(sa: IkeSa): boolean {
    return this.#peers.between(sa).every(({ state }) => state === 'closed' || state === 'deleting' || state === 'init-sent');
  }

  dropOthers(sa: IkeSa, now: Instant): void {
    for (const other of this.#peers.between(sa)) {
      // The peer has forgotten them: there is nobody to tell (RFC 7296 2.4). One that began later is another
      // circuit of the same peer, whose first message came in before this one's authentication.
      if (other.announced && other.number < sa.number) other.end({ reason: 'the peer started anew (INITIAL_CONTACT)', event: 'Peer Down' }, now);
    }
  }

  keysInUse(sa: IkeSa): void {
    const keys = this.#options.exportsKeys(sessionKeysOwner(sa)) ? sessionKeysOf(sa) : undefined;
    if (keys !== undefined) this.emit({ kind: 'session-keys', keys });
  }

  /** Of every SA whose keys are to be given out. */
  sessionKeys(): readonly SessionKeys[] {
    return this.all().filter((sa) => this.#options.exportsKeys(sessionKeysOwner(sa))).flatMap((sa) => sessionKeysOf(sa) ?? []);
  }

  // --------------------------------------------------------------------------------------------- clocks

  touch(sa: IkeSa): void {
    if (!sa.halfOpen) this.#leaveHalfOpen(sa);
    const lives = this.#bySpi.get(sa.localSpi) === sa;
    if (lives) this.#peers.place(sa);
    const when = lives ? sa.deadline() : undefined;
    if (when === undefined) this.#deadlines.clear(sa.localSpi);
    else this.#deadlines.set(sa.localSpi, when);
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  handleTimers(now: Instant): void {
    for (let spi = this.#deadlines.takeDue(now); spi !== undefined; spi = this.#deadlines.takeDue(now)) this.#bySpi.get(spi)?.handleTimers(now);
  }

  // ------------------------------------------------------------------------------------ numbers and SPIs

  nextNumber(): number {
    return ++this.#number;
  }

  nextChildNumber(): number {
    return ++this.#childNumber;
  }

  nextSaId(): number {
    return this.#options.nextSaId();
  }

  allocateEspSpi(): number {
    do this.#espIndex = (this.#espIndex + 1) & ESP_SPI_MASK;
    while (this.#espSpis.has(ESP_SPI_BASE | this.#espIndex));
    this.#espSpis.add(ESP_SPI_BASE | this.#espIndex);
    return ESP_SPI_BASE | this.#espIndex;
  }

  releaseEspSpi(spi: number): void {
    this.#espSpis.delete(spi);
  }

  allocateIkeSpi(): Uint8Array {
    let spi = this.random.bytes(IKE_SPI_BYTES);
    while (equalBytes(spi, new Uint8Array(IKE_SPI_BYTES)) || this.#bySpi.has(toHex(spi))) spi = this.random.bytes(IKE_SPI_BYTES);
    return spi;
  }

  // --------------------------------------------------------------------------------------------- outside

  unixMs(): number {
    return this.#options.unixMs();
  }

  emit(output: IkeOutput): void {
    this.#options.emit(output);
  }

  log(level: LogLevel, sentence: Sentence, fields: Fields): void {
    this.emit({ kind: 'log', event: { level, sentence, fields } });
  }

  lookupPeer(profile: CompleteProfile, identity: IkeIdentity): PeerCredentials | undefined {
    return this.#options.lookupPeer(profile, identity);
  }

  lookupEap(profile: CompleteProfile, identity: string): EapCredentials | undefined {
    return this.#options.lookupEap(profile, identity);
  }

  onEapFailure(profile: CompleteProfile, identity: string, remote: Endpoint): void {
    this.#options.onEapFailure(profile, identity, remote);
  }

  authorize(request: AuthorizationRequest): Authorization {
    return this.#options.authorize(request);
  }

  revocation(): RevocationCheck | undefined {
    return this.#options.revocation();
  }
}
