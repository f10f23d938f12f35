// One good datagram, and everything that can be wrong with it or with how often and when it comes.
import assert from 'node:assert/strict';
import { LARGEST_READ } from '../../drivers/burst.ts';
import type { MemoryDatagram } from '../../drivers/memory.ts';
import { writeIpv4Fragment } from '../../firmware/wire/ip.ts';
import { merge, pair, settle, side, udpPacket, VNI, type Pair } from './boxes.ts';

const WINDOW = 64;
const ESP_AT = 16;
/** Left of the window a number is taken for one of the next 2^32 (RFC 4303 A2.2), which its tag denies. */
const BEHIND_THE_WINDOW = 'aead-failed';

/** Sends packets of the LAN from a to b and returns their datagrams, undelivered. */
function captured({ hub, a }: Pair, packets: readonly Uint8Array[] = [udpPacket('10.1.0.5', '10.2.0.7', 64)]): MemoryDatagram[] {
  const seen: MemoryDatagram[] = [];
  hub.onDatagram = (datagram) => (seen.push(datagram), false);
  for (const packet of packets) a.hosts.get(103)!.send(packet);
  a.breathe();
  hub.onDatagram = undefined;
  assert.ok(seen.length >= packets.length, 'the datagrams left');
  return seen;
}

function many(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => udpPacket('10.1.0.5', '10.2.0.7', Uint8Array.of(i)));
}

function deliver({ hub, b }: Pair, datagrams: readonly MemoryDatagram[]): void {
  for (const datagram of datagrams) {
    assert.ok(hub.deliver({ ...datagram, bytes: datagram.bytes.slice() }));
    settle(b);
  }
}

function changed(datagram: MemoryDatagram, at: number): MemoryDatagram {
  const bytes = datagram.bytes.slice();
  bytes[at]! ^= 1;
  return { ...datagram, bytes };
}

/** What was dropped, in all. */
const total = (drops: Readonly<Record<string, number>>): number => Object.values(drops).reduce((sum, count) => sum + count, 0);

function delivered({ b }: Pair): number {
  return b.hosts.get(103)!.waiting;
}

describe('hostile packets', () => {
  it('truncated ones are counted at every length, and the whole one still arrives', () => {
    const boxes = pair();
    const [whole] = captured(boxes);
    const cut = Array.from({ length: whole!.bytes.length }, (_, length) => ({ ...whole!, bytes: whole!.bytes.slice(0, length) }));
    deliver(boxes, cut);
    assert.equal(delivered(boxes), 0);
    assert.equal(total(boxes.b.drops()), cut.length);
    assert.deepEqual(Object.keys(boxes.b.drops()).sort(), ['aead-failed', 'malformed-esp', 'malformed-vxlan']);
    deliver(boxes, [whole!]);
    assert.equal(delivered(boxes), 1);
  });

  it('oversized ones are counted', () => {
    const boxes = pair();
    const [whole] = captured(boxes);
    const bytes = new Uint8Array(LARGEST_READ + 400);
    bytes.set(whole!.bytes);
    deliver(boxes, [{ ...whole!, bytes }]);
    assert.equal(delivered(boxes), 0);
    assert.equal(total(boxes.b.drops()), 1);
  });

  it('overlapping fragments pass as they are, for nothing here puts fragments together', () => {
    const boxes = pair();
    const fragments = [[0, true], [8, true], [16, false]].map(([offset, more]) => {
      const packet = udpPacket('10.1.0.5', '10.2.0.7', 32);
      writeIpv4Fragment(packet, 0, packet.length, offset as number, more as boolean);
      return packet;
    });
    deliver(boxes, captured(boxes, fragments));
    assert.deepEqual(fragments.map(() => boxes.b.hosts.get(103)!.take()), fragments);
    assert.deepEqual(boxes.b.drops(), {});
  });

  it('reordered ones arrive within the window, and are counted behind it', () => {
    const boxes = pair();
    const datagrams = captured(boxes, many(WINDOW + 10));
    deliver(boxes, datagrams.toReversed());
    assert.equal(delivered(boxes), WINDOW);
    assert.deepEqual(boxes.b.drops(), { [BEHIND_THE_WINDOW]: 10 });
  });

  it('duplicated ones arrive once and are counted as replays', () => {
    const boxes = pair();
    const datagrams = captured(boxes, many(5));
    deliver(boxes, datagrams.flatMap((datagram) => [datagram, datagram, datagram]));
    assert.equal(delivered(boxes), 5);
    assert.deepEqual(boxes.b.drops(), { replay: 10 });
  });

  it('replayed ones are counted, also long after', () => {
    const boxes = pair();
    const [first, ...rest] = captured(boxes, many(3 * WINDOW));
    deliver(boxes, [first!, ...rest, first!, first!]);
    assert.equal(delivered(boxes), 3 * WINDOW);
    assert.deepEqual(boxes.b.drops(), { [BEHIND_THE_WINDOW]: 2 });
  });

  it('those under the VNI of a wrong tenant are counted', () => {
    const boxes = pair();
    boxes.b.forwarder.apply(merge(side({ end: 2, remote: boxes.a.address }), side({ end: 2, remote: boxes.a.address, tenant: 2 })));
    const [good] = captured(boxes);
    const bytes = good!.bytes.slice();
    bytes[6] = VNI + 1;
    deliver(boxes, [{ ...good!, bytes }]);
    assert.deepEqual(boxes.b.drops(), { 'vni-mismatch': 1 });
  });

  it('those with a wrong SPI are counted, and none of them costs a cipher operation', () => {
    const boxes = pair();
    const [good] = captured(boxes);
    const wrong = [0, 1, 2, 3].map((octet) => changed(good!, ESP_AT + octet));
    deliver(boxes, wrong);
    assert.equal(delivered(boxes), 0);
    assert.deepEqual(boxes.b.drops(), { 'unknown-spi': 4 });
  });

  it('those with a bad tag are counted and do not move the window', () => {
    const boxes = pair();
    const datagrams = captured(boxes, many(10));
    const bad = datagrams.map((datagram) => changed(datagram, datagram.bytes.length - 1));
    deliver(boxes, bad);
    assert.deepEqual(boxes.b.drops(), { 'aead-failed': 10 });
    deliver(boxes, datagrams);
    assert.equal(delivered(boxes), 10);
  });
});
