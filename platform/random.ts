// All entropy of the product. SeededRandom exists for the simulator, tests and fuzzers: same seed, same run.
import { randomFillSync } from 'node:crypto';

export interface Random {
  /** `length` fresh octets, owned by the caller. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** An unsigned 32-bit integer. */
  uint32(): number;
}

/** A uniform integer in [0, bound). Bias is below 2^-20 for the small bounds used for jitter and choices. */
export function randomBelow(random: Random, bound: number): number {
  return Math.floor((random.uint32() / 0x1_0000_0000) * bound);
}

const POOL_BYTES = 1024;

/** Small draws come from a pool, as one call of OpenSSL costs as much as hundreds of octets do; what was given out is wiped. */
export class SystemRandom implements Random {
  readonly #pool = new Uint8Array(POOL_BYTES);
  #used = POOL_BYTES;

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (length > POOL_BYTES) return randomFillSync(new Uint8Array(length));
    if (this.#used + length > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const drawn = this.#pool.slice(this.#used, this.#used + length);
    this.#pool.fill(0, this.#used, this.#used + length);
    this.#used += length;
    return drawn;
  }

  uint32(): number {
    const drawn = this.bytes(4);
    return ((drawn[0]! << 24) | (drawn[1]! << 16) | (drawn[2]! << 8) | drawn[3]!) >>> 0;
  }
}

/** xoshiro128** seeded through splitmix32; not for keys outside simulation and tests. */
export class SeededRandom implements Random {
  readonly #state = new Uint32Array(4);

  constructor(seed: number | string) {
    let mix = 0x9e3779b9;
    for (const char of String(seed)) mix = Math.imul(mix ^ char.codePointAt(0)!, 0x85ebca6b) >>> 0;
    for (let i = 0; i < 4; i++) {
      mix = (mix + 0x9e3779b9) >>> 0;
      let z = mix;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.#state[i] = z ^ (z >>> 15);
    }
  }

  uint32(): number {
    const s = this.#state;
    const product = Math.imul(s[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.uint32() >>> 24;
    return out;
  }

  /** An independent stream, so that adding a node does not shift every other node's numbers. */
  fork(label: string): SeededRandom {
    return new SeededRandom(`${label}:${this.#state.join(',')}`);
  }
}
