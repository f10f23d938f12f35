import { deepStrictEqual, equal, throws } from 'node:assert/strict';
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Header } from '../../../firmware/wire/ike/message.ts';
import { decodeMessage } from '../../../firmware/wire/ike/message.ts';
import { AEAD_LAYOUT, encodeSealed, largestInner, sealedBody, withoutPadding } from '../../../firmware/wire/ike/sealed.ts';
import { concat, fromHex, toHex } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { SeededRandom } from '../../../platform/random.ts';

const RANDOM = new SeededRandom('sealed goldens');
const KEY = RANDOM.bytes(32);
const SALT = RANDOM.bytes(4);
const IV = fromHex('0000000000000001');
const HEADER: Header = { spiInitiator: fromHex('0102030405060708'), spiResponder: fromHex('1112131415161718'), exchange: 37, fromInitiator: false, response: true, messageId: 7 };
/** Delete of one child, as a chain. */
const INNER = fromHex('0000000c 03040001 02000343');

/** The IKE headers, written out by hand. */
const SK_GOLDEN = '010203040506070811121314151617182e2025200000000700000045';
const SKF_GOLDEN = '01020304050607081112131415161718352025200000000700000049';

function seal(additional: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', KEY, concat(SALT, iv));
  cipher.setAAD(additional);
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

function open(bytes: Uint8Array): Uint8Array {
  const { additional, iv, sealed } = sealedBody(bytes, decodeMessage(bytes).sealed!);
  const decipher = createDecipheriv('aes-256-gcm', KEY, concat(SALT, iv));
  decipher.setAAD(additional);
  decipher.setAuthTag(sealed.subarray(-16));
  return withoutPadding(concat(decipher.update(sealed.subarray(0, -16)), decipher.final()));
}

describe('wire/ike sealed', () => {
  it('writes SK with header, IV, ciphertext and ICV where the RFC has them', () => {
    const bytes = encodeSealed(HEADER, { firstPayload: 42, inner: INNER, fragment: undefined }, IV, seal);
    const additional = fromHex(`${SK_GOLDEN} 2a000029`);
    equal(toHex(bytes), toHex(concat(additional, IV, seal(additional, IV, Uint8Array.of(...INNER, 0)))));
    equal(largestInner(bytes.length, AEAD_LAYOUT, false), INNER.length);
    deepStrictEqual(open(bytes), INNER);
  });

  it('writes SKF with number and total inside of the additional data', () => {
    const bytes = encodeSealed(HEADER, { firstPayload: 42, inner: INNER, fragment: { number: 1, total: 2 } }, IV, seal);
    const additional = fromHex(`${SKF_GOLDEN} 2a00002d 00010002`);
    equal(toHex(bytes), toHex(concat(additional, IV, seal(additional, IV, Uint8Array.of(...INNER, 0)))));
    equal(largestInner(bytes.length, AEAD_LAYOUT, true), INNER.length);
    deepStrictEqual(sealedBody(bytes, decodeMessage(bytes).sealed!).fragment, { number: 1, total: 2 });
  });

  it('pads for ciphers with blocks, and knows what fits into a message', () => {
    const layout = { ivBytes: 16, icvBytes: 24, blockBytes: 16 };
    for (let length = 0; length < 40; length++) {
      for (const fragment of [undefined, { number: 1, total: 2 }]) {
        let plaintext = new Uint8Array(0);
        const bytes = encodeSealed(HEADER, { firstPayload: 0, inner: new Uint8Array(length).fill(7), fragment }, new Uint8Array(16), (_additional, _iv, text) => concat((plaintext = text.slice()), new Uint8Array(24)), layout);
        equal(plaintext.length % 16, 0);
        equal(plaintext.length - length <= 16, true);
        deepStrictEqual(withoutPadding(plaintext), new Uint8Array(length).fill(7));
        equal(decodeMessage(bytes).sealed === undefined, false);
        const largest = largestInner(bytes.length, layout, fragment !== undefined);
        equal(largest >= length && largest < length + 16, true);
        equal(sealedBody(bytes, decodeMessage(bytes).sealed!, layout).iv.length, 16);
      }
    }
  });

  it('cuts any legal padding off and refuses padding that is longer than its text', () => {
    deepStrictEqual(withoutPadding(Uint8Array.of(9, 1, 2, 2)), Uint8Array.of(9));
    deepStrictEqual(withoutPadding(Uint8Array.of(2, 2, 2)), Uint8Array.of());
    throws(() => withoutPadding(Uint8Array.of(3, 3, 3)), /padding of 3 octets/);
    throws(() => withoutPadding(new Uint8Array(0)), WireError);
  });

  it('refuses SK and SKF that are too short for IV, pad length and ICV', () => {
    for (const [type, least] of [[46, 25], [53, 29]] as const) {
      for (let length = 0; length < least; length++) {
        const bytes = new Uint8Array(32 + length);
        bytes.set(fromHex('0102030405060708 1112131415161718 00 20 25 08 00000000'));
        bytes[16] = type;
        new DataView(bytes.buffer).setUint32(24, bytes.length);
        new DataView(bytes.buffer).setUint16(30, length + 4);
        throws(() => sealedBody(bytes, decodeMessage(bytes).sealed!), WireError);
      }
    }
  });

  it('refuses fragment numbers of 0 and beyond the total', () => {
    for (const fragment of [{ number: 0, total: 2 }, { number: 3, total: 2 }, { number: 0, total: 0 }]) {
      const bytes = encodeSealed(HEADER, { firstPayload: 0, inner: INNER, fragment }, IV, seal);
      throws(() => sealedBody(bytes, decodeMessage(bytes).sealed!), WireError);
    }
  });

  it('refuses octets behind SK', () => {
    const bytes = concat(encodeSealed(HEADER, { firstPayload: 42, inner: INNER, fragment: undefined }, IV, seal), Uint8Array.of(0, 0, 0, 4));
    new DataView(bytes.buffer).setUint32(24, bytes.length);
    throws(() => decodeMessage(bytes), WireError);
  });
});
