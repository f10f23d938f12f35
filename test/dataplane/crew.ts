// One box whose forwarder has several workers, all breathing on this thread, in the middle of peers with one worker
// each. A test says which worker's socket or queue a packet arrives at.
import { octetsText } from '../../drivers/address.ts';
import { appendPacket, createBurst, datagramsAt, Next, type Burst } from '../../drivers/burst.ts';
import { MemoryDatagramHub, memoryLinkPair, type MemoryDatagram, type MemoryLink } from '../../drivers/memory.ts';
import type { DatagramPort } from '../../drivers/port.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { createCounterPage } from '../../firmware/dataplane/counters.ts';
import { Forwarder } from '../../firmware/dataplane/forwarder.ts';
import { createRing, WorkerPort } from '../../firmware/dataplane/ring.ts';
import type { ForwarderEvent, ForwardingState, TunnelSpec } from '../../firmware/model.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { instant } from '../../platform/time.ts';
import { Box, CLEAR, CLEAR_TUNNEL, ENCRYPTED, LAN, LAN_LABEL, sa, TUNNEL, VNI } from './boxes.ts';

const BURSTS = [createBurst(), createBurst()] as const;
const QUIET = { fd: -1, ring: () => undefined, silence: () => undefined };
export const CREW_ADDRESS = '192.0.2.100';

/** A worker's own socket of the box's UDP 4790. */
class CrewSocket implements DatagramPort {
  readonly kind = 'udp';
  readonly name = 'socket';
  readonly fd = -1;
  readonly local = { address: CREW_ADDRESS, port: 4790 };
  readonly waiting: MemoryDatagram[] = [];
  /** What this worker sent. */
  readonly sent: Uint8Array[] = [];
  readonly #hub: MemoryDatagramHub;

  constructor(hub: MemoryDatagramHub) {
    this.#hub = hub;
  }

  read(burst: Burst): number {
    const waiting = this.waiting.splice(0);
    for (const { bytes, from, mark = 0 } of waiting) {
      const i = appendPacket(burst, bytes);
      const address = addressBytes(from.address);
      burst.address.set(address, i * 16);
      burst.family[i] = address.length === 4 ? 4 : 6;
      burst.port[i] = from.port;
      burst.mark[i] = mark;
    }
    return waiting.length;
  }

  write(burst: Burst, select: number): number {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      burst.next[i] = Next.done;
      const to = { address: octetsText(burst.address, i * 16, burst.family[i]!), port: burst.port[i]! };
      for (const bytes of datagramsAt(burst, i)) {
        this.sent.push(bytes);
        this.#hub.deliver({ kind: 'udp', bytes, from: this.local, to });
      }
    }
    return burst.count;
  }

  close(): void {}
}

export interface CrewWorker {
  readonly forwarder: Forwarder;
  readonly socket: CrewSocket;
  /** Host's end of this worker's queue of an inside, by id. */
  readonly hosts: Map<number, MemoryLink>;
  readonly events: ForwarderEvent[];
}

export class Crew {
  readonly hub: MemoryDatagramHub;
  readonly workers: readonly CrewWorker[];

  constructor(hub: MemoryDatagramHub, state: ForwardingState, count: number, ringBytes = 1 << 20) {
    this.hub = hub;
    const pages = Array.from({ length: count }, () => createCounterPage({ tunnels: 128, sas: 512 }));
    const rings = pages.map(() => pages.map(() => createRing(ringBytes)));
    const aead = new PortableAead();
    this.workers = pages.map((page, worker) => {
      const events: ForwarderEvent[] = [];
      const forwarder = new Forwarder({ aead, counters: page, bursts: BURSTS, worker, onEvent: (event) => events.push(event) });
      for (let other = 0; other < count; other++) {
        if (other === worker) continue;
        const [from, to] = [rings[other]![worker]!, rings[worker]![other]!];
        forwarder.attachWorker(other, new WorkerPort({ name: `worker ${other}`, from, to, ownBell: QUIET, otherBell: QUIET, page }));
      }
      const socket = new CrewSocket(hub);
      forwarder.attachOutside(1, { vxlan: [socket], natt: [], esp: [] });
      return { forwarder, socket, events, hosts: new Map() };
    });
    for (const inside of state.insides) this.#attach(inside.id, inside.kind === 'lan');
    for (const { forwarder } of this.workers) forwarder.apply(state);
  }

  /** A LAN has a queue per worker; a TVI has one that worker 0 reads. */
  #attach(inside: number, isLan: boolean): void {
    const [shared, sharedHost] = memoryLinkPair(`inside-${inside}`);
    for (const [worker, { forwarder, hosts }] of this.workers.entries()) {
      const [near, far] = isLan ? memoryLinkPair(`inside-${inside}`) : [shared, sharedHost];
      forwarder.attachInside(inside, near, isLan || worker === 0);
      hosts.set(inside, far);
    }
  }

  breathe(nowMs = 1000): number {
    return this.workers.reduce((moved, { forwarder }) => moved + forwarder.breathe(instant(nowMs)), 0);
  }

  drops(): Record<string, number> {
    const all: Record<string, number> = {};
    for (const { forwarder } of this.workers) for (const { reason, packets } of forwarder.readCounters().drops) all[reason] = (all[reason] ?? 0) + packets;
    return all;
  }

  handedOver(): number {
    return this.workers.reduce((sum, { forwarder }) => sum + forwarder.readCounters().handedOver, 0);
  }

  /** What hosts of the inside received, whichever worker wrote it. */
  received(inside: number): Uint8Array[] {
    return [...new Set(this.workers.map(({ hosts }) => hosts.get(inside)!))].flatMap((host) => {
      const packets: Uint8Array[] = [];
      for (let packet = host.take(); packet !== undefined; packet = host.take()) packets.push(packet);
      return packets;
    });
  }
}

export function settleCrew(crew: Crew, peers: readonly Box[]): void {
  for (let round = 0; round < 200; round++) {
    if (crew.breathe() + peers.reduce((moved, peer) => moved + peer.breathe(), 0) === 0) return;
  }
  throw new Error('the boxes do not come to rest');
}

export const peerAddress = (peer: number): string => `198.51.100.${peer}`;
/** A host of a tenant behind a peer; peer 100 is the crew's box. */
export const hostAddress = (tenant: number, peer: number): string => `10.${peer}.${tenant}.7`;
const overlay = (what: number, tenant: number, peer: number): string => `10.${what}.${tenant}.${peer}`;
/** SPI of the SA from one end of a tunnel to the other. */
export const spiOf = (tenant: number, from: number, to: number): number => 0x0200_0000 + tenant * 0x1_0000 + from * 0x100 + to;

/** One end's part of the tunnels of a tenant: to each of `others`, with clear and sealed tunnels and a LAN. */
export function tenantState(tenant: number, own: number, others: readonly { peer: number; address: string; worker: number }[]): ForwardingState {
  const base = tenant * 1000;
  const inside = { tenant, vr: 'vr', mtu: 1400 } as const;
  const tunnels = others.flatMap(({ peer, address, worker }): TunnelSpec[] => {
    const common = { tenant, peer: `peer-${peer}`, paths: [{ outside: 1, remote: { address, port: 4790 } }], idleDummyMs: 0, mtu: 1414 };
    const [out, into] = [spiOf(tenant, own, peer), spiOf(tenant, peer, own)];
    return [
      { ...common, id: base + peer * 100 + TUNNEL, kind: 'vxlan-esp', inside: base + ENCRYPTED, tx: sa(out, out), rx: [sa(into, into, { windowPackets: 1024 })], worker },
      { ...common, id: base + peer * 100 + CLEAR_TUNNEL, kind: 'vxlan-clear', inside: base + CLEAR, tx: undefined, rx: [] },
    ];
  });
  const routes = others.flatMap(({ peer }) => {
    const sealed = base + peer * 100 + TUNNEL;
    return [
      { inside: base + LAN, prefix: `10.${peer}.${tenant}.0/24`, tunnel: sealed, label: LAN_LABEL + tenant },
      { inside: base + ENCRYPTED, prefix: `${overlay(255, tenant, peer)}/32`, tunnel: sealed, label: 0 },
      { inside: base + CLEAR, prefix: `${overlay(254, tenant, peer)}/32`, tunnel: base + peer * 100 + CLEAR_TUNNEL, label: 0 },
    ];
  });
  return {
    version: 1,
    tenants: [{ tenant, vni: VNI + tenant }],
    insides: [
      { ...inside, id: base + CLEAR, kind: 'clear-tvi', name: 'tvi-0/2', addresses: [overlay(254, tenant, own)] },
      { ...inside, id: base + ENCRYPTED, kind: 'encrypted-tvi', name: 'tvi-0/3', addresses: [overlay(255, tenant, own)] },
      { ...inside, id: base + LAN, kind: 'lan', name: 'core0', addresses: [] },
    ],
    outsides: [{ id: 1, name: 'vni-0/0', vr: 'wan', addresses: [] }],
    tunnels,
    routes,
    labels: [{ label: LAN_LABEL + tenant, inside: base + LAN }],
  };
}

/** A peer's box with one worker. */
export function peerBox(hub: MemoryDatagramHub, state: ForwardingState, address: string): Box {
  const box = new Box(hub, address);
  for (const { id } of state.insides) box.link(id);
  box.forwarder.apply(state);
  return box;
}

export { overlay as overlayAddress };
