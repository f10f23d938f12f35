import { deepStrictEqual, equal, throws } from 'node:assert/strict';
import { FRAGMENT_BYTES, TlsFragments } from '../../../firmware/ike/eap/tls-fragments.ts';
import type { EapTls } from '../../../firmware/wire/eap-tls.ts';
import { decodeEapTls, EAP_TLS_EMPTY, encodeEapTls } from '../../../firmware/wire/eap-tls.ts';
import { SeededRandom } from '../../../platform/random.ts';

const EMPTY = encodeEapTls(EAP_TLS_EMPTY);

function fragment(data: number, more: boolean, length?: number): EapTls {
  return { start: false, more, length, data: new Uint8Array(data) };
}

describe('ike: EAP-TLS fragments', () => {
  for (const length of [0, 1, FRAGMENT_BYTES, FRAGMENT_BYTES + 1, 3 * FRAGMENT_BYTES, 20_000]) {
    it(`carries ${length} octets`, () => {
      const message = new SeededRandom(length).bytes(length);
      const [from, to] = [new TlsFragments(), new TlsFragments()];
      let packets = 1;
      for (let data = from.send(message); ; packets++) {
        const packet = decodeEapTls(data);
        equal(packet.length, packets === 1 && length > FRAGMENT_BYTES ? length : undefined);
        const arrival = to.receive(packet);
        if (arrival.kind === 'message') {
          deepStrictEqual(arrival.bytes, message);
          break;
        }
        deepStrictEqual(arrival.data, EMPTY);
        const next = from.receive(decodeEapTls(arrival.data));
        if (next.kind !== 'send') throw new Error('the sender has nothing more to send');
        data = next.data;
      }
      equal(packets, Math.max(1, Math.ceil(length / FRAGMENT_BYTES)));
    });
  }

  it('takes a length in a message of one piece', () => equal(new TlsFragments().receive(fragment(5, false, 5)).kind, 'message'));

  for (const [what, packets, cause] of [
    ['more octets than were claimed', [fragment(10, true, 15), fragment(10, false)], /have 20 octets, 15 are allowed/],
    ['fewer octets than were claimed', [fragment(10, true, 15), fragment(4, false)], /claims 15 octets, it has 14/],
    ['a claim beyond the limit', [fragment(10, true, 32_769)], /claims 32769 octets, at most 32768/],
    ['octets beyond the limit without a claim', Array.from({ length: 33 }, () => fragment(1000, true)), /have 33000 octets, 32768 are allowed/],
    ['fragments without contents', [fragment(10, true), fragment(0, true)], /is empty and announces more/],
  ] as const) {
    it(`refuses ${what}`, () => {
      const fragments = new TlsFragments();
      for (const packet of packets.slice(0, -1)) fragments.receive(packet);
      throws(() => fragments.receive(packets.at(-1)!), cause);
    });
  }

  it('refuses a message where the next fragment should be asked for', () => {
    const fragments = new TlsFragments();
    fragments.send(new Uint8Array(2000));
    throws(() => fragments.receive(fragment(1, false)), /does not ask for the next fragment/);
  });
});
