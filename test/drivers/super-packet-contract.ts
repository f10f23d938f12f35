// What every AEAD engine does with super-packets: the parts that it seals are the packets that the host's device would
// have made, each behind the outer headers, with consecutive sequence numbers.
import assert from 'node:assert/strict';
import type { AeadEngine, AeadKey } from '../../drivers/aead.ts';
import { AREA_BYTES, createBurst, datagramsAt, HEADROOM, Next, OUTPUT_BYTES, OUTPUT_START, type Burst } from '../../drivers/burst.ts';
import { ESP_SHAPES, type EspShape, type EspSuite } from '../../drivers/esp-suite.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { innerPacketsAt } from '../../drivers/super-packet.ts';
import { equalBytes } from '../../platform/bytes.ts';
import { randomBelow, SeededRandom } from '../../platform/random.ts';

const HOSTILE_ROUNDS = 40;
const SELECT = 7;
const THEN = 20;
const FAILED = 33;
/** VXLAN in front of ESP. */
const ESP_AT = 16;
const ESP_HEADER_BYTES = 8;
/** GRE and MPLS behind ESP's IV. */
const LABEL_BYTES = 8;
/** ESN is on. */
const SUITES = ['aes-256-gcm-16', 'aes-256-cbc/hmac-sha512-256', 'aes-128-cbc/hmac-sha1-96'] as const;

function keyOf(suite: EspSuite): AeadKey {
  const { keyBytes, saltBytes } = ESP_SHAPES[suite];
  return { suite, key: new Uint8Array(keyBytes).fill(9), salt: new Uint8Array(saltBytes).fill(7), esn: true };
}

const INNER_AT = OUTPUT_START - AREA_BYTES + HEADROOM;
const TRAILER = 47;

export interface SuperShape {
  readonly v6: boolean;
  readonly udp: boolean;
  /** Octets of TCP options. */
  readonly options: number;
  readonly segment: number;
  readonly payload: number;
}

/** A super-packet as a link gives it. */
function appendSuper(burst: Burst, { v6, udp, options, segment, payload }: SuperShape, random: SeededRandom): number {
  const i = burst.count++;
  const transport = v6 ? 40 : 20;
  const headers = transport + (udp ? 8 : 20 + options);
  const at = INNER_AT - i * AREA_BYTES;
  const packet = random.bytes(headers + payload);
  packet[0] = v6 ? 0x60 : 0x45;
  packet[v6 ? 6 : 9] = udp ? 17 : 6;
  if (!udp) packet[transport + 12] = (5 + options / 4) << 4;
  burst.bytes.set(packet, at);
  burst.offset[i] = at;
  burst.length[i] = packet.length;
  burst.segment[i] = segment;
  burst.headers[i] = headers;
  burst.transport[i] = transport;
  burst.inner[i] = 0;
  burst.mark[i] = 0;
  burst.reason[i] = 0;
  return i;
}

/** Puts outer headers in front and asks for sealing. */
function prepare(burst: Burst, i: number, handle: number, sequence: bigint, random: SeededRandom, { ivBytes }: EspShape): Uint8Array {
  const outer = random.bytes(ESP_AT + ESP_HEADER_BYTES + ivBytes + LABEL_BYTES);
  new DataView(outer.buffer).setUint32(ESP_AT + 4, Number(sequence & 0xffff_ffffn));
  new DataView(outer.buffer).setBigUint64(ESP_AT + 8, sequence);
  const inner = burst.offset[i]!;
  burst.bytes.set(outer, inner - outer.length);
  burst.inner[i] = inner;
  burst.offset[i] = inner - outer.length;
  burst.length[i]! += outer.length;
  burst.esp[i] = inner - outer.length + ESP_AT;
  burst.trailer[i] = TRAILER;
  burst.sa[i] = handle;
  burst.next[i] = SELECT;
  return outer;
}

/** Opens one wire packet with the portable engine and returns what ESP carried, or undefined when the tag is bad. */
function openWith(engine: AeadEngine, handle: number, burst: Burst, packet: Uint8Array, seqHi: number, { ivBytes, icvBytes }: EspShape): Uint8Array | undefined {
  burst.count = 1;
  burst.bytes.set(packet, HEADROOM);
  burst.esp[0] = HEADROOM + ESP_AT;
  burst.espLength[0] = packet.length - ESP_AT;
  burst.seqHi[0] = seqHi;
  burst.sa[0] = handle;
  burst.next[0] = SELECT;
  engine.open(burst, SELECT, THEN, FAILED);
  return burst.next[0] === THEN ? burst.bytes.slice(HEADROOM + ESP_AT + ESP_HEADER_BYTES + ivBytes, HEADROOM + packet.length - icvBytes) : undefined;
}

const SHAPES: readonly SuperShape[] = [
  { v6: false, udp: false, options: 12, segment: 1348, payload: 64_704 },
  { v6: false, udp: false, options: 0, segment: 536, payload: 5001 },
  { v6: true, udp: false, options: 12, segment: 1328, payload: 20_000 },
  { v6: false, udp: true, options: 0, segment: 36, payload: 36 * 64 },
  { v6: true, udp: true, options: 0, segment: 1200, payload: 6001 },
  { v6: false, udp: false, options: 40, segment: 700, payload: 700 },
  { v6: false, udp: true, options: 0, segment: 1, payload: 3 },
];

/** Call inside a mocha file. */
export function superPacketContract(name: string, create: () => AeadEngine): void {
  for (const suite of SUITES) contractOf(name, create, suite);
}

function contractOf(name: string, create: () => AeadEngine, suite: EspSuite): void {
  describe(`${name} AEAD engine and super-packets: ${suite}`, () => {
    const key = keyOf(suite);
    const shape = ESP_SHAPES[suite];
    const opener = new PortableAead();
    const handleOfOpener = opener.install(key);
    const scratch = createBurst();
    const opened = (packet: Uint8Array, seqHi: number): Uint8Array | undefined => openWith(opener, handleOfOpener, scratch, packet, seqHi, shape);

    for (const packet of SHAPES) {
      it(`cuts and seals ${packet.v6 ? 'IPv6' : 'IPv4'} ${packet.udp ? 'UDP' : 'TCP'}: ${packet.payload} octets by ${packet.segment}`, () => {
        const random = new SeededRandom(`${JSON.stringify(packet)}`);
        const engine = create();
        const burst = createBurst();
        const i = appendSuper(burst, packet, random);
        const wanted = innerPacketsAt(burst, i);
        // The low half of the number comes round within the super-packet.
        const first = (5n << 32n) - 2n;
        const outer = prepare(burst, i, engine.install(key), first, random, shape);
        engine.seal(burst, SELECT, THEN, FAILED);
        assert.equal(burst.next[i], THEN);
        const sealed = datagramsAt(burst, i);
        assert.equal(sealed.length, wanted.length);
        for (const [part, datagram] of sealed.entries()) {
          const sequence = first + BigInt(part);
          assert.ok(equalBytes(datagram.slice(0, ESP_AT + 4), outer.slice(0, ESP_AT + 4)), 'outer header and SPI');
          assert.equal(new DataView(datagram.buffer).getUint32(ESP_AT + 4), Number(sequence & 0xffff_ffffn));
          if (shape.ivBytes === 8) assert.equal(new DataView(datagram.buffer).getBigUint64(ESP_AT + 8), sequence);
          const text = opened(datagram, Number(sequence >> 32n));
          assert.ok(text !== undefined, `the tag of part ${part}`);
          const padding = text.at(-2)!;
          assert.equal(text.at(-1), TRAILER);
          assert.ok(equalBytes(text.slice(0, LABEL_BYTES), outer.slice(-LABEL_BYTES)), 'label');
          assert.ok(equalBytes(text.slice(LABEL_BYTES, text.length - padding - 2), wanted[part]!), `inner packet ${part}`);
        }
      });
    }

    it('seals super-packets and single packets of one burst, each in its place', () => {
      const random = new SeededRandom('mixed');
      const engine = create();
      const burst = createBurst();
      const handle = engine.install(key);
      const rows = SHAPES.map((packet) => appendSuper(burst, packet, random));
      const wanted = rows.map((i) => innerPacketsAt(burst, i).length);
      for (const i of rows) prepare(burst, i, handle, BigInt(1000 * i + 1), random, shape);
      const single = burst.count++;
      burst.offset[single] = burst.esp[single] = HEADROOM;
      burst.espLength[single] = burst.length[single] = ESP_HEADER_BYTES + shape.ivBytes + 64 + shape.icvBytes;
      burst.segment[single] = 0;
      burst.sa[single] = handle;
      burst.next[single] = SELECT;
      engine.seal(burst, SELECT, THEN, FAILED);
      for (const i of rows) {
        const sealed = datagramsAt(burst, i);
        assert.equal(sealed.length, wanted[i]);
        assert.ok(sealed.every((packet) => opened(packet, 0) !== undefined));
      }
      assert.deepEqual([burst.next[single], burst.offset[single]], [THEN, HEADROOM]);
    });

    it('drops super-packets that the output room does not hold, and goes on', () => {
      const random = new SeededRandom('room');
      const engine = create();
      const burst = createBurst();
      const handle = engine.install(key);
      for (let k = 0; k < 60; k++) prepare(burst, appendSuper(burst, SHAPES[0]!, random), handle, BigInt(100 * k + 1), random, shape);
      engine.seal(burst, SELECT, THEN, FAILED);
      const good = burst.next.subarray(0, 60).filter((next) => next === THEN).length;
      assert.ok(good >= 30 && good < 60, `${good} found room`);
      for (let i = 0; i < 60; i++) {
        if (burst.next[i] === THEN) assert.ok(burst.offset[i]! >= OUTPUT_START && burst.offset[i]! + burst.length[i]! <= OUTPUT_START + OUTPUT_BYTES);
        else assert.deepEqual([burst.next[i], burst.reason[i]], [Next.drop, FAILED]);
      }
    });

    it('gives super-packets with columns that make no sense a fate, and touches nothing outside the arena', function () {
      // Some are thousands of parts, which a portable engine takes its time for.
      this.timeout(120_000);
      const random = new SeededRandom('hostile');
      const engine = create();
      const handle = engine.install(key);
      const columns = ['offset', 'length', 'esp', 'inner', 'headers', 'transport', 'segment'] as const;
      const burst = createBurst();
      for (let round = 0; round < HOSTILE_ROUNDS; round++) {
        burst.count = 0;
        const i = appendSuper(burst, SHAPES[round % SHAPES.length]!, random);
        prepare(burst, i, handle, 1n, random, shape);
        const column = columns[randomBelow(random, columns.length)]!;
        burst[column][i] = [random.uint32() | 0, randomBelow(random, 70_000), burst[column][i]! + randomBelow(random, 9) - 4, -1][round % 4]!;
        if (burst.segment[i] === 0) continue;
        engine.seal(burst, SELECT, THEN, FAILED);
        assert.ok(burst.next[i] === THEN || burst.next[i] === Next.drop);
        if (burst.next[i] === THEN) assert.ok(burst.offset[i]! >= OUTPUT_START);
      }
    });
  });
}
