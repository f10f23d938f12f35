// How many peers may be between IKE_SA_INIT and IKE_AUTH: in all, per source and per source network (RFC 7296 2.6, 2.21.1).
import type { IpAddress } from '../model.ts';
import { parsePrefix, prefixText } from '../wire/address.ts';

export interface HalfOpenLimits {
  /** From this many on, cookies are asked for. */
  readonly cookieThreshold: number;
  /** Beyond this many nothing is answered. */
  readonly total: number;
  /** Beyond this many of one IPv4 address or IPv6 /64 nothing is answered; cookies begin at half of it. Default: as many as per network. */
  readonly perSource?: number;
  /** The same for an IPv4 /24 or IPv6 /48. */
  readonly perNetwork: number;
}

export type Admission = 'admit' | 'cookie' | 'full';

/** Whom a request counts for. */
export interface InitOrigin {
  /** IPv4 address or IPv6 /64: what one customer has. */
  readonly source: string;
  /** IPv4 /24 or IPv6 /48: what one attacker may rent. Undefined: only the source counts. */
  readonly network: string | undefined;
}

/**
 * Overlay peers count one by one: all of a tenant's branches come from one pool, and after a Controller's restart all of
 * them come at once.
 */
export function originOf(address: IpAddress, overlay: boolean): InitOrigin {
  if (overlay) return { source: address, network: undefined };
  const { bytes } = parsePrefix(address);
  return bytes.length === 4 ? { source: address, network: prefixText(bytes, 24) } : { source: prefixText(bytes, 64), network: prefixText(bytes, 48) };
}

export class HalfOpenTable {
  readonly #limits: Required<HalfOpenLimits>;
  readonly #sources = new Map<string, number>();
  readonly #networks = new Map<string, number>();
  #total = 0;

  constructor(limits: HalfOpenLimits) {
    this.#limits = { perSource: limits.perNetwork, ...limits };
  }

  judge({ source, network }: InitOrigin): Admission {
    const { cookieThreshold, total, perSource, perNetwork } = this.#limits;
    const here = this.#sources.get(source) ?? 0;
    const around = network === undefined ? 0 : (this.#networks.get(network) ?? 0);
    if (this.#total >= total || here >= perSource || around >= perNetwork) return 'full';
    return this.#total >= cookieThreshold || here * 2 >= perSource || around * 2 >= perNetwork ? 'cookie' : 'admit';
  }

  add(origin: InitOrigin): void {
    this.#count(origin, 1);
  }

  remove(origin: InitOrigin): void {
    this.#count(origin, -1);
  }

  #count({ source, network }: InitOrigin, change: number): void {
    this.#total += change;
    changeCount(this.#sources, source, change);
    if (network !== undefined) changeCount(this.#networks, network, change);
  }
}

function changeCount(counts: Map<string, number>, key: string, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count <= 0) counts.delete(key);
  else counts.set(key, count);
}
