// IKE-less keying of one tenant on one box: publishes this node's Diffie-Hellman values through BGP, derives an SA
// pair for every (peer's key, own key), and replaces keys before they are worn, without losing a packet.
// Procedure: draft-carrel-ipsecme-controller-ike 5 and 6 (rules R1 to R4); docs/WIRE.md lists what was added.
//
// Order that makes it lossless: receive SAs are in the data plane (`associations`, and `applied` where asked for)
// before the key that makes peers use them is published; sending moves only to a key that the peer has used; old
// receive SAs linger longer than a packet can travel.
//
// Error contract: a route that is refused changes nothing but its counter; SAs that exist stay until their hard end.
import { toHex } from '../../platform/bytes.ts';
import { unreachable } from '../../platform/errors.ts';
import type { Fields, LogLevel } from '../../platform/log.ts';
import { TimerTable, after, earlier, instant } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';
import type { IpAddress } from '../model.ts';
import { REASON_POLICY, REASON_REVOKED, REASON_SCHEDULED, readDirectiveRoute } from './directive.ts';
import type { RekeyDirective } from './directive.ts';
import { judgeKeyRoute } from './key-intake.ts';
import type { KeyRoute } from './key-route.ts';
import { rekeyIntervalMs } from './key-set.ts';
import type { KeySet } from './key-set.ts';
import type { AlarmName, KeyingCounters, KeyingInput, KeyingOutput, KeyingSnapshot, RouteInput, TenantKeyingOptions } from './keying-messages.ts';
import { keyingSnapshot } from './keying-snapshot.ts';
import { KEY_SETS_MAX, OwnKeys } from './own-keys.ts';
import type { PeerRecord } from './peer-record.ts';
import { PeerTable } from './peer-table.ts';
import { RekeyOrders } from './rekey-orders.ts';
import { isSignerRevoked } from './signed-route.ts';
import type { RouteBytes } from './signed-route.ts';

/** Diffie-Hellman operations between two returns to the event loop. */
const SLICE_PEERS = 64;
const LINGER_LEAST_MS = 10_000;
const LINGER_MOST_MS = 60_000;
/** A peer that used an older key and is silent on the new one this long makes us publish it again. */
const BLACKOUT_MS = 30_000;
const REPUBLISH_MAX = 3;
/** How long the data plane may take to acknowledge before the key is published all the same. */
const APPLY_MOST_MS = 2_000;

const FOREVER = instant(Number.POSITIVE_INFINITY);

type TimerName = 'rekey' | 'order' | 'retry' | 'build' | 'apply' | 'publish' | 'blackout' | 'retire' | 'expire' | 'wipe';

export class TenantKeying implements Machine<KeyingInput, KeyingOutput> {
  readonly #options: TenantKeyingOptions;
  readonly #lingerMs: number;
  readonly #timers = new TimerTable<TimerName>();
  readonly #outputs: KeyingOutput[] = [];
  readonly #counters: KeyingCounters = { refused: 0, stale: 0, conflicts: 0, underivable: 0, rekeys: 0, republished: 0, ambiguous: 0 };
  readonly #own: OwnKeys;
  readonly #orders: RekeyOrders;
  readonly #peers = new PeerTable();
  #signer: TenantKeyingOptions['signer'];
  #policy: TenantKeyingOptions['policy'];
  /** Peers that still lack SAs with the key in the making. */
  #unbuilt: PeerRecord[] = [];
  #persistDue = false;
  #version = 0;
  #appliedVersion = 0;
  /** The version that holds all receive SAs of the key set that waits for publication. */
  #installVersion = 0;
  #republished = 0;
  #stage: 'idle' | 'running' | 'stopped' = 'idle';

  constructor(options: TenantKeyingOptions) {
    const { suite, random, node, bootCount, lastCounter = 0, epochs = {}, lingerMs = LINGER_LEAST_MS } = options;
    this.#options = options;
    this.#signer = options.signer;
    this.#policy = options.policy;
    this.#own = new OwnKeys({ suite, random, node, bootCount, counter: lastCounter });
    this.#orders = new RekeyOrders(epochs);
    this.#lingerMs = Math.min(LINGER_MOST_MS, Math.max(LINGER_LEAST_MS, lingerMs));
  }

  handle(input: KeyingInput | Timeout, now: Instant): void {
    if (this.#stage === 'stopped') return;
    this.#take(input, now);
    if (this.#stage === 'running') this.#settle(now);
  }

  poll(): KeyingOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  snapshot(now: Instant): KeyingSnapshot {
    const { node } = this.#options;
    const nextRekeyAt = this.#timers.get('rekey');
    return keyingSnapshot({ node, policy: this.#policy, keys: this.#own.all, peers: this.#peers.all(), counters: this.#counters, nextRekeyAt }, now);
  }

  #take(input: KeyingInput | Timeout, now: Instant): void {
    switch (input.kind) {
      case 'start':
        this.#stage = 'running';
        return this.#own.wish(REASON_SCHEDULED, true);
      case 'key-route':
        return this.#keyRoute(input, now);
      case 'directive':
        return this.#directive(input, now);
      case 'first-packet':
        return this.#firstPacket(input.spi, input.nodeId, now);
      case 'sa-limit':
        return this.#saLimit(input.spi);
      case 'rekey':
        return this.#own.wish(input.reason);
      case 'applied':
        this.#appliedVersion = Math.max(this.#appliedVersion, input.version);
        return;
      case 'revocations':
        return this.#forget((peer) => this.#isRevoked(peer, now), now);
      case 'signer':
        this.#signer = input.signer;
        return this.#own.wish(REASON_SCHEDULED);
      case 'policy':
        this.#policy = input.policy;
        return this.#own.wish(REASON_POLICY);
      case 'stop':
        return this.#stop();
      case 'timeout':
        for (let name = this.#timers.takeDue(now); name !== undefined; name = this.#timers.takeDue(now)) this.#due(name, now);
        return;
      default:
        unreachable(input);
    }
  }

  #due(name: TimerName, now: Instant): void {
    switch (name) {
      case 'rekey':
        return this.#own.wish(REASON_SCHEDULED);
      case 'order':
        return this.#carryOut();
      case 'blackout':
        return this.#blackout(now);
      case 'wipe':
        return this.#peers.wipeRemoved(now);
      case 'expire':
        return this.#peers.expire(now);
      case 'retry':
      case 'retire':
      case 'build':
      case 'apply':
      case 'publish':
        return; // #settle, which follows every input, looks at what they waited for
    }
  }

  /** Brings everything that an input made possible to its end, in the order that loses nothing. */
  #settle(now: Instant): void {
    do {
      this.#retire(now);
      this.#tryRekey(now);
      this.#build(now);
      this.#emit();
    } while (this.#tryPublish(now)); // a publication frees the way for a wish that waited for it
    const { nextEnd, nextWipe } = this.#peers;
    if (nextEnd !== undefined) this.#timers.set('expire', nextEnd);
    if (nextWipe !== undefined) this.#timers.set('wipe', nextWipe);
  }

  // ------------------------------------------------------------------------------------------ own keys (R1)

  #tryRekey(now: Instant): void {
    const readyAt = this.#own.readyAt(now);
    if (readyAt === undefined) return;
    if (readyAt > now) return this.#timers.set('retry', readyAt);
    if (this.#own.all.length >= KEY_SETS_MAX) this.#endKey(this.#own.all[0]!, now);
    const { random, node, bootCount } = this.#options;
    const { key, reason, first } = this.#own.make(this.#policy, now);
    this.#persistDue = true;
    this.#unbuilt = [...this.#peers.all()];
    if (!first) this.#counters.rekeys++;
    this.#timers.set('rekey', after(now, rekeyIntervalMs(this.#policy, node.siteId, first, random)));
    this.#log('info', 'tenant key made', { key: key.id, boot: bootCount, reason, peers: this.#peers.size });
  }

  /** SAs of the new key with the peers, a slice at a time. */
  #build(now: Instant): void {
    const newest = this.#own.newest;
    if (newest?.state !== 'new') return;
    for (const peer of this.#unbuilt.splice(0, SLICE_PEERS)) if (this.#peers.get(peer.nodeId) === peer) this.#pairUp(peer, now);
    if (this.#unbuilt.length > 0) {
      this.#timers.set('build', now);
      return;
    }
    newest.state = 'installed';
    this.#installVersion = this.#version + (this.#peers.hasChanges ? 1 : 0);
    this.#timers.set('apply', after(now, APPLY_MOST_MS));
  }

  /** Returns whether the newest key was published. */
  #tryPublish(now: Instant): boolean {
    const key = this.#own.newest;
    if (key?.state !== 'installed') return false;
    const waits = this.#options.acknowledged === true && this.#appliedVersion < this.#installVersion && this.#timers.get('apply') !== undefined;
    if (waits) return false;
    const allowedAt = this.#own.publishableAt(now);
    if (allowedAt > now) {
      this.#timers.set('publish', allowedAt);
      return false;
    }
    this.#timers.clear('apply');
    const { route, urgent } = this.#own.publish(this.#signer, now);
    this.#republished = 0;
    this.#publish(route, now);
    this.#log('info', 'tenant key published', { key: key.id, boot: this.#options.bootCount, initial: key.initialContact });
    this.#peers.published(key, urgent, now, this.#lingerMs);
    return true;
  }

  #publish(route: RouteBytes, now: Instant): void {
    this.#timers.set('blackout', after(now, BLACKOUT_MS));
    this.#outputs.push({ kind: 'publish', key: toHex(route.nlri), routeTarget: this.#options.routeTarget, ...route });
  }

  /** Peers that used an older key of mine but are silent on the newest. */
  #blackout(now: Instant): void {
    const key = this.#own.newest;
    if (key?.publishedAt === undefined || this.#republished >= REPUBLISH_MAX) return;
    const silent = this.#peers.silentOn(key);
    if (silent === 0) return;
    this.#republished++;
    this.#counters.republished++;
    this.#alarm('no-traffic-on-new-key', { key: key.id, peers: silent, attempt: this.#republished });
    this.#publish(this.#own.republish(now), now);
  }

  /** Ends key sets that nothing uses any more: no SA, and no packet or route of the past either. */
  #retire(now: Instant): void {
    const { newest, all } = this.#own;
    if (newest?.publishedAt === undefined || all.length < 2) return;
    const settledAt = after(newest.publishedAt, this.#lingerMs);
    if (settledAt > now) return this.#timers.set('retire', settledAt);
    const used = this.#peers.usedKeys();
    for (const key of all.slice(0, -1)) if (!used.has(key) || key.expiresAt <= now) this.#endKey(key, now);
  }

  #endKey(key: KeySet, now: Instant): void {
    this.#peers.endKey(key, now);
    this.#own.end(key);
    this.#log('info', 'tenant key ended', { key: key.id, boot: this.#options.bootCount });
  }

  // ------------------------------------------------------------------------------------ peers' keys (R2)

  #keyRoute(input: RouteInput, now: Instant): void {
    const { trust, node, unixMs } = this.#options;
    const context = { trust, tenant: node.tenant, routeDistinguisher: node.routeDistinguisher, nodeId: node.nodeId, peers: this.#peers, keys: this.#own.all };
    const intake = judgeKeyRoute(context, input, unixMs(now));
    switch (intake.kind) {
      case 'nothing':
        return;
      case 'impostor':
        return this.#alarm('own-key-foreign', { from: input.from });
      case 'withdrawn':
        return this.#withdrawn(intake.peer, input.from);
      case 'refused':
        if (intake.peer !== undefined) this.#withdrawn(intake.peer, input.from);
        return this.#refuse(input.from, intake.node, intake.cause);
      case 'seen':
        return this.#seen(intake.peer, input.from, now);
      case 'stale':
        this.#counters.stale++;
        this.#log('debug', 'stale key route ignored', { from: input.from, peer: intake.peer.name, node: intake.peer.nodeId });
        return this.#seen(intake.peer, input.from, now);
      case 'conflict':
        this.#counters.conflicts++;
        this.#alarm('rekey-counter-conflict', { from: input.from, peer: intake.peer.name, node: intake.peer.nodeId, key: intake.peer.newestKey!.id });
        return this.#seen(intake.peer, input.from, now);
      case 'newer':
        return this.#learn(intake.peer ?? this.#peers.admit(intake.route), intake.route, intake.tunnelEncapsulation, input.from, now);
    }
  }

  #learn(peer: PeerRecord, route: KeyRoute, tunnelEncapsulation: Uint8Array, from: string, now: Instant): void {
    peer.present(from);
    this.#peers.learn(peer, route, tunnelEncapsulation, now, this.#lingerMs);
    const boot = Number(route.published.rekeyCounter >> 32n);
    this.#log('info', 'peer key accepted', { peer: peer.name, site: peer.siteId, node: peer.nodeId, key: route.keyId, boot });
    this.#pairUp(peer, now);
  }

  /** The peer is shown, perhaps after nobody had shown it. */
  #seen(peer: PeerRecord, from: string, now: Instant): void {
    const wasHeadless = peer.headless;
    peer.present(from);
    if (wasHeadless) this.#pairUp(peer, now);
  }

  #withdrawn(peer: PeerRecord, from: string): void {
    if (peer.headless) return;
    peer.absent(from);
    if (!peer.headless) return;
    this.#log('warning', 'peer is shown by no Controller, its SAs live to their end', { peer: peer.name, site: peer.siteId, node: peer.nodeId });
    this.#peers.forgetIfOver(peer);
  }

  #pairUp(peer: PeerRecord, now: Instant): void {
    const { suite, prf = 'sha256', ppk, saId } = this.#options;
    const context = { suite, prf, ppk, saId, windowPackets: this.#policy.replayWindowPackets };
    for (const { local, peer: key, cause, collision } of this.#peers.pairUp(context, peer, this.#own.all, now)) {
      this.#counters.underivable++;
      this.#alarm('no-sa', { peer: peer.name, node: peer.nodeId, key: key.id, own: local.id, cause });
      if (collision) this.#own.wish(REASON_SCHEDULED, true);
    }
  }

  // ------------------------------------------------------------------------- the data plane's news (R3, R4)

  #firstPacket(spi: number, nodeId: IpAddress | undefined, now: Instant): void {
    const chain = this.#peers.on(spi, nodeId);
    if (chain.length > 1) this.#counters.ambiguous++;
    if (chain.length !== 1) return;
    const pair = chain[0]!;
    if (pair.heard) return;
    if (pair.local.state === 'published') pair.local.state = 'current';
    this.#peers.heard(pair, now, this.#lingerMs);
  }

  /** Only the newest key is worth replacing; an older one is being replaced already. */
  #saLimit(spi: number): void {
    const { newest } = this.#own;
    for (const pair of this.#peers.pairs()) {
      if ((pair.rx.spi !== spi && pair.tx.spi !== spi) || pair.local !== newest) continue;
      this.#log('warning', 'SA reached its soft limit', { spi, key: newest.id });
      return this.#own.wish(REASON_SCHEDULED, true);
    }
  }

  #isRevoked(peer: PeerRecord, now: Instant): boolean {
    const { trust, unixMs } = this.#options;
    return peer.newestKey !== undefined && isSignerRevoked(trust, peer.newestKey.tunnelEncapsulation, unixMs(now));
  }

  #forget(which: (peer: PeerRecord) => boolean, now: Instant): void {
    for (const peer of this.#peers.forget(which, now)) {
      this.#log('warning', 'SAs of a revoked peer ended', { peer: peer.name, site: peer.siteId, node: peer.nodeId });
    }
  }

  // ------------------------------------------------------------------------------------------- directives

  #directive(input: RouteInput, now: Instant): void {
    if (input.tunnelEncapsulation === undefined) return;
    const { node, unixMs } = this.#options;
    const verdict = readDirectiveRoute({ nlri: input.nlri, tunnelEncapsulation: input.tunnelEncapsulation }, node.routeDistinguisher);
    if (!verdict.ok) return this.#refuse(input.from, 'directive', verdict.cause);
    const directive = verdict.route;
    const startsInMs = directive.notBeforeUnixSeconds * 1000 - unixMs(now);
    const { newest } = this.#own;
    // Orders count whole seconds: a key of that very second may be the one that the order is about.
    const answered = newest !== undefined && newest.createdAt >= after(now, startsInMs + 1000);
    const answer = this.#orders.take(directive, answered);
    if (answer === 'known') return;
    this.#persistDue = true;
    if (answer === 'act') this.#obey(directive, startsInMs, now);
  }

  #obey(directive: RekeyDirective, startsInMs: number, now: Instant): void {
    const { reason, epoch, controller, revokedSite } = directive;
    if (reason === REASON_REVOKED) {
      this.#forget((peer) => (revokedSite === undefined ? peer.headless : peer.siteId === revokedSite), now);
      this.#outputs.push({ kind: 'revocation-ordered' });
    }
    const delayMs = this.#orders.delayMs(directive, startsInMs, this.#options.random);
    this.#log('info', 'rekey ordered by a Controller', { controller, epoch, reason, delayMs: Math.round(delayMs) });
    this.#orders.hold(reason);
    this.#timers.set('order', earlier(this.#timers.get('order'), after(now, delayMs))!);
    if (delayMs === 0) this.#carryOut();
  }

  #carryOut(): void {
    this.#timers.clear('order');
    const reason = this.#orders.due();
    if (reason !== undefined) this.#own.wish(reason);
  }

  // ---------------------------------------------------------------------------------------------- outputs

  #emit(): void {
    if (this.#persistDue) {
      this.#persistDue = false;
      this.#outputs.push({ kind: 'persist', bootCount: this.#options.bootCount, counter: this.#own.counter, epochs: this.#orders.epochs });
    }
    if (!this.#peers.hasChanges) return;
    this.#version++;
    this.#outputs.push({ kind: 'associations', version: this.#version, peers: this.#peers.takeView() });
  }

  #stop(): void {
    const route = this.#own.shown;
    if (route !== undefined) this.#outputs.push({ kind: 'withdraw', key: toHex(route.nlri), nlri: route.nlri });
    this.#peers.wipeAll();
    for (const key of this.#own.all) this.#own.end(key);
    while (this.#timers.takeDue(FOREVER) !== undefined);
    this.#version++;
    this.#outputs.push({ kind: 'associations', version: this.#version, peers: [] });
    this.#stage = 'stopped';
  }

  #refuse(from: string, node: string, cause: string): void {
    this.#counters.refused++;
    this.#alarm('key-route-refused', { from, node, cause });
  }

  #alarm(alarm: AlarmName, fields: Fields): void {
    this.#outputs.push({ kind: 'alarm', alarm, fields });
  }

  #log(level: LogLevel, sentence: string, fields: Fields): void {
    this.#outputs.push({ kind: 'log', event: { level, sentence, fields: { tenant: this.#options.node.tenant, ...fields } } });
  }
}
