// The product's forwarder on a simulated node: it breathes when a packet waits for it and when its own deadline comes.
import type { AeadEngine } from '../../drivers/aead.ts';
import type { Burst } from '../../drivers/burst.ts';
import type { Capacity } from '../../firmware/dataplane/counters.ts';
import type { Endpoint, ForwarderCounters, ForwarderEvent, ForwardingState } from '../../firmware/model.ts';
import { EMPTY_FORWARDING_STATE } from '../../firmware/model.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import { LocalForwarder } from '../../firmware/services/forwarder-thread.ts';
import { InternalError } from '../../platform/errors.ts';
import type { CancelTimer } from '../../platform/time.ts';
import { FakeAead } from './fake-aead.ts';
import type { SimNode } from './node.ts';

export interface SimForwarderOptions {
  /** The fake engine unless a scenario is about real ciphers. */
  readonly aead?: AeadEngine;
  readonly capacity?: Capacity;
  /** Shared by all forwarders of a world. */
  readonly bursts?: readonly [Burst, Burst];
}

/** Breaths of one moment; more means that packets circle. */
const MOST_BREATHS = 100_000;

export class SimForwarder implements ForwarderHandle {
  readonly #local: LocalForwarder;
  readonly #node: SimNode;
  readonly #clock: SimNode['site']['clock'];
  #cancel: CancelTimer | undefined;
  #closed = false;
  /** The newest that was applied. */
  state: ForwardingState = EMPTY_FORWARDING_STATE;

  constructor(node: SimNode, options: SimForwarderOptions = {}) {
    const { site, host } = node;
    this.#node = node;
    this.#clock = site.clock;
    this.#local = new LocalForwarder({ devices: host, log: site.log.channel('forwarder'), ...options, aead: options.aead ?? new FakeAead() });
    host.onReadable = () => this.#breathe();
  }

  get onEvent(): (event: ForwarderEvent) => void {
    return this.#local.onEvent;
  }

  set onEvent(listener: (event: ForwarderEvent) => void) {
    this.#local.onEvent = listener;
  }

  get description(): string {
    return this.#local.description;
  }

  apply(state: ForwardingState): void {
    this.state = state;
    this.#local.apply(state);
    // Ports that could not be opened are found, and tried again, by breathing.
    this.#clock.at(this.#clock.now(), () => this.#breathe());
  }

  sendIke(outside: number, remote: Endpoint, bytes: Uint8Array): void {
    this.#local.sendIke(outside, remote, bytes);
  }

  sendNatKeepalive(outside: number, remote: Endpoint): void {
    this.#local.sendNatKeepalive(outside, remote);
  }

  counters(): ForwarderCounters {
    return this.#local.counters();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#local.close();
  }

  #breathe(): void {
    if (this.#closed) return;
    for (let breaths = 0; this.#local.breathe(this.#clock.now()) > 0; breaths++) {
      if (breaths === MOST_BREATHS) throw new InternalError(`the forwarder of ${this.#node.name} moved packets for ${MOST_BREATHS} breaths at one moment`);
    }
    this.#arm();
  }

  #arm(): void {
    this.#cancel?.();
    const deadline = this.#local.deadline();
    this.#cancel = deadline === undefined || this.#closed ? undefined : this.#clock.at(deadline, () => this.#breathe());
  }
}
