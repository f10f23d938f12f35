// How many peers may be between IKE_SA_INIT and IKE_AUTH: in all, and per source network (RFC 7296 2.6, 2.21.1).
import type { IpAddress } from '../model.ts';
import { parsePrefix, prefixText } from '../wire/address.ts';

export interface HalfOpenLimits {
  /** From this many on, cookies are asked for. */
  readonly cookieThreshold: number;
  /** Beyond this many nothing is answered. */
  readonly total: number;
  /** Beyond this many of one IPv4 /24 or IPv6 /64 nothing is answered; cookies begin at half of it. */
  readonly perNetwork: number;
}

export const DEFAULT_HALF_OPEN_LIMITS: HalfOpenLimits = { cookieThreshold: 100, total: 1000, perNetwork: 10 };

export type Admission = 'admit' | 'cookie' | 'full';

/**
 * What the per-network limit counts by: IPv4 /24 or IPv6 /64. Overlay peers count one by one: all of a tenant's branches
 * come from one pool, and after a Controller's restart all of them come at once.
 */
export function originOf(address: IpAddress, overlay: boolean): string {
  if (overlay) return address;
  const { bytes } = parsePrefix(address);
  return prefixText(bytes, bytes.length === 4 ? 24 : 64);
}

export class HalfOpenTable {
  readonly #limits: HalfOpenLimits;
  readonly #origins = new Map<string, number>();
  #total = 0;

  constructor(limits: HalfOpenLimits) {
    this.#limits = limits;
  }

  judge(origin: string): Admission {
    const { cookieThreshold, total, perNetwork } = this.#limits;
    const here = this.#origins.get(origin) ?? 0;
    if (this.#total >= total || here >= perNetwork) return 'full';
    return this.#total >= cookieThreshold || here * 2 >= perNetwork ? 'cookie' : 'admit';
  }

  add(origin: string): void {
    this.#origins.set(origin, (this.#origins.get(origin) ?? 0) + 1);
    this.#total++;
  }

  remove(origin: string): void {
    const left = (this.#origins.get(origin) ?? 1) - 1;
    if (left === 0) this.#origins.delete(origin);
    else this.#origins.set(origin, left);
    this.#total--;
  }
}
