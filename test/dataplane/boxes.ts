// Two or more boxes on a hub in memory, with states built from a few words. Shared by the data plane's tests.
import type { AeadEngine } from '../../drivers/aead.ts';
import { createBurst } from '../../drivers/burst.ts';
import { MemoryDatagramHub, memoryLinkPair, type MemoryLink } from '../../drivers/memory.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { createCounterPage, type CounterPage } from '../../firmware/dataplane/counters.ts';
import { Forwarder } from '../../firmware/dataplane/forwarder.ts';
import type { ForwarderEvent, ForwardingState, InsideSpec, SaSpec, TunnelSpec } from '../../firmware/model.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { writeIpv4, writeIpv4Checksum, writeIpv6, PROTOCOL_UDP } from '../../firmware/wire/ip.ts';
import { writeUdp, writeUdpChecksum } from '../../firmware/wire/udp.ts';
import { instant } from '../../platform/time.ts';

const BURSTS = [createBurst(), createBurst()] as const;

export const CLEAR = 1;
export const ENCRYPTED = 2;
export const LAN = 3;
export const VNI = 0x112;
export const LAN_LABEL = 1024;
export const TUNNEL = 10;
export const CLEAR_TUNNEL = 11;

export function sa(id: number, spi: number, options: Partial<SaSpec> = {}): SaSpec {
  return {
    id,
    spi,
    suite: 'aes-256-gcm-16',
    key: new Uint8Array(32).fill(spi & 0xff),
    salt: new Uint8Array(4).fill(spi >>> 8),
    esn: true,
    windowPackets: 64,
    softPackets: 2 ** 40,
    softBytes: 2 ** 50,
    hardPackets: 2 ** 41,
    hardBytes: 2 ** 51,
    ...options,
  };
}

export class Box {
  readonly forwarder: Forwarder;
  readonly page: CounterPage;
  readonly events: ForwarderEvent[] = [];
  readonly hosts = new Map<number, MemoryLink>();
  readonly address: string;
  readonly hub: MemoryDatagramHub;
  nowMs = 1000;

  constructor(hub: MemoryDatagramHub, address: string, page = createCounterPage({ tunnels: 16, sas: 64 }), aead: AeadEngine = new PortableAead()) {
    this.hub = hub;
    this.address = address;
    this.page = page;
    this.forwarder = new Forwarder({ aead, onEvent: (event) => this.events.push(event), counters: page, bursts: BURSTS });
    this.forwarder.attachOutside(1, {
      vxlan: [hub.open('udp', { address, port: 4790 })],
      natt: [hub.open('udp', { address, port: 4500 })],
      esp: [hub.open('esp', { address, port: 0 })],
    });
  }

  /** Attaches a link for the inside and keeps the host's end of it. */
  link(inside: number): MemoryLink {
    const [near, far] = memoryLinkPair(`inside-${inside}`);
    this.forwarder.attachInside(inside, near);
    this.hosts.set(inside, far);
    return far;
  }

  breathe(): number {
    return this.forwarder.breathe(instant(this.nowMs));
  }

  drops(): Record<string, number> {
    return Object.fromEntries(this.forwarder.readCounters().drops.map(({ reason, packets }) => [reason, packets]));
  }

  eventsOf<K extends ForwarderEvent['kind']>(kind: K): Extract<ForwarderEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<ForwarderEvent, { kind: K }> => event.kind === kind);
  }
}

/** Everything until nobody moves anything any more. */
export function settle(...boxes: readonly Box[]): void {
  for (let round = 0; round < 50; round++) {
    let moved = 0;
    for (const box of boxes) moved += box.breathe();
    if (moved === 0) return;
  }
  throw new Error('the boxes do not come to rest');
}

export interface SideOptions {
  /** 1 or 2: which end. Overlay addresses and LAN prefix follow from it. */
  readonly end: 1 | 2;
  readonly remote: string | undefined;
  readonly tenant?: number;
  readonly kind?: TunnelSpec['kind'];
  readonly txOptions?: Partial<SaSpec>;
  readonly rxOptions?: Partial<SaSpec>;
  readonly mtu?: number;
  readonly idleDummyMs?: number;
}

const PORT_OF = { 'vxlan-clear': 4790, 'vxlan-esp': 4790, esp: 0, 'esp-udp': 4500 } as const;

/** One tenant's part of a state: clear TVI, encrypted TVI, LAN, one sealed and one clear tunnel to the other end. */
export function side(options: SideOptions): ForwardingState {
  const { end, remote, tenant = 1, kind = 'vxlan-esp', mtu = 1414, idleDummyMs = 0 } = options;
  const base = tenant * 100;
  const other = 3 - end;
  const inside = (id: number, what: InsideSpec['kind'], addresses: string[]): InsideSpec => ({
    id: base + id, tenant, kind: what, vr: 'vr', name: `tvi-${id}`, mtu: 1400, addresses,
  });
  const paths = remote === undefined ? [] : [{ outside: 1, remote: { address: remote, port: PORT_OF[kind] } }];
  const clearPaths = remote === undefined ? [] : [{ outside: 1, remote: { address: remote, port: 4790 } }];
  return {
    version: 1,
    tenants: [{ tenant, vni: VNI + tenant - 1 }],
    insides: [
      inside(CLEAR, 'clear-tvi', [`10.254.0.${end}`, `fd00:254::${end}`]),
      inside(ENCRYPTED, 'encrypted-tvi', [`10.255.0.${end}`]),
      inside(LAN, 'lan', []),
    ],
    outsides: [{ id: 1, name: 'vni-0/0', vr: 'wan', addresses: [] }],
    tunnels: [
      {
        id: base + TUNNEL, tenant, peer: `peer-${other}`, kind, inside: base + ENCRYPTED, paths, mtu, idleDummyMs,
        tx: sa(base + end, 0x0200_1000 + base + end, options.txOptions),
        rx: [sa(base + other + 10, 0x0200_1000 + base + other, options.rxOptions)],
      },
      {
        id: base + CLEAR_TUNNEL, tenant, peer: `peer-${other}`, kind: 'vxlan-clear', inside: base + CLEAR,
        paths: clearPaths, mtu: 1448, tx: undefined, rx: [], idleDummyMs: 0,
      },
    ],
    routes: [
      { inside: base + CLEAR, prefix: `10.254.0.${other}/32`, tunnel: base + CLEAR_TUNNEL, label: 0 },
      { inside: base + CLEAR, prefix: `fd00:254::${other}/128`, tunnel: base + CLEAR_TUNNEL, label: 2 },
      { inside: base + ENCRYPTED, prefix: `10.255.0.${other}/32`, tunnel: base + TUNNEL, label: 0 },
      { inside: base + LAN, prefix: `10.${other}.0.0/16`, tunnel: base + TUNNEL, label: LAN_LABEL + base },
      { inside: base + LAN, prefix: `fd00:${other}::/32`, tunnel: base + TUNNEL, label: LAN_LABEL + base },
    ],
    labels: [{ label: LAN_LABEL + base, inside: base + LAN }],
  };
}

export function merge(...states: readonly ForwardingState[]): ForwardingState {
  return {
    version: 1,
    tenants: states.flatMap((s) => s.tenants),
    insides: states.flatMap((s) => s.insides),
    outsides: states[0]!.outsides,
    tunnels: states.flatMap((s) => s.tunnels),
    routes: states.flatMap((s) => s.routes),
    labels: states.flatMap((s) => s.labels),
  };
}

/** A UDP packet with a good checksum; the family follows from the addresses. */
export function udpPacket(from: string, to: string, payload: Uint8Array | number, ports: readonly [number, number] = [4000, 5000]): Uint8Array {
  const data = typeof payload === 'number' ? new Uint8Array(payload).fill(0xab) : payload;
  const source = addressBytes(from);
  const destination = addressBytes(to);
  const header = source.length === 4 ? 20 : 40;
  const packet = new Uint8Array(header + 8 + data.length);
  if (source.length === 4) {
    writeIpv4(packet, 0, packet.length, PROTOCOL_UDP, 64, 0);
    packet.set(source, 12);
    packet.set(destination, 16);
    writeIpv4Checksum(packet, 0);
  } else {
    writeIpv6(packet, 0, packet.length - 40, PROTOCOL_UDP, 64, 0);
    packet.set(source, 8);
    packet.set(destination, 24);
  }
  writeUdp(packet, header, ports[0], ports[1], 8 + data.length);
  packet.set(data, header + 8);
  writeUdpChecksum(packet, 0, header);
  return packet;
}

export interface Pair {
  readonly hub: MemoryDatagramHub;
  readonly a: Box;
  readonly b: Box;
}

/** Boxes a (end 1) and b (end 2) with tenant 1 between them. */
export function pair(options: Partial<SideOptions> = {}, createAead: () => AeadEngine = () => new PortableAead()): Pair {
  const hub = new MemoryDatagramHub();
  const [a, b] = ['192.0.2.1', '192.0.2.2'].map((address) => new Box(hub, address, undefined, createAead())) as [Box, Box];
  for (const box of [a, b]) for (const inside of [101, 102, 103]) box.link(inside);
  a.forwarder.apply(side({ end: 1, remote: b.address, ...options }));
  b.forwarder.apply(side({ end: 2, remote: a.address, ...options }));
  return { hub, a, b };
}
