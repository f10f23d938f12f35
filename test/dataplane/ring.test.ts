// The ring between two workers: what goes in comes out, whatever lies where, however full it is.
import assert from 'node:assert/strict';
import { AREA_BYTES, AREAS, BURST_PACKETS, createBurst, FIRST_PORT, HEADROOM, LARGEST_READ, Next, slotStart, SLOT_BYTES, type Burst } from '../../drivers/burst.ts';
import { createCounterPage, readCounters, Reason } from '../../firmware/dataplane/counters.ts';
import { createRing, WorkerPort, type Ring } from '../../firmware/dataplane/ring.ts';
import { SeededRandom } from '../../platform/random.ts';

const SELECT = FIRST_PORT + 3;

class CountingBell {
  readonly fd = -1;
  rung = 0;
  ring(): void {
    this.rung++;
  }
  silence(): void {
    this.rung = 0;
  }
}

interface Ends {
  readonly writer: WorkerPort;
  readonly reader: WorkerPort;
  readonly bell: CountingBell;
}

const page = createCounterPage({ tunnels: 1, sas: 1 });

function ends(ringBytes: number, ring: Ring = createRing(ringBytes)): Ends {
  const [back, bell, unused] = [createRing(64), new CountingBell(), new CountingBell()];
  return {
    writer: new WorkerPort({ name: 'writer', from: back, to: ring, ownBell: unused, otherBell: bell, page }),
    reader: new WorkerPort({ name: 'reader', from: ring, to: back, ownBell: bell, otherBell: unused, page }),
    bell,
  };
}

interface Row {
  readonly octets: Uint8Array;
  readonly segment: number;
  readonly kind: number;
  readonly id: number;
}

/** Puts a row where a reader might have left it: in a slot, in an area, or somewhere in an area as part of a joined datagram. */
function place(burst: Burst, row: Row, random: SeededRandom): void {
  const i = burst.count++;
  const large = row.octets.length > LARGEST_READ;
  const at = large ? BURST_PACKETS * SLOT_BYTES + (i % AREAS) * AREA_BYTES + HEADROOM : slotStart(i) + (random.uint32() % 4);
  burst.bytes.set(row.octets, at);
  burst.offset[i] = at;
  burst.length[i] = row.octets.length;
  burst.segment[i] = row.segment;
  burst.headers[i] = row.segment === 0 ? 0 : 28;
  burst.transport[i] = 20;
  burst.inner[i] = 0;
  burst.tunnel[i] = row.kind;
  burst.inside[i] = row.id;
  burst.family[i] = 4 + (row.id & 2);
  burst.port[i] = row.octets.length & 0xffff;
  burst.mark[i] = row.id;
  for (let o = 0; o < 16; o++) burst.address[i * 16 + o] = row.octets.length + o;
  burst.next[i] = SELECT;
}

function check(burst: Burst, i: number, { octets, segment, kind, id }: Row): void {
  assert.deepEqual(burst.bytes.slice(burst.offset[i], burst.offset[i]! + burst.length[i]!), octets);
  assert.deepEqual(
    [burst.segment[i], burst.headers[i], burst.transport[i], burst.inner[i], burst.tunnel[i], burst.inside[i], burst.family[i], burst.port[i], burst.mark[i]],
    [segment, segment === 0 ? 0 : 28, 20, 0, kind, id, 4 + (id & 2), octets.length & 0xffff, id],
  );
  assert.deepEqual([...burst.address.slice(i * 16, i * 16 + 16)], Array.from({ length: 16 }, (_, o) => (octets.length + o) & 0xff));
}

describe('ring between workers', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`gives every packet unchanged and in order, or refuses it, seed ${seed}`, () => {
      const random = new SeededRandom(`ring ${seed}`);
      const ring = createRing(64 * 1024 * (1 + (seed % 3)) + 4 * (random.uint32() % 1000));
      const { reader } = ends(0, ring);
      let { writer } = ends(0, ring);
      const [from, to] = [createBurst(), createBurst()];
      const expected: Row[] = [];
      let refused = 0;
      for (let round = 0; round < 120; round++) {
        from.count = 0;
        const rows = Array.from({ length: random.uint32() % 40 }, (): Row => {
          const large = random.uint32() % 12 === 0;
          return { octets: random.bytes(large ? 2000 + (random.uint32() % 60_000) : random.uint32() % LARGEST_READ), segment: large ? 1300 : 0, kind: 1 + (round % 3), id: round % 7 };
        });
        for (const row of rows) place(from, row, random);
        // The writer's thread has died, and another one takes its place.
        if (random.uint32() % 4 === 0) ({ writer } = ends(0, ring));
        writer.write(from, SELECT);
        for (const [i, row] of rows.entries()) {
          if (from.next[i] === Next.done) expected.push(row);
          else {
            assert.deepEqual([from.next[i], from.reason[i]], [Next.drop, Reason['worker-queue-full']]);
            refused++;
          }
        }
        for (let reads = random.uint32() % 4; reads > 0; reads--) {
          to.count = 0;
          for (let i = 0, read = reader.read(to); i < read; i++) check(to, i, expected.shift()!);
        }
      }
      for (to.count = 0; reader.read(to) > 0; to.count = 0) for (let i = 0; i < to.count; i++) check(to, i, expected.shift()!);
      assert.equal(expected.length, 0);
      assert.ok(refused > 0);
    });
  }

  it('wakes its reader once for what comes before it looks, and again for what comes after', () => {
    const { writer, reader, bell } = ends(1 << 16);
    const random = new SeededRandom('bell');
    const [from, to] = [createBurst(), createBurst()];
    const write = (): void => {
      from.count = 0;
      for (let n = 0; n < 3; n++) place(from, { octets: random.bytes(50), segment: 0, kind: 1, id: 1 }, random);
      writer.write(from, SELECT);
    };
    reader.begin();
    reader.end();
    assert.equal(bell.rung, 0);
    write();
    write();
    assert.equal(bell.rung, 1);
    reader.begin();
    reader.read(to);
    write();
    assert.equal(bell.rung, 1);
    reader.end();
    assert.equal(bell.rung, 1);
    // It stopped before the ring was empty, so it is not left asleep.
    reader.begin();
    reader.end();
    assert.equal(bell.rung, 1);
  });

  it('goes on for a worker that takes the place of a dead one, and wakes both ends', () => {
    const ring = createRing(1 << 16);
    const random = new SeededRandom('restart');
    const [from, to] = [createBurst(), createBurst()];
    const rows = Array.from({ length: 30 }, (_, id): Row => ({ octets: random.bytes(400), segment: 0, kind: 1, id: id % 2 }));
    const arrived: number[] = [];
    for (const [n, row] of rows.entries()) {
      const { writer, reader, bell } = ends(0, ring);
      assert.ok(bell.rung > 0);
      from.count = 0;
      place(from, row, random);
      assert.equal(writer.write(from, SELECT), 1);
      if (n % 5 !== 4) continue;
      for (to.count = 0; reader.read(to) > 0; to.count = 0) for (let i = 0; i < to.count; i++) check(to, i, rows[arrived.push(n) - 1]!);
    }
    assert.equal(arrived.length, 30);
  });

  const rowsOf = (random: SeededRandom, count: number): Row[] => Array.from({ length: count }, () => ({ octets: random.bytes(1000), segment: 0, kind: 1, id: 1 }));
  const from = createBurst();
  const put = (writer: WorkerPort, rows: readonly Row[], random: SeededRandom): number => {
    from.count = 0;
    for (const row of rows) place(from, row, random);
    return writer.write(from, SELECT);
  };

  it('uses little of its memory while the reader keeps up', () => {
    const ring = createRing(1 << 22);
    const { writer, reader } = ends(0, ring);
    const random = new SeededRandom('little');
    const to = createBurst();
    for (let round = 0; round < 100; round++) {
      assert.equal(put(writer, rowsOf(random, 100), random), 100);
      for (to.count = 0; reader.read(to) > 0; to.count = 0);
    }
    assert.ok(ring.subarray(ring.length >> 2).every((word) => word === 0));
  });

  it('holds as much as it has memory, wherever the reader stops', () => {
    for (const before of [0, 100, 300, 700]) {
      const { writer, reader } = ends(1 << 22);
      const random = new SeededRandom(`stop ${before}`);
      const to = createBurst();
      for (let sent = 0; sent < before; sent += 100) {
        put(writer, rowsOf(random, 100), random);
        for (to.count = 0; reader.read(to) > 0; to.count = 0);
      }
      const rows = rowsOf(random, 100);
      let held = 0;
      for (let put100 = 100; put100 === 100; held += put100) put100 = put(writer, rows, random);
      assert.ok(held * 1000 > 0.8 * (1 << 22), `${held} packets after ${before}`);
      let arrived = 0;
      for (to.count = 0; reader.read(to) > 0; to.count = 0) for (let i = 0; i < to.count; i++) check(to, i, rows[arrived++ % 100]!);
      assert.equal(arrived, held);
    }
  });

  it('counts packets that were handed over, super-packets by their parts', () => {
    const before = readCounters(page).handedOver;
    const { writer } = ends(1 << 18);
    const from = createBurst();
    const random = new SeededRandom('count');
    place(from, { octets: random.bytes(28 + 1300 * 3), segment: 1300, kind: 1, id: 1 }, random);
    place(from, { octets: random.bytes(100), segment: 0, kind: 1, id: 1 }, random);
    writer.write(from, SELECT);
    assert.equal(readCounters(page).handedOver - before, 4);
  });
});
