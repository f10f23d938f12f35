// What a tenant of this node knows of one peer: its newest keys, the SA pairs with it, and which one sends. The rules
// R2 to R4 of the rekey procedure (draft-carrel-ipsecme-controller-ike 5) live here; the machine around it decides when.
import { after, earlier } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import type { IpAddress, SiteId } from '../model.ts';
import type { KeyRoute } from './key-route.ts';
import type { KeySet } from './key-set.ts';
import { isPublished, LIFETIME_LEAST_SECONDS } from './key-set.ts';
import type { PeerKey, SaPair } from './sa-pair.ts';

/** Newest key and those that its owner may still send on; SPIs tell four counters apart. */
export const PEER_KEYS_MAX = 4;
/** Controllers that present one peer's route. */
const SOURCES_MAX = 16;

export class PeerRecord {
  readonly nodeId: IpAddress;
  readonly siteId: SiteId;
  readonly name: string;
  /** Oldest first, by rekey counter. */
  readonly keys: PeerKey[] = [];
  readonly pairs: SaPair[] = [];
  /** The pair that sends. */
  tx: SaPair | undefined;
  /** BGP peers that present a key route of this node. */
  readonly #sources = new Set<string>();
  /** My key sets that this peer has used. */
  readonly #live = new Set<KeySet>();

  constructor(route: KeyRoute) {
    this.nodeId = route.nodeId;
    this.siteId = route.siteId;
    this.name = route.name;
  }

  get newestKey(): PeerKey | undefined {
    return this.keys.at(-1);
  }

  /** No Controller shows the peer: its SAs live on, new ones are not made. */
  get headless(): boolean {
    return this.#sources.size === 0;
  }

  present(source: string): void {
    if (this.#sources.size < SOURCES_MAX) this.#sources.add(source);
  }

  absent(source: string): void {
    this.#sources.delete(source);
  }

  hasUsed(local: KeySet): boolean {
    return this.#live.has(local);
  }

  hasUsedAny(): boolean {
    return this.#live.size > 0;
  }

  /**
   * R2: takes a key with a higher counter than all before; returns the pairs of keys that no longer fit the limit.
   * A higher boot count means that the peer lost its private values and what it knew of mine, so the old SAs only
   * linger and nothing counts as live (first contact again).
   */
  learn(route: KeyRoute, tunnelEncapsulation: Uint8Array, now: Instant, lingerMs: number): readonly SaPair[] {
    const before = this.newestKey;
    const lifetimeMs = Math.max(LIFETIME_LEAST_SECONDS, route.lifetimeSeconds) * 1000;
    this.keys.push({ id: route.keyId, published: route.published, tunnelEncapsulation, seenAt: now, expiresAt: after(now, lifetimeMs) });
    if (before !== undefined && bootCount(route.published.rekeyCounter) > bootCount(before.published.rekeyCounter)) {
      this.#live.clear();
      for (const pair of this.pairs) linger(pair, now, lingerMs);
    }
    const excess = this.keys.length > PEER_KEYS_MAX ? this.keys.shift() : undefined;
    return excess === undefined ? [] : this.remove((pair) => pair.peer === excess);
  }

  /** Which of my key sets still need a pair with which of the peer's keys; superseded ones need none any more. */
  missing(locals: readonly KeySet[], now: Instant): readonly { readonly local: KeySet; readonly peer: PeerKey }[] {
    const firstLocal = locals.findLastIndex((local) => this.#live.has(local));
    const firstPeer = this.keys.findLastIndex((key) => this.pairs.some((pair) => pair.peer === key && pair.heard));
    const missing: { local: KeySet; peer: PeerKey }[] = [];
    for (const local of locals.slice(Math.max(0, firstLocal))) {
      for (const peer of this.keys.slice(Math.max(0, firstPeer))) {
        const old = bootCount(peer.published.rekeyCounter) < bootCount(this.newestKey!.published.rekeyCounter);
        if (!old && local.expiresAt > now && peer.expiresAt > now && !this.pairs.some((pair) => pair.local === local && pair.peer === peer)) missing.push({ local, peer });
      }
    }
    return missing;
  }

  /** R3 and R4: the first good packet of `pair` has come; whatever is older lingers. */
  heard(pair: SaPair, now: Instant, lingerMs: number): void {
    pair.heard = true;
    this.#live.add(pair.local);
    for (const other of this.pairs) {
      const older = counterOf(other.local) < counterOf(pair.local) || other.peer.published.rekeyCounter < pair.peer.published.rekeyCounter;
      if (older) linger(other, now, lingerMs);
    }
  }

  /** Shortens the life of everything made from key sets older than `newest`. */
  lingerOlder(newest: KeySet, now: Instant, lingerMs: number): void {
    for (const pair of this.pairs) if (counterOf(pair.local) < counterOf(newest)) linger(pair, now, lingerMs);
  }

  /**
   * The decision for sending: among the pairs with the peer's newest key, those whose local key the peer has used;
   * of these my newest. Before anything was heard: my newest published key. Returns whether the choice moved.
   */
  decide(): boolean {
    const before = this.tx;
    const newest = this.keys.findLast((key) => this.pairs.some((pair) => pair.peer === key));
    const candidates = this.pairs.filter((pair) => pair.peer === newest);
    const live = candidates.filter((pair) => this.#live.has(pair.local));
    const published = candidates.filter((pair) => isPublished(pair.local));
    this.tx = newestLocal(live) ?? newestLocal(published) ?? newestLocal(candidates);
    return this.tx !== before;
  }

  /** Takes out and returns the pairs for which `which` holds, with the keys that nothing uses any more. */
  remove(which: (pair: SaPair) => boolean): readonly SaPair[] {
    const removed = this.pairs.filter(which);
    if (removed.length === 0) return removed;
    const kept = this.pairs.filter((pair) => !removed.includes(pair));
    this.pairs.splice(0, this.pairs.length, ...kept);
    const used = this.keys.filter((key) => key === this.newestKey || kept.some((pair) => pair.peer === key));
    this.keys.splice(0, this.keys.length, ...used);
    return removed;
  }

  forgetLocal(local: KeySet): void {
    this.#live.delete(local);
  }
}

function bootCount(rekeyCounter: bigint): bigint {
  return rekeyCounter >> 32n;
}

function counterOf(local: KeySet): bigint {
  return local.published.rekeyCounter;
}

function newestLocal(pairs: readonly SaPair[]): SaPair | undefined {
  let newest: SaPair | undefined;
  for (const pair of pairs) if (newest === undefined || counterOf(pair.local) > counterOf(newest.local)) newest = pair;
  return newest;
}

function linger(pair: SaPair, now: Instant, lingerMs: number): void {
  if (pair.lingering) return;
  pair.lingering = true;
  pair.expiresAt = earlier(pair.expiresAt, after(now, lingerMs))!;
}
