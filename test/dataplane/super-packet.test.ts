// Super-packets of a link through the forwarder: wrapped once, sealed in parts, and looked at one by one where they must be.
import assert from 'node:assert/strict';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { SeededRandom } from '../../platform/random.ts';
import { write16, writeIpv4Checksum } from '../../firmware/wire/ip.ts';
import { equalBytes } from '../../platform/bytes.ts';
import { CLEAR, LAN, pair, settle, udpPacket, type Pair, type SideOptions } from './boxes.ts';
import { SuperLink, type SuperPacket } from './super-link.ts';

const UDP_HEADERS = 28;

interface Setting extends Pair {
  readonly link: SuperLink;
}

function setting(options: Partial<SideOptions> = {}, inside = LAN): Setting {
  const boxes = pair(options);
  const link = new SuperLink('super');
  link.connect(boxes.a.hosts.get(100 + inside)!);
  boxes.a.forwarder.attachInside(100 + inside, link);
  return { ...boxes, link };
}

function asSuper(packet: Uint8Array, segment: number): SuperPacket {
  return { packet, segment, transport: 20, headers: UDP_HEADERS };
}

const PAYLOAD = new SeededRandom('super').bytes(10_000);

function received({ b }: Setting, inside = LAN): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let packet = b.hosts.get(100 + inside)!.take(); packet !== undefined; packet = b.hosts.get(100 + inside)!.take()) packets.push(packet);
  return packets;
}

/** What the host's device would have sent: identification counts on from 0. */
function expected(segment: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(PAYLOAD.length / segment) }, (_, part) => {
    const packet = udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD.slice(part * segment, (part + 1) * segment));
    write16(packet, 4, part);
    writeIpv4Checksum(packet, 0);
    return packet;
  });
}

describe('super-packets through the forwarder', () => {
  for (const kind of ['vxlan-esp', 'esp', 'esp-udp'] as const) {
    it(`arrive as the packets that they stand for: ${kind}`, () => {
      const inside = kind === 'vxlan-esp' ? LAN : 2;
      const lab = setting({ kind }, inside);
      const [from, to] = inside === LAN ? ['10.1.0.5', '10.2.0.7'] : ['10.255.0.1', '10.255.0.2'];
      lab.link.offer(asSuper(udpPacket(from!, to!, PAYLOAD), 1372));
      settle(lab.a, lab.b);
      const packets = received(lab, inside);
      assert.equal(packets.length, 8);
      const payload = packets.flatMap((packet) => [...packet.subarray(UDP_HEADERS)]);
      assert.ok(equalBytes(Uint8Array.from(payload), PAYLOAD));
      if (inside === LAN) assert.ok(expected(1372).every((packet, i) => equalBytes(packet, packets[i]!)));
      assert.deepEqual([lab.a.drops(), lab.b.drops()], [{}, {}]);
    });
  }

  it('count as their packets and octets at both ends, and take as many sequence numbers', () => {
    const lab = setting();
    for (let k = 0; k < 2; k++) {
      lab.link.offer(asSuper(udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD), 1000));
      settle(lab.a, lab.b);
    }
    const [tx, rx] = [lab.a, lab.b].map((box) => box.forwarder.readCounters().tunnels.find(({ tunnel }) => tunnel === 110)!);
    assert.deepEqual([tx!.txPackets, tx!.txBytes], [20, 20 * 1028]);
    assert.deepEqual([rx!.rxPackets, rx!.rxBytes], [20, 20 * 1028]);
    assert.equal(received(lab).length, 20);
  });

  it('never pass a hard limit of the SA in part', () => {
    const lab = setting({ txOptions: { hardPackets: 15 } });
    for (let k = 0; k < 2; k++) {
      lab.link.offer(asSuper(udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD), 1000));
      settle(lab.a, lab.b);
    }
    assert.equal(received(lab).length, 10);
    assert.deepEqual(lab.a.drops(), { 'sa-hard-limit': 10 });
  });

  it('are told of a smaller tunnel packet by packet', () => {
    const lab = setting({ mtu: 1300 });
    lab.link.offer(asSuper(udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD), 1372));
    settle(lab.a, lab.b);
    // The last one is short enough.
    assert.equal(received(lab).length, 1);
    assert.deepEqual(lab.a.drops(), { 'too-big-answered': 7 });
  });

  it('are fragmented where they may be', () => {
    const lab = setting({ mtu: 1300 });
    const packet = udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD);
    write16(packet, 6, 0);
    writeIpv4Checksum(packet, 0);
    lab.link.offer(asSuper(packet, 1372));
    settle(lab.a, lab.b);
    const packets = received(lab);
    assert.equal(packets.length, 15);
    const ends = packets.filter((fragment) => (fragment[6]! & 0x20) === 0).length;
    assert.equal(ends, 8);
    assert.deepEqual(lab.a.drops(), {});
  });

  it('are no way around the rule that only IKE leaves clear', () => {
    const lab = setting({}, CLEAR);
    lab.link.offer(asSuper(udpPacket('10.254.0.1', '10.254.0.2', PAYLOAD, [500, 501]), 1000));
    settle(lab.a, lab.b);
    assert.deepEqual(received(lab, CLEAR), []);
    assert.deepEqual(lab.a.drops(), { 'clear-not-ike': 10 });
  });

  it('with a length that the IP header does not confirm are dropped whole', () => {
    const lab = setting();
    const packet = udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD);
    write16(packet, 2, packet.length - 1);
    lab.link.offer(asSuper(packet, 1000));
    settle(lab.a, lab.b);
    assert.deepEqual(lab.a.drops(), { 'malformed-ip': 10 });
  });

  it('that cannot be sealed are counted, all of their packets', () => {
    const lab = setting();
    const { seal } = PortableAead.prototype;
    try {
      PortableAead.prototype.seal = function (burst, select, then, failReason) {
        for (let i = 0; i < burst.count; i++) burst.sa[i] = -1;
        seal.call(this, burst, select, then, failReason);
      };
      lab.link.offer(asSuper(udpPacket('10.1.0.5', '10.2.0.7', PAYLOAD), 1000));
      settle(lab.a, lab.b);
    } finally {
      PortableAead.prototype.seal = seal;
    }
    assert.deepEqual(lab.a.drops(), { 'aead-failed': 10 });
  });
});
