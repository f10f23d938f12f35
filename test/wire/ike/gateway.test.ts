import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { decodeGateway, encodeGateway } from '../../../firmware/wire/ike/gateway.ts';
import type { Gateway } from '../../../firmware/wire/ike/gateway.ts';
import { fromHex, toHex } from '../../../platform/bytes.ts';

const NONCE = fromHex('00112233445566778899aabbccddeeff');
const GOLDENS: readonly (readonly [Gateway, string])[] = [
  [{ kind: 'ipv4', value: '192.0.2.7' }, '0104c0000207'],
  [{ kind: 'ipv6', value: '2001:db8::7' }, '021020010db8000000000000000000000007'],
  [{ kind: 'fqdn', value: 'gw.example' }, '030a67772e6578616d706c65'],
];

describe('wire/ike/gateway', () => {
  for (const [gateway, hex] of GOLDENS) {
    it(`carries an ${gateway.kind} gateway, with and without a nonce`, () => {
      strictEqual(toHex(encodeGateway(gateway)), hex);
      strictEqual(toHex(encodeGateway(gateway, NONCE)), hex + toHex(NONCE));
      deepStrictEqual(decodeGateway(fromHex(hex)), { gateway, nonce: new Uint8Array(0) });
      deepStrictEqual(decodeGateway(fromHex(hex + toHex(NONCE))), { gateway, nonce: NONCE });
    });

    it(`refuses an ${gateway.kind} gateway that is cut anywhere`, () => {
      const bytes = fromHex(hex);
      for (let length = 0; length < bytes.length; length++) strictEqual(decodeGateway(bytes.slice(0, length)), undefined, `${length}`);
    });

    it(`makes another gateway, or none, of an ${gateway.kind} one with a changed bit, and never throws`, () => {
      const bytes = fromHex(hex);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const changed = bytes.slice();
        changed[bit >> 3]! ^= 1 << (bit & 7);
        const decoded = decodeGateway(changed);
        if (decoded !== undefined) deepStrictEqual(encodeGateway(decoded.gateway, decoded.nonce), changed);
      }
    });
  }

  it('refuses types that are not known, lengths that do not fit their type, and names that are none', () => {
    for (const hex of ['', '01', '0404c0000207', '0103c00002', '0204c0000207', '0300', '0302c3a4', '03026720', '03010a']) strictEqual(decodeGateway(fromHex(hex)), undefined, hex);
  });
});
