import { deepStrictEqual, equal, throws } from 'node:assert/strict';
import { fromHex, toHex } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { decodeSdwanItem, decodeSdwanNlri, encodeSdwanItem, encodeSdwanNlri } from '../../../firmware/wire/bgp/sdwan.ts';
import type { SdwanNlri } from '../../../firmware/wire/bgp/sdwan.ts';
import { vector } from '../../sdwan/vectors.ts';

/** flags, type, length 2, AFI 2, SAFI, next hop length, next hop 4, reserved: 13 octets before the item. */
const KEY_ITEM = vector('MP_REACH').slice(26);

const NODE4 = fromHex('0aff0005');
const NODE6 = fromHex('20010db8000000000000000000000005');
const EXAMPLES: readonly SdwanNlri[] = [
  { kind: 'circuit', portLocalId: 2, color: 101, nodeId: NODE4 },
  { kind: 'circuit', portLocalId: 0xffff_ffff, color: 0xffff_ffff, nodeId: NODE6 },
  { kind: 'key', rd: '65000:2', color: 101, nodeId: NODE6 },
  { kind: 'directive', rd: '4200000000:2', nodeId: NODE4 },
  { kind: 'unknown', routeType: 7, value: fromHex('010203') },
];

describe('wire/bgp/sdwan', () => {
  it("reads and writes the worked example's key route", () => {
    const nlri: SdwanNlri = { kind: 'key', rd: '65000:2', color: 101, nodeId: NODE4 };
    deepStrictEqual(decodeSdwanItem(fromHex(KEY_ITEM)), nlri);
    equal(toHex(encodeSdwanItem(nlri)), KEY_ITEM);
  });

  it('gives back every route type that it writes', () => {
    for (const nlri of EXAMPLES) {
      deepStrictEqual(decodeSdwanItem(encodeSdwanItem(nlri)), nlri);
      const { routeType, value } = encodeSdwanNlri(nlri);
      deepStrictEqual(decodeSdwanNlri(routeType, value), nlri);
    }
  });

  it('refuses an item cut at any octet, and one octet too many', () => {
    for (const nlri of EXAMPLES) {
      const whole = encodeSdwanItem(nlri);
      for (let length = 0; length < whole.length; length++) throws(() => decodeSdwanItem(whole.subarray(0, length)), WireError);
      throws(() => decodeSdwanItem(new Uint8Array([...whole, 0])), WireError);
    }
  });

  it('refuses a Node-ID that is neither an IPv4 nor an IPv6 address', () => {
    throws(() => decodeSdwanNlri(1, new Uint8Array(13)), /leaves 5 octets for the Node-ID/);
  });
});
