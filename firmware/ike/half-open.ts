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

export class HalfOpenTable {
  readonly #limits: HalfOpenLimits;
  readonly #networks = new Map<string, number>();
  #total = 0;

  constructor(limits: HalfOpenLimits) {
    this.#limits = limits;
  }

  judge(address: IpAddress): Admission {
    const { cookieThreshold, total, perNetwork } = this.#limits;
    const here = this.#networks.get(networkOf(address)) ?? 0;
    if (this.#total >= total || here >= perNetwork) return 'full';
    return this.#total >= cookieThreshold || here * 2 >= perNetwork ? 'cookie' : 'admit';
  }

  add(address: IpAddress): void {
    const network = networkOf(address);
    this.#networks.set(network, (this.#networks.get(network) ?? 0) + 1);
    this.#total++;
  }

  remove(address: IpAddress): void {
    const network = networkOf(address);
    const left = (this.#networks.get(network) ?? 1) - 1;
    if (left === 0) this.#networks.delete(network);
    else this.#networks.set(network, left);
    this.#total--;
  }
}

function networkOf(address: IpAddress): string {
  const { bytes } = parsePrefix(address);
  return prefixText(bytes, bytes.length === 4 ? 24 : 64);
}
