// The decision process: one best path of all that peers announced and this box originates (RFC 4271 9.1.2.2, RFC 4456 9).
// Deviations: next hops are not resolved here (overlay addresses are; whoever uses the route checks), local routes win
// after LOCAL_PREF, and of otherwise equal paths a fresh one is preferred to one kept by graceful restart.
import { compareBytes } from '../../platform/bytes.ts';
import type { IpAddress } from '../model.ts';
import { addressBytes } from '../wire/address.ts';
import { AS_SEQUENCE, AS_SET } from '../wire/bgp/attributes.ts';
import type { BgpRoute } from './route.ts';

/** Where a path came from. */
export interface PathSource {
  /** Peer name; empty for this box itself. */
  readonly id: string;
  readonly kind: 'local' | 'client' | 'non-client' | 'external';
  readonly routerId: IpAddress;
  readonly address: IpAddress;
}

export interface Path {
  readonly source: PathSource;
  readonly route: BgpRoute;
  /** Kept although its session was lost, or not yet repeated after a refresh began. */
  stale: boolean;
}

/** Paths with the least `rank`. */
function least(paths: readonly Path[], rank: (path: Path) => number): readonly Path[] {
  if (paths.length < 2) return paths;
  const best = Math.min(...paths.map(rank));
  return paths.filter((path) => rank(path) === best);
}

function leastAddress(paths: readonly Path[], address: (path: Path) => IpAddress): readonly Path[] {
  if (paths.length < 2) return paths;
  const octets = paths.map((path) => addressBytes(address(path)));
  const best = octets.reduce((a, b) => (compareBytes(b, a) < 0 ? b : a));
  return paths.filter((_, i) => compareBytes(octets[i]!, best) === 0);
}

/** A set counts as one AS, a confederation segment as none (RFC 4271 9.1.2.2 a, RFC 5065 5.3). */
export function asPathLength(route: BgpRoute): number {
  let length = 0;
  for (const { type, asNumbers } of route.asPath) length += type === AS_SEQUENCE ? asNumbers.length : type === AS_SET ? 1 : 0;
  return length;
}

function neighbourAs(route: BgpRoute): number {
  const first = route.asPath.find((segment) => segment.type === AS_SEQUENCE);
  return first?.asNumbers[0] ?? 0;
}

/** MED compares only paths of the same neighbouring AS, so elimination is by pair (RFC 4271 9.1.2.2 c). */
function withoutWorseMed(paths: readonly Path[]): readonly Path[] {
  return paths.filter(({ route }) => !paths.some((other) => neighbourAs(other.route) === neighbourAs(route) && (other.route.med ?? 0) < (route.med ?? 0)));
}

/** The best of `paths`, independent of their order; undefined when there is none. */
export function selectBest(paths: readonly Path[]): Path | undefined {
  let left = least(paths, (path) => -path.route.localPref);
  left = least(left, (path) => (path.source.kind === 'local' ? 0 : 1));
  left = least(left, (path) => asPathLength(path.route));
  left = least(left, (path) => path.route.origin);
  left = withoutWorseMed(left);
  left = least(left, (path) => (path.source.kind === 'external' ? 0 : 1));
  left = least(left, (path) => (path.stale ? 1 : 0));
  left = leastAddress(left, (path) => path.route.originatorId ?? path.source.routerId);
  left = least(left, (path) => path.route.clusterList.length);
  left = leastAddress(left, (path) => path.source.address);
  return left[0];
}
