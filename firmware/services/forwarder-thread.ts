// The control plane's side of a forwarder: on the same thread (simulator, tests), or on worker threads of its own.
import type { AeadEngine } from '../../drivers/aead.ts';
import type { Burst } from '../../drivers/burst.ts';
import { describePort, type Devices, type ParallelDevices } from '../../drivers/port.ts';
import type { Logger } from '../../platform/log.ts';
import { after, earlier, type CancelTimer, type Clock, type Instant } from '../../platform/time.ts';
import { createCounterPage, readCounters, type Capacity, type CounterPage } from '../dataplane/counters.ts';
import { Forwarder } from '../dataplane/forwarder.ts';
import type { OutsideDescriptions } from '../dataplane/mailbox.ts';
import { mergeCounters } from '../dataplane/merged-counters.ts';
import { Owners, shareOf } from '../dataplane/owners.ts';
import type { OutsidePorts } from '../dataplane/ports.ts';
import { EMPTY_FORWARDING_STATE, type Endpoint, type ForwarderCounters, type ForwarderEvent, type ForwardingState } from '../model.ts';
import { ForwarderPorts, openerForOne, openerForSeveral, type PortUser } from './forwarder-ports.ts';
import { WorkerThread, type ThreadWakeup } from './forwarder-worker.ts';
import { connectWorkers, type WorkerRings } from './worker-rings.ts';
import { WorkerSteering } from './worker-steering.ts';

export interface ForwarderHandle {
  /** Opens the ports that the state wants, before it returns, and puts the state in force; 'applied' follows. */
  apply(state: ForwardingState): void;
  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void;
  /** One octet 0xFF from UDP 4500 (RFC 3948 2.3). */
  sendNatKeepalive(outside: number, remote: Endpoint): void;
  counters(): ForwarderCounters;
  /** A forwarder of one worker need not have it. */
  countersByWorker?(): readonly ForwarderCounters[];
  onEvent: (event: ForwarderEvent) => void;
  close(): Promise<void>;
  readonly description: string;
}

/** Ports that could not be opened are tried again after this time. */
const PORT_RETRY_MS = 2000;

export interface LocalForwarderOptions {
  readonly devices: Devices;
  readonly aead: AeadEngine;
  readonly log: Logger;
  readonly capacity?: Capacity;
  /** Scratch that all forwarders of the thread may share. */
  readonly bursts?: readonly [Burst, Burst];
}

/** A forwarder on the caller's thread; the caller breathes. */
export class LocalForwarder implements ForwarderHandle {
  onEvent: (event: ForwarderEvent) => void = () => undefined;
  readonly description: string;
  readonly #forwarder: Forwarder;
  readonly #ports: ForwarderPorts;
  #state: ForwardingState = EMPTY_FORWARDING_STATE;
  #portsMissing = false;
  #retryAt: Instant | undefined;

  constructor(options: LocalForwarderOptions) {
    this.#forwarder = new Forwarder({
      aead: options.aead,
      counters: createCounterPage(options.capacity),
      onEvent: (event) => this.onEvent(event),
      ...(options.bursts === undefined ? {} : { bursts: options.bursts }),
    });
    this.description = `${options.devices.kind} drivers, ${options.aead.name} AEAD`;
    const forwarder = this.#forwarder;
    this.#ports = new ForwarderPorts(openerForOne(options.devices), options.log, {
      attachInside: (id, [link]) => forwarder.attachInside(id, link!),
      attachOutside: (id, [ports]) => forwarder.attachOutside(id, ports!),
      detachInside: (id, closed) => (forwarder.detachInside(id), closed()),
      detachOutside: (id, closed) => (forwarder.detachOutside(id), closed()),
    });
  }

  apply(state: ForwardingState): void {
    this.#state = state;
    this.#portsMissing = !this.#ports.match(state);
    this.#retryAt = undefined;
    this.#forwarder.apply(state);
  }

  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void {
    this.#forwarder.sendIke(outside, remote, bytes);
  }

  sendNatKeepalive(outside: number, remote: Endpoint): void {
    this.#forwarder.sendNatKeepalive(outside, remote);
  }

  counters(): ForwarderCounters {
    return this.#forwarder.readCounters();
  }

  /** Moves what waits; 0 = idle. */
  breathe(now: Instant): number {
    if (this.#portsMissing) this.#retry(now);
    return this.#forwarder.breathe(now);
  }

  /** When to breathe even if no packet arrives. */
  deadline(): Instant | undefined {
    return earlier(this.#retryAt, this.#forwarder.deadline());
  }

  #retry(now: Instant): void {
    if (this.#retryAt !== undefined && now >= this.#retryAt) {
      this.#portsMissing = !this.#ports.match(this.#state);
      this.#retryAt = undefined;
    }
    if (this.#portsMissing) this.#retryAt ??= after(now, PORT_RETRY_MS);
  }

  async close(): Promise<void> {
    this.#ports.closeAll();
    this.#forwarder.close();
  }
}

export interface ThreadForwarderOptions {
  /** Native devices: their ports have descriptors. */
  readonly devices: ParallelDevices;
  readonly clock: Clock;
  readonly log: Logger;
  readonly createWakeup: () => ThreadWakeup;
  /** Threads; default 1. */
  readonly workers?: number;
  /** Of each worker. */
  readonly capacity?: Capacity;
}

/**
 * A forwarder on worker threads. The main thread opens the ports and keeps them, so that a thread that died can be
 * started again with the whole state, while the others go on.
 */
export class ThreadForwarder implements ForwarderHandle {
  onEvent: (event: ForwarderEvent) => void = () => undefined;
  readonly description: string;
  readonly #options: ThreadForwarderOptions;
  readonly #pages: readonly CounterPage[];
  readonly #rings: WorkerRings;
  readonly #threads: readonly WorkerThread[];
  readonly #ports: ForwarderPorts;
  readonly #owners: Owners;
  /** Version that each worker has in force, and the one that was reported. */
  readonly #applied: number[];
  #reported = 0;
  readonly #steering: WorkerSteering;
  #state: ForwardingState = EMPTY_FORWARDING_STATE;
  #portsTimer: CancelTimer | undefined;
  #closing = false;

  constructor(options: ThreadForwarderOptions) {
    const { workers = 1, capacity, createWakeup } = options;
    this.#options = options;
    this.description = `native drivers, ${workers === 1 ? 'worker thread' : `${workers} worker threads`}`;
    this.#owners = new Owners(workers);
    this.#applied = new Array<number>(workers).fill(0);
    this.#pages = Array.from({ length: workers }, () => createCounterPage(capacity));
    this.#rings = connectWorkers(workers, createWakeup);
    this.#threads = this.#pages.map((page, worker) => new WorkerThread({
      ...options, worker, page, others: this.#rings.othersOf[worker]!, wakeup: createWakeup(),
      onEvent: (event) => this.#event(worker, event),
      onFruitless: () => this.#renewDevices(),
      onRestarted: () => this.#restarted(worker),
    }));
    this.#ports = new ForwarderPorts(openerForSeveral(options.devices, workers), options.log, {
      attachInside: (id, links) => this.#threads.forEach((_, worker) => this.#userOf(worker).attachInside(id, links)),
      attachOutside: (id, shares) => this.#threads.forEach((_, worker) => this.#userOf(worker).attachOutside(id, shares)),
      detachInside: (id, closed) => this.#detach('detach-inside', id, closed),
      detachOutside: (id, closed) => this.#detach('detach-outside', id, closed),
    });
    this.#steering = new WorkerSteering({ ...options, workers, owners: this.#owners, groups: () => this.#ports.vxlanGroups() });
  }

  apply(state: ForwardingState): void {
    this.#state = this.#threads.length === 1 ? state : this.#owners.assign(state);
    this.#matchPorts();
    for (const worker of this.#threads.keys()) this.#sendState(worker);
  }

  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void {
    this.#threads[0]!.send({ kind: 'ike', outside, remote, bytes });
  }

  sendNatKeepalive(outside: number, remote: Endpoint): void {
    this.#threads[0]!.send({ kind: 'keepalive', outside, remote });
  }

  counters(): ForwarderCounters {
    return mergeCounters(this.countersByWorker());
  }

  countersByWorker(): readonly ForwarderCounters[] {
    return this.#pages.map(readCounters);
  }

  /** Calls `answered` when the loops of all threads have taken the question. */
  probe(answered: () => void): void {
    let waiting = this.#threads.length;
    for (const thread of this.#threads) thread.probe(() => --waiting === 0 && answered());
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#portsTimer?.();
    this.#steering.stop();
    await Promise.all(this.#threads.map((thread) => thread.close()));
    this.#ports.closeAll();
    this.#rings.close();
  }

  #userOf(worker: number): Pick<PortUser, 'attachInside' | 'attachOutside'> {
    const thread = this.#threads[worker]!;
    return {
      attachInside: (id, links) => {
        const own = links[worker];
        thread.send({ kind: 'attach-inside', id, port: describePort(own ?? links[0]!), reads: own !== undefined });
      },
      attachOutside: (id, shares) => thread.send({ kind: 'attach-outside', id, ports: describedAll(shares[worker]!) }),
    };
  }

  #detach(kind: 'detach-inside' | 'detach-outside', id: number, closed: () => void): void {
    let waiting = this.#threads.length;
    for (const thread of this.#threads) thread.release((token) => ({ kind, id, token }), () => --waiting === 0 && closed());
  }

  #restarted(worker: number): void {
    this.#ports.attachAll(this.#userOf(worker));
    this.#sendState(worker);
  }

  /** Devices that somebody removed are made anew. */
  #renewDevices(): void {
    const lost = this.#ports.closeLost((link) => this.#options.devices.isAttached(link));
    if (lost.length === 0) return;
    for (const { vr, device } of lost) this.#options.log.warning('forwarder device was removed and is made anew', { vr, device });
    this.#matchPorts();
    for (const vr of new Set(lost.map((each) => each.vr))) this.onEvent({ kind: 'device-renewed', vr });
  }

  #sendState(worker: number): void {
    const state = this.#threads.length === 1 ? this.#state : shareOf(this.#state, worker);
    this.#threads[worker]!.send({ kind: 'apply', state });
  }

  #event(worker: number, event: ForwarderEvent): void {
    if (event.kind !== 'applied') {
      if (event.kind === 'endpoint-moved') this.#steering.moved(event.tunnel, event.remote.address);
      this.onEvent(event);
      return;
    }
    this.#applied[worker] = event.version;
    const everywhere = Math.min(...this.#applied);
    if (everywhere <= this.#reported) return;
    this.#reported = everywhere;
    this.onEvent({ kind: 'applied', version: everywhere });
  }

  #matchPorts(): void {
    this.#portsTimer?.();
    this.#portsTimer = undefined;
    const complete = this.#ports.match(this.#state);
    this.#steering.update();
    if (complete) return;
    const { clock } = this.#options;
    this.#portsTimer = clock.at(after(clock.now(), PORT_RETRY_MS), () => this.#matchPorts());
  }
}

function describedAll({ vxlan, natt, esp }: OutsidePorts): OutsideDescriptions {
  return { vxlan: vxlan.map(describePort), natt: natt.map(describePort), esp: esp.map(describePort) };
}
