import { deepStrictEqual, equal, ok, throws } from 'node:assert/strict';
import type { Header } from '../../../firmware/wire/ike/message.ts';
import { decodeMessage, encodeMessage } from '../../../firmware/wire/ike/message.ts';
import { NotifyType } from '../../../firmware/wire/ike/numbers.ts';
import { fromHex, toHex } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { SAMPLES } from './samples.ts';

const HEADER: Header = {
  spiInitiator: fromHex('0102030405060708'),
  spiResponder: fromHex('1112131415161718'),
  exchange: 37,
  fromInitiator: true,
  response: false,
  messageId: 0x01020304,
};
const GOLDEN = '0102030405060708 1112131415161718 2b 20 25 08 01020304 00000029  29 000005 78  00 000008 0000400e';

describe('wire/ike message', () => {
  it('writes header and chain', () => {
    const bytes = encodeMessage(HEADER, [
      { kind: 'VendorId', data: Uint8Array.of(0x78) },
      { kind: 'Notify', protocol: 0, spi: new Uint8Array(0), type: 0x400e, data: new Uint8Array(0) },
    ]);
    equal(toHex(bytes), toHex(fromHex(GOLDEN)));
  });

  it('reads header and chain', () => {
    const message = decodeMessage(fromHex(GOLDEN));
    deepStrictEqual(message.header, HEADER);
    deepStrictEqual(message.payloads.map((payload) => payload.kind), ['VendorId', 'Notify']);
    equal(message.sealed, undefined);
  });

  it('reads back a message with every payload', () => {
    const payloads = SAMPLES.map((sample) => sample.payload);
    deepStrictEqual(decodeMessage(encodeMessage({ ...HEADER, response: true, fromInitiator: false }, payloads)).payloads, payloads);
  });

  it('refuses a message cut at any length', () => {
    const bytes = encodeMessage(HEADER, SAMPLES.map((sample) => sample.payload));
    for (let length = 0; length < bytes.length; length++) throws(() => decodeMessage(bytes.slice(0, length)), WireError);
  });

  it('gives a value or a WireError for any flipped bit', () => {
    const bytes = encodeMessage(HEADER, SAMPLES.map((sample) => sample.payload));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      try {
        ok(decodeMessage(flipped).header);
      } catch (error) {
        ok(error instanceof WireError, String(error));
      }
    }
  });

  it('refuses octets behind the message and a zero initiator SPI', () => {
    throws(() => decodeMessage(Uint8Array.of(...fromHex(GOLDEN), 0)), /claims 41 octets, 42 arrived/);
    const zero = fromHex(GOLDEN);
    zero.fill(0, 0, 8);
    throws(() => decodeMessage(zero), WireError);
  });

  it('asks for INVALID_MAJOR_VERSION for another major version and ignores the minor one', () => {
    const bytes = fromHex(GOLDEN);
    bytes[17] = 0x30;
    throws(() => decodeMessage(bytes), { answer: NotifyType.INVALID_MAJOR_VERSION });
    bytes[17] = 0x2f;
    equal(decodeMessage(bytes).payloads.length, 2);
  });

  it('skips an unknown payload, but not a critical one', () => {
    const bytes = fromHex('0102030405060708 1112131415161718 c8 20 25 08 00000000 00000024  00 000008 00000000');
    equal(decodeMessage(bytes).payloads.length, 0);
    bytes[29] = 0x80;
    throws(() => decodeMessage(bytes), { answer: NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data: Uint8Array.of(0xc8) });
  });

  it('ignores the critical bit of payloads that it knows', () => {
    const bytes = fromHex(GOLDEN);
    bytes[29] = 0x80;
    equal(decodeMessage(bytes).payloads.length, 2);
  });

  it('does not follow chains without end', () => {
    const bytes = new Uint8Array(28 + 200 * 4);
    bytes.set(fromHex('0102030405060708 1112131415161718 c8 20 25 08 00000000'));
    new DataView(bytes.buffer).setUint32(24, bytes.length);
    for (let at = 28; at < bytes.length; at += 4) bytes.set([0xc8, 0, 0, 4], at);
    throws(() => decodeMessage(bytes), /more than 128 payloads/);
  });
});
