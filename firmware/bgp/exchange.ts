// Routes between peers: what an UPDATE changes, who must hear of it, and the filters in between. Sessions and time
// belong to the speaker; this is the part that looks at routes.
import { concat } from '../../platform/bytes.ts';
import type { Instant } from '../../platform/time.ts';
import { AS_SEQUENCE, AS_SET } from '../wire/bgp/attributes.ts';
import type { Family } from '../wire/bgp/family.ts';
import { RTC, familyName, sameFamily } from '../wire/bgp/family.ts';
import type { ParsedNlri, RouteTargetNlri } from '../wire/bgp/nlri.ts';
import { nlriKey } from '../wire/bgp/nlri.ts';
import type { Announcement, Update } from '../wire/bgp/update.ts';
import { problemText } from '../wire/bgp/update.ts';
import type { PathSource } from './decision.ts';
import type { BgpOutput } from './events.ts';
import { Exporter } from './export.ts';
import type { ExportSelf } from './export.ts';
import type { Neighbor } from './neighbor.ts';
import type { OutputQueue } from './output-queue.ts';
import type { RibChange, RibEntry } from './rib.ts';
import { Rib } from './rib.ts';
import type { BgpRoute } from './route.ts';
import { DEFAULT_LOCAL_PREF } from './route.ts';
import { configuredFilter, isTargetFamily, membershipFilter } from './targets.ts';

/** Source id of this box's own routes. */
export const LOCAL = '';

const MOST_WRITE_BYTES = 65_536;

/** Why a peer may not announce a route; undefined accepts it. */
export type AcceptPolicy = (peerId: string, route: BgpRoute) => string | undefined;

export class RouteExchange {
  readonly rib = new Rib();
  /** Peers that have something to be written or a filter to be renewed. */
  readonly dirty = new Set<Neighbor>();
  readonly #self: ExportSelf;
  readonly #accept: AcceptPolicy | undefined;
  readonly #neighbors: ReadonlyMap<string, Neighbor>;
  readonly #outputs: OutputQueue<BgpOutput>;
  readonly #local: PathSource;
  readonly #exporter: Exporter;

  constructor(self: ExportSelf, accept: AcceptPolicy | undefined, neighbors: ReadonlyMap<string, Neighbor>, outputs: OutputQueue<BgpOutput>) {
    this.#self = self;
    this.#accept = accept;
    this.#neighbors = neighbors;
    this.#outputs = outputs;
    this.#local = { id: LOCAL, kind: 'local', routerId: self.routerId, address: self.routerId };
    this.#exporter = new Exporter(self);
  }

  originate(route: BgpRoute): void {
    this.#apply(this.rib.set(this.#local, route), LOCAL);
  }

  /** Removes one source's path; nothing happens when there is none. */
  remove(source: string, family: Family, key: string): void {
    const change = this.rib.remove(source, family, key);
    if (change) this.#apply(change, source);
  }

  /** Removes a peer's paths that `keep` does not want; all of them without it. */
  drop(neighbor: Neighbor, keep?: (entry: RibEntry, stale: boolean) => boolean): void {
    const { id } = neighbor.config;
    for (const entry of this.rib.of(id)) if (!keep?.(entry, entry.paths.get(id)!.stale)) this.remove(id, entry.family, entry.key);
  }

  markStale(neighbor: Neighbor, family: Family): void {
    for (const entry of this.rib.markStale(neighbor.config.id, family)) {
      this.#tellBest(entry);
      this.#queueEverywhere(entry);
    }
  }

  /** Removes a peer's stale paths, of one family or of all; returns how many there were. */
  sweep(neighbor: Neighbor, family?: Family): number {
    const { id } = neighbor.config;
    let swept = 0;
    for (const entry of this.rib.of(id, family)) {
      if (!entry.paths.get(id)!.stale) continue;
      swept++;
      this.remove(id, entry.family, entry.key);
    }
    neighbor.counters.staleExpired += swept;
    return swept;
  }

  // -------------------------------------------------------------------------------------------------- coming in

  /** Applies an UPDATE of an established session. End-of-RIB and the prefix limit are the speaker's. */
  receive(neighbor: Neighbor, update: Update, now: Instant): void {
    const { id } = neighbor.config;
    if (update.problems.length > 0) {
      neighbor.counters.updatesMalformed++;
      const problems = problemText(update.problems);
      if (neighbor.mayRemark(now)) this.#outputs.push(neighbor.log('warning', 'BGP UPDATE has malformed attributes', { problems }));
    }
    for (const { family, nlri } of update.withdrawn) for (const item of nlri) this.remove(id, family, nlriKey(item));
    for (const announcement of update.announced) {
      if (!neighbor.exportPeer?.families.has(familyName(announcement.family))) {
        neighbor.counters.routesIgnored += announcement.nlri.length;
        continue;
      }
      const looped = this.#looped(neighbor, update);
      for (const nlri of announcement.nlri) {
        if (looped) this.#refuseLoop(neighbor, announcement.family, nlri);
        else this.#import(neighbor, announcement, nlri, update, now);
      }
    }
  }

  /** Whether the routes of this UPDATE passed here before (RFC 4456 8, RFC 4271 9.1.2). */
  #looped(neighbor: Neighbor, { attributes }: Update): boolean {
    const { asNumber, routerId, clusterId } = this.#self;
    if (attributes.originatorId === routerId || attributes.clusterList.includes(clusterId)) return true;
    return neighbor.external && attributes.asPath.some(({ type, asNumbers }) => (type === AS_SEQUENCE || type === AS_SET) && asNumbers.includes(asNumber));
  }

  #refuseLoop(neighbor: Neighbor, family: Family, nlri: ParsedNlri): void {
    neighbor.counters.routesLooped++;
    this.remove(neighbor.config.id, family, nlriKey(nlri));
  }

  #import(neighbor: Neighbor, { family, nextHop }: Announcement, nlri: ParsedNlri, { attributes }: Update, now: Instant): void {
    const { id } = neighbor.config;
    const route: BgpRoute = { ...attributes, localPref: attributes.localPref ?? DEFAULT_LOCAL_PREF, family, key: nlriKey(nlri), nlri, nextHop };
    const cause = this.#accept?.(id, route);
    if (cause === undefined) return this.#apply(this.rib.set(neighbor.source, route), id);
    neighbor.counters.routesRefused++;
    if (neighbor.mayRemark(now)) this.#outputs.push(neighbor.log('warning', 'BGP route refused', { family: familyName(family), route: route.key, cause }));
    this.remove(id, family, route.key);
  }

  /** Tells the owner, and queues for the peers, what a change of one source's path means. */
  #apply({ entry, pathChanged, bestChanged }: RibChange, source: string): void {
    const { family, key } = entry;
    const membership = sameFamily(family, RTC);
    if (pathChanged && source !== LOCAL) {
      this.#outputs.push({ kind: 'route', peer: source, family, key, route: entry.paths.get(source)?.route });
      const neighbor = membership ? this.#neighbors.get(source) : undefined;
      if (neighbor) this.filterChanged(neighbor);
    }
    if (bestChanged) this.#tellBest(entry);
    if (bestChanged || (membership && pathChanged)) this.#queueEverywhere(entry);
  }

  #tellBest({ family, key, best }: RibEntry): void {
    this.#outputs.push({ kind: 'best', family, key, route: best?.route, peer: best?.source.id ?? LOCAL });
  }

  // -------------------------------------------------------------------------------------------------- going out

  #queueEverywhere(entry: RibEntry): void {
    for (const neighbor of this.#neighbors.values()) this.#queue(neighbor, entry);
  }

  /** Queues everything of a family that a peer should know and does not. */
  queueAll(neighbor: Neighbor, family: Family): void {
    for (const entry of this.rib.entries(family)) this.#queue(neighbor, entry);
  }

  #queue(neighbor: Neighbor, entry: RibEntry): void {
    if (!neighbor.exportPeer || !neighbor.out) return;
    neighbor.out.queue(entry, this.#exporter.export(entry, neighbor.exportPeer));
    this.dirty.add(neighbor);
  }

  /** The peer's memberships or configured targets changed. */
  filterChanged(neighbor: Neighbor): void {
    neighbor.filterIsOld = true;
    this.dirty.add(neighbor);
  }

  #refilter(neighbor: Neighbor): void {
    neighbor.filterIsOld = false;
    if (!neighbor.negotiated) return;
    neighbor.setFilter(neighbor.hasRouteTargetConstraint ? membershipFilter(this.#memberships(neighbor)) : configuredFilter(neighbor.config.routeTargets));
    for (const family of neighbor.negotiated.families) if (isTargetFamily(family)) this.queueAll(neighbor, family);
  }

  *#memberships(neighbor: Neighbor): IterableIterator<RouteTargetNlri> {
    for (const { nlri } of this.rib.of(neighbor.config.id, RTC)) if (nlri.kind === 'route-target') yield nlri;
  }

  /** Brings the filter up to date and writes what waits for the peer. `mayEnd` allows End-of-RIB markers. */
  flush(neighbor: Neighbor, mayEnd: boolean): void {
    if (neighbor.filterIsOld) this.#refilter(neighbor);
    if (!neighbor.writable) return;
    this.dirty.delete(neighbor);
    const flushed = neighbor.out?.flush((family) => mayEnd && neighbor.mayEnd(family));
    if (!flushed) return;
    for (const batch of batches(flushed.messages)) neighbor.session.send(concat(...batch), batch.length);
    neighbor.counters.routesTooLarge += flushed.tooLarge.length;
    for (const nlri of flushed.tooLarge) {
      this.#outputs.push(neighbor.log('error', 'BGP route is too large for the peer and is withheld', { route: nlriKey(nlri) }));
    }
  }
}

/** Runs of messages that go out in one write. */
function* batches(messages: readonly Uint8Array[]): IterableIterator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let length = 0;
  for (const message of messages) {
    if (length + message.length > MOST_WRITE_BYTES && batch.length > 0) {
      yield batch;
      batch = [];
      length = 0;
    }
    batch.push(message);
    length += message.length;
  }
  if (batch.length > 0) yield batch;
}
