// DSCP and ECN through the tunnel, every combination (RFC 6040 4.1, 4.2 and figure 4; RFC 2983 for DSCP, uniform model
// outwards only).
import assert from 'node:assert/strict';
import { writeIpv4Checksum } from '../../firmware/wire/ip.ts';
import { FakeAead } from '../sim/fake-aead.ts';
import { pair, settle, udpPacket, type Pair } from './boxes.ts';

const NOT_ECT = 0;
const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;
const DROP = -1;

/** What leaves the tunnel, by inner and then by outer codepoint: RFC 6040 figure 4. */
const EGRESS: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  [NOT_ECT]: { [NOT_ECT]: NOT_ECT, [ECT_0]: NOT_ECT, [ECT_1]: NOT_ECT, [CE]: DROP },
  [ECT_0]: { [NOT_ECT]: ECT_0, [ECT_0]: ECT_0, [ECT_1]: ECT_1, [CE]: CE },
  [ECT_1]: { [NOT_ECT]: ECT_1, [ECT_0]: ECT_1, [ECT_1]: ECT_1, [CE]: CE },
  [CE]: { [NOT_ECT]: CE, [ECT_0]: CE, [ECT_1]: CE, [CE]: CE },
};

function packetOf(version: 4 | 6, trafficClass: number): Uint8Array {
  if (version === 4) {
    const packet = udpPacket('10.1.0.5', '10.2.0.7', 64);
    packet[1] = trafficClass;
    writeIpv4Checksum(packet, 0);
    return packet;
  }
  const packet = udpPacket('fd00:1::5', 'fd00:2::7', 64);
  packet[0] = 0x60 | (trafficClass >>> 4);
  packet[1] = (packet[1]! & 0x0f) | ((trafficClass & 0x0f) << 4);
  return packet;
}

function classOf(packet: Uint8Array): number {
  return packet[0]! >>> 4 === 4 ? packet[1]! : ((packet[0]! & 0x0f) << 4) | (packet[1]! >>> 4);
}

/** Sends one packet whose outer mark is changed on the way; what arrives, and the outer mark that left. */
function through({ hub, a, b }: Pair, packet: Uint8Array, change: (mark: number) => number): { arrived: Uint8Array | undefined; mark: number } {
  let mark = -1;
  hub.onDatagram = (datagram) => {
    mark = datagram.mark ?? 0;
    hub.deliver({ ...datagram, mark: change(datagram.mark ?? 0) });
    return false;
  };
  a.hosts.get(103)!.send(packet);
  settle(a, b);
  return { arrived: b.hosts.get(103)!.take(), mark };
}

describe('DSCP and ECN', () => {
  for (const version of [4, 6] as const) {
    it(`IPv${version}: the outer header has DSCP and ECN of the inner one, for all 256 values`, () => {
      const made = pair({}, () => new FakeAead());
      for (let trafficClass = 0; trafficClass < 256; trafficClass++) {
        const { mark, arrived } = through(made, packetOf(version, trafficClass), (outer) => outer);
        assert.equal(mark, trafficClass);
        assert.equal(classOf(arrived!), trafficClass);
      }
    });

    it(`IPv${version}: what comes out is as in RFC 6040 figure 4, and DSCP of the way stays outside`, () => {
      const made = pair({}, () => new FakeAead());
      for (const [inner, byOuter] of Object.entries(EGRESS)) {
        for (const [outer, expected] of Object.entries(byOuter)) {
          // AF11 inside, rewritten to AF41 on the way.
          const { arrived } = through(made, packetOf(version, 0x28 | Number(inner)), () => 0x88 | Number(outer));
          const what = `inner ${inner}, outer ${outer}`;
          if (expected === DROP) assert.equal(arrived, undefined, what);
          else assert.equal(classOf(arrived!), 0x28 | expected, what);
          if (version === 4 && arrived !== undefined) {
            const whole = arrived.slice();
            writeIpv4Checksum(whole, 0);
            assert.deepEqual(arrived, whole, `${what}: checksum`);
          }
        }
      }
      assert.deepEqual(made.b.drops(), { 'congestion-without-ecn': 1 });
    });
  }
});
