import assert from 'node:assert/strict';
import { checksumAdd, checksumFinish, ipPayloadOffset, ipTotalBytes, pseudoHeaderSum, writeIpv4, writeIpv4Checksum, writeIpv6, PROTOCOL_TCP } from '../../firmware/wire/ip.ts';
import { clampMss } from '../../firmware/wire/tcp.ts';
import { fromHex } from '../../platform/bytes.ts';
import { SeededRandom } from '../../platform/random.ts';

function tcpPacket(version: 4 | 6, options: string, flags = 0x02): Uint8Array {
  const extra = fromHex(options);
  const header = version === 4 ? 20 : 40;
  const packet = new Uint8Array(header + 20 + extra.length);
  if (version === 4) {
    writeIpv4(packet, 0, packet.length, PROTOCOL_TCP, 64, 0);
    packet.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
    writeIpv4Checksum(packet, 0);
  } else {
    writeIpv6(packet, 0, 20 + extra.length, PROTOCOL_TCP, 64, 0);
    packet.fill(0x20, 8, 40);
  }
  packet.set(fromHex('04d2 0050 00000001 00000000'), header);
  packet[header + 12] = ((20 + extra.length) / 4) << 4;
  packet[header + 13] = flags;
  packet.set(extra, header + 20);
  const sum = tcpSum(packet);
  packet[header + 16] = sum >>> 8;
  packet[header + 17] = sum;
  return packet;
}

function tcpSum(packet: Uint8Array): number {
  const tcp = ipPayloadOffset(packet, 0);
  const length = ipTotalBytes(packet, 0) - tcp;
  return checksumFinish(checksumAdd(packet, tcp, length, pseudoHeaderSum(packet, 0, PROTOCOL_TCP, length)));
}

describe('MSS clamp', () => {
  for (const version of [4, 6] as const) {
    for (const [name, options, at] of [['first', '020405b4', 2], ['after one NOP, at an odd place', '01020405b4000000', 3]] as const) {
      it(`lowers the option of an IPv${version} SYN, ${name}, and keeps the checksum good`, () => {
        const packet = tcpPacket(version, options);
        assert.ok(clampMss(packet, 0, 1360));
        const field = ipPayloadOffset(packet, 0) + 20 + at;
        assert.equal((packet[field]! << 8) | packet[field + 1]!, 1360);
        assert.equal(tcpSum(packet), 0);
      });
    }
  }

  it('leaves a smaller MSS, other segments, fragments and other protocols alone', () => {
    for (const packet of [tcpPacket(4, '02040500'), tcpPacket(4, '020405b4', 0x10), tcpPacket(4, '01010101')]) {
      const before = packet.slice();
      assert.ok(!clampMss(packet, 0, 1360));
      assert.deepEqual(packet, before);
    }
    const fragment = tcpPacket(4, '020405b4');
    fragment[7] = 1;
    assert.ok(!clampMss(fragment, 0, 1360));
  });

  it('never reads or writes outside packets with random options', () => {
    const random = new SeededRandom('mss');
    for (let i = 0; i < 5000; i++) {
      const packet = tcpPacket(4, '00'.repeat(4 * (random.uint32() % 10)));
      packet.set(random.bytes(packet.length - 40), 40);
      packet[32] = random.uint32();
      const guarded = new Uint8Array(packet.length + 16);
      guarded.set(packet);
      clampMss(guarded, 0, 1000);
      assert.deepEqual(guarded.subarray(packet.length), new Uint8Array(16));
    }
  });
});
