// A forwarder's code is slow until the engine has compiled it, and light traffic alone takes minutes to bring that about:
// a ping would pay some hundred microseconds for it. So a new thread carries packets between two forwarders of its own
// before it takes its ports over.
import type { AeadEngine } from '../../drivers/aead.ts';
import { appendPacket, datagramsAt, Next, type Burst } from '../../drivers/burst.ts';
import type { DatagramPort, Link, SocketAddress } from '../../drivers/port.ts';
import { instant } from '../../platform/time.ts';
import type { ForwardingState, SaSpec, TunnelSpec } from '../model.ts';
import { addressBytes } from '../wire/address.ts';
import { writeIpv4, writeIpv4Checksum, writeIpv6, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip.ts';
import { MPLS_EXPLICIT_NULL_IPV4 } from '../wire/mpls.ts';
import { writeUdp } from '../wire/udp.ts';
import { createCounterPage } from './counters.ts';
import { Forwarder } from './forwarder.ts';
import { createRing, WorkerPort } from './ring.ts';

/** Enough for the optimizing compiler; some tens of milliseconds. */
const ROUNDS = 3500;
const LAN = 1;
const WAN = 2;
const TUNNEL = 3;
const TVI = 4;
/** Tunnels that the sender, or the receiver, believes to be another worker's. */
const SENDERS_OTHER = 5;
const RECEIVERS_OTHER = 6;
const TENANT = 1;
const LABEL = 1024;
const PORT = 4790;
const PACKET_BYTES = 200;
const RING_BYTES = 1 << 14;
const SILENT = { fd: -1, ring: (): void => undefined, silence: (): void => undefined };
const HEADERS = IPV4_HEADER_BYTES + 8;
/** Documentation addresses (RFC 5737, RFC 3849); nothing of this leaves the thread. */
const OUTSIDE = ['192.0.2.1', '192.0.2.2'] as const;
const HOSTS = ['198.51.100.1', '203.0.113.1'] as const;
const OVERLAY = ['198.51.100.2', '203.0.113.2'] as const;
/** Behind the tunnels of other workers. */
const OTHER_HOSTS = ['203.0.113.2', '203.0.113.3'] as const;
const HOSTS_6 = ['2001:db8::1', '2001:db8::2'] as const;

interface Sample {
  readonly packet: Uint8Array;
  /** Octets of the payload of each part; 0 = no super-packet. */
  readonly segment: number;
}

/** Gives one of its packets per read; counts what it is given. */
class Host implements Link {
  readonly kind = 'tun';
  readonly name = 'rehearsal';
  readonly fd = -1;
  readonly #samples: readonly Sample[];
  #reads = 0;
  received = 0;

  constructor(samples: readonly Sample[]) {
    this.#samples = samples;
  }

  read(burst: Burst): number {
    if (this.#samples.length === 0) return 0;
    const { packet, segment } = this.#samples[this.#reads++ % this.#samples.length]!;
    const i = appendPacket(burst, packet);
    burst.segment[i] = segment;
    burst.headers[i] = segment === 0 ? 0 : HEADERS;
    burst.transport[i] = IPV4_HEADER_BYTES;
    burst.inner[i] = 0;
    return 1;
  }

  write(burst: Burst, select: number): number {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      burst.next[i] = Next.done;
      this.received++;
    }
    return burst.count;
  }

  close(): void {}
}

class Wire implements DatagramPort {
  readonly kind = 'udp';
  readonly name = 'rehearsal';
  readonly fd = -1;
  readonly local: SocketAddress;
  readonly #remote: Uint8Array;
  other: Wire | undefined;
  #waiting: Uint8Array[] = [];

  constructor(local: string, remote: string) {
    this.local = { address: local, port: PORT };
    this.#remote = addressBytes(remote);
  }

  read(burst: Burst): number {
    const waiting = this.#waiting;
    for (const bytes of waiting) {
      const i = appendPacket(burst, bytes);
      burst.address.set(this.#remote, i * 16);
      burst.family[i] = 4;
      burst.port[i] = PORT;
    }
    if (waiting.length > 0) this.#waiting = [];
    return waiting.length;
  }

  take(datagrams: readonly Uint8Array[]): void {
    this.#waiting.push(...datagrams);
  }

  write(burst: Burst, select: number): number {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      burst.next[i] = Next.done;
      this.other?.take(datagramsAt(burst, i));
    }
    return burst.count;
  }

  close(): void {}
}

function sa(id: number): SaSpec {
  return {
    id, spi: 0x1000 + id, suite: 'aes-256-gcm-16', key: new Uint8Array(32).fill(id), salt: new Uint8Array(4), esn: true, windowPackets: 64,
    softPackets: 2 ** 40, softBytes: 2 ** 50, hardPackets: 2 ** 41, hardBytes: 2 ** 51,
  };
}

function stateOf(end: 0 | 1): ForwardingState {
  const other = (1 - end) as 0 | 1;
  const inside = { tenant: TENANT, vr: '', name: 'rehearsal', mtu: 1400 } as const;
  const tunnel = (id: number, first: number, worker: number): TunnelSpec => ({
    id, tenant: TENANT, peer: 'rehearsal', kind: 'vxlan-esp', inside: TVI, mtu: 1400, idleDummyMs: 0, worker,
    paths: [{ outside: WAN, remote: { address: OUTSIDE[other], port: PORT } }], tx: sa(first + end), rx: [sa(first + other)],
  });
  return {
    version: 1,
    tenants: [{ tenant: TENANT, vni: TENANT }],
    insides: [{ ...inside, id: LAN, kind: 'lan', addresses: [] }, { ...inside, id: TVI, kind: 'encrypted-tvi', addresses: [OVERLAY[end]] }],
    outsides: [{ id: WAN, name: 'rehearsal', vr: '', addresses: [] }],
    tunnels: [tunnel(TUNNEL, 1, 0), tunnel(SENDERS_OTHER, 3, 1 - end), tunnel(RECEIVERS_OTHER, 5, end)],
    routes: [
      { inside: LAN, prefix: `${HOSTS[other]}/32`, tunnel: TUNNEL, label: LABEL },
      { inside: LAN, prefix: `${OTHER_HOSTS[0]}/32`, tunnel: SENDERS_OTHER, label: LABEL },
      { inside: LAN, prefix: `${OTHER_HOSTS[1]}/32`, tunnel: RECEIVERS_OTHER, label: LABEL },
      { inside: LAN, prefix: `${HOSTS_6[other]}/128`, tunnel: TUNNEL, label: LABEL },
      { inside: TVI, prefix: `${OVERLAY[other]}/32`, tunnel: TUNNEL, label: MPLS_EXPLICIT_NULL_IPV4 },
    ],
    labels: [{ label: LABEL, inside: LAN }],
  };
}

function ipv4(to: string, from: string, protocol: number): Uint8Array {
  const packet = new Uint8Array(PACKET_BYTES);
  writeIpv4(packet, 0, PACKET_BYTES, protocol, 64, 0);
  packet.set(addressBytes(from), 12);
  packet.set(addressBytes(to), 16);
  writeIpv4Checksum(packet, 0);
  writeUdp(packet, IPV4_HEADER_BYTES, 1, 2, PACKET_BYTES - IPV4_HEADER_BYTES);
  return packet;
}

function ipv6(): Uint8Array {
  const packet = new Uint8Array(PACKET_BYTES);
  writeIpv6(packet, 0, PACKET_BYTES - IPV6_HEADER_BYTES, PROTOCOL_UDP, 64, 0);
  packet.set(addressBytes(HOSTS_6[0]), 8);
  packet.set(addressBytes(HOSTS_6[1]), 24);
  return packet;
}

/** What makes the stages take their usual branches; the last ones go to another worker and find no route. */
function samples(): { readonly lan: readonly Sample[]; readonly tvi: readonly Sample[] } {
  const udp = ipv4(HOSTS[1], HOSTS[0], PROTOCOL_UDP);
  return {
    lan: [
      { packet: udp, segment: 0 },
      { packet: udp, segment: (PACKET_BYTES - HEADERS) / 2 },
      { packet: ipv4(HOSTS[1], HOSTS[0], PROTOCOL_TCP), segment: 0 },
      { packet: ipv6(), segment: 0 },
      ...[...OTHER_HOSTS, OUTSIDE[0]].map((host) => ({ packet: ipv4(host, HOSTS[0], PROTOCOL_UDP), segment: 0 })),
    ],
    tvi: [{ packet: ipv4(OVERLAY[1], OVERLAY[0], PROTOCOL_ICMP), segment: 0 }],
  };
}

/** `isOver` is asked after each round: a slow processor has no time for all of them. */
export interface Rehearsal {
  readonly rounds?: number;
  isOver?(): boolean;
}

/** Returns how many packets arrived; uses `bursts` as scratch and leaves no key in `aead`. */
export function rehearse(aead: AeadEngine, bursts: readonly [Burst, Burst], { rounds = ROUNDS, isOver = () => false }: Rehearsal = {}): number {
  const { lan, tvi } = samples();
  const hosts = [[new Host(lan), new Host(tvi)], [new Host([]), new Host([])]] as const;
  const wires = [new Wire(OUTSIDE[0], OUTSIDE[1]), new Wire(OUTSIDE[1], OUTSIDE[0])] as const;
  const forwarders = ([0, 1] as const).map((end) => {
    const page = createCounterPage({ tunnels: 3, sas: 6 });
    const forwarder = new Forwarder({ aead, bursts, counters: page, onEvent: () => undefined });
    // What it hands over comes back to itself, and is refused then.
    const ring = createRing(RING_BYTES);
    forwarder.attachWorker(1, new WorkerPort({ name: 'rehearsal', from: ring, to: ring, ownBell: SILENT, otherBell: SILENT, page }));
    wires[end].other = wires[1 - end];
    forwarder.attachInside(LAN, hosts[end][0]);
    forwarder.attachInside(TVI, hosts[end][1]);
    forwarder.attachOutside(WAN, { vxlan: [wires[end]], natt: [], esp: [] });
    forwarder.apply(stateOf(end));
    return { forwarder, ready: new Uint8Array(forwarder.descriptors().length).fill(1) };
  });
  for (let round = 0; round < rounds && !isOver(); round++) for (const { forwarder, ready } of forwarders) forwarder.breathe(instant(round), ready);
  for (const { forwarder } of forwarders) forwarder.close();
  return hosts[1][0].received + hosts[1][1].received;
}
