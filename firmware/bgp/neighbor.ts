// One configured peer: its session, what was negotiated, what it was told, and the counters that `show` prints.
import type { Fields, LogEvent, LogLevel } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import type { IpAddress } from '../model.ts';
import type { Family } from '../wire/bgp/family.ts';
import { RTC, familyName, sameFamily } from '../wire/bgp/family.ts';
import { AdjRibOut } from './adj-rib-out.ts';
import type { PathSource } from './decision.ts';
import type { ExportPeer } from './export.ts';
import type { Negotiated } from './negotiation.ts';
import type { StreamNumbers } from './session.ts';
import { BgpSession } from './session.ts';
import type { TargetFilter } from './targets.ts';
import { configuredFilter, isTargetFamily, membershipFilter } from './targets.ts';

/** Log lines about one peer's bad routes per minute; the rest is only counted. */
const REMARKS_PER_MINUTE = 10;
const MINUTE_MS = 60_000;

export interface BgpPeerConfig {
  /** Unique name. */
  readonly id: string;
  readonly remote: IpAddress;
  readonly local: IpAddress;
  readonly remoteAs: number;
  /** What the peer is to this speaker when that reflects; a branch sees its Controllers as non-clients. */
  readonly role: 'client' | 'non-client';
  readonly passive: boolean;
  readonly families: readonly Family[];
  readonly holdSeconds: number;
  /** Route targets (`65000:2`) the peer gets when it does no route target constraint; absent = everything. */
  readonly routeTargets?: readonly string[];
  /** Routes of all families that it may announce; more end the session. */
  readonly maxPrefixes?: number;
}

export interface NeighborCounters {
  updatesMalformed: number;
  /** Announcements refused by the acceptance policy. */
  routesRefused: number;
  /** Announcements that came back to us (ORIGINATOR_ID, CLUSTER_LIST, AS_PATH). */
  routesLooped: number;
  /** Routes of families that were not negotiated. */
  routesIgnored: number;
  /** Routes that do not fit the peer's messages. */
  routesTooLarge: number;
  staleExpired: number;
  refreshesServed: number;
}

export interface SpeakerSelf {
  readonly asNumber: number;
  readonly routerId: IpAddress;
  readonly restarted: () => boolean;
}

/** Whether a new configuration needs a new session. */
export function needsNewSession(a: BgpPeerConfig, b: BgpPeerConfig): boolean {
  const session = ({ remote, local, remoteAs, role, passive, families, holdSeconds }: BgpPeerConfig): string =>
    JSON.stringify([remote, local, remoteAs, role, passive, families.map(familyName), holdSeconds]);
  return session(a) !== session(b);
}

export class Neighbor {
  config: BgpPeerConfig;
  readonly session: BgpSession;
  readonly external: boolean;
  readonly counters: NeighborCounters = {
    updatesMalformed: 0, routesRefused: 0, routesLooped: 0, routesIgnored: 0, routesTooLarge: 0, staleExpired: 0, refreshesServed: 0,
  };
  negotiated: Negotiated | undefined;
  out: AdjRibOut | undefined;
  exportPeer: ExportPeer | undefined;
  source: PathSource;
  /** Families whose End-of-RIB came on this session. */
  readonly ended = new Set<string>();
  /** RFC 4684 6: routes wait for the peer's memberships, but not for ever. */
  membershipsAwaited = false;
  filterIsOld = false;
  /** False while the stream's owner asks for silence; changes then wait in the Adj-RIB-Out. */
  writable = true;
  /** Families whose refresh waits for its turn. */
  readonly refreshDue = new Set<string>();
  readonly refreshedAt = new Map<string, Instant>();
  #remarksFrom: Instant | undefined;
  #remarks = 0;

  constructor(config: BgpPeerConfig, self: SpeakerSelf, random: Random, numbers: StreamNumbers) {
    this.config = config;
    this.external = config.remoteAs !== self.asNumber;
    this.session = new BgpSession({ ...self, ...config, external: this.external }, random, numbers);
    this.source = this.#sourceWith(config.remote);
  }

  #sourceWith(routerId: IpAddress): PathSource {
    return { id: this.config.id, kind: this.external ? 'external' : this.config.role, routerId, address: this.config.remote };
  }

  get hasRouteTargetConstraint(): boolean {
    return this.exportPeer?.families.has(familyName(RTC)) ?? false;
  }

  up(negotiated: Negotiated): void {
    this.negotiated = negotiated;
    this.source = this.#sourceWith(negotiated.remoteRouterId);
    this.ended.clear();
    this.writable = true;
    this.refreshDue.clear();
    this.refreshedAt.clear();
    this.out = new AdjRibOut(negotiated.families, negotiated.mostBytes);
    const families = new Set(negotiated.families.map(familyName));
    const constrained = negotiated.families.some((family) => sameFamily(family, RTC));
    this.membershipsAwaited = constrained;
    const filter = constrained ? membershipFilter([]) : configuredFilter(this.config.routeTargets);
    this.exportPeer = { source: this.source, local: this.config.local, filter, families, extendedNextHop: negotiated.extendedNextHop };
  }

  down(): void {
    this.negotiated = undefined;
    this.out = undefined;
    this.exportPeer = undefined;
  }

  setFilter(filter: TargetFilter): void {
    if (this.exportPeer) this.exportPeer = { ...this.exportPeer, filter };
  }

  /** Whether the peer has told all it had of every family, or will never say so. */
  get hasEnded(): boolean {
    const { negotiated } = this;
    if (!negotiated) return false;
    if (negotiated.gracefulRestart === undefined || negotiated.gracefulRestart.restarted) return true;
    return negotiated.families.every((family) => this.ended.has(familyName(family)));
  }

  /** Whether End-of-RIB of this family may be sent as far as this peer is concerned. */
  mayEnd(family: Family): boolean {
    return !(this.membershipsAwaited && isTargetFamily(family));
  }

  /** Whether one more log line about this peer's routes is due. */
  mayRemark(now: Instant): boolean {
    if (this.#remarksFrom === undefined || now - this.#remarksFrom >= MINUTE_MS) {
      this.#remarksFrom = now;
      this.#remarks = 0;
    }
    return ++this.#remarks <= REMARKS_PER_MINUTE;
  }

  /** A log line about this peer. */
  log(level: LogLevel, sentence: string, fields: Fields): { kind: 'log'; event: LogEvent } {
    return { kind: 'log', event: { level, sentence, fields: { peer: this.config.id, remote: this.config.remote, ...fields } } };
  }
}
