// What Controllers ordered: one epoch per Controller, each acted upon once, and the order that waits for its time.
import type { Random } from '../../platform/random.ts';
import { randomBelow } from '../../platform/random.ts';
import type { IpAddress } from '../model.ts';
import type { RekeyReason } from '../wire/bgp/tunnel-encap-container.ts';
import { isUrgent } from './directive.ts';
import type { RekeyDirective } from './directive.ts';

const CONTROLLERS_MAX = 16;

export class RekeyOrders {
  readonly #epochs: Map<IpAddress, number>;
  #waiting: RekeyReason | undefined;

  constructor(epochs: Readonly<Record<IpAddress, number>>) {
    this.#epochs = new Map(Object.entries(epochs));
  }

  /** For `persist`. */
  get epochs(): Readonly<Record<IpAddress, number>> {
    return Object.fromEntries(this.#epochs);
  }

  /**
   * Whether this directive is to be acted upon. The first one ever seen of a Controller may stand since before this
   * boot; the key that the boot made fulfils it, so it is `old` when that key is not older than its not-before.
   */
  take(directive: RekeyDirective, old: boolean): 'known' | 'fulfilled' | 'act' {
    const acted = this.#epochs.get(directive.controller);
    if (acted === undefined ? this.#epochs.size >= CONTROLLERS_MAX : directive.epoch <= acted) return 'known';
    this.#epochs.set(directive.controller, directive.epoch);
    return acted === undefined && old ? 'fulfilled' : 'act';
  }

  /** How long until this node's own start within the spread; nothing for an urgent order. */
  delayMs(directive: RekeyDirective, startsInMs: number, random: Random): number {
    const spreadMs = randomBelow(random, directive.spreadSeconds * 1000 + 1);
    return isUrgent(directive.reason) ? 0 : Math.max(0, startsInMs) + spreadMs;
  }

  /** An urgent order is not replaced by one that can wait. */
  hold(reason: RekeyReason): void {
    if (this.#waiting === undefined || !isUrgent(this.#waiting)) this.#waiting = reason;
  }

  due(): RekeyReason | undefined {
    const reason = this.#waiting;
    this.#waiting = undefined;
    return reason;
  }
}
