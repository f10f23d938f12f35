// The Controller's part of one tenant's rekeying: it orders key changes by directive routes (one epoch each) and
// watches that every node's rekey counter rises in time. It never sees a private value or a session key, and traffic
// never waits for it. Each Controller has epochs of its own; they are Unix seconds or one more than the last, so that
// they rise over a restart without being stored.
import type { Fields, LogEvent } from '../../platform/log.ts';
import { TimerTable, after } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import { unreachable } from '../../platform/errors.ts';
import type { Machine, Timeout } from '../machine.ts';
import type { IpAddress, SiteId } from '../model.ts';
import { addressText } from '../wire/address.ts';
import type { RekeyReason } from '../wire/bgp/tunnel-encap-container.ts';
import { buildDirectiveRoute, isUrgent } from './directive.ts';
import { decodeRoute } from './signed-route.ts';
import type { RouteBytes } from './signed-route.ts';

const NODES_MAX = 16_384;
/** Extra time for the slowest node: its order, its key, BGP. */
const GRACE_MS = 10_000;
const DEADLINE_SECONDS = 60;
/** Laggards named in one alarm; the snapshot names all. */
const NAMED_MAX = 10;
/** A TLV of type 25 without sub-TLVs. */
const EMPTY_TUNNEL = Uint8Array.of(0, 25, 0, 0);

export interface RekeyControllerOptions {
  /** This Controller's Node-ID in the tenant. */
  readonly nodeId: IpAddress;
  readonly routeDistinguisher: string;
  readonly unixMs: (now: Instant) => number;
}

export interface RekeyOrder {
  readonly reason: RekeyReason;
  /** Nodes start at a random point of this window; 0 for urgent reasons. */
  readonly spreadSeconds: number;
  /** Counted from the window's end; who has no new key then is a laggard. 60 unless said. */
  readonly deadlineSeconds?: number | undefined;
  /** Start in the future; undefined: at once. */
  readonly notBeforeUnixSeconds?: number | undefined;
  /** Reason 4: whose SAs end at once. */
  readonly revokedSite?: SiteId | undefined;
}

export type RekeyControllerInput =
  | ({ readonly kind: 'order' } & RekeyOrder)
  /** A branch's key route (or its withdrawal) that passed the identity check. */
  | { readonly kind: 'key-route'; readonly nlri: Uint8Array; readonly tunnelEncapsulation: Uint8Array | undefined };

export type RekeyControllerOutput =
  | ({ readonly kind: 'publish' } & RouteBytes)
  | { readonly kind: 'alarm'; readonly alarm: 'rekey-overdue'; readonly fields: Fields }
  | { readonly kind: 'log'; readonly event: LogEvent };

export interface RekeyControllerSnapshot {
  readonly epoch: number;
  readonly reason: RekeyReason | undefined;
  readonly total: number;
  readonly done: number;
  /** Node-IDs without a new key; overdue once the deadline has passed. */
  readonly laggards: readonly { readonly nodeId: IpAddress; readonly siteId: SiteId }[];
  readonly overdue: boolean;
  readonly nodes: readonly { readonly nodeId: IpAddress; readonly siteId: SiteId; readonly rekeyCounter: string; readonly ageSeconds: number }[];
}

interface Node {
  readonly siteId: SiteId;
  readonly counter: bigint;
  readonly raisedAt: Instant;
}

interface Campaign {
  readonly reason: RekeyReason;
  /** Nodes known at the order, with the counter that must be exceeded. */
  readonly waiting: Map<IpAddress, bigint>;
  readonly total: number;
  overdue: boolean;
}

export class RekeyController implements Machine<RekeyControllerInput, RekeyControllerOutput> {
  readonly #options: RekeyControllerOptions;
  readonly #nodes = new Map<IpAddress, Node>();
  readonly #timers = new TimerTable<'deadline'>();
  readonly #outputs: RekeyControllerOutput[] = [];
  #epoch = 0;
  #campaign: Campaign | undefined;

  constructor(options: RekeyControllerOptions) {
    this.#options = options;
  }

  handle(input: RekeyControllerInput | Timeout, now: Instant): void {
    switch (input.kind) {
      case 'order':
        return this.#order(input, now);
      case 'key-route':
        return this.#keyRoute(input.nlri, input.tunnelEncapsulation, now);
      case 'timeout':
        if (this.#timers.takeDue(now) !== undefined) this.#overdue();
        return;
      default:
        unreachable(input);
    }
  }

  poll(): RekeyControllerOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  snapshot(now: Instant): RekeyControllerSnapshot {
    const campaign = this.#campaign;
    return {
      epoch: this.#epoch, reason: campaign?.reason, total: campaign?.total ?? 0, done: (campaign?.total ?? 0) - (campaign?.waiting.size ?? 0),
      laggards: [...(campaign?.waiting.keys() ?? [])].map((nodeId) => ({ nodeId, siteId: this.#nodes.get(nodeId)!.siteId })),
      overdue: campaign?.overdue ?? false,
      nodes: [...this.#nodes].map(([nodeId, node]) => ({
        nodeId, siteId: node.siteId, rekeyCounter: `0x${node.counter.toString(16).padStart(16, '0')}`,
        ageSeconds: Math.round((now - node.raisedAt) / 1000),
      })),
    };
  }

  #order(order: RekeyOrder, now: Instant): void {
    const { nodeId, routeDistinguisher, unixMs } = this.#options;
    const nowUnixMs = unixMs(now);
    const notBeforeUnixSeconds = Math.max(order.notBeforeUnixSeconds ?? 0, Math.floor(nowUnixMs / 1000));
    const spreadSeconds = isUrgent(order.reason) ? 0 : order.spreadSeconds;
    const deadlineSeconds = order.deadlineSeconds ?? DEADLINE_SECONDS;
    this.#epoch = Math.max(this.#epoch + 1, Math.floor(nowUnixMs / 1000));
    const route = buildDirectiveRoute(routeDistinguisher, {
      controller: nodeId, epoch: this.#epoch, notBeforeUnixSeconds, spreadSeconds, deadlineSeconds,
      reason: order.reason, revokedSite: order.revokedSite,
    });
    if (order.revokedSite !== undefined) this.#revoke(order.revokedSite);
    this.#outputs.push({ kind: 'publish', ...route });
    const waiting = new Map([...this.#nodes].map(([id, node]) => [id, node.counter]));
    this.#campaign = { reason: order.reason, waiting, total: waiting.size, overdue: false };
    const startsInMs = Math.max(0, notBeforeUnixSeconds * 1000 - nowUnixMs);
    this.#timers.set('deadline', after(now, startsInMs + (spreadSeconds + deadlineSeconds) * 1000 + GRACE_MS));
    this.#log('rekey ordered', { epoch: this.#epoch, reason: order.reason, nodes: waiting.size });
    this.#finish();
  }

  /** A revoked node will not make a new key; nobody waits for it. */
  #revoke(siteId: SiteId): void {
    for (const [id, node] of this.#nodes) if (node.siteId === siteId) this.#nodes.delete(id);
  }

  #keyRoute(nlri: Uint8Array, tunnelEncapsulation: Uint8Array | undefined, now: Instant): void {
    // A withdrawal has no attributes; an empty tunnel stands for them.
    const decoded = decodeRoute({ nlri, tunnelEncapsulation: tunnelEncapsulation ?? EMPTY_TUNNEL });
    if (!decoded.ok || decoded.route.nlri.kind !== 'key') return;
    const { nodeId: id, color } = decoded.route.nlri;
    const nodeId = addressText(id);
    if (tunnelEncapsulation === undefined) {
      this.#nodes.delete(nodeId);
      this.#campaign?.waiting.delete(nodeId);
      return this.#finish();
    }
    const counter = decoded.route.fields.deviceInformation?.rekeyCounter;
    const known = this.#nodes.get(nodeId);
    if (counter === undefined || (known === undefined && this.#nodes.size >= NODES_MAX)) return;
    if (known === undefined || counter > known.counter) this.#nodes.set(nodeId, { siteId: color, counter, raisedAt: now });
    const exceeded = this.#campaign?.waiting.get(nodeId);
    if (exceeded === undefined || counter <= exceeded) return;
    this.#campaign!.waiting.delete(nodeId);
    this.#finish();
  }

  #finish(): void {
    const campaign = this.#campaign;
    if (campaign === undefined || campaign.waiting.size > 0 || this.#timers.get('deadline') === undefined) return;
    this.#timers.clear('deadline');
    this.#log('rekey complete', { epoch: this.#epoch, nodes: campaign.total });
  }

  #overdue(): void {
    const campaign = this.#campaign!;
    campaign.overdue = true;
    const laggards = [...campaign.waiting.keys()].slice(0, NAMED_MAX).join(' ');
    this.#outputs.push({ kind: 'alarm', alarm: 'rekey-overdue', fields: { epoch: this.#epoch, missing: campaign.waiting.size, total: campaign.total, laggards } });
  }

  #log(sentence: string, fields: Fields): void {
    this.#outputs.push({ kind: 'log', event: { level: 'info', sentence, fields } });
  }
}
