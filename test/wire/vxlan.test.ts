import assert from 'node:assert/strict';
import { innerPacket, throughGre } from '../../firmware/dataplane/labelled.ts';
import { DROP_REASONS } from '../../firmware/dataplane/counters.ts';
import { mplsCarriesEthernet, mplsStackBytes, writeMpls } from '../../firmware/wire/mpls.ts';
import { isGre } from '../../firmware/wire/gre.ts';
import { isVxlan, vxlanPayload, vxlanVni, writeVxlanPrefix, VXLAN_NEXT_ESP } from '../../firmware/wire/vxlan.ts';
import { SeededRandom } from '../../platform/random.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';

describe('VXLAN-GPE', () => {
  it('writes header and extension of a sealed packet', () => {
    const bytes = new Uint8Array(16).fill(0xff);
    writeVxlanPrefix(bytes, 0, 0x112, VXLAN_NEXT_ESP, 6);
    assert.equal(toHex(bytes), '0c8200fb00011200' + '000100fc00000000');
  });

  const variants: readonly [string, string, number, number][] = [
    ['the extension, then ESP', '0c8100fb00011200 000100fc00000000', 16, 0xfc],
    ['the extension, then GRE', '0c8100fb00011200 000100fd00000000', 16, 0xfd],
    ['an extension of 12 octets', '0c8100fb00011200 000200fc0000000000000000', 20, 0xfc],
    ['an extension of 12 octets that leads to MPLS', '0c8100fb00011200 000200050000000000000000', 20, 0x05],
    ['ESP without extension', '0c8100fc00011200', 8, 0xfc],
    ['GRE without extension', '0c8100fd00011200', 8, 0xfd],
    ['MPLS as 0x05', '0c81000500011200', 8, 0x05],
    ['MPLS as 0xfe', '0c8100fe00011200', 8, 0xfe],
    ['an unknown shim in front of GRE', '0c8100a000011200 a00000fd', 12, 0xfd],
  ];
  for (const [name, hex, offset, next] of variants) {
    it(`reads ${name}`, () => {
      const bytes = fromHex(hex);
      assert.ok(isVxlan(bytes, 0, bytes.length));
      assert.equal(vxlanVni(bytes, 0), 0x112);
      assert.equal(vxlanPayload(bytes, 0, bytes.length), (offset << 8) | next);
    });

    it(`refuses ${name} cut short anywhere`, () => {
      const bytes = fromHex(hex);
      for (let length = 0; length < bytes.length; length++) {
        assert.ok(!isVxlan(bytes, 0, length) || vxlanPayload(bytes, 0, length) < 0, `${length} octets`);
      }
    });
  }

  it('refuses other versions, a missing VNI flag and plain VXLAN', () => {
    for (const first of ['1c', '2c', '04', '08', '00']) assert.ok(!isVxlan(fromHex(`${first}8100fb00011200`), 0, 8), first);
  });

  it('refuses an endless chain of shims', () => {
    const bytes = fromHex(`0c8100fb00011200${'000000fb'.repeat(8)}`);
    assert.equal(vxlanPayload(bytes, 0, bytes.length), -1);
  });

  it('never reads outside random headers', () => {
    const random = new SeededRandom('vxlan');
    for (let i = 0; i < 5000; i++) {
      const bytes = random.bytes(random.uint32() % 40);
      bytes[0] = 0x0c;
      if (!isVxlan(bytes, 0, bytes.length)) continue;
      const payload = vxlanPayload(bytes, 0, bytes.length);
      assert.ok(payload === -1 || payload >>> 8 <= bytes.length);
    }
  });
});

describe('GRE and MPLS', () => {
  const reasonOf = (result: number): string => DROP_REASONS[-result]!;

  it('finds the bottom label and the packet behind a stack', () => {
    const bytes = fromHex('00008847 00000040 00400140 45');
    assert.equal(throughGre(bytes, 0, bytes.length), (1024 << 8) | 12);
    assert.equal(innerPacket(bytes, 4, bytes.length - 4, 0x05), (1024 << 8) | 8);
  });

  it('takes IP without label for explicit null', () => {
    assert.equal(throughGre(fromHex('00000800'), 0, 4), 4);
    assert.equal(innerPacket(fromHex('45'), 0, 1, 0x01), 0);
  });

  it('refuses label 17 anywhere in the stack, which means Ethernet', () => {
    const bytes = fromHex('00008847 00011040 00400140');
    assert.equal(reasonOf(throughGre(bytes, 0, bytes.length)), 'inner-ethernet');
    assert.ok(mplsCarriesEthernet(bytes, 4, 8));
    assert.equal(reasonOf(innerPacket(bytes, 0, 12, 0x03)), 'inner-ethernet');
  });

  it('refuses GRE with options and a stack without bottom', () => {
    for (const hex of ['80008847', '20008847', '00018847']) assert.ok(!isGre(fromHex(hex), 0, 4));
    assert.equal(reasonOf(throughGre(fromHex('00000806'), 0, 4)), 'malformed-gre');
    assert.equal(mplsStackBytes(fromHex('00000040'.repeat(6)), 0, 24), 0);
    assert.equal(reasonOf(throughGre(fromHex('00008847 00000040'), 0, 8)), 'malformed-mpls');
    for (let length = 0; length < 8; length++) assert.ok(throughGre(fromHex('00008847 00400140'), 0, length) < 0);
  });

  it('writes label, traffic class, bottom and TTL', () => {
    const bytes = new Uint8Array(4);
    writeMpls(bytes, 0, 0xabcde, 5);
    assert.equal(toHex(bytes), 'abcdeb40');
  });
});
