// Packets that do not fit, and TCP that is told so in time.
import assert from 'node:assert/strict';
import {
  checksumAdd, checksumFinish, ipTotalBytes, ipv4ChecksumGood, ipv4FragmentOffset, ipv4MoreFragments, pseudoHeaderSum, write16, writeIpv4Checksum,
  PROTOCOL_ICMPV6, PROTOCOL_TCP,
} from '../../firmware/wire/ip.ts';
import { concat, fromHex } from '../../platform/bytes.ts';
import { pair, settle, side, udpPacket } from './boxes.ts';

function mayFragment(packet: Uint8Array): Uint8Array {
  write16(packet, 4, 0x1234);
  write16(packet, 6, 0);
  writeIpv4Checksum(packet, 0);
  return packet;
}

/** Joins fragments that arrive in order; header of the first. */
function joined(fragments: readonly Uint8Array[]): Uint8Array {
  return concat(...fragments.map((fragment) => fragment.subarray(20)));
}

describe('packets larger than the tunnel', () => {
  it('carries exactly the MTU and no octet more', () => {
    const { a, b } = pair({ mtu: 1414 });
    a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 1414 - 28));
    a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 1415 - 28));
    settle(a, b);
    assert.equal(b.hosts.get(103)!.take()?.length, 1414);
    assert.equal(b.hosts.get(103)!.take(), undefined);
    assert.deepEqual(a.drops(), { 'too-big-answered': 1 });
  });

  it('answers IPv4 with DF by "fragmentation needed" from the destination, with the next MTU and the packet\'s head', () => {
    const { a, b } = pair({ mtu: 1300 });
    const packet = udpPacket('10.1.0.5', '10.2.0.7', 1400);
    a.hosts.get(103)!.send(packet);
    settle(a, b);
    const answer = a.hosts.get(103)!.take()!;
    assert.deepEqual(answer.subarray(12, 20), fromHex('0a020007 0a010005'));
    assert.ok(ipv4ChecksumGood(answer, 0));
    assert.deepEqual(answer.subarray(20, 22), fromHex('0304'));
    assert.equal((answer[26]! << 8) | answer[27]!, 1300);
    assert.equal(answer.length, 576);
    assert.equal(checksumFinish(checksumAdd(answer, 20, 556, 0)), 0);
    assert.deepEqual(answer.subarray(28), packet.subarray(0, 548));
  });

  it('answers IPv6 by "packet too big"', () => {
    const { a, b } = pair({ mtu: 1300 });
    const packet = udpPacket('fd00:1::5', 'fd00:2::7', 1400);
    a.hosts.get(103)!.send(packet);
    settle(a, b);
    const answer = a.hosts.get(103)!.take()!;
    assert.deepEqual(answer.subarray(8, 40), concat(packet.subarray(24, 40), packet.subarray(8, 24)));
    assert.deepEqual(answer.subarray(40, 42), fromHex('0200'));
    assert.equal((answer[46]! << 8) | answer[47]!, 1300);
    assert.equal(answer.length, 1280);
    assert.equal(checksumFinish(checksumAdd(answer, 40, 1240, pseudoHeaderSum(answer, 0, PROTOCOL_ICMPV6, 1240))), 0);
    assert.deepEqual(answer.subarray(48), packet.subarray(0, 1232));
  });

  it('fragments IPv4 without DF so that the parts make the whole', () => {
    for (const mtu of [1300, 700, 500, 68]) {
      const { a, b } = pair({ mtu });
      const packet = mayFragment(udpPacket('10.1.0.5', '10.2.0.7', 1400));
      a.hosts.get(103)!.send(packet);
      settle(a, b);
      const fragments: Uint8Array[] = [];
      for (let f = b.hosts.get(103)!.take(); f !== undefined; f = b.hosts.get(103)!.take()) fragments.push(f);
      let expected = 0;
      for (const [i, fragment] of fragments.entries()) {
        assert.ok(ipv4ChecksumGood(fragment, 0) && fragment.length <= mtu && ipTotalBytes(fragment, 0) === fragment.length);
        assert.equal(ipv4FragmentOffset(fragment, 0), expected);
        assert.equal(ipv4MoreFragments(fragment, 0), i < fragments.length - 1);
        expected += fragment.length - 20;
      }
      assert.deepEqual(joined(fragments), packet.subarray(20));
    }
  });

  it('keeps the offset of what is a fragment already', () => {
    const { a, b } = pair({ mtu: 700 });
    const packet = mayFragment(udpPacket('10.1.0.5', '10.2.0.7', 1000));
    write16(packet, 6, 0x2000 | 100);
    writeIpv4Checksum(packet, 0);
    a.hosts.get(103)!.send(packet);
    settle(a, b);
    const [first, second] = [b.hosts.get(103)!.take()!, b.hosts.get(103)!.take()!];
    assert.deepEqual([ipv4FragmentOffset(first, 0), ipv4FragmentOffset(second, 0)], [800, 800 + 680]);
    assert.ok(ipv4MoreFragments(second, 0));
  });

  it('fragments a whole burst without losing any', () => {
    const { a, b } = pair({ mtu: 1300 });
    for (let i = 0; i < 256; i++) a.hosts.get(103)!.send(mayFragment(udpPacket('10.1.0.5', '10.2.0.7', 1400)));
    settle(a, b);
    assert.equal(b.hosts.get(103)!.waiting, 512);
  });

  it('answers at most so many in a second', () => {
    const { a, b } = pair({ mtu: 1300 });
    for (let i = 0; i < 600; i++) a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 1400));
    settle(a, b);
    assert.deepEqual(a.drops(), { 'too-big-answered': 200, 'too-big-silent': 400 });
    a.nowMs += 500;
    for (let i = 0; i < 200; i++) a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 1400));
    settle(a, b);
    assert.deepEqual(a.drops(), { 'too-big-answered': 300, 'too-big-silent': 500 });
  });
});

describe('TCP through LAN insides', () => {
  function syn(from: string, to: string): Uint8Array {
    const packet = udpPacket(from, to, new Uint8Array(16));
    const header = from.includes(':') ? 40 : 20;
    packet[from.includes(':') ? 6 : 9] = PROTOCOL_TCP;
    if (header === 20) writeIpv4Checksum(packet, 0);
    packet.set(fromHex('04d20050 00000001 00000000 6002ffff 00000000 020405b4'), header);
    write16(packet, header + 16, checksumFinish(checksumAdd(packet, header, 24, pseudoHeaderSum(packet, 0, PROTOCOL_TCP, 24))));
    return packet;
  }

  for (const [from, to, headers] of [['10.1.0.5', '10.2.0.7', 40], ['fd00:1::5', 'fd00:2::7', 60]] as const) {
    // The LAN core has 1400: what fits the tunnel and not the core would only be answered with "too big".
    for (const mtu of [1300, 1414]) it(`has its MSS clamped from ${from} to what tunnel (${mtu}) and LAN core carry`, () => {
      const { a, b } = pair({ mtu });
      a.hosts.get(103)!.send(syn(from, to));
      settle(a, b);
      const got = b.hosts.get(103)!.take()!;
      const header = from.includes(':') ? 40 : 20;
      assert.equal((got[header + 22]! << 8) | got[header + 23]!, Math.min(mtu, 1400) - headers);
      assert.equal(checksumFinish(checksumAdd(got, header, 24, pseudoHeaderSum(got, 0, PROTOCOL_TCP, 24))), 0);
    });
  }

  it('is clamped by the receiver too, whose own tunnel may be narrower', () => {
    const { a, b } = pair({ mtu: 1414 });
    b.forwarder.apply({ ...side({ end: 2, remote: a.address, mtu: 1200 }), version: 2 });
    a.hosts.get(103)!.send(syn('10.1.0.5', '10.2.0.7'));
    settle(a, b);
    const got = b.hosts.get(103)!.take()!;
    assert.equal((got[42]! << 8) | got[43]!, 1160);
  });

  it('is left alone on the encrypted TVI', () => {
    const { a, b } = pair({ mtu: 1000 });
    const packet = syn('10.255.0.1', '10.255.0.2');
    a.hosts.get(102)!.send(packet);
    settle(a, b);
    assert.deepEqual(b.hosts.get(102)!.take(), packet);
  });
});
