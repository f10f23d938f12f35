// A route as the speaker keeps it: NLRI, next hop and attributes, with the identity that replaces and withdraws it.
import { equalBytes } from '../../platform/bytes.ts';
import type { IpAddress } from '../model.ts';
import type { PathAttributes } from '../wire/bgp/attributes.ts';
import { NO_ATTRIBUTES, ORIGIN_IGP, encodeAttributes } from '../wire/bgp/attributes.ts';
import { isRouteTarget, routeTarget } from '../wire/bgp/community.ts';
import type { Family } from '../wire/bgp/family.ts';
import { RTC } from '../wire/bgp/family.ts';
import type { ParsedNlri } from '../wire/bgp/nlri.ts';
import { nlriKey, routeTargetMembership } from '../wire/bgp/nlri.ts';

export const DEFAULT_LOCAL_PREF = 100;

export interface BgpRoute extends PathAttributes {
  readonly family: Family;
  /** nlriKey(nlri): `65000:2|10.1.0.0/24`, or the hex digits of a SAFI 74 item. Unique within the family. */
  readonly key: string;
  readonly nlri: ParsedNlri;
  readonly nextHop: IpAddress;
  readonly localPref: number;
}

/** A route with the attributes given; the rest as a route that this box originates. */
export function makeRoute(family: Family, nlri: ParsedNlri, nextHop: IpAddress, attributes: Partial<PathAttributes> = {}): BgpRoute {
  const all = { ...NO_ATTRIBUTES, origin: ORIGIN_IGP, ...attributes };
  return { ...all, localPref: all.localPref ?? DEFAULT_LOCAL_PREF, family, key: nlriKey(nlri), nlri, nextHop };
}

/** The membership that asks peers for routes with `target` (`65000:2`); for every route without it (RFC 4684 4). */
export function makeRouteTargetMembership(asNumber: number, nextHop: IpAddress, target?: string): BgpRoute {
  return makeRoute(RTC, routeTargetMembership(asNumber, target === undefined ? undefined : routeTarget(target)), nextHop);
}

export function routeTargetsOf(route: BgpRoute): Uint8Array[] {
  return route.extendedCommunities.filter(isRouteTarget);
}

/** Whether an announcement changes nothing. Both have the same family and key. */
export function sameRoute(a: BgpRoute, b: BgpRoute): boolean {
  if (a === b) return true;
  if (a.nextHop !== b.nextHop || (a.nlri.kind === 'vpn' && b.nlri.kind === 'vpn' && a.nlri.label !== b.nlri.label)) return false;
  return equalBytes(encodeAttributes(a), encodeAttributes(b));
}
