import assert from 'node:assert/strict';
import { UsageError, WireError } from '../../../platform/errors.ts';
import { Reader, Writer, fromHex, toHex } from '../../../platform/bytes.ts';
import { RTC, SDWAN4, SDWAN6, UNICAST4, UNICAST6, VPN4, VPN6 } from '../../../firmware/wire/bgp/family.ts';
import type { Family } from '../../../firmware/wire/bgp/family.ts';
import { decodeNextHop, encodeNextHop, needsExtendedNextHop } from '../../../firmware/wire/bgp/next-hop.ts';
import type { ParsedNlri } from '../../../firmware/wire/bgp/nlri.ts';
import { decodeNlri, encodeNlri, nlriKey, routeTargetMembership } from '../../../firmware/wire/bgp/nlri.ts';
import { routeTarget } from '../../../firmware/wire/bgp/community.ts';
import { flips, survives, truncations } from './hostile.ts';

interface Golden {
  readonly name: string;
  readonly family: Family;
  readonly hex: string;
  readonly nlri: ParsedNlri;
  readonly key: string;
}

const GOLDENS: readonly Golden[] = [
  { name: 'an IPv4 prefix', family: UNICAST4, hex: '140a0110', nlri: { kind: 'unicast', prefix: '10.1.16.0/20' }, key: '10.1.16.0/20' },
  { name: 'the IPv4 default route', family: UNICAST4, hex: '00', nlri: { kind: 'unicast', prefix: '0.0.0.0/0' }, key: '0.0.0.0/0' },
  { name: 'an IPv6 prefix', family: UNICAST6, hex: '2020010db8', nlri: { kind: 'unicast', prefix: '2001:db8::/32' }, key: '2001:db8::/32' },
  {
    name: 'a VPN-IPv4 prefix', family: VPN4, hex: '70 003e71 0000fde800000009 0a0900',
    nlri: { kind: 'vpn', rd: '65000:9', prefix: '10.9.0.0/24', label: 999 }, key: '65000:9|10.9.0.0/24',
  },
  {
    name: 'a VPN-IPv4 prefix with an RD of type 1', family: VPN4, hex: '60 004001 0001c00002010007 0a',
    nlri: { kind: 'vpn', rd: '192.0.2.1:7', prefix: '10.0.0.0/8', label: 1024 }, key: '192.0.2.1:7|10.0.0.0/8',
  },
  {
    name: 'a VPN-IPv6 prefix with an RD of type 2', family: VPN6, hex: '88 fffff1 0002fa56ea010002 20010db80009',
    nlri: { kind: 'vpn', rd: '4200000001:2', prefix: '2001:db8:9::/48', label: 0xfffff }, key: '4200000001:2|2001:db8:9::/48',
  },
  {
    name: 'the key route of protocols.md', family: SDWAN4, hex: 'ff010080 0000fde800000002 00000065 0aff0005',
    nlri: { kind: 'sdwan', routeType: 0xff01, value: fromHex('0000fde800000002000000650aff0005') }, key: 'ff0100800000fde800000002000000650aff0005',
  },
  { name: 'a SAFI 74 item of an unknown type without value', family: SDWAN6, hex: '77770000', nlri: { kind: 'sdwan', routeType: 0x7777, value: new Uint8Array(0) }, key: '77770000' },
  { name: 'the default membership', family: RTC, hex: '00', nlri: routeTargetMembership(65000), key: 'default' },
  {
    name: 'a route target membership', family: RTC, hex: '60 0000fde8 0002fde800000002',
    nlri: routeTargetMembership(65000, routeTarget('65000:2')), key: '65000|65000:2',
  },
  {
    name: 'a membership of a part of a target', family: RTC, hex: '30 0000fde8 0002',
    nlri: { kind: 'route-target', lengthBits: 48, originAs: 65000, target: fromHex('0002000000000000') }, key: '65000|0x0002000000000000/48',
  },
];

const decodeHex = (family: Family, hex: string): ParsedNlri[] => decodeNlri(new Reader(fromHex(hex), 'NLRI'), family);

function encoded(nlri: ParsedNlri, withdraw = false): string {
  const writer = new Writer();
  encodeNlri(writer, nlri, withdraw);
  return toHex(writer.finish());
}

describe('NLRI', () => {
  for (const { name, family, hex, nlri, key } of GOLDENS) {
    it(`reads and writes ${name}`, () => {
      assert.deepEqual(decodeHex(family, hex), [nlri]);
      assert.equal(encoded(nlri), hex.replaceAll(' ', ''));
      assert.equal(nlriKey(nlri), key);
    });
  }

  it('reads several items in a row', () => {
    assert.equal(decodeHex(VPN4, GOLDENS[3]!.hex + GOLDENS[4]!.hex).length, 2);
    assert.equal(decodeHex(SDWAN4, GOLDENS[6]!.hex + '00010018010203').length, 2);
  });

  it('withdraws with the withdraw label and finds the same key again', () => {
    const { nlri, key } = GOLDENS[3]!;
    assert.equal(encoded(nlri, true), '708000000000fde8000000090a0900');
    assert.equal(nlriKey(decodeHex(VPN4, encoded(nlri, true))[0]!), key);
  });

  it('ignores the bottom-of-stack bit and host bits', () => {
    assert.deepEqual(decodeHex(VPN4, '61 003e70 0000fde800000009 0aff'), [{ kind: 'vpn', rd: '65000:9', prefix: '10.128.0.0/9', label: 999 }]);
  });

  const malformed: readonly [string, Family, string][] = [
    ['a prefix longer than an address', UNICAST4, '210a00000000'],
    ['an IPv6 prefix of 129 bits', UNICAST6, '81' + '00'.repeat(17)],
    ['a VPN prefix without room for its RD', VPN4, '57' + '00'.repeat(11)],
    ['a VPN-IPv4 prefix of 121 bits', VPN4, '79' + '00'.repeat(16)],
    ['a membership of 31 bits', RTC, '1f00000000'],
    ['a membership of 97 bits', RTC, '61' + '00'.repeat(13)],
    ['a SAFI 74 item whose length overruns', SDWAN4, '00010020aabbcc'],
  ];
  for (const [name, family, hex] of malformed) it(`refuses ${name}`, () => assert.throws(() => decodeHex(family, hex), WireError));

  it('refuses every truncation inside an item, and survives bit flips', () => {
    for (const { name, family, hex } of GOLDENS) {
      const bytes = fromHex(hex);
      const decode = (input: Uint8Array): unknown => decodeNlri(new Reader(input, 'NLRI'), family);
      for (const cut of truncations(bytes).slice(1)) assert.equal(survives(decode, cut), 'refused', name);
      for (const flipped of flips(bytes, name, 300)) survives(decode, flipped);
    }
  });

  it('refuses to write a SAFI 74 value whose length does not fit 16 bits', () => {
    assert.throws(() => encoded({ kind: 'sdwan', routeType: 1, value: new Uint8Array(8192) }), UsageError);
  });
});

describe('next hops', () => {
  const rows: readonly [string, Family, string, string][] = [
    ['an IPv4 one', UNICAST4, 'c0000201', '192.0.2.1'],
    ['an IPv6 one for IPv4 routes', UNICAST4, '20010db8' + '00'.repeat(11) + '01', '2001:db8::1'],
    ['a VPN-IPv4 one behind a zero RD', VPN4, '0000000000000000c0000201', '192.0.2.1'],
    ['an IPv6 one for VPN-IPv4 routes', VPN4, '000000000000000020010db8' + '00'.repeat(11) + '01', '2001:db8::1'],
    ['an IPv4-mapped one for VPN-IPv6 routes', VPN6, '000000000000000000000000000000000000ffffc0000201', '192.0.2.1'],
    ['an IPv6 one for VPN-IPv6 routes', VPN6, '0000000000000000fd00' + '00'.repeat(13) + '05', 'fd00::5'],
    ['an IPv4 one for SAFI 74', SDWAN4, '0aff0005', '10.255.0.5'],
    ['an IPv4 one for IPv6 SAFI 74', SDWAN6, '0aff0005', '10.255.0.5'],
    ['an IPv6 one for SAFI 74', SDWAN6, 'fd00' + '00'.repeat(13) + '05', 'fd00::5'],
  ];
  for (const [name, family, hex, text] of rows) {
    it(`reads and writes ${name}`, () => {
      assert.equal(decodeNextHop(family, fromHex(hex)), text);
      assert.equal(toHex(encodeNextHop(family, text)), hex);
    });
  }

  it('reads over the link-local address', () => {
    assert.equal(decodeNextHop(UNICAST6, fromHex('fd00' + '00'.repeat(13) + '05' + 'fe80' + '00'.repeat(13) + '01')), 'fd00::5');
  });

  it('refuses every other length', () => {
    const good = new Map<Family, number[]>([[UNICAST4, [4, 16, 32]], [VPN4, [12, 24, 48]], [SDWAN4, [4, 16, 32]]]);
    for (const [family, lengths] of good) {
      for (let length = 0; length < 60; length++) {
        const result = survives((bytes) => decodeNextHop(family, bytes), new Uint8Array(length));
        assert.equal(result, lengths.includes(length) ? 'accepted' : 'refused', `${family.safi} ${length}`);
      }
    }
  });

  it('says which next hops need the extended next hop capability', () => {
    assert.equal(needsExtendedNextHop(VPN4, 'fd00::5'), true);
    assert.equal(needsExtendedNextHop(VPN4, '10.0.0.1'), false);
    assert.equal(needsExtendedNextHop(VPN6, 'fd00::5'), false);
    assert.equal(needsExtendedNextHop(SDWAN4, 'fd00::5'), false);
  });
});
