// Which routes a peer wants: by its route target membership (RFC 4684) or by the targets configured for it.
import { toHex } from '../../platform/bytes.ts';
import { routeTarget } from '../wire/bgp/community.ts';
import type { Family } from '../wire/bgp/family.ts';
import { SAFI_SDWAN, SAFI_VPN } from '../wire/bgp/family.ts';
import type { RouteTargetNlri } from '../wire/bgp/nlri.ts';
import type { BgpRoute } from './route.ts';
import { routeTargetsOf } from './route.ts';

const ORIGIN_AS_BITS = 32;
const TARGET_BITS = 64;

/** The route targets that one peer wants. */
export interface TargetFilter {
  readonly everything: boolean;
  /** Hex digits of whole targets. */
  readonly exact: ReadonlySet<string>;
  /** Memberships shorter than a whole target. */
  readonly partial: readonly RouteTargetNlri[];
}

export const WANT_EVERYTHING: TargetFilter = { everything: true, exact: new Set(), partial: [] };

/** From configuration (`65000:2`); undefined wants everything. */
export function configuredFilter(targets: readonly string[] | undefined): TargetFilter {
  if (targets === undefined) return WANT_EVERYTHING;
  return { everything: false, exact: new Set(targets.map((text) => toHex(routeTarget(text)))), partial: [] };
}

/** From the memberships that the peer announced. The origin AS says who asks and filters nothing. */
export function membershipFilter(memberships: Iterable<RouteTargetNlri>): TargetFilter {
  const exact = new Set<string>();
  const partial: RouteTargetNlri[] = [];
  for (const membership of memberships) {
    const bits = membership.lengthBits - ORIGIN_AS_BITS;
    if (bits <= 0) return WANT_EVERYTHING;
    if (bits === TARGET_BITS) exact.add(toHex(membership.target));
    else partial.push(membership);
  }
  return { everything: false, exact, partial };
}

function startsWithBits(target: Uint8Array, prefix: Uint8Array, bits: number): boolean {
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = (0xff00 >>> Math.min(8, bits - bit)) & 0xff;
    if (((target[bit >>> 3]! ^ prefix[bit >>> 3]!) & mask) !== 0) return false;
  }
  return true;
}

/** Whether route targets restrict who gets routes of this family. */
export function isTargetFamily(family: Family): boolean {
  return family.safi === SAFI_VPN || family.safi === SAFI_SDWAN;
}

/** Whether the peer wants the route. A VPN route without a target belongs to nobody; a SAFI 74 route without one to all. */
export function wants(filter: TargetFilter, route: BgpRoute): boolean {
  if (filter.everything || !isTargetFamily(route.family)) return true;
  const targets = routeTargetsOf(route);
  if (targets.length === 0) return route.family.safi === SAFI_SDWAN;
  return targets.some(
    (target) =>
      filter.exact.has(toHex(target)) ||
      filter.partial.some((membership) => startsWithBits(target, membership.target, membership.lengthBits - ORIGIN_AS_BITS)),
  );
}
