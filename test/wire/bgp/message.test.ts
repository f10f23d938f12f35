import assert from 'node:assert/strict';
import { WireError } from '../../../platform/errors.ts';
import { Writer, concat, fromHex, toHex } from '../../../platform/bytes.ts';
import { SeededRandom, randomBelow } from '../../../platform/random.ts';
import type { Capabilities } from '../../../firmware/wire/bgp/capability.ts';
import { NO_CAPABILITIES } from '../../../firmware/wire/bgp/capability.ts';
import { RTC, SDWAN4, VPN4, VPN6 } from '../../../firmware/wire/bgp/family.ts';
import type { RawMessage } from '../../../firmware/wire/bgp/message.ts';
import {
  HEADER_BYTES, KEEPALIVE, MessageCutter, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, decodeNotification, decodeOpen, decodeRouteRefresh,
  describeNotification, encodeMessage, encodeNotification, encodeOpen, encodeRouteRefresh, shutdownText,
} from '../../../firmware/wire/bgp/message.ts';
import { notificationWords } from '../../../firmware/wire/bgp/notification.ts';
import { flips, survives, truncations } from './hostile.ts';

const MARKER = 'ff'.repeat(16);

const CAPABILITIES: Capabilities = {
  ...NO_CAPABILITIES,
  families: [VPN4, SDWAN4],
  routeRefresh: true,
  enhancedRouteRefresh: true,
  extendedMessage: true,
  extendedNextHops: [{ family: VPN4, nextHopAfi: 2 }],
  asNumber: 65000,
  gracefulRestart: { restarted: true, notification: true, restartSeconds: 120, families: [{ family: VPN4, forwardingPreserved: true }] },
};

const GOLDEN_OPEN = `${MARKER} 0047 01 04 fde8 005a 0a000001 2a 0228 010400010080 01040001004a 0200 0506000100800002 0600 4006c07800018080 41040000fde8 4600`;

describe('OPEN', () => {
  it('reads and writes the golden one', () => {
    const open = { asNumber: 65000, holdSeconds: 90, routerId: '10.0.0.1', capabilities: CAPABILITIES };
    assert.equal(toHex(encodeOpen(open)), GOLDEN_OPEN.replaceAll(' ', ''));
    assert.deepEqual(decodeOpen(fromHex(GOLDEN_OPEN).slice(HEADER_BYTES)), open);
  });

  it('says AS_TRANS for a number above 65535 and reads the whole number back', () => {
    const open = { asNumber: 4_200_000_001, holdSeconds: 90, routerId: '10.0.0.1', capabilities: NO_CAPABILITIES };
    const bytes = encodeOpen(open);
    assert.equal(toHex(bytes.slice(20, 22)), '5ba0');
    assert.equal(decodeOpen(bytes.slice(HEADER_BYTES)).asNumber, 4_200_000_001);
  });

  it('writes and reads parameters longer than 255 octets (RFC 9072)', () => {
    const families = Array.from({ length: 60 }, (_, i) => ({ afi: 1, safi: i + 1 }));
    const bytes = encodeOpen({ asNumber: 65000, holdSeconds: 90, routerId: '10.0.0.1', capabilities: { ...NO_CAPABILITIES, families } });
    assert.deepEqual(decodeOpen(bytes.slice(HEADER_BYTES)).capabilities.families, families);
  });

  it('reads ADD-PATH, long-lived graceful restart and several capability parameters, and skips what it does not know', () => {
    const parameters = '0206 4504 00018001' + '0209 4707 000180 80 000e10' + '0204 c002 0102' + '0206 0104 00020080';
    const bytes = fromHex(parameters);
    const { capabilities } = decodeOpen(concat(fromHex('04fde8005a0a000001'), new Writer().u8(bytes.length).finish(), bytes));
    assert.deepEqual(capabilities.addPaths, [{ family: VPN4, mode: 1 }]);
    assert.deepEqual(capabilities.longLived, [{ family: VPN4, forwardingPreserved: true, staleSeconds: 3600 }]);
    assert.deepEqual(capabilities.families, [VPN6]);
    assert.equal(capabilities.asNumber, undefined);
  });

  const refused: readonly [string, string, number][] = [
    ['another version', '05fde8005a0a00000100', 0x201],
    ['an unknown optional parameter', '04fde8005a0a00000103010100', 0x204],
    ['a parameter that overruns', '04fde8005a0a000001020210', 0x200],
    ['a capability that overruns', '04fde8005a0a00000104 0202 4104', 0x200],
    ['octets behind the parameters', '04fde8005a0a0000010000', 0x200],
  ];
  for (const [name, hex, answer] of refused) {
    it(`refuses ${name}`, () => assert.throws(() => decodeOpen(fromHex(hex)), (error: unknown) => error instanceof WireError && error.answer === answer));
  }

  it('survives truncation at every length and bit flips', () => {
    const body = encodeOpen({ asNumber: 65000, holdSeconds: 90, routerId: '10.0.0.1', capabilities: CAPABILITIES }).slice(HEADER_BYTES);
    for (const cut of truncations(body)) assert.equal(survives(decodeOpen, cut), 'refused');
    for (const flipped of flips(body, 'open', 3000)) survives(decodeOpen, flipped);
  });
});

describe('NOTIFICATION', () => {
  it('is written and read', () => {
    const notification = { code: 6, subcode: 2, data: shutdownText('back at nine') };
    const bytes = encodeNotification(notification);
    assert.equal(toHex(bytes.slice(HEADER_BYTES)), '06020c6261636b206174206e696e65');
    assert.deepEqual(decodeNotification(bytes.slice(HEADER_BYTES)), notification);
    assert.equal(describeNotification(notification), 'cease: administrative shutdown ("back at nine")');
  });

  it('says what it means in words, also for numbers nobody knows', () => {
    assert.equal(notificationWords(4, 0), 'hold timer expired');
    assert.equal(notificationWords(2, 2), 'OPEN error: bad peer AS');
    assert.equal(notificationWords(6, 99), 'cease: subcode 99');
    assert.equal(notificationWords(77, 1), 'code 77 subcode 1');
  });

  it('looks into a hard reset, however often it is wrapped', () => {
    assert.equal(describeNotification({ code: 6, subcode: 9, data: fromHex('0603') }), 'cease: hard reset, cease: peer de-configured');
    assert.ok(describeNotification({ code: 6, subcode: 9, data: fromHex('0609'.repeat(2000)) }).length < 100);
  });

  it("takes control characters out of a peer's words", () => {
    const text = describeNotification({ code: 6, subcode: 2, data: shutdownText('a\u001b[2Jb\nc\u202ed') });
    assert.equal(text, 'cease: administrative shutdown ("a?[2Jb?c?d")');
  });

  it('cuts long words at a character', () => {
    const data = shutdownText('é'.repeat(200));
    assert.equal(data.length, 255);
    assert.equal(data[0], 254);
  });

  it('survives every truncation', () => {
    for (const cut of truncations(fromHex('06020c6261636b206174206e696e65'))) survives((bytes) => describeNotification(decodeNotification(bytes)), cut);
  });
});

describe('ROUTE-REFRESH', () => {
  it('is written and read', () => {
    const bytes = encodeRouteRefresh({ family: RTC, subtype: 1 });
    assert.equal(toHex(bytes), `${MARKER}00170500010184`);
    assert.deepEqual(decodeRouteRefresh(bytes.slice(HEADER_BYTES)), { family: RTC, subtype: 1 });
  });
});

describe('the cut of a stream into messages', () => {
  function cut(bytes: Uint8Array, sizes: () => number): RawMessage[] {
    const cutter = new MessageCutter();
    const messages: RawMessage[] = [];
    for (let from = 0; from < bytes.length; ) {
      const chunk = bytes.slice(from, from + sizes());
      from += chunk.length;
      for (let at = 0; at < chunk.length; ) {
        const { next, message } = cutter.take(chunk, at);
        at = next;
        if (message) messages.push(message);
      }
    }
    return messages;
  }

  it('finds the same messages however the stream is cut', () => {
    const random = new SeededRandom('cut');
    const sent = [
      { type: KEEPALIVE, body: new Uint8Array(0) }, { type: UPDATE, body: random.bytes(65516) }, { type: KEEPALIVE, body: new Uint8Array(0) },
      { type: UPDATE, body: random.bytes(4) }, { type: NOTIFICATION, body: random.bytes(5000) }, { type: ROUTE_REFRESH, body: random.bytes(4) },
    ];
    const stream = concat(...sent.map(({ type, body }) => encodeMessage(type, body)));
    for (const size of [() => 1, () => stream.length, () => 18, () => 19, () => 1 + randomBelow(random, 3000)]) {
      assert.deepEqual(cut(stream, size), sent);
    }
  });

  const refused: readonly [string, string, number][] = [
    ['a marker with a zero', `${MARKER.slice(2)}00001304`, 0x101],
    ['a length below the header', `${MARKER}001204`, 0x102],
    ['a KEEPALIVE with a body', `${MARKER}001404`, 0x102],
    ['an OPEN of 28 octets', `${MARKER}001c01`, 0x102],
    ['an OPEN of 4097 octets', `${MARKER}100101`, 0x102],
    ['an UPDATE of 22 octets', `${MARKER}001602`, 0x102],
    ['a NOTIFICATION of 20 octets', `${MARKER}001403`, 0x102],
    ['a ROUTE-REFRESH of 24 octets', `${MARKER}001805`, 0x701],
    ['message type 0', `${MARKER}001300`, 0x103],
    ['message type 6', `${MARKER}001306`, 0x103],
  ];
  for (const [name, hex, answer] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => cut(fromHex(hex), () => 100), (error: unknown) => error instanceof WireError && error.answer === answer);
    });
  }

  it('knows an OPEN by its type', () => {
    assert.deepEqual(cut(encodeMessage(OPEN, new Uint8Array(10)), () => 7), [{ type: OPEN, body: new Uint8Array(10) }]);
  });
});
