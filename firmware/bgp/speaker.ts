// A BGP speaker of one tenant: sessions to its peers, the routes they announce, and what each is told in turn.
// Supported: route reflection (RFC 4456), route target constraint (RFC 4684), graceful restart as helper (RFC 4724, 8538),
// enhanced route refresh (RFC 7313), extended messages (RFC 8654). One speaker serves one tenant, so there are no VRFs.
// Deviations: a restarting reflector sends routes at once and holds back only End-of-RIB until its peers ended theirs.
// Errors: a peer's mistakes end its session or withdraw its routes and nothing else; UsageError for unknown peers.
import { UsageError } from '../../platform/errors.ts';
import type { LogEvent, LogLevel } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { TimerTable, after, earlier, instant } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';
import type { IpAddress } from '../model.ts';
import { AS_SET, AS_SEQUENCE } from '../wire/bgp/attributes.ts';
import type { Family } from '../wire/bgp/family.ts';
import { RTC, familyName, sameFamily } from '../wire/bgp/family.ts';
import type { RouteRefresh } from '../wire/bgp/message.ts';
import { REFRESH_BEGINS, REFRESH_ENDS, REFRESH_REQUEST, encodeRouteRefresh } from '../wire/bgp/message.ts';
import type { ParsedNlri } from '../wire/bgp/nlri.ts';
import { nlriKey } from '../wire/bgp/nlri.ts';
import {
  CEASE_CONFIGURATION_CHANGE, CEASE_MAXIMUM_PREFIXES, CEASE_PEER_DECONFIGURED,
} from '../wire/bgp/notification.ts';
import type { Announcement, Update } from '../wire/bgp/update.ts';
import { problemText } from '../wire/bgp/update.ts';
import { concat } from '../../platform/bytes.ts';
import type { PathSource } from './decision.ts';
import { Exporter } from './export.ts';
import type { Negotiated } from './negotiation.ts';
import type { BgpPeerConfig } from './neighbor.ts';
import { Neighbor, needsNewSession } from './neighbor.ts';
import type { RibChange, RibEntry } from './rib.ts';
import { Rib } from './rib.ts';
import type { BgpRoute } from './route.ts';
import { DEFAULT_LOCAL_PREF } from './route.ts';
import type { SessionInput, SessionOutput, StreamNumbers } from './session.ts';
import type { BgpSnapshot } from './snapshot.ts';
import { snapshotOf } from './snapshot.ts';
import { configuredFilter, isTargetFamily, membershipFilter } from './targets.ts';

export type { BgpPeerConfig } from './neighbor.ts';

/** Routes of one peer, all families together, unless its configuration says otherwise. */
const DEFAULT_MAX_PREFIXES = 100_000;
/** How long a peer that announced too much stays stopped. */
const LIMIT_HOLD_MS = 60_000;
/** Longest time that routes outlive their session, and again that they wait for the peer's End-of-RIB. */
const STALE_MS = 120_000;
/** RFC 4684 6 */
const MEMBERSHIP_WAIT_MS = 60_000;
/** RFC 4724 4.1: Selection_Deferral_Timer. */
const DEFERRAL_MS = 60_000;
/** A peer gets the whole table of a family again at most this often. */
const REFRESH_INTERVAL_MS = 1_000;
const LOCAL = '';

export interface BgpSpeakerOptions {
  readonly asNumber: number;
  /** IPv4 text. */
  readonly routerId: IpAddress;
  /** IPv4 text; the router id without it. */
  readonly clusterId?: IpAddress;
  readonly reflector: boolean;
  readonly random: Random;
  readonly peers: readonly BgpPeerConfig[];
  /** Returns why a peer may not announce a route; it is then treated as withdrawn, logged and counted. */
  readonly acceptPolicy?: (peerId: string, route: BgpRoute) => string | undefined;
}

export type BgpInput =
  /** The whole new list. Peers that stay as they are keep their sessions. */
  | { readonly kind: 'peers'; readonly peers: readonly BgpPeerConfig[] }
  /** Streams that a peer opened have numbers below zero, chosen by the caller and never used twice. */
  | { readonly kind: 'stream-connected'; readonly peer: string; readonly stream: number; readonly incoming: boolean }
  | { readonly kind: 'stream-data'; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly kind: 'stream-closed'; readonly stream: number; readonly cause?: string | undefined }
  /** Optional: while false, nothing but keepalives is written and changes wait, one per route. */
  | { readonly kind: 'stream-writable'; readonly stream: number; readonly writable: boolean }
  | { readonly kind: 'originate'; readonly route: BgpRoute }
  | { readonly kind: 'withdraw'; readonly family: Family; readonly key: string }
  /** Asks a peer for all its routes again, after the acceptance policy changed. */
  | { readonly kind: 'refresh'; readonly peer: string }
  | { readonly kind: 'stop'; readonly peer: string; readonly reason: string }
  /** Ends a `stop`. */
  | { readonly kind: 'start'; readonly peer: string };

export type BgpOutput =
  | { readonly kind: 'connect'; readonly peer: string; readonly stream: number; readonly local: IpAddress; readonly remote: IpAddress }
  | { readonly kind: 'write'; readonly stream: number; readonly bytes: Uint8Array }
  /** The stream's number is forgotten; a later `stream-closed` for it is ignored. */
  | { readonly kind: 'close'; readonly stream: number }
  /** A change of what one peer announces; undefined = withdrawn, refused, or expired after its session was lost. */
  | { readonly kind: 'route'; readonly peer: string; readonly family: Family; readonly key: string; readonly route: BgpRoute | undefined }
  /** A change of the best path, own routes included. `peer` is empty for an own route. */
  | { readonly kind: 'best'; readonly family: Family; readonly key: string; readonly route: BgpRoute | undefined; readonly peer: string }
  | { readonly kind: 'peer-up'; readonly peer: string }
  | { readonly kind: 'peer-down'; readonly peer: string; readonly cause: string }
  | { readonly kind: 'log'; readonly event: LogEvent };

export class BgpSpeaker implements Machine<BgpInput, BgpOutput> {
  readonly #options: BgpSpeakerOptions;
  readonly #clusterId: IpAddress;
  readonly #local: PathSource;
  readonly #exporter: Exporter;
  readonly #rib = new Rib();
  readonly #neighbors = new Map<string, Neighbor>();
  readonly #streams = new Map<number, Neighbor>();
  readonly #numbers: StreamNumbers = { next: 1 };
  readonly #timers = new TimerTable<string>();
  readonly #outputs: BgpOutput[] = [];
  readonly #dirty = new Set<Neighbor>();
  /** Whether this reflector still collects routes after its start. */
  #deferring: boolean;

  constructor(options: BgpSpeakerOptions) {
    this.#options = options;
    const { asNumber, routerId, reflector } = options;
    this.#clusterId = options.clusterId ?? routerId;
    this.#local = { id: LOCAL, kind: 'local', routerId, address: routerId };
    this.#exporter = new Exporter({ asNumber, routerId, clusterId: this.#clusterId, reflector });
    this.#deferring = reflector;
    for (const peer of options.peers) this.#add(peer);
    this.#timers.set('begin', instant(0));
  }

  poll(): BgpOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    let deadline = this.#timers.next();
    for (const { session } of this.#neighbors.values()) deadline = earlier(deadline, session.deadline());
    return deadline;
  }

  /** Peers and routes for `show`; plain data. */
  snapshot(now: Instant): BgpSnapshot {
    return snapshotOf(this.#neighbors.values(), this.#rib, { ...this.#options, clusterId: this.#clusterId }, now);
  }

  handle(input: BgpInput | Timeout, now: Instant): void {
    if (this.#timers.get('begin') !== undefined) this.#begin(now);
    switch (input.kind) {
      case 'timeout':
        this.#timeout(now);
        break;
      case 'peers':
        this.#configure(input.peers, now);
        break;
      case 'stream-connected':
        this.#connected(input.peer, input.stream, input.incoming, now);
        break;
      case 'stream-data':
        this.#toStream(input.stream, { kind: 'data', stream: input.stream, bytes: input.bytes }, now);
        break;
      case 'stream-closed':
        this.#toStream(input.stream, { kind: 'closed', stream: input.stream, cause: input.cause }, now);
        break;
      case 'stream-writable':
        this.#writable(input.stream, input.writable);
        break;
      case 'originate':
        this.#apply(this.#rib.set(this.#local, input.route), LOCAL);
        break;
      case 'withdraw':
        this.#remove(LOCAL, input.family, input.key);
        break;
      case 'refresh':
        this.#askAgain(this.#neighbor(input.peer), now);
        break;
      case 'stop':
        this.#timers.clear(`limit/${input.peer}`);
        this.#toSession(this.#neighbor(input.peer), { kind: 'stop', reason: input.reason }, now);
        break;
      case 'start':
        this.#timers.clear(`limit/${input.peer}`);
        this.#toSession(this.#neighbor(input.peer), { kind: 'start' }, now);
    }
    this.#settle(now);
  }

  // --------------------------------------------------------------------------------------- peers and sessions

  #begin(now: Instant): void {
    this.#timers.clear('begin');
    if (this.#deferring) this.#timers.set('defer', after(now, DEFERRAL_MS));
    for (const neighbor of this.#neighbors.values()) this.#toSession(neighbor, { kind: 'start' }, now);
  }

  #add(config: BgpPeerConfig): Neighbor {
    const { asNumber, routerId, random } = this.#options;
    if (config.id === LOCAL || this.#neighbors.has(config.id)) throw new UsageError(`BGP peer "${config.id}" needs a name of its own`);
    const neighbor = new Neighbor(config, { asNumber, routerId, restarted: () => this.#deferring }, random, this.#numbers);
    this.#neighbors.set(config.id, neighbor);
    return neighbor;
  }

  #neighbor(id: string): Neighbor {
    const neighbor = this.#neighbors.get(id);
    if (!neighbor) throw new UsageError(`no BGP peer "${id}" is configured`);
    return neighbor;
  }

  #configure(peers: readonly BgpPeerConfig[], now: Instant): void {
    const wanted = new Map(peers.map((peer) => [peer.id, peer]));
    for (const [id, neighbor] of [...this.#neighbors]) {
      const config = wanted.get(id);
      if (config && !needsNewSession(neighbor.config, config)) {
        neighbor.config = config;
        if (neighbor.exportPeer && !neighbor.hasRouteTargetConstraint) this.#filterChanged(neighbor);
        continue;
      }
      const subcode = config ? CEASE_CONFIGURATION_CHANGE : CEASE_PEER_DECONFIGURED;
      this.#toSession(neighbor, { kind: 'stop', reason: config ? 'the configuration of the peer changed' : 'the peer was removed', subcode }, now);
      this.#dropRoutes(neighbor);
      for (const timer of ['stale', 'limit', 'membership', 'refresh']) this.#timers.clear(`${timer}/${id}`);
      this.#neighbors.delete(id);
      this.#dirty.delete(neighbor);
    }
    for (const peer of peers) if (!this.#neighbors.has(peer.id)) this.#toSession(this.#add(peer), { kind: 'start' }, now);
  }

  #connected(peer: string, stream: number, incoming: boolean, now: Instant): void {
    // A peer may be removed while its connection is being made; that is nobody's mistake.
    const neighbor = this.#neighbors.get(peer);
    if (!neighbor || (!incoming && this.#streams.get(stream) !== neighbor)) {
      this.#outputs.push({ kind: 'close', stream });
      return;
    }
    if (incoming && (stream >= 0 || this.#streams.has(stream))) throw new UsageError(`stream ${stream} from a peer needs a new number below zero`);
    this.#streams.set(stream, neighbor);
    this.#toSession(neighbor, { kind: 'connected', stream, incoming }, now);
  }

  #toStream(stream: number, input: SessionInput, now: Instant): void {
    const neighbor = this.#streams.get(stream);
    if (!neighbor) return;
    if (input.kind === 'closed') this.#streams.delete(stream);
    this.#toSession(neighbor, input, now);
  }

  #toSession(neighbor: Neighbor, input: SessionInput | Timeout, now: Instant): void {
    neighbor.session.handle(input, now);
    this.#drain(neighbor, now);
  }

  #drain(neighbor: Neighbor, now: Instant): void {
    for (let output = neighbor.session.poll(); output !== undefined; output = neighbor.session.poll()) this.#fromSession(neighbor, output, now);
  }

  #fromSession(neighbor: Neighbor, output: SessionOutput, now: Instant): void {
    const { id, local, remote } = neighbor.config;
    switch (output.kind) {
      case 'connect':
        this.#streams.set(output.stream, neighbor);
        this.#outputs.push({ kind: 'connect', peer: id, stream: output.stream, local, remote });
        return;
      case 'write':
        this.#outputs.push(output);
        return;
      case 'close':
        this.#streams.delete(output.stream);
        this.#outputs.push(output);
        return;
      case 'up':
        return this.#up(neighbor, output.negotiated, now);
      case 'down':
        return this.#down(neighbor, output.cause, output.keepRoutes, now);
      case 'update':
        return this.#receive(neighbor, output.update, now);
      case 'refresh':
        return this.#refreshed(neighbor, output.refresh, now);
      case 'log':
        this.#log(output.level, output.sentence, neighbor, output.fields);
    }
  }

  #up(neighbor: Neighbor, negotiated: Negotiated, now: Instant): void {
    const { id } = neighbor.config;
    neighbor.up(negotiated);
    if (neighbor.membershipsAwaited) this.#timers.set(`membership/${id}`, after(now, MEMBERSHIP_WAIT_MS));
    this.#outputs.push({ kind: 'peer-up', peer: id });
    this.#log('info', 'BGP session established', neighbor, { families: negotiated.families.map(familyName).join(' '), holdSeconds: negotiated.holdMs / 1000 });
    // RFC 4724 4.2: stale routes of a family that the peer did not preserve go at once, the others wait for End-of-RIB.
    for (const entry of this.#rib.of(id)) {
      const name = familyName(entry.family);
      const kept = negotiated.gracefulRestart?.preserved.has(name) && neighbor.exportPeer!.families.has(name);
      if (!kept) this.#remove(id, entry.family, entry.key);
    }
    if (this.#rib.count(id) > 0) this.#timers.set(`stale/${id}`, after(now, STALE_MS));
    else this.#timers.clear(`stale/${id}`);
    for (const family of negotiated.families) this.#queueAll(neighbor, family);
    this.#dirty.add(neighbor);
  }

  #down(neighbor: Neighbor, cause: string, keepRoutes: boolean, now: Instant): void {
    const { id } = neighbor.config;
    const restart = neighbor.negotiated?.gracefulRestart;
    for (const timer of ['membership', 'refresh']) this.#timers.clear(`${timer}/${id}`);
    neighbor.down();
    this.#outputs.push({ kind: 'peer-down', peer: id, cause });
    this.#log('warning', 'BGP session lost', neighbor, { cause, keepsRoutes: String(keepRoutes) });
    if (!keepRoutes || !restart) return this.#dropRoutes(neighbor);
    // RFC 4724 4.2: what was stale from an earlier loss goes now.
    for (const entry of this.#rib.of(id)) {
      if (entry.paths.get(id)!.stale || !restart.families.has(familyName(entry.family))) this.#remove(id, entry.family, entry.key);
    }
    for (const family of neighbor.config.families) this.#markStale(neighbor, family);
    if (this.#rib.count(id) > 0) this.#timers.set(`stale/${id}`, after(now, Math.min(restart.restartMs, STALE_MS)));
  }

  #dropRoutes(neighbor: Neighbor): void {
    this.#timers.clear(`stale/${neighbor.config.id}`);
    for (const entry of this.#rib.of(neighbor.config.id)) this.#remove(neighbor.config.id, entry.family, entry.key);
  }

  // ------------------------------------------------------------------------------------------ routes coming in

  #receive(neighbor: Neighbor, update: Update, now: Instant): void {
    const { id } = neighbor.config;
    if (update.problems.length > 0) {
      neighbor.counters.updatesMalformed++;
      if (neighbor.mayRemark(now)) this.#log('warning', 'BGP UPDATE has malformed attributes', neighbor, { problems: problemText(update.problems) });
    }
    for (const { family, nlri } of update.withdrawn) for (const item of nlri) this.#remove(id, family, nlriKey(item));
    for (const announcement of update.announced) {
      if (!neighbor.exportPeer?.families.has(familyName(announcement.family))) {
        neighbor.counters.routesIgnored += announcement.nlri.length;
        continue;
      }
      const loop = this.#loop(neighbor, update);
      for (const nlri of announcement.nlri) this.#import(neighbor, announcement, nlri, update, loop, now);
    }
    if (update.endOfRib) this.#ended(neighbor, update.endOfRib);
    const limit = neighbor.config.maxPrefixes ?? DEFAULT_MAX_PREFIXES;
    if (this.#rib.count(id) > limit && neighbor.session.state !== 'Idle') this.#overLimit(neighbor, limit, now);
  }

  /** Whether the routes of this UPDATE passed here before (RFC 4456 8, RFC 4271 9.1.2). */
  #loop(neighbor: Neighbor, { attributes }: Update): boolean {
    const { asNumber, routerId } = this.#options;
    if (attributes.originatorId === routerId || attributes.clusterList.includes(this.#clusterId)) return true;
    return neighbor.external && attributes.asPath.some(({ type, asNumbers }) => (type === AS_SEQUENCE || type === AS_SET) && asNumbers.includes(asNumber));
  }

  #import(neighbor: Neighbor, { family, nextHop }: Announcement, nlri: ParsedNlri, { attributes }: Update, loop: boolean, now: Instant): void {
    const { id } = neighbor.config;
    const route: BgpRoute = { ...attributes, localPref: attributes.localPref ?? DEFAULT_LOCAL_PREF, family, key: nlriKey(nlri), nlri, nextHop };
    if (loop) {
      neighbor.counters.routesLooped++;
      return this.#remove(id, family, route.key);
    }
    const refusal = this.#options.acceptPolicy?.(id, route);
    if (refusal === undefined) return this.#apply(this.#rib.set(neighbor.source, route), id);
    neighbor.counters.routesRefused++;
    if (neighbor.mayRemark(now)) this.#log('warning', 'BGP route refused', neighbor, { family: familyName(family), route: route.key, cause: refusal });
    this.#remove(id, family, route.key);
  }

  #overLimit(neighbor: Neighbor, limit: number, now: Instant): void {
    const { id } = neighbor.config;
    this.#log('error', 'BGP peer announced too many routes; its session is stopped for a while', neighbor, { limit, holdSeconds: LIMIT_HOLD_MS / 1000 });
    neighbor.session.handle({ kind: 'stop', reason: `more than ${limit} routes`, subcode: CEASE_MAXIMUM_PREFIXES }, now);
    this.#timers.set(`limit/${id}`, after(now, LIMIT_HOLD_MS));
  }

  #remove(source: string, family: Family, key: string): void {
    const change = this.#rib.remove(source, family, key);
    if (change) this.#apply(change, source);
  }

  /** Tells the owner and queues for the peers what a change of one source's path means. */
  #apply({ entry, pathChanged, bestChanged }: RibChange, source: string): void {
    const { family, key } = entry;
    if (pathChanged && source !== LOCAL) {
      this.#outputs.push({ kind: 'route', peer: source, family, key, route: entry.paths.get(source)?.route });
    }
    const membership = sameFamily(family, RTC);
    if (membership && pathChanged && source !== LOCAL) {
      const neighbor = this.#neighbors.get(source);
      if (neighbor) this.#filterChanged(neighbor);
    }
    if (bestChanged) this.#outputs.push({ kind: 'best', family, key, route: entry.best?.route, peer: entry.best?.source.id ?? LOCAL });
    if (bestChanged || (membership && pathChanged)) this.#queueEverywhere(entry);
  }

  #markStale(neighbor: Neighbor, family: Family): void {
    for (const entry of this.#rib.markStale(neighbor.config.id, family)) {
      this.#outputs.push({ kind: 'best', family, key: entry.key, route: entry.best?.route, peer: entry.best?.source.id ?? LOCAL });
      this.#queueEverywhere(entry);
    }
  }

  #sweep(neighbor: Neighbor, family?: Family): void {
    const { id } = neighbor.config;
    for (const entry of this.#rib.of(id, family)) {
      if (!entry.paths.get(id)!.stale) continue;
      neighbor.counters.staleExpired++;
      this.#remove(id, entry.family, entry.key);
    }
  }

  #ended(neighbor: Neighbor, family: Family): void {
    neighbor.ended.add(familyName(family));
    this.#sweep(neighbor, family);
    if (sameFamily(family, RTC)) this.#membershipsKnown(neighbor);
  }

  #membershipsKnown(neighbor: Neighbor): void {
    neighbor.membershipsAwaited = false;
    this.#timers.clear(`membership/${neighbor.config.id}`);
    this.#dirty.add(neighbor);
  }

  // ------------------------------------------------------------------------------------------- route refresh

  #refreshed(neighbor: Neighbor, { family, subtype }: RouteRefresh, now: Instant): void {
    if (!neighbor.exportPeer?.families.has(familyName(family))) return;
    if (subtype === REFRESH_REQUEST) {
      neighbor.refreshDue.add(familyName(family));
      this.#serveRefresh(neighbor, now);
    } else if (subtype === REFRESH_BEGINS && neighbor.negotiated!.enhancedRouteRefresh) {
      this.#markStale(neighbor, family);
      this.#timers.set(`stale/${neighbor.config.id}`, after(now, STALE_MS));
    } else if (subtype === REFRESH_ENDS && neighbor.negotiated!.enhancedRouteRefresh) {
      this.#sweep(neighbor, family);
    }
  }

  #serveRefresh(neighbor: Neighbor, now: Instant): void {
    const { out, negotiated } = neighbor;
    if (!out || !negotiated) return;
    for (const family of negotiated.families) {
      const name = familyName(family);
      if (!neighbor.refreshDue.has(name)) continue;
      const servedAt = neighbor.refreshedAt.get(name);
      const earliest = servedAt === undefined ? now : after(servedAt, REFRESH_INTERVAL_MS);
      if (earliest > now) {
        this.#timers.set(`refresh/${neighbor.config.id}`, earliest);
        continue;
      }
      neighbor.refreshDue.delete(name);
      neighbor.refreshedAt.set(name, now);
      neighbor.counters.refreshesServed++;
      out.refresh(family, negotiated.enhancedRouteRefresh);
      this.#queueAll(neighbor, family);
    }
    this.#dirty.add(neighbor);
  }

  #askAgain(neighbor: Neighbor, now: Instant): void {
    const { negotiated } = neighbor;
    if (!negotiated?.routeRefresh) return;
    const requests = negotiated.families.map((family) => encodeRouteRefresh({ family, subtype: REFRESH_REQUEST }));
    neighbor.session.send(concat(...requests), requests.length);
    this.#drain(neighbor, now);
  }

  // ------------------------------------------------------------------------------------------ routes going out

  #queueEverywhere(entry: RibEntry): void {
    for (const neighbor of this.#neighbors.values()) this.#queue(neighbor, entry);
  }

  #queueAll(neighbor: Neighbor, family: Family): void {
    for (const entry of this.#rib.entries(family)) this.#queue(neighbor, entry);
  }

  #queue(neighbor: Neighbor, entry: RibEntry): void {
    if (!neighbor.exportPeer || !neighbor.out) return;
    neighbor.out.queue(entry, this.#exporter.export(entry, neighbor.exportPeer));
    this.#dirty.add(neighbor);
  }

  #writable(stream: number, writable: boolean): void {
    const neighbor = this.#streams.get(stream);
    if (!neighbor) return;
    neighbor.writable = writable;
    if (writable) this.#dirty.add(neighbor);
  }

  /** Brings filters up to date, then writes what the peers must be told. */
  #settle(now: Instant): void {
    if (this.#deferring && this.#neighbors.size > 0 && [...this.#neighbors.values()].every((neighbor) => neighbor.hasEnded)) this.#endDeferral();
    for (const neighbor of [...this.#dirty]) {
      if (neighbor.filterIsOld) this.#refilter(neighbor);
      if (!neighbor.writable) continue;
      this.#dirty.delete(neighbor);
      this.#flush(neighbor);
      this.#drain(neighbor, now);
    }
  }

  #filterChanged(neighbor: Neighbor): void {
    neighbor.filterIsOld = true;
    this.#dirty.add(neighbor);
  }

  #refilter(neighbor: Neighbor): void {
    neighbor.filterIsOld = false;
    if (!neighbor.negotiated) return;
    neighbor.setFilter(neighbor.hasRouteTargetConstraint ? membershipFilter(this.#memberships(neighbor)) : configuredFilter(neighbor.config.routeTargets));
    for (const family of neighbor.negotiated.families) if (isTargetFamily(family)) this.#queueAll(neighbor, family);
  }

  *#memberships(neighbor: Neighbor): IterableIterator<Extract<ParsedNlri, { kind: 'route-target' }>> {
    for (const entry of this.#rib.of(neighbor.config.id, RTC)) if (entry.nlri.kind === 'route-target') yield entry.nlri;
  }

  #flush(neighbor: Neighbor): void {
    const flushed = neighbor.out?.flush((family) => !this.#deferring && neighbor.mayEnd(family));
    if (!flushed) return;
    if (flushed.messages.length > 0) neighbor.session.send(concat(...flushed.messages), flushed.messages.length);
    neighbor.counters.routesTooLarge += flushed.tooLarge.length;
    for (const nlri of flushed.tooLarge) this.#log('error', 'BGP route is too large for the peer and is withheld', neighbor, { route: nlriKey(nlri) });
  }

  #endDeferral(): void {
    this.#deferring = false;
    this.#timers.clear('defer');
    for (const neighbor of this.#neighbors.values()) if (neighbor.out) this.#dirty.add(neighbor);
  }

  // -------------------------------------------------------------------------------------------------- timers

  #timeout(now: Instant): void {
    for (const neighbor of [...this.#neighbors.values()]) {
      const deadline = neighbor.session.deadline();
      if (deadline !== undefined && deadline <= now) this.#toSession(neighbor, { kind: 'timeout' }, now);
    }
    for (let due = this.#timers.takeDue(now); due !== undefined; due = this.#timers.takeDue(now)) this.#timer(due, now);
  }

  #timer(name: string, now: Instant): void {
    if (name === 'defer') return this.#endDeferral();
    const slash = name.indexOf('/');
    const neighbor = this.#neighbors.get(name.slice(slash + 1));
    if (!neighbor) return;
    switch (name.slice(0, slash)) {
      case 'stale':
        this.#log('warning', 'BGP routes of a lost session expired', neighbor, { routes: this.#rib.of(neighbor.config.id).length });
        return this.#sweep(neighbor);
      case 'membership':
        return this.#membershipsKnown(neighbor);
      case 'refresh':
        return this.#serveRefresh(neighbor, now);
      case 'limit':
        return this.#toSession(neighbor, { kind: 'start' }, now);
    }
  }

  #log(level: LogLevel, sentence: string, neighbor: Neighbor, fields: Record<string, string | number>): void {
    const { id, remote } = neighbor.config;
    this.#outputs.push({ kind: 'log', event: { level, sentence, fields: { peer: id, remote, ...fields } } });
  }
}

