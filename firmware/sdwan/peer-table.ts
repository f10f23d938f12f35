// All peers of one tenant with the SA pairs made with them: the index by SPI, when the next pair ends, what changed
// since the data plane was told, and the removed pairs whose octets are still to be wiped.
import { after, earlier } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import type { IpAddress } from '../model.ts';
import type { KeyRoute } from './key-route.ts';
import type { KeySet } from './key-set.ts';
import type { PeerAssociations } from './keying-messages.ts';
import { PeerRecord } from './peer-record.ts';
import { makePair, wipePair } from './sa-pair.ts';
import type { PairContext, PeerKey, SaPair } from './sa-pair.ts';

export const PEERS_MAX = 4096;
/** Receive SAs of different peers on one SPI: the data plane tries this many tags. */
const SPI_CHAIN_MAX = 4;
/** Removed SAs keep their octets until no queued state of the data plane can hold them. */
const WIPE_AFTER_MS = 10_000;

/** Why a pair is missing: no key could be derived, or its SPI has too many owners already. */
export interface MissingPair {
  readonly local: KeySet;
  readonly peer: PeerKey;
  readonly cause: string;
  readonly collision: boolean;
}

export class PeerTable {
  readonly #peers = new Map<IpAddress, PeerRecord>();
  readonly #bySpi = new Map<number, SaPair[]>();
  readonly #owners = new Map<SaPair, PeerRecord>();
  readonly #views = new Map<IpAddress, PeerAssociations>();
  readonly #changed = new Set<PeerRecord>();
  #someForgotten = false;
  #removed: { readonly pair: SaPair; readonly wipeAt: Instant }[] = [];
  /** No pair ends earlier. */
  #nextEnd: Instant | undefined;

  get size(): number {
    return this.#peers.size;
  }

  get(nodeId: IpAddress): PeerRecord | undefined {
    return this.#peers.get(nodeId);
  }

  /** A copy: the table may change while the caller walks it. */
  all(): readonly PeerRecord[] {
    return [...this.#peers.values()];
  }

  pairs(): Iterable<SaPair> {
    return this.#owners.keys();
  }

  ownerOf(pair: SaPair): PeerRecord {
    return this.#owners.get(pair)!;
  }

  /** Receive pairs on this SPI, of one peer when `nodeId` is given. */
  on(spi: number, nodeId: IpAddress | undefined): readonly SaPair[] {
    const chain = this.#bySpi.get(spi) ?? [];
    return nodeId === undefined ? chain : chain.filter((pair) => this.ownerOf(pair).nodeId === nodeId);
  }

  /** The key sets of this node that some SA uses. */
  usedKeys(): ReadonlySet<KeySet> {
    const used = new Set<KeySet>();
    for (const pair of this.#owners.keys()) used.add(pair.local);
    return used;
  }

  admit(route: KeyRoute): PeerRecord {
    const peer = new PeerRecord(route);
    this.#peers.set(peer.nodeId, peer);
    return peer;
  }

  /** R2 for one peer. */
  learn(peer: PeerRecord, route: KeyRoute, tunnelEncapsulation: Uint8Array, now: Instant, lingerMs: number): void {
    this.#drop(peer, peer.learn(route, tunnelEncapsulation, now, lingerMs), now);
    this.#endBy(after(now, lingerMs)); // a new boot lets the SAs of the old one linger
  }

  /** Makes every pair that a shown peer still lacks, and says which could not be made. */
  pairUp(context: PairContext, peer: PeerRecord, locals: readonly KeySet[], now: Instant): readonly MissingPair[] {
    const failed: MissingPair[] = [];
    for (const { local, peer: key } of peer.headless ? [] : peer.missing(locals, now)) {
      const pair = makePair(context, local, key, now);
      if (typeof pair === 'string') failed.push({ local, peer: key, cause: pair, collision: false });
      else if (!this.#add(peer, pair)) failed.push({ local, peer: key, cause: `${SPI_CHAIN_MAX} peers share its SPI`, collision: true });
    }
    this.decide(peer);
    return failed;
  }

  /** The pair is wiped when its SPI has too many owners. */
  #add(peer: PeerRecord, pair: SaPair): boolean {
    const chain = this.#bySpi.get(pair.rx.spi) ?? [];
    if (chain.length >= SPI_CHAIN_MAX) {
      wipePair(pair);
      return false;
    }
    chain.push(pair);
    this.#bySpi.set(pair.rx.spi, chain);
    this.#owners.set(pair, peer);
    peer.pairs.push(pair);
    this.#changed.add(peer);
    this.#endBy(pair.expiresAt);
    return true;
  }

  /** R3 and R4. */
  heard(pair: SaPair, now: Instant, lingerMs: number): void {
    const peer = this.ownerOf(pair);
    peer.heard(pair, now, lingerMs);
    this.#endBy(after(now, lingerMs));
    this.decide(peer);
  }

  /** `newest` is published; when it is urgent, SAs of older keys end soon whether it was used or not. */
  published(newest: KeySet, urgent: boolean, now: Instant, lingerMs: number): void {
    for (const peer of this.#peers.values()) {
      if (urgent) peer.lingerOlder(newest, now, lingerMs);
      this.decide(peer);
    }
    if (urgent) this.#endBy(after(now, lingerMs));
  }

  /** Peers that used an older key of this node but are silent on this one. */
  silentOn(key: KeySet): number {
    let silent = 0;
    for (const peer of this.#peers.values()) if (!peer.headless && peer.hasUsedAny() && !peer.hasUsed(key)) silent++;
    return silent;
  }

  decide(peer: PeerRecord): void {
    if (peer.decide()) this.#changed.add(peer);
  }

  // ------------------------------------------------------------------------------------------------ ends

  #endBy(when: Instant): void {
    this.#nextEnd = earlier(this.#nextEnd, when);
  }

  get nextEnd(): Instant | undefined {
    return this.#nextEnd;
  }

  /** Ends the pairs whose time has come, and forgets peers that nobody shows once they have none. */
  expire(now: Instant): void {
    this.#nextEnd = undefined;
    for (const peer of this.all()) {
      this.#drop(peer, peer.remove((pair) => pair.expiresAt <= now), now);
      for (const pair of peer.pairs) this.#endBy(pair.expiresAt);
      this.forgetIfOver(peer);
    }
  }

  endKey(key: KeySet, now: Instant): void {
    for (const peer of this.#peers.values()) {
      this.#drop(peer, peer.remove((pair) => pair.local === key), now);
      peer.forgetLocal(key);
    }
  }

  /** Ends all SAs of these peers at once; returns who they were. */
  forget(which: (peer: PeerRecord) => boolean, now: Instant): readonly PeerRecord[] {
    const forgotten = this.all().filter(which);
    for (const peer of forgotten) {
      this.#drop(peer, peer.remove(() => true), now);
      this.#remove(peer);
    }
    return forgotten;
  }

  forgetIfOver(peer: PeerRecord): void {
    if (peer.headless && peer.pairs.length === 0) this.#remove(peer);
  }

  #remove(peer: PeerRecord): void {
    this.#peers.delete(peer.nodeId);
    this.#views.delete(peer.nodeId);
    this.#changed.delete(peer);
    this.#someForgotten = true;
  }

  #drop(peer: PeerRecord, pairs: readonly SaPair[], now: Instant): void {
    if (pairs.length === 0) return;
    for (const pair of pairs) {
      const chain = this.#bySpi.get(pair.rx.spi)!.filter((other) => other !== pair);
      if (chain.length > 0) this.#bySpi.set(pair.rx.spi, chain);
      else this.#bySpi.delete(pair.rx.spi);
      this.#owners.delete(pair);
      this.#removed.push({ pair, wipeAt: after(now, WIPE_AFTER_MS) });
    }
    this.#changed.add(peer);
    this.decide(peer);
  }

  get nextWipe(): Instant | undefined {
    return this.#removed[0]?.wipeAt;
  }

  wipeRemoved(now: Instant): void {
    while (this.#removed.length > 0 && this.#removed[0]!.wipeAt <= now) wipePair(this.#removed.shift()!.pair);
  }

  wipeAll(): void {
    for (const { pair } of this.#removed) wipePair(pair);
    for (const pair of this.#owners.keys()) wipePair(pair);
    for (const map of [this.#peers, this.#bySpi, this.#owners, this.#views]) map.clear();
    this.#removed = [];
  }

  // --------------------------------------------------------------------------------------- the data plane's view

  get hasChanges(): boolean {
    return this.#changed.size > 0 || this.#someForgotten;
  }

  /** The whole table as the data plane takes it; unchanged peers keep their object. */
  takeView(): readonly PeerAssociations[] {
    for (const peer of this.#changed) this.#views.set(peer.nodeId, viewOf(peer));
    this.#changed.clear();
    this.#someForgotten = false;
    return [...this.#views.values()];
  }
}

function viewOf(peer: PeerRecord): PeerAssociations {
  return {
    nodeId: peer.nodeId, siteId: peer.siteId, name: peer.name, tx: peer.tx?.tx,
    associations: peer.pairs.map((pair) => ({
      peerKeyId: pair.peer.id, selfKeyId: pair.local.id, spiIn: pair.rx.spi, spiOut: pair.tx.spi,
      createdAt: pair.createdAt, rx: pair.rx, tx: pair.tx,
    })),
  };
}
