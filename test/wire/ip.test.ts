import assert from 'node:assert/strict';
import {
  AddressFault, addressFault, checksumAdd, checksumFinish, checksumReplace16, ipIsFragment, ipTrafficClass, ipv4ChecksumGood, ipv4FragmentOffset,
  ipv4MoreFragments, isIpv4, isIpv6, writeIpv4Checksum, writeIpv4Fragment,
} from '../../firmware/wire/ip.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { isUdp } from '../../firmware/wire/udp.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { SeededRandom } from '../../platform/random.ts';

describe('IP headers', () => {
  // A widely published example of the header checksum: b861 over these octets.
  const HEADER = fromHex('4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7');

  it('computes the checksum of a known header', () => {
    assert.ok(ipv4ChecksumGood(HEADER, 0));
    const broken = HEADER.slice();
    broken[10] = 0;
    assert.ok(!ipv4ChecksumGood(broken, 0));
    writeIpv4Checksum(broken, 0);
    assert.equal(toHex(broken), toHex(HEADER));
  });

  it('updates a checksum as if it had been computed anew', () => {
    const random = new SeededRandom('checksum');
    for (let i = 0; i < 2000; i++) {
      const bytes = random.bytes(20);
      const before = checksumFinish(checksumAdd(bytes, 0, 20, 0));
      const old = (bytes[4]! << 8) | bytes[5]!;
      const value = random.uint32() & 0xffff;
      bytes[4] = value >>> 8;
      bytes[5] = value;
      const after = checksumFinish(checksumAdd(bytes, 0, 20, 0));
      const updated = checksumReplace16(before, old, value);
      // One's complement has two zeros.
      assert.equal(updated % 0xffff, after % 0xffff);
    }
  });

  it('refuses IPv4 cut short, with a short header or a length beyond the packet', () => {
    const packet = new Uint8Array(0x73);
    packet.set(HEADER);
    for (let length = 0; length < packet.length; length++) assert.ok(!isIpv4(packet, 0, length), `${length}`);
    assert.ok(isIpv4(packet, 0, packet.length));
    assert.ok(isIpv4(packet, 0, packet.length + 3), 'padding may follow');
    for (const [at, value] of [[0, 0x44], [0, 0x65], [3, 0x13], [2, 0xff]] as const) {
      const broken = packet.slice();
      broken[at] = value;
      assert.ok(!isIpv4(broken, 0, broken.length), `octet ${at} = ${value}`);
    }
  });

  it('refuses IPv6 cut short', () => {
    const packet = new Uint8Array(48);
    packet.set(fromHex('60000000 0008 11 40'));
    for (let length = 0; length < packet.length; length++) assert.ok(!isIpv6(packet, 0, length));
    assert.ok(isIpv6(packet, 0, 48));
  });

  it('reads DSCP and ECN of both families', () => {
    assert.equal(ipTrafficClass(fromHex('45b8'), 0), 0xb8);
    assert.equal(ipTrafficClass(fromHex('6b8f'), 0), 0xb8);
  });

  it('writes fragments and reads them back', () => {
    const header = HEADER.slice();
    writeIpv4Fragment(header, 0, 60, 1480, true);
    assert.ok(ipv4ChecksumGood(header, 0) && ipIsFragment(header, 0) && ipv4MoreFragments(header, 0));
    assert.equal(ipv4FragmentOffset(header, 0), 1480);
    assert.ok(!ipIsFragment(HEADER, 0));
  });

  const faults: readonly [string, number][] = [
    ['10.0.0.1', AddressFault.none], ['224.0.0.5', AddressFault.multicast], ['239.1.1.1', AddressFault.multicast],
    ['255.255.255.255', AddressFault.broadcast], ['169.254.1.1', AddressFault.linkLocal], ['127.0.0.1', AddressFault.unusable],
    ['0.0.0.0', AddressFault.unusable], ['240.0.0.1', AddressFault.unusable], ['2001:db8::1', AddressFault.none],
    ['fd00::1', AddressFault.none], ['ff02::1', AddressFault.multicast], ['fe80::1', AddressFault.linkLocal], ['::', AddressFault.unusable],
    ['::1', AddressFault.unusable], ['::ffff:10.0.0.1', AddressFault.unusable], ['::2', AddressFault.none],
  ];
  for (const [address, fault] of faults) {
    it(`judges ${address}`, () => {
      assert.equal(addressFault(addressBytes(address), 0, address.includes(':') ? 6 : 4), fault);
    });
  }

  it('refuses UDP whose length does not fit', () => {
    assert.ok(isUdp(fromHex('0001 0002 0008 0000'), 0, 8));
    for (const hex of ['0001 0002 0009 0000', '0001 0002 0007 0000', '0001 0002 0000 0000']) assert.ok(!isUdp(fromHex(hex), 0, 8));
    for (let length = 0; length < 8; length++) assert.ok(!isUdp(fromHex('0001 0002 0008 0000'), 0, length));
  });
});
