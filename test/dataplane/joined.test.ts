// What the kernel joined on its way comes as many datagrams in a row, which repeat each other's headers; the stages use
// that. A burst must come to the same as its datagrams one by one, whatever stands beside what.
import assert from 'node:assert/strict';
import { MemoryDatagramHub, type MemoryDatagram } from '../../drivers/memory.ts';
import { writeIpv4Checksum } from '../../firmware/wire/ip.ts';
import { SeededRandom } from '../../platform/random.ts';
import { Box, LAN_LABEL, merge, settle, side, udpPacket } from './boxes.ts';

const DATAGRAMS = 400;
const LANS = [103, 203];
const WINDOW = { windowPackets: 4096 };
const SENDER = '192.0.2.1';
const RECEIVER = '192.0.2.2';

function stateOf(end: 1 | 2, remote: string) {
  return merge(...[1, 2].map((tenant) => side({ end, remote, tenant, txOptions: WINDOW, rxOptions: WINDOW })));
}

type Choose = <T>(options: readonly T[]) => T;

/** An inner packet: mostly like the others of its tenant, at times with another address, class, length, family or fault. */
function inner(choose: Choose): Uint8Array {
  const family = choose([4, 4, 4, 6]);
  const [from, to] = family === 4
    ? [choose(['10.1.0.5', '10.1.0.5', '10.1.0.5', '10.1.0.6', '10.9.0.5', '10.2.0.5']), choose(['10.2.0.7', '10.2.0.7', '10.2.0.8'])]
    : [choose(['fd00:1::5', 'fd00:1::5', 'fd00:9::5']), choose(['fd00:2::7', 'fd00:2::8'])];
  const packet = udpPacket(from, to, choose([64, 64, 64, 7, 0, 300]));
  if (family === 4 && choose([false, false, false, true])) {
    packet[1] = choose([0x02, 0xb8, 0x01]);
    writeIpv4Checksum(packet, 0);
  }
  return packet;
}

/** On its way: mostly nothing, at times a bit, a VNI, a mark, a shorter datagram, another source port. */
function onTheWay(datagram: MemoryDatagram, choose: Choose): MemoryDatagram {
  const bytes = datagram.bytes.slice();
  switch (choose(['', '', '', '', '', '', 'bit', 'vni', 'mark', 'cut', 'port', 'extension'])) {
    case 'bit':
      bytes[choose([0, 3, 11, 16, 19, 23, 40, bytes.length - 1])]! ^= 1;
      return { ...datagram, bytes };
    case 'vni':
      bytes[6]! ^= 3;
      return { ...datagram, bytes };
    case 'mark':
      return { ...datagram, mark: choose([1, 2, 3]) };
    case 'cut':
      return { ...datagram, bytes: bytes.slice(0, choose([4, 20, 40, bytes.length - 4])) };
    case 'port':
      return { ...datagram, from: { ...datagram.from, port: 4791 } };
    case 'extension':
      bytes[13] = 0x55;
      return { ...datagram, bytes };
    default:
      return datagram;
  }
}

function datagrams(random: SeededRandom): MemoryDatagram[] {
  const choose: Choose = (options) => options[random.uint32() % options.length]!;
  const hub = new MemoryDatagramHub();
  const sender = new Box(hub, SENDER);
  for (const inside of LANS) sender.link(inside);
  const seen: MemoryDatagram[] = [];
  hub.onDatagram = (datagram) => (seen.push(datagram), false);
  while (seen.length < DATAGRAMS) {
    const state = stateOf(1, RECEIVER);
    const label = choose([undefined, undefined, undefined, LAN_LABEL + 100, LAN_LABEL + 200, 5000, 0]);
    // A liar's routes: everything is sent, under whatever label.
    const routes = LANS.map((inside) => ({ inside, tunnel: inside + 7, label: label ?? LAN_LABEL + inside - 3 }));
    sender.forwarder.apply({ ...state, routes: routes.flatMap((route) => ['0.0.0.0/0', '::/0'].map((prefix) => ({ ...route, prefix }))) });
    const lan = choose(LANS);
    for (let run = choose([1, 1, 3, 8]); run > 0; run--) sender.hosts.get(lan)!.send(inner(choose));
    sender.breathe();
  }
  const sent = seen.map((datagram) => onTheWay(datagram, choose));
  return sent.flatMap((datagram) => (choose([0, 0, 0, 0, 1]) === 1 ? [datagram, datagram] : [datagram]));
}

/** What a box makes of the datagrams when it gets `atOnce` of them at a time. */
function outcome(sent: readonly MemoryDatagram[], atOnce: number): unknown {
  const hub = new MemoryDatagramHub();
  const box = new Box(hub, RECEIVER);
  for (const inside of LANS) box.link(inside);
  box.forwarder.apply(stateOf(2, SENDER));
  for (let i = 0; i < sent.length; i += atOnce) {
    for (const datagram of sent.slice(i, i + atOnce)) hub.deliver({ ...datagram, bytes: datagram.bytes.slice() });
    settle(box);
  }
  const delivered = LANS.map((inside) => {
    const host = box.hosts.get(inside)!;
    return Array.from({ length: host.waiting }, () => Buffer.from(host.take()!).toString('hex'));
  });
  const { tunnels } = box.forwarder.readCounters();
  // A forged copy beside its original meets the window before that moved: it fails by its tag instead.
  const { replay = 0, 'aead-failed': failed = 0, ...drops } = box.drops();
  return { delivered, drops: { ...drops, forged: replay + failed }, tunnels };
}

describe('datagrams that repeat the headers of the one before', () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`come to the same in one burst as one by one (seed ${seed})`, function () {
      this.timeout(60_000);
      const sent = datagrams(new SeededRandom(seed));
      const alone = outcome(sent, 1) as { delivered: string[][]; drops: Record<string, number> };
      assert.deepEqual(outcome(sent, 1024), alone);
      assert.deepEqual(outcome(sent, 7), alone);
      assert.ok(alone.delivered.every((packets) => packets.length > 20), 'both tenants got packets');
      assert.ok(Object.keys(alone.drops).length >= 8, `many reasons: ${Object.keys(alone.drops).join(' ')}`);
    });
  }
});
