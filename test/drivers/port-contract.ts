// What every DatagramPort does, whoever carries it: run by the native, the portable and the in-memory implementation.
import { strict as assert } from 'node:assert';
import { addressOctets, octetsText } from '../../drivers/address.ts';
import { appendPacket, BURST_PACKETS, createBurst, LARGEST_READ, Next, OUTPUT_START, packetAt, type Burst } from '../../drivers/burst.ts';
import type { DatagramPort, SocketAddress } from '../../drivers/port.ts';
import { sleep } from '../../platform/time.ts';

/** What the contract needs to know of an implementation. */
export interface DatagramPortFixture {
  readonly name: string;
  /** Opens a port on a local address of this host; port 0 = any. */
  open(local: SocketAddress): DatagramPort;
  /** Local addresses to try, one per family. */
  readonly addresses: readonly string[];
  /** Packets of 1200 octets that surely fit between a writer and a reader that has not read yet. */
  readonly buffered: number;
}

const SEND = Next.seal;
/** How long a datagram on one host may take, in turns of the event loop and milliseconds. */
const PATIENCE = 2000;

export function pattern(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13) & 0xff);
}

/** Appends a packet to `remote` and selects it for sending. */
export function addressed(burst: Burst, bytes: Uint8Array, remote: SocketAddress): number {
  const i = appendPacket(burst, bytes);
  const octets = addressOctets(remote.address);
  assert.ok(i >= 0 && octets !== undefined, 'the burst takes the packet');
  burst.address.set(octets, i * 16);
  burst.family[i] = octets.length === 4 ? 4 : 6;
  burst.port[i] = remote.port;
  burst.next[i] = SEND;
  return i;
}

/** Reads until `wanted` packets are there, and returns them in one burst; fails when they do not come. */
export async function readAll(port: { read(burst: Burst): number }, wanted: number): Promise<Burst> {
  const [all, burst] = [createBurst(), createBurst()];
  for (let turn = 0; turn < PATIENCE && all.count < wanted; turn++) {
    burst.count = 0;
    if (port.read(burst) === 0) await sleep(1);
    for (let i = 0; i < burst.count; i++) {
      const k = appendPacket(all, packetAt(burst, i));
      for (const column of ['mark', 'port', 'family', 'segment'] as const) all[column][k] = burst[column][i]!;
      all.address.set(burst.address.subarray(i * 16, i * 16 + 16), k * 16);
    }
  }
  assert.equal(all.count, wanted, 'packets arrived');
  return all;
}

function sources(burst: Burst): Set<string> {
  return new Set(Array.from({ length: burst.count }, (_, i) => `${octetsText(burst.address, i * 16, burst.family[i]!)} ${burst.port[i]}`));
}

export function datagramPortContract(fixture: DatagramPortFixture): void {
  for (const address of fixture.addresses) {
    describe(`${fixture.name} datagram port on ${address}`, () => {
      let near: DatagramPort;
      let far: DatagramPort;
      beforeEach(() => {
        near = fixture.open({ address, port: 0 });
        far = fixture.open({ address, port: 0 });
      });
      afterEach(() => {
        near.close();
        far.close();
      });

      it('knows its local address and the port that it was given', () => {
        assert.equal(near.local.address, address);
        assert.ok(near.local.port > 0);
        assert.notEqual(near.local.port, far.local.port);
      });

      it('carries a packet and tells who sent it', async () => {
        const out = createBurst();
        addressed(out, pattern(100, 1), far.local);
        assert.equal(near.write(out, SEND), 1);
        assert.equal(out.next[0], Next.done);
        const burst = await readAll(far, 1);
        assert.deepEqual(packetAt(burst, 0), pattern(100, 1));
        assert.deepEqual(sources(burst), new Set([`${address} ${near.local.port}`]));
        assert.equal(burst.segment[0], 0);
      });

      it('carries the largest packets', async () => {
        const out = createBurst();
        for (let i = 0; i < 3; i++) addressed(out, pattern(LARGEST_READ, i), far.local);
        near.write(out, SEND);
        const burst = await readAll(far, 3);
        for (let i = 0; i < 3; i++) assert.deepEqual(packetAt(burst, i), pattern(LARGEST_READ, i));
      });

      it('sends a row that is a run of datagrams one by one, the last one shorter', async () => {
        const out = createBurst();
        const run = addressed(out, pattern(1700, 3), far.local);
        out.segment[run] = 100;
        out.headers[run] = out.inner[run] = 0;
        out.length[run] = 1650;
        addressed(out, pattern(100, 4), far.local);
        assert.equal(near.write(out, SEND), 2);
        const burst = await readAll(far, 18);
        assert.deepEqual(Array.from({ length: 18 }, (_, i) => burst.length[i]), [...new Array<number>(16).fill(100), 50, 100]);
        for (let i = 0; i < 17; i++) assert.deepEqual(packetAt(burst, i), pattern(1700, 3).slice(i * 100, Math.min(1650, (i + 1) * 100)));
        assert.deepEqual(packetAt(burst, 17), pattern(100, 4));
      });

      it('sends runs of datagrams that are longer than one segmented send, and joins what follows', async () => {
        const out = createBurst();
        const sizes = [300, 300, 120];
        const each = Math.floor(fixture.buffered / sizes.length);
        for (const [k, size] of sizes.entries()) {
          const run = addressed(out, pattern(10, k), far.local);
          out.offset[run] = OUTPUT_START + k * 100_000;
          out.bytes.set(pattern(size * each, k), out.offset[run]);
          out.length[run] = size * each;
          out.segment[run] = size;
          out.headers[run] = out.inner[run] = 0;
        }
        assert.equal(near.write(out, SEND), 3);
        const burst = await readAll(far, each * sizes.length);
        for (let i = 0; i < burst.count; i++) {
          const [run, part, size] = [Math.floor(i / each), i % each, sizes[Math.floor(i / each)]!];
          assert.deepEqual(packetAt(burst, i), pattern(size * each, run).slice(part * size, (part + 1) * size));
        }
      });

      it('sends only what is selected', async () => {
        const out = createBurst();
        for (let i = 0; i < 4; i++) addressed(out, pattern(20 + i, i), far.local);
        out.next[1] = Next.drop;
        out.reason[1] = 7;
        out.next[2] = Next.control;
        assert.equal(near.write(out, SEND), 2);
        assert.deepEqual([...out.next.subarray(0, 4)], [Next.done, Next.drop, Next.control, Next.done]);
        assert.equal(out.reason[1], 7);
        const burst = await readAll(far, 2);
        assert.deepEqual([burst.length[0], burst.length[1]], [20, 23]);
      });

      it(`carries ${fixture.buffered} packets of one size in order`, async () => {
        const out = createBurst();
        for (let i = 0; i < fixture.buffered; i++) addressed(out, pattern(1200, i), far.local);
        assert.equal(near.write(out, SEND), fixture.buffered);
        const burst = await readAll(far, fixture.buffered);
        for (let i = 0; i < fixture.buffered; i++) assert.deepEqual(packetAt(burst, i), pattern(1200, i));
      });

      it(`carries ${fixture.buffered} packets of changing sizes in order, empty ones too`, async () => {
        const lengthOf = (i: number): number => (i * 37) % 500;
        const out = createBurst();
        for (let i = 0; i < fixture.buffered; i++) addressed(out, pattern(lengthOf(i), i), far.local);
        assert.equal(near.write(out, SEND), fixture.buffered);
        const burst = await readAll(far, fixture.buffered);
        for (let i = 0; i < fixture.buffered; i++) assert.deepEqual(packetAt(burst, i), pattern(lengthOf(i), i));
      });

      it('sends every packet of a mixed burst to its own remote', async () => {
        const third = fixture.open({ address, port: 0 });
        const out = createBurst();
        for (let i = 0; i < 30; i++) addressed(out, pattern(64, i), i % 3 === 0 ? third.local : far.local);
        near.write(out, SEND);
        const [a, b] = [await readAll(far, 20), await readAll(third, 10)];
        third.close();
        assert.deepEqual(packetAt(a, 0), pattern(64, 1));
        assert.deepEqual(packetAt(b, 1), pattern(64, 3));
      });

      it('reads behind the packets that the burst holds already, and nothing when it is full', async () => {
        const out = createBurst();
        for (let i = 0; i < 8; i++) addressed(out, pattern(30 + i, i), far.local);
        near.write(out, SEND);
        const burst = createBurst();
        for (let i = 0; i < 5; i++) appendPacket(burst, pattern(9, 200 + i));
        for (let turn = 0; turn < PATIENCE && burst.count < 13; turn++) if (far.read(burst) === 0) await sleep(1);
        assert.equal(burst.count, 13);
        for (let i = 0; i < 5; i++) assert.deepEqual(packetAt(burst, i), pattern(9, 200 + i));
        for (let i = 0; i < 8; i++) assert.deepEqual(packetAt(burst, 5 + i), pattern(30 + i, i));
        near.write(((out.next[0] = SEND), out), SEND);
        const full = createBurst();
        for (let i = 0; i < BURST_PACKETS; i++) appendPacket(full, pattern(9, i));
        assert.equal(far.read(full), 0);
        assert.deepEqual(packetAt(await readAll(far, 1), 0), pattern(30, 0));
      });

      it('returns at once when nothing is there', () => {
        const burst = createBurst();
        assert.equal(near.read(burst), 0);
        assert.equal(burst.count, 0);
      });

      it('drops a packet to a remote of the other family and sends the rest', async () => {
        const out = createBurst();
        addressed(out, pattern(40, 1), far.local);
        addressed(out, pattern(40, 2), { address: address.includes(':') ? '127.0.0.1' : '::1', port: far.local.port });
        addressed(out, pattern(40, 3), far.local);
        assert.equal(near.write(out, SEND), 2);
        assert.equal(out.next[1], Next.drop);
        assert.ok(out.reason[1]! < 0, 'the reason is a negative errno');
        assert.deepEqual(packetAt(await readAll(far, 2), 1), pattern(40, 3));
      });

      it('reads nothing after close, and closing twice is harmless', () => {
        near.close();
        near.close();
        assert.equal(near.read(createBurst()), 0);
      });
    });
  }
}
