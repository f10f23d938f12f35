// A BGP speaker of one tenant: sessions to its peers, the routes they announce, and what each is told in turn.
// Supported: route reflection (RFC 4456), route target constraint (RFC 4684), graceful restart as helper (RFC 4724, 8538),
// enhanced route refresh (RFC 7313), extended messages (RFC 8654). One speaker serves one tenant, so there are no VRFs.
// Deviations: a restarting reflector sends routes at once and holds back only End-of-RIB until its peers ended theirs.
// Errors: a peer's mistakes end its session or withdraw its routes and nothing else; UsageError for unknown peers.
import { concat } from '../../platform/bytes.ts';
import { UsageError } from '../../platform/errors.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { TimerTable, after, earlier, instant } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';
import type { IpAddress } from '../model.ts';
import type { Family } from '../wire/bgp/family.ts';
import { RTC, familyName, sameFamily } from '../wire/bgp/family.ts';
import type { RouteRefresh } from '../wire/bgp/message.ts';
import { REFRESH_BEGINS, REFRESH_ENDS, REFRESH_REQUEST, encodeRouteRefresh } from '../wire/bgp/message.ts';
import { CEASE_CONFIGURATION_CHANGE, CEASE_MAXIMUM_PREFIXES, CEASE_PEER_DECONFIGURED } from '../wire/bgp/notification.ts';
import type { Update } from '../wire/bgp/update.ts';
import type { BgpInput, BgpOutput } from './events.ts';
import type { AcceptPolicy } from './exchange.ts';
import { LOCAL, RouteExchange } from './exchange.ts';
import type { Negotiated } from './negotiation.ts';
import type { BgpPeerConfig } from './neighbor.ts';
import { Neighbor, needsNewSession } from './neighbor.ts';
import { OutputQueue } from './output-queue.ts';
import type { SessionInput, SessionOutput, StreamNumbers } from './session.ts';
import type { BgpSnapshot } from './snapshot.ts';
import { snapshotOf } from './snapshot.ts';

export type { BgpInput, BgpOutput } from './events.ts';
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
  readonly acceptPolicy?: AcceptPolicy;
}

export class BgpSpeaker implements Machine<BgpInput, BgpOutput> {
  readonly #options: BgpSpeakerOptions;
  readonly #clusterId: IpAddress;
  readonly #exchange: RouteExchange;
  readonly #neighbors = new Map<string, Neighbor>();
  readonly #streams = new Map<number, Neighbor>();
  readonly #numbers: StreamNumbers = { next: 1 };
  readonly #timers = new TimerTable<string>();
  readonly #outputs = new OutputQueue<BgpOutput>();
  /** Whether this reflector still collects routes after its start. */
  #deferring: boolean;

  constructor(options: BgpSpeakerOptions) {
    this.#options = options;
    const { asNumber, routerId, reflector } = options;
    this.#clusterId = options.clusterId ?? routerId;
    const self = { asNumber, routerId, clusterId: this.#clusterId, reflector };
    this.#exchange = new RouteExchange(self, options.acceptPolicy, this.#neighbors, this.#outputs);
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
    return snapshotOf(this.#neighbors.values(), this.#exchange.rib, { ...this.#options, clusterId: this.#clusterId }, now);
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
        this.#exchange.originate(input.route);
        break;
      case 'withdraw':
        this.#exchange.remove(LOCAL, input.family, input.key);
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
        if (neighbor.exportPeer && !neighbor.hasRouteTargetConstraint) this.#exchange.filterChanged(neighbor);
        continue;
      }
      const subcode = config ? CEASE_CONFIGURATION_CHANGE : CEASE_PEER_DECONFIGURED;
      this.#toSession(neighbor, { kind: 'stop', reason: config ? 'the configuration of the peer changed' : 'the peer was removed', subcode }, now);
      this.#drop(neighbor);
      for (const timer of ['stale', 'limit', 'membership', 'refresh']) this.#timers.clear(`${timer}/${id}`);
      this.#neighbors.delete(id);
      this.#exchange.dirty.delete(neighbor);
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
        this.#outputs.push(neighbor.log(output.level, output.sentence, output.fields));
    }
  }

  #up(neighbor: Neighbor, negotiated: Negotiated, now: Instant): void {
    const { id } = neighbor.config;
    neighbor.up(negotiated);
    if (neighbor.membershipsAwaited) this.#timers.set(`membership/${id}`, after(now, MEMBERSHIP_WAIT_MS));
    this.#outputs.push({ kind: 'peer-up', peer: id });
    const names = negotiated.families.map(familyName);
    this.#outputs.push(neighbor.log('info', 'BGP session established', { families: names.join(' '), holdSeconds: negotiated.holdMs / 1000 }));
    // RFC 4724 4.2: stale routes of a family that the peer did not preserve go at once, the others wait for End-of-RIB.
    const kept = names.filter((name) => negotiated.gracefulRestart?.preserved.has(name));
    this.#exchange.drop(neighbor, ({ family }) => kept.includes(familyName(family)));
    if (this.#exchange.rib.count(id) > 0) this.#timers.set(`stale/${id}`, after(now, STALE_MS));
    else this.#timers.clear(`stale/${id}`);
    for (const family of negotiated.families) this.#exchange.queueAll(neighbor, family);
    // Memberships that outlived the last session count from the start.
    if (neighbor.hasRouteTargetConstraint) this.#exchange.filterChanged(neighbor);
    this.#exchange.dirty.add(neighbor);
  }

  #down(neighbor: Neighbor, cause: string, keepRoutes: boolean, now: Instant): void {
    const { id } = neighbor.config;
    const restart = neighbor.negotiated?.gracefulRestart;
    for (const timer of ['membership', 'refresh']) this.#timers.clear(`${timer}/${id}`);
    neighbor.down();
    this.#outputs.push({ kind: 'peer-down', peer: id, cause });
    this.#outputs.push(neighbor.log('warning', 'BGP session lost', { cause, keepsRoutes: String(keepRoutes) }));
    if (!keepRoutes || !restart) return this.#drop(neighbor);
    // RFC 4724 4.2: what was stale from an earlier loss goes now.
    this.#exchange.drop(neighbor, ({ family }, stale) => !stale && restart.families.has(familyName(family)));
    for (const family of neighbor.config.families) this.#exchange.markStale(neighbor, family);
    if (this.#exchange.rib.count(id) > 0) this.#timers.set(`stale/${id}`, after(now, Math.min(restart.restartMs, STALE_MS)));
  }

  #drop(neighbor: Neighbor): void {
    this.#timers.clear(`stale/${neighbor.config.id}`);
    this.#exchange.drop(neighbor);
  }

  // --------------------------------------------------------------------------------------------------- routes

  #receive(neighbor: Neighbor, update: Update, now: Instant): void {
    this.#exchange.receive(neighbor, update, now);
    if (update.endOfRib) this.#ended(neighbor, update.endOfRib);
    const { id, maxPrefixes = DEFAULT_MAX_PREFIXES } = neighbor.config;
    if (this.#exchange.rib.count(id) <= maxPrefixes || neighbor.session.state === 'Idle') return;
    const fields = { limit: maxPrefixes, holdSeconds: LIMIT_HOLD_MS / 1000 };
    this.#outputs.push(neighbor.log('error', 'BGP peer announced too many routes; its session is stopped for a while', fields));
    neighbor.session.handle({ kind: 'stop', reason: `more than ${maxPrefixes} routes`, subcode: CEASE_MAXIMUM_PREFIXES }, now);
    this.#timers.set(`limit/${id}`, after(now, LIMIT_HOLD_MS));
  }

  #ended(neighbor: Neighbor, family: Family): void {
    neighbor.ended.add(familyName(family));
    this.#exchange.sweep(neighbor, family);
    if (sameFamily(family, RTC)) this.#membershipsKnown(neighbor);
  }

  #membershipsKnown(neighbor: Neighbor): void {
    neighbor.membershipsAwaited = false;
    this.#timers.clear(`membership/${neighbor.config.id}`);
    this.#exchange.dirty.add(neighbor);
  }

  #refreshed(neighbor: Neighbor, { family, subtype }: RouteRefresh, now: Instant): void {
    if (!neighbor.exportPeer?.families.has(familyName(family))) return;
    if (subtype === REFRESH_REQUEST) {
      neighbor.refreshDue.add(familyName(family));
      this.#serveRefresh(neighbor, now);
    } else if (subtype === REFRESH_BEGINS && neighbor.negotiated!.enhancedRouteRefresh) {
      this.#exchange.markStale(neighbor, family);
      this.#timers.set(`stale/${neighbor.config.id}`, after(now, STALE_MS));
    } else if (subtype === REFRESH_ENDS && neighbor.negotiated!.enhancedRouteRefresh) {
      this.#exchange.sweep(neighbor, family);
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
      this.#exchange.queueAll(neighbor, family);
    }
    this.#exchange.dirty.add(neighbor);
  }

  #askAgain(neighbor: Neighbor, now: Instant): void {
    const { negotiated } = neighbor;
    if (!negotiated?.routeRefresh) return;
    const requests = negotiated.families.map((family) => encodeRouteRefresh({ family, subtype: REFRESH_REQUEST }));
    neighbor.session.send(concat(...requests), requests.length);
    this.#drain(neighbor, now);
  }

  #writable(stream: number, writable: boolean): void {
    const neighbor = this.#streams.get(stream);
    if (!neighbor) return;
    neighbor.writable = writable;
    if (writable) this.#exchange.dirty.add(neighbor);
  }

  /** Brings filters up to date, then writes what the peers must be told. */
  #settle(now: Instant): void {
    if (this.#deferring && this.#neighbors.size > 0 && [...this.#neighbors.values()].every((neighbor) => neighbor.hasEnded)) this.#endDeferral();
    for (const neighbor of [...this.#exchange.dirty]) {
      this.#exchange.flush(neighbor, !this.#deferring);
      this.#drain(neighbor, now);
    }
  }

  #endDeferral(): void {
    this.#deferring = false;
    this.#timers.clear('defer');
    for (const neighbor of this.#neighbors.values()) if (neighbor.out) this.#exchange.dirty.add(neighbor);
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
      case 'stale': {
        const routes = this.#exchange.sweep(neighbor);
        if (routes > 0) this.#outputs.push(neighbor.log('warning', 'BGP routes of a lost session expired', { routes }));
        return;
      }
      case 'membership':
        return this.#membershipsKnown(neighbor);
      case 'refresh':
        return this.#serveRefresh(neighbor, now);
      case 'limit':
        return this.#toSession(neighbor, { kind: 'start' }, now);
    }
  }
}
