// Temporary management addresses for factory-fresh branches: one per staging identity while its IKE SA lives.
import { addressText, parsePrefix } from '../wire/address.ts';
import type { IpAddress } from '../model.ts';

/** Larger pools are cut: nobody stages more boxes at once, and the search stays short. */
const LARGEST_POOL = 4096;

export class StagingPool {
  readonly #first: Uint8Array;
  readonly #size: number;
  readonly #byIdentity = new Map<string, number>();
  readonly #taken = new Set<number>();
  #next = 0;

  /** `prefix` is IPv4, `10.254.0.0/24`; its first and last address are not given out. */
  constructor(prefix: string) {
    const { bytes, length } = parsePrefix(prefix);
    this.#first = bytes;
    this.#size = Math.min(LARGEST_POOL, Math.max(0, 2 ** (bytes.length * 8 - length) - 2));
  }

  /** The identity keeps its address as long as it holds one; undefined when the pool is exhausted. */
  assign(identity: string): IpAddress | undefined {
    const held = this.#byIdentity.get(identity);
    if (held !== undefined) return this.#address(held);
    for (let tries = 0; tries < this.#size; tries++) {
      const index = this.#next;
      this.#next = (this.#next + 1) % this.#size;
      if (this.#taken.has(index)) continue;
      this.#taken.add(index);
      this.#byIdentity.set(identity, index);
      return this.#address(index);
    }
    return undefined;
  }

  release(identity: string): void {
    const index = this.#byIdentity.get(identity);
    if (index === undefined) return;
    this.#byIdentity.delete(identity);
    this.#taken.delete(index);
  }

  #address(index: number): IpAddress {
    const bytes = this.#first.slice();
    let carry = index + 1;
    for (let i = bytes.length - 1; i >= 0 && carry > 0; i--) {
      carry += bytes[i]!;
      bytes[i] = carry & 0xff;
      carry >>>= 8;
    }
    return addressText(bytes);
  }
}
