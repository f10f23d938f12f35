// What a bad path does to packets, decided by one seed: each is lost, repeated, or held back so that later ones overtake
// it. Knows no device and no clock.
import type { Random } from '../../platform/random.ts';
import { randomBelow } from '../../platform/random.ts';

export const LOST_PERCENT = 10;
export const REPEATED_PERCENT = 5;
export const HELD_PERCENT = 10;
const SHORTEST_HOLD_MS = 2;
const LONGEST_HOLD_MS = 40;

export class LossyPath {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** After how many milliseconds each copy of the next packet arrives; none: it is lost. */
  next(): readonly number[] {
    if (this.#happens(LOST_PERCENT)) return [];
    const arrivals = [this.#happens(HELD_PERCENT) ? this.#holdMs() : 0];
    if (this.#happens(REPEATED_PERCENT)) arrivals.push(this.#holdMs());
    return arrivals;
  }

  #happens(percent: number): boolean {
    return randomBelow(this.#random, 100) < percent;
  }

  #holdMs(): number {
    return SHORTEST_HOLD_MS + randomBelow(this.#random, LONGEST_HOLD_MS - SHORTEST_HOLD_MS);
  }
}
