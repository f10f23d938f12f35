// The control plane's side of a forwarder: on the same thread (simulator, tests), or on a worker thread of its own.
import { Worker } from 'node:worker_threads';
import type { AeadEngine } from '../../drivers/aead.ts';
import type { Burst } from '../../drivers/burst.ts';
import type { BurstPort, DatagramPort, Devices, Link, PortDescription } from '../../drivers/port.ts';
import type { Logger } from '../../platform/log.ts';
import { after, earlier, sleep, type CancelTimer, type Clock, type Instant } from '../../platform/time.ts';
import { createCounterPage, readCounters, type Capacity, type CounterPage } from '../dataplane/counters.ts';
import { Forwarder } from '../dataplane/forwarder.ts';
import type { WorkerCommand, WorkerReport, WorkerStart } from '../dataplane/mailbox.ts';
import { EMPTY_FORWARDING_STATE, type Endpoint, type ForwarderCounters, type ForwarderEvent, type ForwardingState } from '../model.ts';
import { ForwarderPorts } from './forwarder-ports.ts';

export interface ForwarderHandle {
  /** Opens the ports that the state wants, before it returns, and puts the state in force; 'applied' follows. */
  apply(state: ForwardingState): void;
  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void;
  /** One octet 0xFF from UDP 4500 (RFC 3948 2.3). */
  sendNatKeepalive(outside: number, remote: Endpoint): void;
  counters(): ForwarderCounters;
  onEvent: (event: ForwarderEvent) => void;
  close(): Promise<void>;
  readonly description: string;
}

/** Ports that could not be opened are tried again after this time. */
const PORT_RETRY_MS = 2000;
/** A thread that ends by itself is started again this often; the wait doubles each time. */
const MAX_RESTARTS = 5;
const RESTART_MS = 500;
const CLOSE_MS = 2000;

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
    this.#ports = new ForwarderPorts(options.devices, options.log, {
      attachInside: (id, link) => forwarder.attachInside(id, link),
      attachOutside: (id, ports) => forwarder.attachOutside(id, ports),
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

/** What the thread is woken with; drivers/open.ts makes one. */
export interface ThreadWakeup {
  readonly fd: number;
  wake(): void;
  close(): void;
}

export interface ThreadForwarderOptions {
  /** Native devices: their ports have descriptors. */
  readonly devices: Devices;
  readonly clock: Clock;
  readonly log: Logger;
  readonly wakeup: ThreadWakeup;
  readonly capacity?: Capacity;
}

/**
 * A forwarder on a worker thread. The main thread opens the ports and keeps them, so that a thread that died can be
 * started again; it goes on from the sequence numbers on the counter page, never below them.
 */
export class ThreadForwarder implements ForwarderHandle {
  onEvent: (event: ForwarderEvent) => void = () => undefined;
  readonly description = 'native drivers, worker thread';
  readonly #options: ThreadForwarderOptions;
  readonly #log: Logger;
  readonly #page: CounterPage;
  readonly #ports: ForwarderPorts;
  /** Ports that the thread was told to let go of, by token. */
  readonly #releases = new Map<number, () => void>();
  #probes: (() => void)[] = [];
  #worker: Worker | undefined;
  #state: ForwardingState = EMPTY_FORWARDING_STATE;
  #timer: CancelTimer | undefined;
  #nextToken = 1;
  #restarts = 0;
  #closing = false;

  constructor(options: ThreadForwarderOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#page = createCounterPage(options.capacity);
    this.#ports = new ForwarderPorts(options.devices, options.log, {
      attachInside: (id, link) => this.#send({ kind: 'attach-inside', id, port: described(link) }),
      attachOutside: (id, ports) => {
        const { vxlan, natt, esp } = ports;
        this.#send({ kind: 'attach-outside', id, ports: { vxlan: vxlan.map(described), natt: natt.map(described), esp: esp.map(described) } });
      },
      detachInside: (id, closed) => this.#send({ kind: 'detach-inside', id, token: this.#tokenFor(closed) }),
      detachOutside: (id, closed) => this.#send({ kind: 'detach-outside', id, token: this.#tokenFor(closed) }),
    });
    this.#start();
  }

  apply(state: ForwardingState): void {
    this.#state = state;
    this.#matchPorts();
    this.#send({ kind: 'apply', state });
  }

  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void {
    this.#send({ kind: 'ike', outside, remote, bytes });
  }

  sendNatKeepalive(outside: number, remote: Endpoint): void {
    this.#send({ kind: 'keepalive', outside, remote });
  }

  counters(): ForwarderCounters {
    return readCounters(this.#page);
  }

  /** Calls `answered` when the thread's loop has taken the question; a thread that is started again answers too. */
  probe(answered: () => void): void {
    this.#probes.push(answered);
    this.#send({ kind: 'probe' });
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#timer?.();
    const worker = this.#worker;
    if (worker !== undefined) {
      const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      this.#send({ kind: 'close' });
      await Promise.race([ended, sleep(CLOSE_MS)]);
      await worker.terminate();
    }
    this.#ports.closeAll();
    this.#releaseAll();
    this.#options.wakeup.close();
  }

  #start(): void {
    const start: WorkerStart = { counters: this.#page, wakeupFd: this.#options.wakeup.fd };
    const worker = new Worker(new URL('../dataplane/worker.ts', import.meta.url), { workerData: start, name: 'forwarder' });
    let cause = 'it ended by itself';
    worker.on('message', (report: WorkerReport) => this.#report(report));
    worker.on('error', (error) => (cause = (error as Error).message));
    worker.on('exit', () => this.#ended(worker, cause));
    this.#worker = worker;
  }

  #ended(worker: Worker, cause: string): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    this.#releaseAll();
    if (this.#closing) return;
    if (this.#restarts === MAX_RESTARTS) {
      this.#log.error('forwarder thread stays down', { cause, restarts: this.#restarts, nextStep: 'restart the appliance and report this cause' });
      return;
    }
    const waitMs = RESTART_MS * 2 ** this.#restarts++;
    this.#log.error('forwarder thread ended', { cause, restartMs: waitMs });
    this.#options.clock.at(after(this.#options.clock.now(), waitMs), () => {
      if (this.#closing) return;
      this.#start();
      this.#ports.attachAll();
      this.#send({ kind: 'apply', state: this.#state });
      if (this.#probes.length > 0) this.#send({ kind: 'probe' });
    });
  }

  #report(report: WorkerReport): void {
    switch (report.kind) {
      case 'event':
        this.onEvent(report.event);
        break;
      case 'released':
        this.#releases.get(report.token)?.();
        this.#releases.delete(report.token);
        break;
      case 'alive':
        for (const answered of this.#probes.splice(0)) answered();
        break;
      case 'problem':
        this.#log.error('forwarder thread cannot take over a port', { cause: report.message });
        break;
    }
  }

  #matchPorts(): void {
    this.#timer?.();
    this.#timer = undefined;
    if (this.#ports.match(this.#state)) return;
    const { clock } = this.#options;
    this.#timer = clock.at(after(clock.now(), PORT_RETRY_MS), () => this.#matchPorts());
  }

  #tokenFor(closed: () => void): number {
    const token = this.#nextToken++;
    if (this.#worker === undefined) closed();
    else this.#releases.set(token, closed);
    return token;
  }

  #releaseAll(): void {
    for (const closed of this.#releases.values()) closed();
    this.#releases.clear();
  }

  #send(command: WorkerCommand): void {
    this.#worker?.postMessage(command);
    this.#options.wakeup.wake();
  }
}

function described(port: BurstPort & (Link | DatagramPort)): PortDescription {
  return { kind: port.kind, name: port.name, fd: port.fd, local: port.kind === 'tun' ? undefined : port.local };
}
