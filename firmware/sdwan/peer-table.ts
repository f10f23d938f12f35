// All peers of one tenant with the SA pairs made with them: the index by SPI, what changed since the data plane was
// told, and the removed pairs whose octets are still to be wiped.
import type { IpAddress } from '../model.ts';
import type { KeyRoute } from './key-route.ts';
import type { KeySet } from './key-set.ts';
import type { PeerAssociations } from './keying-messages.ts';
import { PeerRecord } from './peer-record.ts';
import { wipePair } from './sa-pair.ts';
import type { SaPair } from './sa-pair.ts';

export const PEERS_MAX = 4096;
/** Receive SAs of different peers on one SPI: the data plane tries this many tags. */
const SPI_CHAIN_MAX = 4;

export class PeerTable {
  readonly #peers = new Map<IpAddress, PeerRecord>();
  readonly #bySpi = new Map<number, SaPair[]>();
  readonly #owners = new Map<SaPair, PeerRecord>();
  readonly #views = new Map<IpAddress, PeerAssociations>();
  readonly #changed = new Set<PeerRecord>();
  #someForgotten = false;
  #removed: SaPair[] = [];

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

  /** False, and the pair is wiped, when too many peers share its SPI. */
  add(peer: PeerRecord, pair: SaPair): boolean {
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
    return true;
  }

  decide(peer: PeerRecord): void {
    if (peer.decide()) this.#changed.add(peer);
  }

  /** After `peer.remove`; returns whether there is something to wipe later. */
  drop(peer: PeerRecord, pairs: readonly SaPair[]): boolean {
    for (const pair of pairs) {
      const chain = this.#bySpi.get(pair.rx.spi)!.filter((other) => other !== pair);
      if (chain.length > 0) this.#bySpi.set(pair.rx.spi, chain);
      else this.#bySpi.delete(pair.rx.spi);
      this.#owners.delete(pair);
    }
    if (pairs.length === 0) return false;
    this.#removed.push(...pairs);
    this.#changed.add(peer);
    this.decide(peer);
    return true;
  }

  /** The peer must have no pairs any more. */
  forget(peer: PeerRecord): void {
    this.#peers.delete(peer.nodeId);
    this.#views.delete(peer.nodeId);
    this.#changed.delete(peer);
    this.#someForgotten = true;
  }

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

  wipeRemoved(): void {
    for (const pair of this.#removed) wipePair(pair);
    this.#removed = [];
  }

  wipeAll(): void {
    this.wipeRemoved();
    for (const pair of this.#owners.keys()) wipePair(pair);
    for (const map of [this.#peers, this.#bySpi, this.#owners, this.#views]) map.clear();
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
