// Owns the desired ForwardingState: other services contribute parts, this one merges them into the next version and
// hands it to the forwarder. Ids stay stable by key, so that the forwarder can keep windows, counters and endpoints.
import type { Logger } from '../../platform/log.ts';
import { after, type CancelTimer } from '../../platform/time.ts';
import type { Endpoint, ForwarderCounters, ForwarderEvent, ForwardingState } from '../model.ts';
import { EMPTY_FORWARDING_STATE } from '../model.ts';
import type { ForwarderHandle } from './forwarder-thread.ts';
import type { Service, ServiceStatus, Site } from './service.ts';

/** What one owner wants of the data plane. */
export type ForwardingPart = Partial<Omit<ForwardingState, 'version'>>;

/** Changes of one moment are merged into one version; ordering points call `flush` themselves. */
const MERGE_MS = 1;

export class ForwardingService implements Service {
  readonly name = 'forwarding';
  readonly #site: Site;
  readonly #log: Logger;
  readonly #handle: ForwarderHandle;
  readonly #parts = new Map<string, ForwardingPart>();
  readonly #ids = new Map<string, number>();
  readonly #listeners = new Set<(event: ForwarderEvent) => void>();
  readonly #stateListeners = new Set<(state: ForwardingState) => void>();
  /** By id of the tunnel. */
  readonly #pathMtus = new Map<number, number>();
  #nextId = 1;
  #nextSaId = 1;
  #state: ForwardingState = EMPTY_FORWARDING_STATE;
  #appliedVersion = 0;
  #dirty = false;
  #timer: CancelTimer | undefined;
  #stopped = false;

  constructor(site: Site, handle: ForwarderHandle) {
    this.#site = site;
    this.#log = site.log.channel('forwarder');
    this.#handle = handle;
    handle.onEvent = (event) => this.#event(event);
  }

  async start(): Promise<void> {
    this.#log.info('forwarder started', { drivers: this.#handle.description });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.();
    await this.#handle.close();
  }

  status(): ServiceStatus {
    if (this.#appliedVersion === this.#state.version) return { state: 'up', detail: '' };
    return { state: 'starting', detail: `forwarder has applied version ${this.#appliedVersion} of ${this.#state.version}` };
  }

  /** A number that stays the same for `key` as long as the process lives. */
  idFor(key: string): number {
    let id = this.#ids.get(key);
    if (id === undefined) this.#ids.set(key, (id = this.#nextId++));
    return id;
  }

  /** Ids of SAs, which IKE and IKE-less keying draw from one range. */
  nextSaId = (): number => this.#nextSaId++;

  setPart(owner: string, part: ForwardingPart): void {
    this.#parts.set(owner, part);
    this.#touch();
  }

  removePart(owner: string): void {
    if (this.#parts.delete(owner)) this.#touch();
  }

  /** Hands the newest state to the forwarder now. What is sent to peers afterwards is sent after the forwarder has it. */
  flush(): void {
    if (!this.#dirty || this.#stopped) return;
    this.#dirty = false;
    this.#timer?.();
    this.#timer = undefined;
    this.#state = this.#merged();
    this.#handle.apply(this.#state);
    for (const listener of this.#stateListeners) listener(this.#state);
  }

  get state(): ForwardingState {
    return this.#state;
  }

  get description(): string {
    return this.#handle.description;
  }

  counters(): ForwarderCounters {
    return this.#handle.counters();
  }

  /** Of each worker, when there are several. */
  countersByWorker(): readonly ForwarderCounters[] {
    return this.#handle.countersByWorker?.() ?? [this.counters()];
  }

  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void {
    this.#handle.sendIke(outside, remote, bytes);
  }

  /** One octet 0xFF on UDP 4500 (RFC 3948 2.3). */
  sendNatKeepalive(outside: number, remote: Endpoint): void {
    this.#handle.sendNatKeepalive(outside, remote);
  }

  /** The largest inner packet that a tunnel's path carries, if that was found out. */
  pathMtuOf(tunnel: number): number | undefined {
    return this.#pathMtus.get(tunnel);
  }

  /** Called with every version that was handed to the forwarder, until the function that it returns is called. */
  onState(listener: (state: ForwardingState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => void this.#stateListeners.delete(listener);
  }

  /** Called with everything that the forwarder says, until the function that it returns is called. */
  onEvent(listener: (event: ForwarderEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #touch(): void {
    this.#dirty = true;
    if (this.#timer !== undefined || this.#stopped) return;
    this.#timer = this.#site.clock.at(after(this.#site.clock.now(), MERGE_MS), () => {
      this.#timer = undefined;
      this.flush();
    });
  }

  #merged(): ForwardingState {
    const parts = [...this.#parts.values()];
    return {
      version: this.#state.version + 1,
      tenants: parts.flatMap((p) => p.tenants ?? []),
      insides: parts.flatMap((p) => p.insides ?? []),
      outsides: parts.flatMap((p) => p.outsides ?? []),
      tunnels: parts.flatMap((p) => p.tunnels ?? []),
      routes: parts.flatMap((p) => p.routes ?? []),
      labels: parts.flatMap((p) => p.labels ?? []),
    };
  }

  #foundPathMtu(id: number, mtu: number): void {
    const tunnel = this.#state.tunnels.find((spec) => spec.id === id);
    const before = this.#pathMtus.get(id) ?? tunnel?.mtu;
    const living = new Set(this.#state.tunnels.map((spec) => spec.id));
    for (const known of this.#pathMtus.keys()) if (!living.has(known)) this.#pathMtus.delete(known);
    if (tunnel === undefined) return;
    this.#pathMtus.set(id, mtu);
    if (mtu !== before) this.#log.info('path MTU changed', { tenant: tunnel.tenant, peer: tunnel.peer, mtu, before });
  }

  #event(event: ForwarderEvent): void {
    if (event.kind === 'applied') this.#appliedVersion = event.version;
    else if (event.kind === 'path-mtu') this.#foundPathMtu(event.tunnel, event.mtu);
    for (const listener of this.#listeners) listener(event);
  }
}
