// What `show bgp` prints, as plain data: every configured peer with its state, and every path with its standing.
import type { Instant } from '../../platform/time.ts';
import type { IpAddress } from '../model.ts';
import { familyName } from '../wire/bgp/family.ts';
import type { BgpPeerConfig, Neighbor, NeighborCounters } from './neighbor.ts';
import type { Rib } from './rib.ts';
import type { BgpRoute } from './route.ts';
import type { SessionCounters, SessionState } from './session.ts';

export interface FamilySnapshot {
  /** `ipv4-vpn` */
  readonly name: string;
  readonly negotiated: boolean;
  readonly received: number;
  readonly sent: number;
}

export interface NeighborSnapshot {
  readonly id: string;
  readonly remote: IpAddress;
  readonly local: IpAddress;
  readonly remoteAs: number;
  readonly role: BgpPeerConfig['role'];
  readonly state: SessionState;
  /** 0 when not established. */
  readonly uptimeMs: number;
  readonly remoteRouterId: IpAddress | undefined;
  readonly holdSeconds: number;
  readonly families: readonly FamilySnapshot[];
  /** Why the last session or attempt ended; empty when none did. */
  readonly lastError: string;
  readonly counters: Readonly<SessionCounters & NeighborCounters>;
}

export interface RouteSnapshot {
  readonly family: string;
  readonly key: string;
  /** Empty for an own route. */
  readonly peer: string;
  readonly best: boolean;
  readonly stale: boolean;
  readonly route: BgpRoute;
}

export interface BgpSnapshot {
  readonly asNumber: number;
  readonly routerId: IpAddress;
  readonly clusterId: IpAddress;
  readonly reflector: boolean;
  readonly neighbors: readonly NeighborSnapshot[];
  readonly routes: readonly RouteSnapshot[];
}

type Self = Pick<BgpSnapshot, 'asNumber' | 'routerId' | 'clusterId' | 'reflector'>;

function neighborSnapshot(neighbor: Neighbor, rib: Rib, now: Instant): NeighborSnapshot {
  const { config, session, negotiated, out } = neighbor;
  const { id, remote, local, remoteAs, role } = config;
  return {
    id, remote, local, remoteAs, role,
    state: session.state,
    uptimeMs: session.establishedAt === undefined ? 0 : now - session.establishedAt,
    remoteRouterId: negotiated?.remoteRouterId,
    holdSeconds: negotiated ? negotiated.holdMs / 1000 : config.holdSeconds,
    families: config.families.map((family) => ({
      name: familyName(family),
      negotiated: neighbor.exportPeer?.families.has(familyName(family)) ?? false,
      received: rib.count(id, family),
      sent: out?.count(family) ?? 0,
    })),
    lastError: session.lastError,
    counters: { ...session.counters, ...neighbor.counters },
  };
}

export function snapshotOf(neighbors: Iterable<Neighbor>, rib: Rib, { asNumber, routerId, clusterId, reflector }: Self, now: Instant): BgpSnapshot {
  const routes: RouteSnapshot[] = [];
  for (const entry of rib.all()) {
    for (const path of entry.paths.values()) {
      const { source, route, stale } = path;
      routes.push({ family: familyName(entry.family), key: entry.key, peer: source.id, best: entry.best === path, stale, route });
    }
  }
  return { asNumber, routerId, clusterId, reflector, neighbors: [...neighbors].map((neighbor) => neighborSnapshot(neighbor, rib, now)), routes };
}
