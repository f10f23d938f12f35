// The response and the success are those of RFC 2759 9.2.
import { deepStrictEqual, equal, throws } from 'node:assert/strict';
import type { MsChapV2 } from '../../firmware/wire/eap-mschapv2.ts';
import { decodeMsChapV2, encodeMsChapV2, failureText, parseFailure, parseSuccess, successText } from '../../firmware/wire/eap-mschapv2.ts';
import { fromHex, toHex, utf8 } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';

const CHALLENGE = '5b5d7c7d7b3f2f3e3c2c602132262628';
const PEER_CHALLENGE = '21402324255e262a28295f2b3a337c7e';
const NT_RESPONSE = '82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df';
const SUCCESS = '407a5589115fd0d6209f510fe9c04566932cda56';

const GOLDENS: readonly (readonly [string, MsChapV2, string])[] = [
  ['a challenge', { op: 'challenge', id: 5, challenge: fromHex(CHALLENGE), name: utf8('gw') }, `0105001710${CHALLENGE}6777`],
  [
    'a response',
    { op: 'response', id: 5, peerChallenge: fromHex(PEER_CHALLENGE), ntResponse: fromHex(NT_RESPONSE), name: utf8('User') },
    `0205003a31${PEER_CHALLENGE}0000000000000000${NT_RESPONSE}0055736572`,
  ],
  ['a success', { op: 'success', id: 5, text: 'S=1' }, '03050007533d31'],
  ['a failure', { op: 'failure', id: 5, text: 'E=6' }, '04050007453d36'],
  ['an acknowledged success', { op: 'success-acknowledged' }, '03'],
  ['an acknowledged failure', { op: 'failure-acknowledged' }, '04'],
];

describe('wire: EAP-MSCHAPv2', () => {
  for (const [what, packet, hex] of GOLDENS) {
    it(`reads and writes ${what}`, () => {
      equal(toHex(encodeMsChapV2(packet)), hex);
      deepStrictEqual(decodeMsChapV2(fromHex(hex)), packet);
    });

    it(`reads no cut or flipped copy of ${what} as the same`, () => {
      const whole = fromHex(hex);
      const read = (bytes: Uint8Array): string => {
        try {
          return toHex(encodeMsChapV2(decodeMsChapV2(bytes)));
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
          return 'refused';
        }
      };
      for (let length = 0; length < whole.length; length++) equal(read(whole.subarray(0, length)) === hex, false, `${length} octets`);
      // Reserved octets and flags of a response are not looked at.
      const ignored = packet.op === 'response' ? [...Array.from({ length: 8 }, (_, i) => 21 + i), 53] : [];
      for (let bit = 0; bit < whole.length * 8; bit++) {
        const flipped = whole.slice();
        flipped[bit >> 3]! ^= 0x80 >> (bit & 7);
        equal(read(flipped) === hex, ignored.includes(bit >> 3), `bit ${bit}`);
      }
    });
  }

  it('refuses values, names and texts of other sizes', () => {
    throws(() => decodeMsChapV2(fromHex(`010500150f${CHALLENGE}`)), /EAP-MSCHAPv2 value of 15 octets; 16 are legal/);
    throws(() => decodeMsChapV2(encodeMsChapV2({ op: 'challenge', id: 1, challenge: fromHex(CHALLENGE), name: new Uint8Array(257) })), /257 octets of text; at most 256/);
    throws(() => decodeMsChapV2(encodeMsChapV2({ op: 'failure', id: 1, text: 'x'.repeat(513) })), /513 octets of text; at most 512/);
    throws(() => decodeMsChapV2(fromHex('07050004')), /operation 7 is not known/);
  });

  it('says and reads the proof of a success', () => {
    equal(successText(fromHex(SUCCESS)), `S=${SUCCESS.toUpperCase()} M=authenticated`);
    equal(toHex(parseSuccess(successText(fromHex(SUCCESS)))!), SUCCESS);
    equal(toHex(parseSuccess(`S=${SUCCESS}`)!), SUCCESS);
    for (const text of ['', 'S=', `S=${SUCCESS.slice(2)}`, `S=${SUCCESS}00`, `M=x S=${SUCCESS}`]) equal(parseSuccess(text), undefined, text);
  });

  it('says and reads why a user failed', () => {
    deepStrictEqual(parseFailure(failureText(true, fromHex(CHALLENGE))), { error: 691, retry: true, challenge: fromHex(CHALLENGE) });
    deepStrictEqual(parseFailure('E=648 R=0 M=expired'), { error: 648, retry: false, challenge: undefined });
    for (const text of ['', 'E= R=0', 'E=691', `E=691 R=2 C=${CHALLENGE}`, 'R=1 E=691']) equal(parseFailure(text), undefined, text);
  });
});
