// Whole datagrams, written down: what an encrypted tunnel puts on the wire, opened by an independent implementation.
import assert from 'node:assert/strict';
import { createDecipheriv } from 'node:crypto';
import type { MemoryDatagram } from '../../drivers/memory.ts';
import { concat, fromHex, toHex } from '../../platform/bytes.ts';
import { writeIpv4Checksum } from '../../firmware/wire/ip.ts';
import { pair, settle, side, udpPacket } from './boxes.ts';

function openWithNode(esp: Uint8Array, key: Uint8Array, salt: Uint8Array, seqHi: Uint8Array): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', key, concat(salt, esp.subarray(8, 16)));
  decipher.setAAD(concat(esp.subarray(0, 4), seqHi, esp.subarray(4, 8)));
  decipher.setAuthTag(esp.subarray(esp.length - 16));
  return concat(decipher.update(esp.subarray(16, esp.length - 16)), decipher.final());
}

function datagramOf(inside: number, packet: Uint8Array, kind: 'vxlan-esp' | 'esp' | 'esp-udp' = 'vxlan-esp'): MemoryDatagram {
  const { hub, a } = pair({ kind });
  let seen: MemoryDatagram | undefined;
  hub.onDatagram = (datagram) => ((seen = datagram), false);
  a.hosts.get(inside)!.send(packet);
  settle(a);
  return seen!;
}

describe('on the wire', () => {
  const tx = side({ end: 1, remote: '192.0.2.2' }).tunnels[0]!.tx!;
  const packet = udpPacket('10.1.0.5', '10.2.0.7', fromHex('0102030405'), [1, 2]);

  it('a LAN packet is VXLAN, extension, ESP of GRE, VPN label and the packet', () => {
    const { bytes, from, to } = datagramOf(103, packet);
    assert.deepEqual([from.port, to.port], [4790, 4790]);
    assert.equal(toHex(bytes.subarray(0, 32)), '0c8100fb00011200' + '000100fc00000000' + '0200106500000001' + '0000000000000001');
    const text = openWithNode(bytes.subarray(16), tx.key, tx.salt, new Uint8Array(4));
    // 4 + 4 + 33 octets, one of padding, pad length 1, next header 47.
    assert.equal(toHex(text), '00008847' + '00464140' + toHex(packet) + '01012f');
  });

  it('a packet of the control VR carries explicit null', () => {
    const tvi = udpPacket('10.255.0.1', '10.255.0.2', fromHex('0102'), [1, 2]);
    const { bytes } = datagramOf(102, tvi);
    assert.equal(toHex(openWithNode(bytes.subarray(16), tx.key, tx.salt, new Uint8Array(4))), '00008847' + '00000140' + toHex(tvi) + '002f');
  });

  for (const kind of ['esp', 'esp-udp'] as const) {
    it(`${kind} is tunnel mode with next header 4`, () => {
      const tvi = udpPacket('10.255.0.1', '10.255.0.2', fromHex('0102'), [1, 2]);
      const { bytes, to } = datagramOf(102, tvi, kind);
      assert.equal(to.port, kind === 'esp' ? 0 : 4500);
      assert.equal(toHex(openWithNode(bytes, tx.key, tx.salt, new Uint8Array(4))), toHex(tvi) + '0004');
    });
  }

  it('the traffic class shows outside, and congestion marks come back in', () => {
    const { hub, a, b } = pair();
    const marked = packet.slice();
    marked[1] = 0xba;
    writeIpv4Checksum(marked, 0);
    const marks: unknown[] = [];
    hub.onDatagram = (datagram) => {
      marks.push(datagram.mark);
      hub.deliver({ ...datagram, mark: 0xbb });
      return false;
    };
    a.hosts.get(103)!.send(marked);
    a.hosts.get(103)!.send(packet);
    settle(a, b);
    assert.deepEqual(marks, [0xba, 0]);
    const got = b.hosts.get(103)!.take()!;
    assert.equal(got[1], 0xbb);
    const whole = got.slice();
    writeIpv4Checksum(whole, 0);
    assert.deepEqual(got, whole, 'the checksum was corrected');
    assert.deepEqual(b.drops(), { 'congestion-without-ecn': 1 });
  });
});
