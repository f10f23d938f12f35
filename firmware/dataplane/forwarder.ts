// The forwarder: ports, tables and the breath that moves packets between them. One per thread; it never waits.
//
// Error contract: neither what the network sends nor what a state says makes a method throw: it is left out and counted.
import type { AeadEngine } from '../../drivers/aead.ts';
import { appendPacket, createBurst, type Burst } from '../../drivers/burst.ts';
import type { Link } from '../../drivers/port.ts';
import { earlier, instant, type Instant } from '../../platform/time.ts';
import type { Endpoint, ForwarderCounters, ForwarderEvent, ForwardingState } from '../model.ts';
import { addressBytes, isAddress } from '../wire/address.ts';
import { applyState, resolvePorts } from './commands.ts';
import { countDrop, createCounterPage, readCounters, Reason, type CounterPage } from './counters.ts';
import { sendDummies } from './dummies.ts';
import { forwardHanded } from './handed.ts';
import { forwardInside } from './inside.ts';
import { forwardOutside } from './outside.ts';
import { familyOf, type OutsidePorts, type Slot } from './ports.ts';
import type { WorkerPort } from './ring.ts';
import { countDrops, flush } from './send.ts';
import { createTables, type Tables } from './tables.ts';
import { NEVER } from './tunnel.ts';

/** A deadline that has always passed. */
const AT_ONCE = instant(0);
const NON_ESP_MARKER_BYTES = 4;
/** DSCP CS6, network control (RFC 4594 3.2). */
const CONTROL_TRAFFIC_CLASS = 0xc0;
/** The worker with everything that belongs to no single tunnel. */
const HOME = 0;
const NATT_KEEPALIVE = Uint8Array.of(0xff);

export interface ForwarderOptions {
  readonly aead: AeadEngine;
  /** Called at the end of a breath or of `apply`, never in the middle of either. */
  onEvent(event: ForwarderEvent): void;
  /** Shared memory (counters.ts). Sequence numbers that a former forwarder left there are gone on from. */
  readonly counters?: CounterPage;
  /** Scratch memory, which forwarders that breathe on one thread may share. */
  readonly bursts?: readonly [Burst, Burst];
  /** Number among the workers of one box; 0 has everything that is not one tunnel's: clear TVIs, UDP 4500, raw ESP. */
  readonly worker?: number;
}

export class Forwarder {
  readonly #aead: AeadEngine;
  readonly #onEvent: (event: ForwarderEvent) => void;
  readonly #tables: Tables;
  readonly #burst: Burst;
  #dummiesDue: Instant | undefined;

  constructor(options: ForwarderOptions) {
    const [burst, extra] = options.bursts ?? [createBurst(), createBurst()];
    this.#burst = burst;
    this.#aead = options.aead;
    this.#onEvent = options.onEvent;
    this.#tables = createTables(options.aead, options.counters ?? createCounterPage(), extra, options.worker ?? 0);
  }

  /** The link stays the caller's: detaching does not close it. One that another worker reads is only written to. */
  attachInside(id: number, link: Link, reads = true): void {
    this.#tables.ports.attachLink(id, link, reads);
    this.#portsChanged();
  }

  /** Before the first state: another worker of the box. */
  attachWorker(worker: number, port: WorkerPort): void {
    const { ports, workers } = this.#tables;
    workers.set(worker, port);
    ports.attachWorker(worker, port);
    if (worker === HOME) this.#tables.home = ports.nextOf(ports.find('worker', worker, 0));
  }

  detachInside(id: number): void {
    this.#tables.ports.detach('link', id);
    this.#portsChanged();
  }

  /** The ports stay the caller's. */
  attachOutside(id: number, ports: OutsidePorts): void {
    this.#tables.provisional.clear();
    this.#tables.ports.attachOutside(id, ports);
    this.#portsChanged();
  }

  detachOutside(id: number): void {
    this.#tables.provisional.clear();
    this.#tables.ports.detachOutside(id);
    this.#portsChanged();
  }

  #portsChanged(): void {
    resolvePorts(this.#tables);
    this.#dummiesDue = AT_ONCE;
  }

  /** Puts a whole new state in force and reports 'applied'. */
  apply(state: ForwardingState): void {
    applyState(this.#tables, state);
    this.#dummiesDue = AT_ONCE;
    this.#onEvent({ kind: 'applied', version: state.version });
  }

  /** Sends an IKE message from UDP 4500 with the non-ESP marker (RFC 3948 2.2). */
  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void {
    const marked = new Uint8Array(NON_ESP_MARKER_BYTES + bytes.length);
    marked.set(bytes, NON_ESP_MARKER_BYTES);
    this.#sendNatt(outside, remote, marked);
  }

  /** Sends one octet 0xFF from UDP 4500 (RFC 3948 2.3). */
  sendNatKeepalive(outside: number, remote: Endpoint): void {
    this.#sendNatt(outside, remote, NATT_KEEPALIVE);
  }

  #sendNatt(outside: number, remote: Endpoint, datagram: Uint8Array): void {
    const { ports, page, extra } = this.#tables;
    const slot = ports.find('natt', outside, familyOf(remote.address));
    if (slot < 0 || !isAddress(remote.address)) {
      countDrop(page, Reason['ike-no-port']);
      return;
    }
    extra.count = 0;
    const i = appendPacket(extra, datagram);
    if (i < 0) {
      countDrop(page, Reason['ike-too-large']);
      return;
    }
    extra.address.set(addressBytes(remote.address), i * 16);
    extra.family[i] = familyOf(remote.address);
    extra.port[i] = remote.port;
    extra.tunnel[i] = -1;
    extra.mark[i] = CONTROL_TRAFFIC_CLASS;
    extra.next[i] = ports.nextOf(slot);
    ports.used[slot] = 1;
    flush(extra, ports);
    countDrops(extra, false, this.#tables, NEVER);
  }

  /** The descriptors to wait on, by slot; -1 where there is nothing to read. */
  descriptors(): readonly number[] {
    return this.#tables.ports.slots.map((slot) => (slot?.reads === true ? slot.port.fd : -1));
  }

  /** One burst from every port, or from those that `ready` marks by slot. Returns how many rows were read; 0 = idle. */
  breathe(now: Instant, ready?: Uint8Array): number {
    const { ports, events, probes, workers } = this.#tables;
    let moved = 0;
    for (let i = 0; i < ports.slots.length; i++) {
      const slot = ports.slots[i];
      if (slot === undefined || !slot.reads || (ready !== undefined && ready[i] === 0)) continue;
      if (slot.role === 'link') {
        const row = ports.rows[i]!;
        moved += row < 0 ? discard(slot, this.#burst) : forwardInside(slot, row, this.#burst, this.#tables, this.#aead, now);
      } else if (slot.role === 'worker') moved += forwardHanded(workers.get(slot.owner)!, this.#burst, this.#tables, this.#aead, now);
      else {
        moved += forwardOutside(slot, ports.nextOf(i), this.#burst, this.#tables, this.#aead, now);
      }
    }
    if (this.#dummiesDue !== undefined && now >= this.#dummiesDue) {
      this.#dummiesDue = sendDummies(this.#tables.extra, this.#tables, this.#aead, now);
    }
    if (probes.due !== undefined && now >= probes.due) probes.send(this.#tables.extra, this.#tables, this.#aead, now);
    if (events.waiting) for (const event of events.drain()) this.#onEvent(event);
    return moved;
  }

  /** When `breathe` has something to do without a packet. */
  deadline(): Instant | undefined {
    return earlier(this.#dummiesDue, this.#tables.probes.due);
  }

  readCounters(): ForwarderCounters {
    return readCounters(this.#tables.page);
  }

  /** Wipes all keys. The ports stay the caller's. */
  close(): void {
    this.#tables.sas.wipe();
  }
}

/** Empties a link that no state speaks of yet, so that nobody waits for it to be read. */
function discard(slot: Slot, burst: Burst): number {
  burst.count = 0;
  return slot.read(burst);
}
