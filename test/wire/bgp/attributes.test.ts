// RFC 7606 as a table: what each malformed attribute leads to.
import assert from 'node:assert/strict';
import { WireError } from '../../../platform/errors.ts';
import { Writer, concat, fromHex } from '../../../platform/bytes.ts';
import { ATTRIBUTES } from '../../../firmware/wire/bgp/attributes.ts';
import { VPN4 } from '../../../firmware/wire/bgp/family.ts';
import { decodeUpdate, problemText } from '../../../firmware/wire/bgp/update.ts';

const REACH = '900e0020 000180 0c 00000000000000000a000001 00 70 004001 0000fde800000002 0a0100';
const MANDATORY = '40010100 400200 40050400000064';

function decode(attributes: string, external = false) {
  const bytes = fromHex(attributes);
  return decodeUpdate(concat(fromHex('0000'), new Writer().u16(bytes.length).finish(), bytes), external);
}

type Outcome = 'accepted' | 'discard' | 'treat-as-withdraw' | number;

function outcome(attributes: string, external = false): Outcome {
  try {
    const update = decode(attributes, external);
    if (update.announced.length === 1) return update.problems.length === 0 ? 'accepted' : 'discard';
    assert.deepEqual(update.withdrawn.map((part) => part.family), [VPN4], problemText(update.problems));
    assert.notEqual(update.problems.length, 0);
    return 'treat-as-withdraw';
  } catch (error) {
    assert.ok(error instanceof WireError);
    return error.answer!;
  }
}

interface Case {
  readonly name: string;
  readonly attributes: string;
  readonly expected: Outcome;
  readonly external?: boolean;
}

const CASES: readonly Case[] = [
  { name: 'a whole set of attributes', attributes: REACH + MANDATORY, expected: 'accepted' },
  { name: 'MP_REACH_NLRI in the last place', attributes: MANDATORY + REACH, expected: 'accepted' },
  { name: 'ORIGIN of two octets', attributes: `${REACH} 4001020000 400200 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'ORIGIN 3', attributes: `${REACH} 40010103 400200 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'no ORIGIN', attributes: `${REACH} 400200 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'no AS_PATH', attributes: `${REACH} 40010100 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'no LOCAL_PREF from the own AS', attributes: `${REACH} 40010100 400200`, expected: 'treat-as-withdraw' },
  { name: 'no LOCAL_PREF from another AS', attributes: `${REACH} 40010100 400200`, expected: 'accepted', external: true },
  { name: 'LOCAL_PREF from another AS', attributes: REACH + MANDATORY, expected: 'discard', external: true },
  { name: 'an AS_PATH segment of type 9', attributes: `${REACH} 40010100 400206 0901 0000fde8 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'an empty AS_PATH segment', attributes: `${REACH} 40010100 400202 0200 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'an AS_PATH that overruns', attributes: `${REACH} 40010100 400206 0202 0000fde8 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'NEXT_HOP of five octets', attributes: `${REACH}${MANDATORY} 4003050a00000100`, expected: 'treat-as-withdraw' },
  { name: 'MED of three octets', attributes: `${REACH}${MANDATORY} 800403000000`, expected: 'treat-as-withdraw' },
  { name: 'LOCAL_PREF of three octets', attributes: `${REACH} 40010100 400200 400503000000`, expected: 'treat-as-withdraw' },
  { name: 'ATOMIC_AGGREGATE with a value', attributes: `${REACH}${MANDATORY} 40060100`, expected: 'discard' },
  { name: 'AGGREGATOR of six octets', attributes: `${REACH}${MANDATORY} c00706000000000000`, expected: 'discard' },
  { name: 'COMMUNITIES of five octets', attributes: `${REACH}${MANDATORY} c008050000000000`, expected: 'treat-as-withdraw' },
  { name: 'empty COMMUNITIES', attributes: `${REACH}${MANDATORY} c00800`, expected: 'treat-as-withdraw' },
  { name: 'ORIGINATOR_ID of five octets', attributes: `${REACH}${MANDATORY} 8009050000000000`, expected: 'treat-as-withdraw' },
  { name: 'ORIGINATOR_ID of five octets from another AS', attributes: `${REACH} 40010100 400200 8009050000000000`, expected: 'discard', external: true },
  { name: 'CLUSTER_LIST of six octets', attributes: `${REACH}${MANDATORY} 800a06000000000000`, expected: 'treat-as-withdraw' },
  { name: 'EXTENDED_COMMUNITIES of seven octets', attributes: `${REACH}${MANDATORY} c01007 00000000000000`, expected: 'treat-as-withdraw' },
  { name: 'LARGE_COMMUNITIES of 11 octets', attributes: `${REACH}${MANDATORY} c0200b ${'00'.repeat(11)}`, expected: 'treat-as-withdraw' },
  { name: 'an empty TUNNEL_ENCAP', attributes: `${REACH}${MANDATORY} d0170000`, expected: 'treat-as-withdraw' },
  { name: 'TUNNEL_ENCAP with a TLV that overruns', attributes: `${REACH}${MANDATORY} d0170005 0019000200`, expected: 'treat-as-withdraw' },
  { name: 'AS4_PATH from a peer with 4-octet AS numbers', attributes: `${REACH}${MANDATORY} c01100`, expected: 'accepted' },
  { name: 'an attribute twice', attributes: `${REACH}${MANDATORY} 40010101`, expected: 'discard' },
  { name: 'MP_REACH_NLRI twice', attributes: REACH + MANDATORY + REACH, expected: 0x301 },
  { name: 'a wrong Optional flag', attributes: `${REACH} c0010100 400200 40050400000064`, expected: 'treat-as-withdraw' },
  { name: 'a wrong Transitive flag', attributes: `${REACH}${MANDATORY} 80080400000001`, expected: 'treat-as-withdraw' },
  { name: 'MP_REACH_NLRI with wrong flags', attributes: `${REACH.replace('90', 'd0')}${MANDATORY}`, expected: 'treat-as-withdraw' },
  { name: 'an unknown well-known attribute', attributes: `${REACH}${MANDATORY} 40630100`, expected: 0x302 },
  { name: 'an unknown optional attribute that is not transitive', attributes: `${REACH}${MANDATORY} 80630100`, expected: 'accepted' },
  { name: 'an attribute that overruns the list behind MP_REACH_NLRI', attributes: `${REACH}${MANDATORY} c00808 00000000`, expected: 'treat-as-withdraw' },
  { name: 'a lone octet behind MP_REACH_NLRI', attributes: `${REACH}${MANDATORY} c0`, expected: 'treat-as-withdraw' },
  { name: 'an attribute that hides where the routes are', attributes: `40010100 4002ff 00 ${REACH}`, expected: 0x301 },
  { name: 'MP_REACH_NLRI with a next hop of five octets', attributes: `900e0010 000180 05 0a00000100 00 70000000000000 ${MANDATORY}`, expected: 0x309 },
  { name: 'MP_REACH_NLRI with a prefix that overruns', attributes: `900e0013 000180 0c 00000000000000000a000001 00 7000 ${MANDATORY}`, expected: 0x309 },
  { name: 'MP_UNREACH_NLRI of two octets', attributes: '900f00020001', expected: 0x309 },
];

describe('malformed path attributes', () => {
  for (const { name, attributes, expected, external } of CASES) {
    const words = typeof expected === 'number' ? `resets with ${expected >>> 8}/${expected & 0xff}` : expected;
    it(`${name}: ${words}`, () => assert.equal(outcome(attributes, external), expected));
  }

  it('keeps an unknown transitive attribute and marks it partial', () => {
    assert.deepEqual(decode(`${REACH}${MANDATORY} c063020102`).attributes.others, [{ code: 0x63, flags: 0xe0, value: fromHex('0102') }]);
  });

  it('counts the first of two equal attributes', () => {
    assert.equal(decode(`${REACH}${MANDATORY} 40010102`).attributes.origin, 0);
  });

  it('has one row per attribute, in ascending order', () => {
    const codes = ATTRIBUTES.map((row) => row.code);
    assert.deepEqual(codes, [...new Set(codes)].sort((a, b) => a - b));
  });
});
