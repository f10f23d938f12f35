// One keying machine driven by hand: the test is its Controllers, its data plane and its clock.
import { SeededRandom } from '../../platform/random.ts';
import { instant } from '../../platform/time.ts';
import type { KeyingInput, KeyingOutput, PeerAssociations, TenantKeyingOptions } from '../../firmware/sdwan/keying-messages.ts';
import type { RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';
import { TenantKeying } from '../../firmware/sdwan/tenant-keying.ts';
import { UNIX_MS, nodeIdentity } from './credentials.ts';
import { POLICY } from './mesh.ts';

export type Published = Extract<KeyingOutput, { kind: 'publish' }>;

export class Box {
  readonly machine: TenantKeying;
  readonly siteId: number;
  now = 0;
  peers: readonly PeerAssociations[] = [];
  /** Since the last `take`. */
  outputs: KeyingOutput[] = [];
  published: Published | undefined;
  #saId = 0;

  constructor(siteId: number, signer: RouteSigner, trust: RouteTrust, options: Partial<TenantKeyingOptions> = {}) {
    this.siteId = siteId;
    this.machine = new TenantKeying({
      node: nodeIdentity(siteId), policy: POLICY, suite: trust.suite, random: new SeededRandom(`box ${siteId} ${options.bootCount ?? 1}`), trust, signer,
      routeTarget: '65000:2', bootCount: 1, saId: () => ++this.#saId, unixMs: (now) => UNIX_MS + now, ...options,
    });
  }

  get nodeId(): string {
    return nodeIdentity(this.siteId).nodeId;
  }

  give(input: KeyingInput | { readonly kind: 'timeout' }): void {
    this.machine.handle(input, instant(this.now));
    for (let output = this.machine.poll(); output !== undefined; output = this.machine.poll()) {
      this.outputs.push(output);
      if (output.kind === 'associations') this.peers = output.peers;
      if (output.kind === 'publish') this.published = output;
    }
  }

  start(): this {
    this.give({ kind: 'start' });
    return this;
  }

  /** Time passes; timers fire when they are due. */
  wait(ms: number): void {
    const end = this.now + ms;
    for (let deadline = this.machine.deadline(); deadline !== undefined && deadline <= end; deadline = this.machine.deadline()) {
      this.now = Math.max(this.now, deadline);
      this.give({ kind: 'timeout' });
    }
    this.now = end;
  }

  /** The key route of `other` arrives through `from`. */
  hears(other: Box, from = 'c1'): void {
    this.learns(other.published!, from);
  }

  learns(route: { readonly nlri: Uint8Array; readonly tunnelEncapsulation: Uint8Array | undefined }, from = 'c1'): void {
    this.give({ kind: 'key-route', from, nlri: route.nlri, tunnelEncapsulation: route.tunnelEncapsulation });
  }

  peer(other: Box): PeerAssociations | undefined {
    return this.peers.find((peer) => peer.nodeId === other.nodeId);
  }

  /** A packet on what this box sends with arrives at `other`; false when nothing there receives it. */
  sendTo(other: Box): boolean {
    const spi = this.peer(other)?.tx?.spi;
    if (spi === undefined || !other.peer(this)?.associations.some((pair) => pair.spiIn === spi)) return false;
    other.give({ kind: 'first-packet', spi, nodeId: this.nodeId });
    return true;
  }

  /** `self/peer` key ids of what it sends on, and of all pairs. */
  sends(other: Box): string {
    const pair = this.peer(other)?.associations.find((candidate) => candidate.tx === this.peer(other)?.tx);
    return pair === undefined ? '-' : `${pair.selfKeyId}/${pair.peerKeyId}`;
  }

  holds(other: Box): readonly string[] {
    const rows = this.machine.snapshot(instant(this.now)).associations.filter((row) => row.nodeId === other.nodeId);
    return rows.map(({ id, state }) => `${id.split(':').slice(1).toReversed().map(Number).join('/')} ${state}`);
  }

  kinds(): readonly string[] {
    return this.take().flatMap((output) => (output.kind === 'log' ? [] : [output.kind]));
  }

  take(): readonly KeyingOutput[] {
    const outputs = this.outputs;
    this.outputs = [];
    return outputs;
  }

  alarms(): readonly string[] {
    return this.take().flatMap((output) => (output.kind === 'alarm' ? [`${output.alarm}: ${output.fields['cause'] ?? ''}`] : []));
  }

  counters(): ReturnType<TenantKeying['snapshot']>['counters'] {
    return this.machine.snapshot(instant(this.now)).counters;
  }

  ownKeys(): readonly string[] {
    return this.machine.snapshot(instant(this.now)).selfKeys.map((key) => `${key.id} ${key.state}`);
  }
}

/** Both know each other's key and have used it. */
export function settle(a: Box, b: Box): void {
  a.hears(b);
  b.hears(a);
  a.sendTo(b);
  b.sendTo(a);
}
