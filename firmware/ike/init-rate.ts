// How fast IKE_SA_INIT is answered: token buckets per source, per source network and in all. The first two are spent by
// every request, so that one prefix cannot use up what there is; the last one only by requests that cost a Diffie-Hellman
// exchange. When half of that is spent cookies are asked for, so that forged sources cannot spend the rest (RFC 7296 2.6).
import type { Instant } from '../../platform/time.ts';
import type { Admission, InitOrigin } from './half-open.ts';

export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export interface InitRates {
  /** An IPv4 address or IPv6 /64; an overlay address. One establishment takes up to four requests. */
  readonly perSource: Rate;
  /** An IPv4 /24 or IPv6 /48. */
  readonly perNetwork: Rate;
  readonly total: Rate;
}

/** Sources and networks that are remembered; the one that was silent longest goes first, and has its burst again then. */
const MAX_BUCKETS = 4096;

interface Bucket {
  tokens: number;
  filled: Instant;
}

export class InitRate {
  readonly #rates: InitRates;
  /** Insertion order is the order of last use. */
  readonly #sources = new Map<string, Bucket>();
  readonly #networks = new Map<string, Bucket>();
  #total: Bucket | undefined;

  constructor(rates: InitRates) {
    this.#rates = rates;
  }

  /** Spends a token of the origin; false: it has none left. */
  take({ source, network }: InitOrigin, now: Instant): boolean {
    const { perSource, perNetwork } = this.#rates;
    // A source that is over its rate must not spend its neighbours' tokens as well.
    return spend(bucketOf(this.#sources, source, perSource, now)) && (network === undefined || spend(bucketOf(this.#networks, network, perNetwork, now)));
  }

  /** What the load as a whole says of one more exchange. */
  judge(now: Instant): Admission {
    const { tokens } = this.#filledTotal(now);
    if (tokens < 1) return 'full';
    return tokens * 2 <= this.#rates.total.burst ? 'cookie' : 'admit';
  }

  /** An exchange is made. */
  spendTotal(now: Instant): void {
    spend(this.#filledTotal(now));
  }

  #filledTotal(now: Instant): Bucket {
    this.#total ??= { tokens: this.#rates.total.burst, filled: now };
    return fill(this.#total, this.#rates.total, now);
  }
}

function bucketOf(buckets: Map<string, Bucket>, key: string, rate: Rate, now: Instant): Bucket {
  const bucket = fill(buckets.get(key) ?? { tokens: rate.burst, filled: now }, rate, now);
  buckets.delete(key);
  buckets.set(key, bucket);
  if (buckets.size > MAX_BUCKETS) buckets.delete(buckets.keys().next().value!);
  return bucket;
}

function fill(bucket: Bucket, { perSecond, burst }: Rate, now: Instant): Bucket {
  bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.filled) / 1000) * perSecond);
  bucket.filled = now;
  return bucket;
}

function spend(bucket: Bucket): boolean {
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}
