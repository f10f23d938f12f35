import { deepStrictEqual, equal, throws } from 'node:assert/strict';
import type { EapPacket } from '../../firmware/wire/eap.ts';
import { decodeEap, encodeEap } from '../../firmware/wire/eap.ts';
import { fromHex, toHex, utf8 } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';

const GOLDENS: readonly (readonly [string, EapPacket, string])[] = [
  ['a request for the identity', { code: 'request', identifier: 7, type: 1, data: new Uint8Array(0) }, '0107000501'],
  ['an identity', { code: 'response', identifier: 7, type: 1, data: utf8('bob') }, '0207000801626f62'],
  ['a wish for another method', { code: 'response', identifier: 255, type: 3, data: Uint8Array.of(26) }, '02ff0006031a'],
  ['success', { code: 'success', identifier: 9 }, '03090004'],
  ['failure', { code: 'failure', identifier: 9 }, '04090004'],
];

describe('wire: EAP', () => {
  for (const [what, packet, hex] of GOLDENS) {
    it(`reads and writes ${what}`, () => {
      equal(toHex(encodeEap(packet)), hex);
      deepStrictEqual(decodeEap(fromHex(hex)), packet);
    });

    it(`refuses ${what} that is cut off at any octet, or has one more`, () => {
      const whole = fromHex(hex);
      for (let length = 0; length < whole.length; length++) throws(() => decodeEap(whole.subarray(0, length)), WireError);
      throws(() => decodeEap(fromHex(`${hex}00`)), WireError);
    });

    it(`reads every flipped bit of ${what} as something else or refuses it`, () => {
      const whole = fromHex(hex);
      for (let bit = 0; bit < whole.length * 8; bit++) {
        const flipped = whole.slice();
        flipped[bit >> 3]! ^= 0x80 >> (bit & 7);
        let again = '';
        try {
          again = toHex(encodeEap(decodeEap(flipped)));
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
        equal(again === hex, false, `bit ${bit}`);
      }
    });
  }

  for (const [what, hex, cause] of [
    ['a request without a type', '01070004', /EAP packet needs 1 more octets/],
    ['a success with contents', '0309000500', /1 octets after its end/],
    ['an unknown code', '05090004', /EAP code 5 is not known/],
    ['a length beyond the packet', '0107000601', /claims 6 octets, it has 5/],
  ] as const) {
    it(`refuses ${what}`, () => throws(() => decodeEap(fromHex(hex)), cause));
  }
});
