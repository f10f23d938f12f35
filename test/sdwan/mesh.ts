// N keying machines around two reflectors that delay, reorder and lose (then resend) every route on its own, and a
// model of packets in flight. All of it follows from the seed.
import { equalBytes } from '../../platform/bytes.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { instant } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import type { KeyingPolicy } from '../../firmware/configuration.ts';
import type { KeyingInput, KeyingOutput, PeerAssociations } from '../../firmware/sdwan/keying-messages.ts';
import type { RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';
import { TenantKeying } from '../../firmware/sdwan/tenant-keying.ts';
import { UNIX_MS, nodeIdentity } from './credentials.ts';

const REFLECTORS = ['c1', 'c2'];
/** Below the shortest linger of 10 s. */
const FLIGHT_MOST_MS = 4_000;
const PACKET_EVERY_MS = 700;
const APPLY_MOST_MS = 400;

export const POLICY: KeyingPolicy = {
  lifetimeSeconds: 28800, rekeyPercent: 70, groups: [31], suites: ['aes-256-gcm-16', 'chacha20-poly1305'], replayWindowPackets: 4096,
};

export interface MeshOptions {
  readonly seed: number | string;
  readonly sites: readonly number[];
  readonly signers: ReadonlyMap<number, RouteSigner>;
  readonly trust: RouteTrust;
  readonly policy?: KeyingPolicy;
}

type Route = Extract<KeyingOutput, { kind: 'publish' }>;

export class MeshNode {
  readonly siteId: number;
  machine: TenantKeying;
  bootCount = 1;
  /** What the data plane runs. */
  view: readonly PeerAssociations[] = [];
  appliedVersion = 0;
  readonly outputs: KeyingOutput[] = [];
  readonly heard = new Set<number>();

  constructor(siteId: number, machine: TenantKeying) {
    this.siteId = siteId;
    this.machine = machine;
  }

  get nodeId(): string {
    return nodeIdentity(this.siteId).nodeId;
  }

  peer(nodeId: string): PeerAssociations | undefined {
    return this.view.find((peer) => peer.nodeId === nodeId);
  }
}

export class Mesh {
  readonly random: SeededRandom;
  readonly nodes: MeshNode[];
  /** Packets between pairs that had talked both ways, which no receive SA took. */
  readonly lost: string[] = [];
  delivered = 0;
  now = 0;
  readonly #options: MeshOptions;
  readonly #events: { at: number; run: () => void }[] = [];
  readonly #shown = new Map<string, Route>();
  /** Ordered pairs of nodes whose packets arrive; cleared by a reboot of either. */
  readonly #arrives = new Set<string>();
  readonly #boots = new Map<number, number>();
  #saId = 0;

  constructor(options: MeshOptions) {
    this.#options = options;
    this.random = new SeededRandom(options.seed);
    this.nodes = options.sites.map((siteId) => new MeshNode(siteId, this.#machine(siteId, 1)));
    for (const node of this.nodes) {
      this.at(randomBelow(this.random, 3000), () => this.give(node, { kind: 'start' }));
      this.at(1, () => this.#sendForever(node));
    }
  }

  #machine(siteId: number, bootCount: number): TenantKeying {
    const { signers, trust, policy = POLICY } = this.#options;
    return new TenantKeying({
      node: nodeIdentity(siteId), policy, suite: trust.suite, random: this.random.fork(`${siteId}/${bootCount}`), trust, signer: signers.get(siteId)!,
      routeTarget: '65000:2', bootCount, saId: () => ++this.#saId, unixMs: (now) => UNIX_MS + now, acknowledged: true,
    });
  }

  at(delayMs: number, run: () => void): void {
    this.#events.push({ at: this.now + delayMs, run });
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.#nextEvent(end);
      if (next === undefined) break;
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }

  /** Until the newest key of every node is this old; with short lifetimes somebody is always about to rekey. */
  runUntilQuiet(ageMs: number): void {
    do this.run(5_000);
    while (this.nodes.some((node) => node.machine.snapshot(this.instant()).selfKeys.at(-1)!.ageSeconds * 1000 < ageMs));
  }

  #nextEvent(end: number): { at: number; run: () => void } | undefined {
    let best: { at: number; run: () => void } | undefined;
    for (const node of this.nodes) {
      const deadline = node.machine.deadline();
      if (deadline !== undefined && (best === undefined || deadline < best.at)) {
        best = { at: Math.max(deadline, this.now), run: () => this.give(node, { kind: 'timeout' }) };
      }
    }
    for (const event of this.#events) if (best === undefined || event.at < best.at) best = event;
    if (best === undefined || best.at > end) return undefined;
    const index = this.#events.indexOf(best);
    if (index >= 0) this.#events.splice(index, 1);
    return best;
  }

  instant(): Instant {
    return instant(this.now);
  }

  give(node: MeshNode, input: KeyingInput | { readonly kind: 'timeout' }): void {
    const machine = node.machine;
    machine.handle(input, this.instant());
    for (let output = machine.poll(); output !== undefined; output = machine.poll()) {
      node.outputs.push(output);
      if (output.kind === 'associations') this.#apply(node, machine, output.version, output.peers);
      if (output.kind === 'publish') this.#reflect(node, output);
    }
  }

  #apply(node: MeshNode, machine: TenantKeying, version: number, peers: readonly PeerAssociations[]): void {
    this.at(randomBelow(this.random, APPLY_MOST_MS), () => {
      if (node.machine !== machine || version <= node.appliedVersion) return;
      node.appliedVersion = version;
      node.view = peers;
      this.give(node, { kind: 'applied', version });
    });
  }

  #reflect(from: MeshNode, route: Route): void {
    for (const reflector of REFLECTORS) {
      this.#shown.set(`${reflector} ${from.siteId}`, route);
      for (const node of this.nodes) if (node !== from) this.#deliver(reflector, node, route);
    }
  }

  #deliver(reflector: string, node: MeshNode, route: Route): void {
    const resentMs = randomBelow(this.random, 5) === 0 ? 3_000 + randomBelow(this.random, 20_000) : 0;
    const machine = node.machine;
    this.at(20 + randomBelow(this.random, 3_000) + resentMs, () => {
      if (node.machine !== machine) return;
      this.give(node, { kind: 'key-route', from: reflector, nlri: route.nlri, tunnelEncapsulation: route.tunnelEncapsulation });
    });
  }

  reboot(node: MeshNode): void {
    node.bootCount++;
    node.machine = this.#machine(node.siteId, node.bootCount);
    node.view = [];
    node.appliedVersion = 0;
    this.#boots.set(node.siteId, node.bootCount);
    for (const pair of [...this.#arrives]) if (pair.split('>').includes(String(node.siteId))) this.#arrives.delete(pair);
    this.give(node, { kind: 'start' });
    for (const reflector of REFLECTORS) {
      for (const other of this.nodes) {
        const route = this.#shown.get(`${reflector} ${other.siteId}`);
        if (other !== node && route !== undefined) this.#deliver(reflector, node, route);
      }
    }
  }

  #sendForever(node: MeshNode): void {
    for (const peer of this.nodes) if (peer !== node) this.#send(node, peer);
    this.at(PACKET_EVERY_MS / 2 + randomBelow(this.random, PACKET_EVERY_MS), () => this.#sendForever(node));
  }

  #send(from: MeshNode, to: MeshNode): void {
    const tx = from.peer(to.nodeId)?.tx;
    const there = `${from.siteId}>${to.siteId}`;
    const back = `${to.siteId}>${from.siteId}`;
    const established = this.#arrives.has(there) && this.#arrives.has(back);
    const boots = `${from.bootCount}/${to.bootCount}`;
    if (tx === undefined) {
      if (established) this.lost.push(`${there} at ${this.now}: nothing to send on`);
      return;
    }
    const key = tx.key.slice();
    const sentAt = this.now;
    this.at(5 + randomBelow(this.random, FLIGHT_MOST_MS), () => {
      const sameBoots = boots === `${from.bootCount}/${to.bootCount}`;
      const rx = to.peer(from.nodeId)?.associations.find((pair) => pair.rx.spi === tx.spi && equalBytes(pair.rx.key, key))?.rx;
      if (rx === undefined) {
        if (established && sameBoots) this.lost.push(`${there} sent ${sentAt}, now ${this.now}, SPI ${tx.spi.toString(16)}`);
        return;
      }
      this.delivered++;
      if (sameBoots) this.#arrives.add(there);
      if (to.heard.has(rx.id)) return;
      to.heard.add(rx.id);
      this.give(to, { kind: 'first-packet', spi: rx.spi, nodeId: from.nodeId });
    });
  }

  /** What is not exactly one matching SA each way between every two nodes. */
  faults(): readonly string[] {
    const faults: string[] = [];
    for (const a of this.nodes) {
      for (const b of this.nodes) {
        if (a === b) continue;
        const tx = a.peer(b.nodeId)?.tx;
        const pairs = b.peer(a.nodeId)?.associations ?? [];
        if (pairs.length !== 1) faults.push(`${b.siteId} holds ${pairs.length} pairs with ${a.siteId}`);
        if (tx === undefined || !pairs.some(({ rx }) => rx.spi === tx.spi && equalBytes(rx.key, tx.key) && equalBytes(rx.salt, tx.salt))) {
          faults.push(`${a.siteId} sends to ${b.siteId} on nothing that ${b.siteId} receives`);
        }
      }
    }
    return faults;
  }
}
