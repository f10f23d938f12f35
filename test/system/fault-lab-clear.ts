// What the WAN may throw at a box: packets of the overlay without a seal, and octets that are no packets at all. They
// come from the router in the middle of the lab's internet, which anybody could be.
import { strict as assert } from 'node:assert';
import { addressOctets } from '../../drivers/address.ts';
import { Next, appendPacket, createBurst } from '../../drivers/burst.ts';
import { openDrivers } from '../../drivers/open.ts';
import type { DynamicTunnelView, IkeSaView } from '../../firmware/views.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { writeIpv4, writeIpv4Checksum } from '../../firmware/wire/ip.ts';
import { VXLAN_NEXT_ESP, VXLAN_NEXT_ETHERNET, VXLAN_NEXT_GRE, VXLAN_NEXT_IPV4, VXLAN_NEXT_MPLS, VXLAN_PREFIX_BYTES, writeVxlanPrefix } from '../../firmware/wire/vxlan.ts';
import { concat, fromHex } from '../../platform/bytes.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import { CONTROLLER } from './fault-lab.ts';
import type { Fact, FaultLab } from './fault-lab.ts';

const ATTACKER = 'internet';
const ORGANIZATION = 'Acme';
const VXLAN_PORT = 4790;
const UDP = 17;
const TCP = 6;
const ICMP = 1;
/** Labels in front of IP, bottom of stack, TTL 64: explicit null, and the first one of a LAN. */
const EXPLICIT_NULL = fromHex('00000140');
const LAN_LABEL = fromHex('00400140');
const GRE_MPLS = fromHex('00008847');
/** Of each kind. */
const COPIES = 20;
/** Sent without a pause, so that no socket buffer overflows. */
const TOGETHER = 40;

interface Target {
  readonly node: string;
  /** Where the attacker sends from, and the box's WAN address. */
  readonly from: string;
  readonly wan: string;
  /** A VPN profile of the box and its peer in it, for its overlay addresses. */
  readonly profile: string;
}

const TARGETS: readonly Target[] = [
  { node: 'branch-1', from: '198.51.100.17', wan: '198.51.100.18', profile: 'controller-1-Profile' },
  { node: CONTROLLER, from: '198.51.100.1', wan: '198.51.100.2', profile: 'Branches-Profile' },
];

/** The overlay as an insider knows it. */
interface Overlay {
  readonly vni: number;
  readonly own: string;
  readonly peer: string;
}

async function ikeSas(lab: FaultLab, { node, profile }: Target): Promise<readonly IkeSaView[]> {
  return lab.shell.ask<readonly IkeSaView[]>(node, `show orgs org-services ${ORGANIZATION} ipsec vpn-profile ${profile} ike security-associations`);
}

async function overlayOf(lab: FaultLab, target: Target): Promise<Overlay> {
  const [sa] = await ikeSas(lab, target);
  const address = (endpoint: string): string => endpoint.slice(0, endpoint.lastIndexOf(':'));
  return { vni: Number(sa!.children[0]!.encapsulation.replace('VXLAN ', '')), own: address(sa!.local), peer: address(sa!.remote) };
}

function ipv4(from: string, to: string, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(20 + payload.length);
  writeIpv4(packet, 0, packet.length, protocol, 64, 0);
  packet.set(addressBytes(from), 12);
  packet.set(addressBytes(to), 16);
  writeIpv4Checksum(packet, 0);
  packet.set(payload, 20);
  return packet;
}

function ports(source: number, destination: number): Uint8Array {
  return Uint8Array.of(source >> 8, source & 0xff, destination >> 8, destination & 0xff);
}

function udp(source: number, destination: number): Uint8Array {
  const data = new Uint8Array(24);
  return concat(ports(source, destination), Uint8Array.of(0, 8 + data.length, 0, 0), data);
}

/** A SYN. */
function tcp(source: number, destination: number): Uint8Array {
  return concat(ports(source, destination), fromHex('0000000100000000 5002ffff 00000000'));
}

function vxlan(vni: number, next: number, payload: Uint8Array): Uint8Array {
  const prefix = new Uint8Array(VXLAN_PREFIX_BYTES);
  writeVxlanPrefix(prefix, 0, vni, next, 4);
  return concat(prefix, payload);
}

/** Everything that must not get in without a seal, by the reason under which it is dropped. */
function clearPackets({ vni, own, peer }: Overlay): Readonly<Record<string, readonly Uint8Array[]>> {
  const gre = (packet: Uint8Array, label = EXPLICIT_NULL): Uint8Array => vxlan(vni, VXLAN_NEXT_GRE, concat(GRE_MPLS, label, packet));
  return {
    'clear-not-ike': [
      gre(ipv4(peer, own, TCP, tcp(40_000, 179))),
      gre(ipv4(peer, own, TCP, tcp(40_000, 443))),
      gre(ipv4(peer, own, ICMP, fromHex('0800f7ff00000000'))),
      gre(ipv4('10.2.0.10', '10.1.0.10', UDP, udp(7007, 7007)), LAN_LABEL),
      gre(ipv4(peer, own, UDP, udp(500, 500)), LAN_LABEL),
      vxlan(vni, VXLAN_NEXT_MPLS, concat(EXPLICIT_NULL, ipv4(peer, own, TCP, tcp(40_000, 179)))),
      vxlan(vni, VXLAN_NEXT_IPV4, ipv4('10.2.0.10', '10.1.0.10', UDP, udp(7007, 7007))),
    ],
    'clear-not-for-us': [gre(ipv4(peer, '10.1.0.10', UDP, udp(500, 500)))],
    'source-spoofed': [gre(ipv4(own, own, UDP, udp(500, 500)))],
    'unknown-vni': [vxlan(0x00_abcd, VXLAN_NEXT_GRE, concat(GRE_MPLS, EXPLICIT_NULL, ipv4(peer, own, UDP, udp(500, 500))))],
    'inner-ethernet': [vxlan(vni, VXLAN_NEXT_ETHERNET, new Uint8Array(60))],
  };
}

class Attacker {
  readonly #drivers = openDrivers();
  readonly #from: string;
  readonly #to: string;

  constructor({ from, wan }: Target) {
    this.#from = from;
    this.#to = wan;
  }

  /** From a port of its own each time, as strangers do. */
  async sendUdp(port: number, datagrams: readonly Uint8Array[]): Promise<void> {
    // A box that answers a port with an ICMP error is as good as one that is silent.
    const socket = this.#drivers.network.openDatagram({ vr: ATTACKER, local: { address: this.#from, port: 0 }, onDatagram: () => {}, onError: () => {} });
    for (const [index, datagram] of datagrams.entries()) {
      socket.send(datagram, { address: this.#to, port });
      if (index % TOGETHER === TOGETHER - 1) await sleep(20);
    }
    await sleep(50);
    socket.close();
  }

  /** IP protocol 50. */
  async sendEsp(packets: readonly Uint8Array[]): Promise<void> {
    const port = this.#drivers.devices.openEsp(ATTACKER, this.#from);
    const destination = addressOctets(this.#to)!;
    for (let first = 0; first < packets.length; first += TOGETHER) {
      const burst = createBurst();
      for (const packet of packets.slice(first, first + TOGETHER)) {
        const i = appendPacket(burst, packet);
        burst.address.set(destination, i * 16);
        burst.family[i] = 4;
        burst.next[i] = Next.send;
      }
      port.write(burst, Next.send);
      await sleep(20);
    }
    port.close();
  }
}

function repeated(packets: readonly Uint8Array[]): Uint8Array[] {
  return packets.flatMap((packet) => Array.from({ length: COPIES }, () => packet));
}

/** `count` runs of random octets, from nothing to `longest`. */
function garbage(random: SeededRandom, count: number, longest: number): Uint8Array[] {
  return Array.from({ length: count }, () => random.bytes(randomBelow(random, longest + 1)));
}

/** IKE headers that could be real, with anything behind them. */
function almostIke(random: SeededRandom, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => {
    const body = random.bytes(randomBelow(random, 300));
    const isInit = randomBelow(random, 2) === 0;
    const header = concat(random.bytes(8), isInit ? new Uint8Array(8) : random.bytes(8), Uint8Array.of(33 + randomBelow(random, 20), 0x20, isInit ? 34 : 35 + randomBelow(random, 3), 0x08));
    const length = 28 + body.length;
    return concat(header, new Uint8Array(4), Uint8Array.of(0, 0, length >> 8, length & 0xff), body);
  });
}

/** Whole messages of an IKE SA that the box does not have. */
function strangeIke(random: SeededRandom, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => {
    const sealed = random.bytes(40);
    return concat(random.bytes(16), fromHex('2e 20 25 08 00000002 00000048 0000002c'), sealed);
  });
}

function esp(spi: number, random: SeededRandom): Uint8Array {
  const header = new Uint8Array(8);
  new DataView(header.buffer).setUint32(0, spi);
  new DataView(header.buffer).setUint32(4, 1_000_000 + randomBelow(random, 1_000_000));
  return concat(header, random.bytes(64));
}

/** SPIs on which the box receives from branches and Controllers. */
async function spisOf(lab: FaultLab, node: string): Promise<number[]> {
  const tunnels = await lab.shell.ask<readonly DynamicTunnelView[]>(node, 'show interfaces dynamic-tunnels');
  return tunnels.filter(({ organization }) => organization === ORGANIZATION).flatMap(({ rxSpis }) => rxSpis.split(' ').filter((text) => text !== '').map(Number));
}

async function attack(lab: FaultLab, target: Target, seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const attacker = new Attacker(target);
  const { vni } = await overlayOf(lab, target);
  const [spi] = await spisOf(lab, target.node);
  const before = await lab.drops(target.node);
  const unknown = Array.from({ length: COPIES }, () => esp(0xdead_0000 + randomBelow(random, 0xffff), random));
  const known = Array.from({ length: COPIES }, () => esp(spi!, random));
  const short = Array.from({ length: COPIES }, () => random.bytes(1 + randomBelow(random, 12)));
  const sealed = [...unknown, ...known, ...short].map((packet) => vxlan(vni, VXLAN_NEXT_ESP, packet));
  await attacker.sendUdp(VXLAN_PORT, [...garbage(random, 200, 400), ...sealed]);
  await attacker.sendUdp(500, [...garbage(random, 100, 400), ...almostIke(random, 200), ...strangeIke(random, COPIES)]);
  const marker = new Uint8Array(4);
  await attacker.sendUdp(4500, [...garbage(random, 100, 400), ...unknown, ...almostIke(random, 50).map((message) => concat(marker, message)), ...short.map((octets) => concat(marker, octets))]);
  await attacker.sendEsp([...garbage(random, 100, 400).filter(({ length }) => length > 0), ...unknown]);
  await lab.dropsGrow(target.node, before, {
    'malformed-vxlan': 50,
    'unknown-spi': 3 * COPIES,
    'aead-failed': COPIES,
    'malformed-esp': COPIES,
    'ike-malformed': 100,
    'ike-unknown-spi': COPIES,
  });
}

export const CLEAR_FACTS: readonly Fact[] = [
  {
    name: 'anything but IKE that arrives clear is dropped and counted by reason, on a branch and on a Controller',
    async prove(lab) {
      for (const target of TARGETS) {
        const packets = clearPackets(await overlayOf(lab, target));
        const before = await lab.drops(target.node);
        await new Attacker(target).sendUdp(VXLAN_PORT, Object.values(packets).flatMap(repeated));
        await lab.dropsGrow(target.node, before, Object.fromEntries(Object.entries(packets).map(([reason, kinds]) => [reason, kinds.length * COPIES])));
      }
    },
  },
  {
    name: 'malformed packets on UDP 500, 4500, 4790 and in bare ESP are counted by reason and crash nothing, and tunnels stay up',
    async prove(lab) {
      const stream = await lab.stream('tenant2-branch1', 'tenant2-branch2', '10.2.0.10', 100);
      for (const [index, target] of TARGETS.entries()) {
        const processId = await lab.processId(target.node);
        const spis = (await ikeSas(lab, target)).map((sa) => sa.spis);
        await attack(lab, target, 20_261 + index);
        assert.equal(await lab.processId(target.node), processId);
        assert.ok(lab.network.node(target.node).isRunning());
        assert.deepEqual((await ikeSas(lab, target)).map((sa) => sa.spis), spis);
      }
      const { sent, received } = await stream.end();
      assert.ok(received >= sent * 0.99, `${received} of ${sent} came back`);
      await lab.allReach();
    },
  },
];
