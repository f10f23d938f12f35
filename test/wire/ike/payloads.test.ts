import { deepStrictEqual, equal, ok, throws } from 'node:assert/strict';
import { decodeChain, encodeMessage } from '../../../firmware/wire/ike/message.ts';
import { NotifyType } from '../../../firmware/wire/ike/numbers.ts';
import type { Payload } from '../../../firmware/wire/ike/payloads.ts';
import { decodePayload, encodePayload, payloadType } from '../../../firmware/wire/ike/payloads.ts';
import { fromHex, Reader, toHex, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { SeededRandom } from '../../../platform/random.ts';
import { SAMPLES } from './samples.ts';

function decode(type: number, bytes: Uint8Array): Payload | undefined {
  return decodePayload(type, new Reader(bytes, 'payload'));
}

/** Decodes; only WireError may come out. */
function decodeOrRefuse(type: number, bytes: Uint8Array): boolean {
  try {
    decode(type, bytes);
    return true;
  } catch (error) {
    ok(error instanceof WireError, String(error));
    return false;
  }
}

describe('wire/ike payloads', () => {
  for (const { name, type, payload, hex } of SAMPLES) {
    it(`writes ${name}`, () => {
      const writer = new Writer();
      encodePayload(writer, payload);
      equal(toHex(writer.finish()), toHex(fromHex(hex)));
      equal(payloadType(payload), type);
    });

    it(`reads ${name}`, () => {
      deepStrictEqual(decode(type, fromHex(hex)), payload);
    });

    it(`refuses ${name} cleanly at every length`, () => {
      const bytes = fromHex(hex);
      for (let length = 0; length < bytes.length; length++) decodeOrRefuse(type, bytes.slice(0, length));
    });

    it(`survives any flipped bit in ${name}`, () => {
      const bytes = fromHex(hex);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        decodeOrRefuse(type, flipped);
      }
    });
  }

  it('refuses every truncation of payloads that count their contents', () => {
    for (const { name, type, hex } of SAMPLES.filter((sample) => /^(SA|TS|Delete of children)/.test(sample.name))) {
      const bytes = fromHex(hex);
      for (let length = 0; length < bytes.length; length++) equal(decodeOrRefuse(type, bytes.slice(0, length)), false, `${name} cut to ${length}`);
    }
  });

  it('survives random octets as any payload', () => {
    const random = new SeededRandom('payloads');
    for (let i = 0; i < 5000; i++) {
      const length = random.uint32() % 80;
      decodeOrRefuse(33 + (i % 21), random.bytes(length));
    }
  });

  it('refuses nonces shorter than 16 and longer than 256 octets', () => {
    for (const length of [0, 15, 257]) throws(() => decode(40, new Uint8Array(length)), { name: 'WireError', answer: NotifyType.INVALID_SYNTAX });
    equal(decode(40, new Uint8Array(256))?.kind, 'Nonce');
  });

  it('refuses transforms that do not match their count', () => {
    const good = fromHex('00000024 01010003  0300000c 01000014 800e0100  03000008 02000006  00000008 0400001f');
    for (const count of [0, 2, 4]) {
      const bytes = good.slice();
      bytes[7] = count;
      equal(decodeOrRefuse(33, bytes), false, `${count}`);
    }
  });

  it('marks transforms with unknown attributes, in both attribute forms', () => {
    const sa = decode(33, fromHex('00000024 01010002  0300000c 01000014 80630100  00000010 01000014 00630004 01020304'));
    ok(sa?.kind === 'SA');
    deepStrictEqual(sa.proposals[0]!.transforms.map((entry) => entry.strange), [true, true]);
  });

  it('skips traffic selectors of types that are not known', () => {
    const ts = decode(44, fromHex('02000000 09000008 00000000  07000010 0000ffff 00000000 ffffffff'));
    ok(ts?.kind === 'TSi');
    equal(ts.selectors.length, 1);
  });

  it('names both numbers when a payload claims more than there is', () => {
    const header = { spiInitiator: new Uint8Array(8).fill(1), spiResponder: new Uint8Array(8), exchange: 34, fromInitiator: true, response: false, messageId: 0 };
    const bytes = encodeMessage(header, [{ kind: 'EAP', data: new Uint8Array(10) }]);
    bytes[31] = 200;
    throws(() => decodeChain(bytes, 28, 48), /payload 48 claims 200 octets, 14 remain/);
  });
});
