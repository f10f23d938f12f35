import { deepStrictEqual, equal, throws } from 'node:assert/strict';
import type { EapTls } from '../../firmware/wire/eap-tls.ts';
import { decodeEapTls, EAP_TLS_EMPTY, EAP_TLS_START, encodeEapTls } from '../../firmware/wire/eap-tls.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';

const GOLDENS: readonly (readonly [string, EapTls, string])[] = [
  ['start', EAP_TLS_START, '20'],
  ['nothing', EAP_TLS_EMPTY, '00'],
  ['a whole message', { start: false, more: false, length: undefined, data: fromHex('160303') }, '00160303'],
  ['a first fragment', { start: false, more: true, length: 0x12345, data: fromHex('1603') }, 'c0000123451603'],
  ['a fragment between', { start: false, more: true, length: undefined, data: fromHex('03') }, '4003'],
];

describe('wire: EAP-TLS', () => {
  for (const [what, packet, hex] of GOLDENS) {
    it(`reads and writes ${what}`, () => {
      equal(toHex(encodeEapTls(packet)), hex);
      deepStrictEqual(decodeEapTls(fromHex(hex)), packet);
    });
  }

  it('ignores reserved flags', () => deepStrictEqual(decodeEapTls(fromHex('1f')), EAP_TLS_EMPTY));

  it('refuses a header that is cut off at any octet', () => {
    const whole = fromHex('c000012345');
    for (let length = 0; length < whole.length; length++) throws(() => decodeEapTls(whole.subarray(0, length)), WireError);
  });

  it('reads every flipped bit as something else or refuses it', () => {
    const whole = fromHex('c0000123451603');
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = whole.slice();
      flipped[bit >> 3]! ^= 0x80 >> (bit & 7);
      const isReserved = bit >= 3 && bit < 8;
      equal(toHex(encodeEapTls(decodeEapTls(flipped))) === toHex(whole), isReserved, `bit ${bit}`);
    }
  });
});
