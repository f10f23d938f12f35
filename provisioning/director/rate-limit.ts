// Token buckets by address for the routes that devices reach. Memory is bounded: the address unseen longest goes first.
import type { Clock, Instant } from '../../platform/time.ts';

const BURST_REQUESTS = 60;
const REQUESTS_PER_SECOND = 10;
const ADDRESS_LIMIT = 4096;

interface Bucket {
  tokens: number;
  filled: Instant;
}

export class RateLimit {
  readonly #clock: Clock;
  /** Insertion order is the order of last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True when the address may go on; spends one token. */
  take(address: string): boolean {
    const now = this.#clock.now();
    const bucket = this.#buckets.get(address) ?? { tokens: BURST_REQUESTS, filled: now };
    bucket.tokens = Math.min(BURST_REQUESTS, bucket.tokens + ((now - bucket.filled) / 1000) * REQUESTS_PER_SECOND);
    bucket.filled = now;
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket);
    if (this.#buckets.size > ADDRESS_LIMIT) this.#buckets.delete(this.#buckets.keys().next().value!);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }
}
