// Packets at the forwarder: on the LAN side, from strangers outside, and from a peer that seals whatever it likes. A
// good packet must still pass afterwards, for this tenant and another one.
import { equal, ok } from 'node:assert/strict';
import { LARGEST_READ, type Burst } from '../../drivers/burst.ts';
import { MemoryDatagramHub } from '../../drivers/memory.ts';
import type { MemoryDatagram } from '../../drivers/memory.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { IPV4_HEADER_BYTES, IPV6_HEADER_BYTES } from '../../firmware/wire/ip.ts';
import { equalBytes } from '../../platform/bytes.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { Box, merge, settle, side, udpPacket } from '../dataplane/boxes.ts';
import { SuperLink, type SuperPacket } from '../dataplane/super-link.ts';
import { mutate, oneIn, pick } from './mutation.ts';
import type { FuzzTarget, Trail } from './target.ts';

const PACKETS = 80;
const ESP_HEADER_AND_IV_BYTES = 16;
const ICV_BYTES = 16;
const MOST_EVENTS_PER_PACKET = 2;
type Kind = 'vxlan-esp' | 'esp' | 'esp-udp';
const KINDS: readonly Kind[] = ['vxlan-esp', 'esp', 'esp-udp'];
const INSIDES = [101, 102, 103];

/** Changes what it seals while `dice` are there, as a peer with good keys can. */
class SpoilingAead extends PortableAead {
  dice: SeededRandom | undefined;

  override seal(burst: Burst, select: number, then: number, failReason: number): void {
    for (let i = 0; i < burst.count && this.dice !== undefined; i++) {
      if (burst.next[i] !== select) continue;
      const from = burst.esp[i]! + ESP_HEADER_AND_IV_BYTES;
      const to = burst.esp[i]! + burst.espLength[i]! - ICV_BYTES;
      const text = burst.bytes.slice(from, to);
      burst.bytes.set(mutate(this.dice, text).subarray(0, text.length), from);
    }
    super.seal(burst, select, then, failReason);
  }
}

/** A super-packet that a device could hand over: its own columns fit each other, what they describe is anything. */
function hostileSuper(dice: SeededRandom, head: Uint8Array): SuperPacket | undefined {
  if (head.length < IPV4_HEADER_BYTES) return undefined;
  const transport = head[0]! >>> 4 === 6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES + 4 * randomBelow(dice, 3);
  const headers = transport + (oneIn(dice, 2) ? 8 : 20 + 4 * randomBelow(dice, 6));
  const packet = new Uint8Array(Math.max(head.length, headers + 1 + randomBelow(dice, 5000)));
  packet.set(head);
  // The length that the header claims is mostly the right one.
  if (!oneIn(dice, 8)) new DataView(packet.buffer).setUint16(transport === IPV6_HEADER_BYTES ? 4 : 2, packet.length - (transport === IPV6_HEADER_BYTES ? transport : 0));
  return { packet, transport, headers, segment: oneIn(dice, 16) ? 1 + randomBelow(dice, 100) : 100 + randomBelow(dice, LARGEST_READ - headers - 100) };
}

interface Boxes {
  readonly hub: MemoryDatagramHub;
  readonly a: Box;
  readonly b: Box;
  readonly spoiler: SpoilingAead;
  readonly supers: ReadonlyMap<number, SuperLink>;
  readonly good: readonly GoodPacket[];
}

function openBoxes(kind: Kind): Boxes {
  const hub = new MemoryDatagramHub();
  const spoiler = new SpoilingAead();
  const a = new Box(hub, '192.0.2.1', undefined, spoiler);
  const b = new Box(hub, '192.0.2.2');
  const insides = INSIDES.flatMap((id) => [id, id + 100]);
  for (const box of [a, b]) for (const inside of insides) box.link(inside);
  const supers = new Map(insides.map((inside) => [inside, new SuperLink(`super-${inside}`)]));
  for (const [inside, link] of supers) {
    link.connect(a.hosts.get(inside)!);
    a.forwarder.attachInside(inside, link);
  }
  const states = (end: 1 | 2, remote: string) => merge(side({ end, remote, kind }), side({ end, remote, kind, tenant: 2 }));
  a.forwarder.apply(states(1, b.address));
  b.forwarder.apply(states(2, a.address));
  return { hub, a, b, spoiler, supers, good: GOOD[kind] };
}

type GoodPacket = readonly [inside: number, packet: Uint8Array];

const IKE_PORTS = [500, 500] as const;
/** What every kind of tunnel carries; LAN packets have labels, which plain ESP has not. */
const PLAIN: readonly GoodPacket[] = [
  [102, udpPacket('10.255.0.1', '10.255.0.2', 40)],
  [202, udpPacket('10.255.0.1', '10.255.0.2', 1300)],
  [101, udpPacket('10.254.0.1', '10.254.0.2', 40, IKE_PORTS)],
  [101, udpPacket('fd00:254::1', 'fd00:254::2', 40, IKE_PORTS)],
];
const LABELLED: readonly GoodPacket[] = [
  [103, udpPacket('10.1.0.5', '10.2.0.7', 200)],
  [103, udpPacket('fd00:1::5', 'fd00:2::7', 100)],
  [203, udpPacket('10.1.0.5', '10.2.0.7', 1300)],
];
const GOOD: Readonly<Record<Kind, readonly GoodPacket[]>> = { 'vxlan-esp': [...PLAIN, ...LABELLED], esp: PLAIN, 'esp-udp': PLAIN };

/** Datagrams as they leave for each of the good packets. */
function capture(boxes: Boxes): MemoryDatagram[] {
  const seen: MemoryDatagram[] = [];
  boxes.hub.onDatagram = (datagram) => (seen.push(datagram), false);
  for (const [inside, packet] of boxes.good) boxes.a.hosts.get(inside)!.send(packet);
  settle(boxes.a);
  boxes.hub.onDatagram = undefined;
  return seen;
}

/** Every good packet arrives, and nothing else does. */
function checkPath({ a, b, good }: Boxes): void {
  for (const box of [a, b]) for (const link of box.hosts.values()) while (link.take() !== undefined);
  for (const [inside, packet] of good) {
    a.hosts.get(inside)!.send(packet);
    settle(a, b);
    const drops = JSON.stringify({ a: a.drops(), b: b.drops() });
    ok(equalBytes(b.hosts.get(inside)!.take() ?? new Uint8Array(0), packet), `a good packet of inside ${inside} does not arrive; drops: ${drops}`);
    for (const link of b.hosts.values()) equal(link.waiting, 0);
  }
}

/** From a stranger, or from the peer's own address. */
function strike({ hub, b }: Boxes, datagram: MemoryDatagram, bytes: Uint8Array, remote: string): void {
  hub.deliver({ ...datagram, from: { address: remote, port: datagram.from.port }, bytes: bytes.slice() });
  settle(b);
}

function run(dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail): void {
  const boxes = openBoxes(pick(dice, KINDS));
  const { a, b, spoiler } = boxes;
  const seeds = capture(boxes);
  const others = [...seeds.map(({ bytes }) => bytes), ...corpus];
  for (let i = 0; i < PACKETS; i++) {
    const turn = randomBelow(dice, 4);
    const [inside, packet] = pick(dice, boxes.good);
    if (turn === 0) {
      const seed = pick(dice, seeds);
      const kept = corpus.length > 0 && oneIn(dice, 8) ? pick(dice, corpus) : seed.bytes;
      strike(boxes, seed, trail.add(mutate(dice, kept, others)), oneIn(dice, 2) ? a.address : '203.0.113.7');
    } else if (turn === 3) {
      const offered = hostileSuper(dice, trail.add(mutate(dice, packet)));
      if (offered !== undefined) boxes.supers.get(inside)!.offer(offered);
      settle(a, b);
    } else {
      spoiler.dice = turn === 1 ? dice : undefined;
      a.hosts.get(inside)!.send(trail.add(turn === 1 ? packet : mutate(dice, packet)));
      settle(a, b);
      spoiler.dice = undefined;
    }
    boxes.b.nowMs += randomBelow(dice, 50);
  }
  for (const box of [a, b]) ok(box.events.length <= 1 + PACKETS * MOST_EVENTS_PER_PACKET, `${box.events.length} events of ${PACKETS} packets`);
  checkPath(boxes);
}

export const FORWARDER: FuzzTarget = {
  name: 'dataplane',
  about: 'LAN packets and super-packets, datagrams of strangers, and what a peer with good keys can seal',
  promise: 'nothing throws, a packet makes few events, good packets of all tenants still pass',
  run,
  /** The corpus holds datagrams. */
  replay(bytes) {
    for (const kind of KINDS) {
      const boxes = openBoxes(kind);
      for (const seed of capture(boxes)) strike(boxes, seed, bytes, boxes.a.address);
      checkPath(boxes);
    }
  },
};
