// The search for the largest packet that one peer's path carries (RFC 8899, in the packet sizes of the inside). It is
// asked with dummies inside the SA, so an answer proves the size and nobody on the way can forge one. Pure: the caller
// sends and says what was answered.
//
// base: is anybody there that answers? No: the configured MTU stays. -> ceiling: most paths carry it, one question tells.
// -> search: halving. -> found: confirmed again every 10 minutes, as paths change.
import { after, type Instant } from '../../platform/time.ts';

/** The smallest MTU that is looked for; a path that carries less cannot carry IPv6 inside either. */
export const LEAST_MTU = 1024;
/** Not worth another question. */
const CLOSE_ENOUGH_BYTES = 8;
const QUESTIONS_PER_SIZE = 3;
const PATIENCE_MS = 1_000;
const RECHECK_MS = 600_000;
/** Of the recheck time, so that the peers of a box are not asked all at once. */
const SPREAD = 0.2;
/** Odd numbers whose products spread neighbouring seeds. */
const GOLDEN = 0x9e37_79b1;
const MIX = 0x85eb_ca6b;

export interface Question {
  readonly innerBytes: number;
  readonly number: number;
}

type Phase = 'base' | 'ceiling' | 'confirm' | 'search' | 'rest';

export class PathSearch {
  readonly #ceiling: number;
  /** What is used while nothing larger is known to get through. */
  readonly #least: number;
  #phase: Phase = 'base';
  /** Largest size that was answered, 0 = none yet; smallest that was not. */
  #low = 0;
  #high: number;
  #asked: Question = { innerBytes: 0, number: 0 };
  #tries = 0;
  #number: number;
  #due: Instant;
  /** What may be sent now. */
  mtu: number;

  /** `seed` spreads searches of different peers in time; `ceiling` is the MTU that is hoped for. */
  constructor(ceiling: number, seed: number, now: Instant) {
    this.#ceiling = ceiling;
    this.#least = Math.min(LEAST_MTU, ceiling);
    this.#high = ceiling;
    this.#number = Math.imul(seed + 1, GOLDEN) >>> 0;
    this.#due = after(now, this.#share() * PATIENCE_MS);
    this.mtu = ceiling;
  }

  get ceiling(): number {
    return this.#ceiling;
  }

  get due(): Instant {
    return this.#due;
  }

  /** The question that is due, if one is. */
  next(now: Instant): Question | undefined {
    if (now < this.#due) return undefined;
    if (this.#phase === 'rest') this.#begin(this.#low > 0 ? 'confirm' : 'base');
    else if (this.#tries === QUESTIONS_PER_SIZE) {
      this.#unanswered(now);
      if (now < this.#due) return undefined;
    }
    this.#tries++;
    this.#number = (this.#number + 1) >>> 0;
    this.#asked = { innerBytes: this.#size(), number: this.#number };
    this.#due = after(now, PATIENCE_MS);
    return this.#asked;
  }

  /** An answer to an earlier question of the same size counts as well: it may have been slow. */
  answered(innerBytes: number, now: Instant): void {
    if (this.#phase === 'rest' || innerBytes !== this.#asked.innerBytes || this.#tries === 0) return;
    this.#low = Math.max(this.#low, innerBytes);
    if (this.#phase === 'base' || this.#phase === 'confirm') {
      this.#high = this.#ceiling;
      this.#go(this.#low >= this.#ceiling ? 'rest' : 'ceiling', now);
    } else {
      this.#go(this.#high - this.#low <= CLOSE_ENOUGH_BYTES || this.#low >= this.#ceiling ? 'rest' : 'search', now);
    }
    // Before the search has ended a larger size than the last confirmed one would be a guess.
    if (this.#phase !== 'ceiling' || this.mtu < this.#low) this.mtu = Math.max(this.#low, this.#least);
  }

  /** The host refuses what is sent (EMSGSIZE): the path, or a router on it, has told that it carries less. */
  refused(now: Instant): void {
    // Questions are refused as well, and then simply stay unanswered.
    if (this.#phase === 'search') return;
    this.#low = 0;
    this.#high = Math.min(this.#high, this.mtu);
    this.mtu = this.#least;
    this.#go('search', now);
  }

  /** The path is another one: what is known is worth nothing. */
  restart(now: Instant): void {
    this.#low = 0;
    this.#high = this.#ceiling;
    this.mtu = this.#ceiling;
    this.#go('base', now);
  }

  #unanswered(now: Instant): void {
    switch (this.#phase) {
      case 'base':
        this.mtu = this.#ceiling;
        this.#go('rest', now);
        return;
      case 'confirm':
        // What was carried once is no more: either less is, or nobody is there.
        this.#low = 0;
        this.#go('base', now);
        return;
      default:
        this.#high = this.#size();
        this.mtu = Math.max(this.#low, this.#least);
        this.#go(this.#high - Math.max(this.#low, this.#least) <= CLOSE_ENOUGH_BYTES ? 'rest' : 'search', now);
    }
  }

  #size(): number {
    switch (this.#phase) {
      case 'base':
        return this.#least;
      case 'ceiling':
        return this.#ceiling;
      case 'confirm':
        return this.#low;
      default:
        return (Math.max(this.#low, this.#least) + this.#high) >> 1;
    }
  }

  #go(phase: Phase, now: Instant): void {
    this.#begin(phase);
    this.#due = phase === 'rest' ? after(now, RECHECK_MS * (1 - SPREAD / 2 + SPREAD * this.#share())) : now;
  }

  #begin(phase: Phase): void {
    this.#phase = phase;
    this.#tries = 0;
  }

  #share(): number {
    const mixed = Math.imul(this.#number ^ (this.#number >>> 15), MIX);
    return ((mixed ^ (mixed >>> 13)) >>> 0) / 0x1_0000_0000;
  }
}
