// Seeded storms: nothing that arrives makes the forwarder throw, and everything is either delivered or counted.
import assert from 'node:assert/strict';
import type { MemoryDatagram } from '../../drivers/memory.ts';
import { SeededRandom } from '../../platform/random.ts';
import { pair, settle, side, udpPacket, type Pair } from './boxes.ts';

function dropped(box: Pair['a']): number {
  return Object.values(box.drops()).reduce((sum, n) => sum + n, 0);
}

function mutated(random: SeededRandom, bytes: Uint8Array): Uint8Array {
  const cut = random.uint32() % 4 === 0 ? random.uint32() % (bytes.length + 1) : bytes.length;
  const out = bytes.slice(0, cut);
  for (let n = random.uint32() % 4; n > 0 && out.length > 0; n--) {
    // Mostly headers: that is where decisions are made.
    const at = random.uint32() % (random.uint32() % 2 === 0 ? Math.min(40, out.length) : out.length);
    out[at] = random.uint32();
  }
  return out;
}

describe('malformed storms', () => {
  for (const seed of [1, 2, 3]) {
    it(`from the outside, seed ${seed}: every packet is delivered, reported or counted`, () => {
      const random = new SeededRandom(`outside ${seed}`);
      const { hub, a, b } = pair();
      const good: MemoryDatagram[] = [];
      hub.onDatagram = (datagram) => (good.push(datagram), false);
      for (let i = 0; i < 30; i++) {
        a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', random.uint32() % 300));
        a.hosts.get(101)!.send(udpPacket('10.254.0.1', '10.254.0.2', 50, [500, 500]));
      }
      settle(a);
      let delivered = 0;
      for (let i = 0; i < 6000; i++) {
        const datagram = good[random.uint32() % good.length]!;
        const kind = random.uint32() % 8;
        const bytes = kind === 0 ? random.bytes(random.uint32() % 120) : mutated(random, datagram.bytes);
        const to = { address: b.address, port: kind === 1 ? 4500 : kind === 2 ? 0 : 4790 };
        assert.ok(hub.deliver({ ...datagram, bytes, kind: kind === 2 ? 'esp' : 'udp', to }));
        if (i % 200 !== 199) continue;
        settle(b);
        for (const host of b.hosts.values()) while (host.take() !== undefined) delivered++;
      }
      assert.equal(delivered + dropped(b) + b.eventsOf('ike').length, 6000);
    });

    it(`from the inside, seed ${seed}: every packet is sent, answered or counted`, () => {
      const random = new SeededRandom(`inside ${seed}`);
      const { hub, a } = pair({ mtu: 700 });
      let sent = 0;
      hub.onDatagram = () => (sent++, false);
      for (let i = 0; i < 4000; i++) {
        const version6 = random.uint32() % 2 === 0;
        const packet = udpPacket(version6 ? 'fd00:1::5' : '10.1.0.5', version6 ? 'fd00:2::7' : '10.2.0.7', random.uint32() % 900);
        const bytes = random.uint32() % 10 === 0 ? random.bytes(random.uint32() % 100) : mutated(random, packet);
        // DF stays: fragments would make several packets of one.
        if (bytes.length > 6 && bytes[0]! >>> 4 === 4) bytes[6]! |= 0x40;
        a.hosts.get(101 + (random.uint32() % 3))!.send(bytes);
        if (i % 100 === 99) settle(a);
      }
      let answered = 0;
      for (const host of a.hosts.values()) while (host.take() !== undefined) answered++;
      assert.equal(answered, a.drops()['too-big-answered'] ?? 0);
      assert.equal(sent + dropped(a), 4000);
    });
  }

  it('of states never makes apply throw', () => {
    const random = new SeededRandom('states');
    const { a } = pair();
    for (let i = 0; i < 200; i++) {
      const state = structuredClone(side({ end: 1, remote: '192.0.2.2' })) as unknown as Record<string, Record<string, unknown>[]>;
      const part = state[['insides', 'tunnels', 'routes', 'labels'][random.uint32() % 4]!]!;
      const row = part[random.uint32() % part.length]!;
      const keys = Object.keys(row).filter((key) => ['id', 'tenant', 'inside', 'tunnel', 'prefix', 'label', 'mtu'].includes(key));
      const key = keys[random.uint32() % keys.length]!;
      row[key] = key === 'prefix' ? ['10.0.0.0/33', '::/129', 'x', '', '1.2.3.4'][random.uint32() % 5] : random.uint32() % 300;
      a.forwarder.apply(state as never);
      a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 100));
      settle(a);
    }
  });
});
