import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Writer, concat, fromHex, toHex } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { NO_ATTRIBUTES, ORIGIN_IGP, encodeAttributes } from '../../../firmware/wire/bgp/attributes.ts';
import type { PathAttributes } from '../../../firmware/wire/bgp/attributes.ts';
import { encapsulationCommunity, routeTarget } from '../../../firmware/wire/bgp/community.ts';
import { RTC, SDWAN4, UNICAST4, VPN4, VPN6 } from '../../../firmware/wire/bgp/family.ts';
import { HEADER_BYTES, UPDATE, encodeMessage } from '../../../firmware/wire/bgp/message.ts';
import { nlriKey } from '../../../firmware/wire/bgp/nlri.ts';
import type { VpnNlri } from '../../../firmware/wire/bgp/nlri.ts';
import { decodeUpdate, encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from '../../../firmware/wire/bgp/update.ts';
import { flips, survives, truncations } from './hostile.ts';

function goldenKeyRoute(): Uint8Array {
  const text = readFileSync(new URL('../../golden/bgp-key-route.txt', import.meta.url), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return fromHex(lines.map((line) => line.slice(line.indexOf(' '))).join(''));
}

const vpn = (i: number): VpnNlri => ({ kind: 'vpn', rd: '65000:2', prefix: `10.${i >> 8}.${i & 255}.0/24`, label: 1024 });

const FULL: PathAttributes = {
  origin: ORIGIN_IGP,
  asPath: [{ type: 2, asNumbers: [64512, 4_200_000_001] }, { type: 1, asNumbers: [1, 2] }],
  med: 7,
  localPref: 200,
  communities: [0xffffff01, 65000 * 65536 + 5],
  originatorId: '10.0.0.11',
  clusterList: ['10.0.0.1', '10.0.0.2'],
  extendedCommunities: [routeTarget('65000:2'), encapsulationCommunity(25)],
  tunnelEncapsulation: fromHex('00190003aabbcc'),
  largeCommunities: [fromHex('0000fde80000000100000002')],
  others: [{ code: 7, flags: 0xc0, value: fromHex('0000fde80a000001') }, { code: 99, flags: 0xe0, value: fromHex('0102') }],
  partial: [8],
};

function body(announcement: Parameters<typeof encodeAnnouncements>[0], attributes: PathAttributes = FULL): Uint8Array {
  return encodeAnnouncements(announcement, encodeAttributes(attributes), 4096).bodies[0]!;
}

describe('UPDATE', () => {
  it('produces the golden key route, octet by octet', () => {
    const value = fromHex('0000fde800000002000000650aff0005');
    const golden = goldenKeyRoute();
    const tunnel = golden.slice(golden.length - 147);
    const attributes = {
      ...NO_ATTRIBUTES, origin: ORIGIN_IGP, localPref: 100, tunnelEncapsulation: tunnel,
      extendedCommunities: [routeTarget('65000:2'), encapsulationCommunity(25)],
    };
    const update = body({ family: SDWAN4, nextHop: '10.255.0.5', nlri: [{ kind: 'sdwan', routeType: 0xff01, value }] }, attributes);
    assert.equal(golden.length, 240);
    assert.equal(toHex(encodeMessage(UPDATE, update)), toHex(golden));
  });

  it('reads the golden key route', () => {
    const update = decodeUpdate(goldenKeyRoute().slice(HEADER_BYTES), false);
    assert.deepEqual(update.problems, []);
    assert.equal(update.announced.length, 1);
    const { family, nextHop, nlri } = update.announced[0]!;
    assert.deepEqual(family, SDWAN4);
    assert.equal(nextHop, '10.255.0.5');
    assert.equal(nlriKey(nlri[0]!), 'ff0100800000fde800000002000000650aff0005');
    assert.equal(update.attributes.localPref, 100);
    assert.equal(toHex(update.attributes.tunnelEncapsulation!).slice(0, 8), '0019008f');
  });

  it('brings every attribute back as it was, unknown and partial ones too', () => {
    const update = decodeUpdate(body({ family: VPN6, nextHop: 'fd00::5', nlri: [{ kind: 'vpn', rd: '65000:2', prefix: '2001:db8::/32', label: 5 }] }), false);
    assert.deepEqual(update.problems, []);
    assert.deepEqual(update.attributes, FULL);
  });

  it('reads IPv4 unicast in the fields of RFC 4271', () => {
    const attributes = fromHex('400101004002004003040a0000014005040000 0064');
    const bytes = concat(fromHex('0004 180a0500'), new Writer().u16(attributes.length).finish(), attributes, fromHex('180a0600 100a07'));
    const update = decodeUpdate(bytes, false);
    assert.deepEqual(update.withdrawn, [{ family: UNICAST4, nlri: [{ kind: 'unicast', prefix: '10.5.0.0/24' }] }]);
    assert.deepEqual(update.announced, [
      { family: UNICAST4, nextHop: '10.0.0.1', nlri: [{ kind: 'unicast', prefix: '10.6.0.0/24' }, { kind: 'unicast', prefix: '10.7.0.0/16' }] },
    ]);
  });

  it('reads an UPDATE with MP_REACH_NLRI and the fields of RFC 4271 together', () => {
    const first = body({ family: VPN4, nextHop: '10.0.0.1', nlri: [vpn(1)] }, { ...NO_ATTRIBUTES, localPref: 100 });
    const attributes = concat(first.slice(4), fromHex('4003040a000001'));
    const update = decodeUpdate(concat(fromHex('0000'), new Writer().u16(attributes.length).finish(), attributes, fromHex('180a0600')), false);
    assert.deepEqual(update.announced.map((part) => part.family), [VPN4, UNICAST4]);
  });

  it('cuts many routes into messages that fit, and says what never fits', () => {
    const nlri = Array.from({ length: 3000 }, (_, i) => vpn(i));
    for (const most of [4096, 65535]) {
      const { bodies, unsent } = encodeAnnouncements({ family: VPN4, nextHop: '10.255.0.5', nlri }, encodeAttributes(FULL), most);
      assert.deepEqual(unsent, []);
      assert.ok(bodies.every((part) => part.length + HEADER_BYTES <= most));
      assert.deepEqual(bodies.flatMap((part) => decodeUpdate(part, false).announced[0]!.nlri), nlri);
      assert.equal(bodies.length, most === 4096 ? 12 : 1);
    }
    const large = { ...FULL, tunnelEncapsulation: concat(fromHex('00190fa0'), new Uint8Array(4000)) };
    const { bodies, unsent } = encodeAnnouncements({ family: VPN4, nextHop: '10.255.0.5', nlri: nlri.slice(0, 2) }, encodeAttributes(large), 4096);
    assert.deepEqual(bodies, []);
    assert.equal(unsent.length, 2);
  });

  it('withdraws in as few messages as fit', () => {
    const nlri = Array.from({ length: 1000 }, (_, i) => vpn(i));
    const bodies = encodeWithdrawals({ family: VPN4, nlri }, 4096);
    assert.equal(bodies.length, 4);
    assert.deepEqual(bodies.flatMap((part) => decodeUpdate(part, false).withdrawn[0]!.nlri.map(nlriKey)), nlri.map(nlriKey));
  });

  it('ends a family with its End-of-RIB marker and reads it', () => {
    assert.equal(toHex(encodeEndOfRib(UNICAST4)), '00000000');
    assert.equal(toHex(encodeEndOfRib(SDWAN4)), '00000007900f000300014a');
    for (const family of [UNICAST4, SDWAN4, VPN6, RTC]) assert.deepEqual(decodeUpdate(encodeEndOfRib(family), false).endOfRib, family);
    assert.equal(decodeUpdate(body({ family: VPN4, nextHop: '10.0.0.1', nlri: [vpn(1)] }), false).endOfRib, undefined);
  });

  it('skips NLRI of a family without a codec', () => {
    const attributes = fromHex('40010100 400200 40050400000064 900e000c 001946 04 0a000001 00 aabbcc');
    const update = decodeUpdate(concat(fromHex('0000'), new Writer().u16(attributes.length).finish(), attributes), false);
    assert.deepEqual(update.announced, []);
    assert.deepEqual(update.problems, []);
  });

  it('survives truncation at every length and bit flips, and answers with an UPDATE error', () => {
    const bytes = body({ family: VPN4, nextHop: '10.255.0.5', nlri: [vpn(1), vpn(2)] });
    const decode = (input: Uint8Array): unknown => {
      try {
        return decodeUpdate(input, false);
      } catch (error) {
        if (error instanceof WireError) assert.equal(error.answer! >>> 8, 3, error.message);
        throw error;
      }
    };
    for (const golden of [bytes, goldenKeyRoute().slice(HEADER_BYTES)]) {
      for (const cut of truncations(golden)) survives(decode, cut);
      for (const flipped of flips(golden, 'update', 5000)) survives(decode, flipped);
    }
  });
});
