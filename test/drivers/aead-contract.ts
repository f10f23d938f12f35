// The suite that every AEAD engine passes: the published ESP packets, every length, wrong tags, handles.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { AeadEngine, AeadKey } from '../../drivers/aead.ts';
import { BURST_PACKETS, createBurst, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import { ESP_SHAPES, isCbc, type CbcEspSuite, type EspShape, type EspSuite } from '../../drivers/esp-suite.ts';
import { concat, equalBytes, fromHex, toHex } from '../../platform/bytes.ts';
import { SeededRandom } from '../../platform/random.ts';

interface Vector {
  readonly alg: EspSuite;
  readonly key: string;
  readonly salt: string;
  readonly esn: boolean;
  readonly aad: string;
  readonly plaintext: string;
  readonly packet: string;
}

/** Every AEAD; of AES-CBC every key length and every HMAC once (native-aead.test.ts has all of them). */
const SUITES: readonly EspSuite[] = [
  'aes-256-gcm-16', 'aes-128-gcm-16', 'chacha20-poly1305',
  'aes-128-cbc/hmac-sha256-128', 'aes-192-cbc/hmac-sha384-192', 'aes-256-cbc/hmac-sha512-256', 'aes-256-cbc/hmac-sha1-96',
];
const SELECT = 7;
const THEN = 20;
const FAILED = 33;
const ESP_HEADER_BYTES = 8;
const HEADER_BYTES = 16;
const ICV_BYTES = 16;

/** Puts an ESP packet into the next slot of the burst. */
function append(burst: Burst, packet: Uint8Array, handle: number, seqHi: number, next = SELECT): number {
  const i = burst.count++;
  burst.bytes.set(packet, slotStart(i));
  burst.esp[i] = slotStart(i);
  burst.espLength[i] = packet.length;
  burst.sa[i] = handle;
  burst.seqHi[i] = seqHi;
  burst.next[i] = next;
  burst.reason[i] = 0;
  return i;
}

function espAt(burst: Burst, i: number): Uint8Array {
  return burst.bytes.slice(burst.esp[i]!, burst.esp[i]! + burst.espLength[i]!);
}

const AEAD = ESP_SHAPES['aes-256-gcm-16'];

/** ESP header, IV and plaintext, with room for the ICV; AES-CBC has whole blocks, one at least. */
function unsealed(random: SeededRandom, textBytes: number, shape: EspShape = AEAD): Uint8Array {
  const text = shape.blockBytes === 16 ? Math.max(16, textBytes & -16) : textBytes;
  const packet = random.bytes(ESP_HEADER_BYTES + shape.ivBytes + text + shape.icvBytes);
  packet.fill(0, packet.length - shape.icvBytes);
  return packet;
}

/** What a receiver gets: header and text; AES-CBC puts its own IV between them. */
function textOf(packet: Uint8Array, { ivBytes, icvBytes, saltBytes }: EspShape = AEAD): Uint8Array {
  const end = packet.length - icvBytes;
  return saltBytes > 0 ? packet.slice(0, end) : concat(packet.slice(0, ESP_HEADER_BYTES), packet.slice(ESP_HEADER_BYTES + ivBytes, end));
}

function keyOf(suite: EspSuite, random: SeededRandom, esn: boolean): AeadKey {
  const { keyBytes, saltBytes } = ESP_SHAPES[suite];
  return { suite, key: random.bytes(keyBytes), salt: random.bytes(saltBytes), esn };
}

/** Seals with one engine and opens with another: they must agree. Call inside a mocha file. */
export function aeadContract(name: string, create: () => AeadEngine, other: () => AeadEngine = create): void {
  describe(`${name} AEAD engine`, () => {
    publishedPackets(create);
    for (const suite of SUITES) {
      for (const esn of [false, true]) everyLength(suite, esn, create, other);
      wrongTags(suite, create);
      if (isCbc(suite)) chained(suite, create);
    }
    handles(create);
  });
}

function publishedPackets(create: () => AeadEngine): void {
  const file = new URL('../golden/esp-aes-gcm-mcgrew.json', import.meta.url);
  const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { vectors: Vector[] };
  for (const [number, vector] of vectors.entries()) {
    it(`seals and opens published packet ${number + 1} (${vector.alg}${vector.esn ? ', ESN' : ''})`, () => {
      const engine = create();
      const burst = createBurst();
      const packet = fromHex(vector.packet);
      const handle = engine.install({ suite: vector.alg, key: fromHex(vector.key), salt: fromHex(vector.salt), esn: vector.esn });
      const seqHi = vector.esn ? Number.parseInt(vector.aad.slice(8, 16), 16) | 0 : 0;
      append(burst, packet, handle, seqHi);
      engine.open(burst, SELECT, THEN, FAILED);
      assert.equal(burst.next[0], THEN);
      assert.equal(toHex(espAt(burst, 0).subarray(HEADER_BYTES, packet.length - ICV_BYTES)), vector.plaintext);
      burst.next[0] = SELECT;
      burst.bytes.fill(0, burst.esp[0]! + packet.length - ICV_BYTES, burst.esp[0]! + packet.length);
      engine.seal(burst, SELECT, THEN, FAILED);
      assert.equal(toHex(espAt(burst, 0)), vector.packet);
    });
  }
}

function everyLength(suite: EspSuite, esn: boolean, create: () => AeadEngine, other: () => AeadEngine): void {
  it(`opens what it sealed: ${suite}, ${esn ? 'ESN' : 'no ESN'}, 0 to 1700 octets`, () => {
    const random = new SeededRandom(`${suite} ${esn}`);
    const key = keyOf(suite, random, esn);
    const shape = ESP_SHAPES[suite];
    const sealer = create();
    const opener = other();
    const handles = [sealer.install(key), opener.install(key)] as const;
    const burst = createBurst();
    for (let from = 0; from <= 1700; from += 61) {
      burst.count = 0;
      const plain: Uint8Array[] = [];
      for (let length = from; length < Math.min(from + 61, 1701); length += from < 100 ? 1 : 17) {
        plain.push(unsealed(random, length, shape));
        append(burst, plain.at(-1)!, handles[0], random.uint32() | 0);
      }
      sealer.seal(burst, SELECT, SELECT, FAILED);
      for (let i = 0; i < burst.count; i++) {
        assert.equal(burst.next[i], SELECT);
        if (plain[i]!.length > HEADER_BYTES + ICV_BYTES + 15) assert.notDeepEqual(textOf(espAt(burst, i), shape), textOf(plain[i]!, shape));
        burst.sa[i] = handles[1];
      }
      opener.open(burst, SELECT, THEN, FAILED);
      for (let i = 0; i < burst.count; i++) {
        assert.equal(burst.next[i], THEN);
        assert.deepEqual(textOf(espAt(burst, i), shape), textOf(plain[i]!, shape));
      }
    }
  });
}

const LONGEST_COMPARED = 2000;

/** Both engines make the same octets of every length; call inside a mocha file. */
export function sameCiphertext(name: string, create: () => AeadEngine, reference: () => AeadEngine): void {
  describe(`${name} AEAD engine beside another one`, () => {
    for (const suite of SUITES) {
      it(`seals 0 to ${LONGEST_COMPARED} octets to the same octets: ${suite}`, () => {
        const random = new SeededRandom(`same ${suite}`);
        const key = keyOf(suite, random, true);
        const engines = [create(), reference()].map((engine) => ({ engine, burst: createBurst(), handle: engine.install(key) }));
        // Slots hold less than the longest packet here, so each lies in an area of its own.
        const stride = 4096;
        for (let from = 0; from <= LONGEST_COMPARED; from += BURST_PACKETS / 2) {
          for (let length = from; length < Math.min(from + BURST_PACKETS / 2, LONGEST_COMPARED + 1); length++) {
            const packet = unsealed(random, length, ESP_SHAPES[suite]);
            const seqHi = random.uint32() | 0;
            for (const { burst, handle } of engines) {
              const i = append(burst, packet.subarray(0, 0), handle, seqHi);
              burst.esp[i] = i * stride;
              burst.espLength[i] = packet.length;
              burst.bytes.set(packet, i * stride);
            }
          }
          for (const { engine, burst } of engines) engine.seal(burst, SELECT, THEN, FAILED);
          const [a, b] = engines.map(({ burst }) => burst) as [Burst, Burst];
          for (let i = 0; i < a.count; i++) {
            assert.equal(a.next[i], THEN);
            assert.ok(equalBytes(espAt(a, i), espAt(b, i)), `${from + i} octets`);
          }
          a.count = b.count = 0;
        }
      });
    }
  });
}

function wrongTags(suite: EspSuite, create: () => AeadEngine): void {
  it(`refuses a change of any octet, of the high sequence number and of ${isCbc(suite) ? 'the HMAC key' : 'the salt'}: ${suite}`, () => {
    const random = new SeededRandom(suite);
    const engine = create();
    const key = keyOf(suite, random, true);
    const handle = engine.install(key);
    const other = engine.install(isCbc(suite) ? { ...key, key: concat(key.key.slice(0, -1), Uint8Array.of(key.key.at(-1)! ^ 1)) } : { ...key, salt: random.bytes(4) });
    const burst = createBurst();
    append(burst, unsealed(random, 40, ESP_SHAPES[suite]), handle, 5);
    engine.seal(burst, SELECT, THEN, FAILED);
    const sealed = espAt(burst, 0);
    burst.count = 0;
    for (let at = 0; at < sealed.length; at++) {
      const broken = sealed.slice();
      broken[at]! ^= 1;
      append(burst, broken, handle, 5);
    }
    append(burst, sealed, handle, 6);
    append(burst, sealed, other, 5);
    const good = append(burst, sealed, handle, 5);
    engine.open(burst, SELECT, THEN, FAILED);
    for (let i = 0; i < good; i++) assert.deepEqual([burst.next[i], burst.reason[i]], [Next.drop, FAILED], `change ${i}`);
    assert.equal(burst.next[good], THEN);
  });
}

function chained(suite: CbcEspSuite, create: () => AeadEngine): void {
  const { ivBytes, icvBytes } = ESP_SHAPES[suite];

  it(`makes an IV of every number that nobody can foresee: ${suite}`, () => {
    const random = new SeededRandom(`iv ${suite}`);
    const engine = create();
    const handle = engine.install(keyOf(suite, random, true));
    const burst = createBurst();
    const packet = unsealed(random, 64, ESP_SHAPES[suite]);
    for (let number = 1; number <= 100; number++) {
      packet.fill(0, ESP_HEADER_BYTES, ESP_HEADER_BYTES + ivBytes);
      packet[ESP_HEADER_BYTES + 7] = number;
      append(burst, packet, handle, 0);
    }
    engine.seal(burst, SELECT, THEN, FAILED);
    const ivs = Array.from({ length: burst.count }, (_, i) => espAt(burst, i).slice(ESP_HEADER_BYTES, ESP_HEADER_BYTES + ivBytes));
    assert.equal(new Set(ivs.map(toHex)).size, 100);
    // Two random values of 128 bits differ in 64 of them, in some.
    const differing = ivs.slice(1).map((iv, i) => iv.reduce((sum, octet, k) => sum + [...(octet ^ ivs[i]![k]!).toString(2)].filter((bit) => bit === '1').length, 0));
    assert.ok(differing.every((bits) => bits > 30 && bits < 98), differing.join());
  });

  it(`takes whole blocks only, and one at least: ${suite}`, () => {
    const random = new SeededRandom(`blocks ${suite}`);
    const engine = create();
    const handle = engine.install(keyOf(suite, random, false));
    const shortest = ESP_HEADER_BYTES + ivBytes + icvBytes;
    for (const work of ['seal', 'open'] as const) {
      const burst = createBurst();
      for (let length = 0; length < shortest + 48; length++) append(burst, random.bytes(length), handle, 0);
      engine[work](burst, SELECT, THEN, FAILED);
      for (let length = 0; length < burst.count; length++) {
        const whole = length > shortest && (length - shortest) % 16 === 0;
        assert.equal(burst.next[length], whole && work === 'seal' ? THEN : Next.drop, `${work} ${length}`);
      }
    }
  });
}

function handles(create: () => AeadEngine): void {
  const KEY = { suite: 'aes-256-gcm-16', key: new Uint8Array(32).fill(1), salt: new Uint8Array(4), esn: false } as const;

  it('works on the packets that match, and on no others', () => {
    const engine = create();
    const handle = engine.install(KEY);
    const burst = createBurst();
    const packet = unsealed(new SeededRandom('select'), 64);
    append(burst, packet, handle, 0);
    append(burst, packet, handle, 0, SELECT + 1);
    engine.seal(burst, SELECT, THEN, FAILED);
    assert.deepEqual([burst.next[0], burst.next[1]], [THEN, SELECT + 1]);
    assert.deepEqual(espAt(burst, 1), packet);
  });

  it('marks packets without key, and packets shorter than ESP', () => {
    const engine = create();
    const handle = engine.install(KEY);
    const burst = createBurst();
    const packet = unsealed(new SeededRandom('handles'), 64);
    append(burst, packet, handle + 1000, 0);
    append(burst, packet, -1, 0);
    append(burst, packet.subarray(0, HEADER_BYTES + ICV_BYTES - 1), handle, 0);
    append(burst, packet.subarray(0, 0), handle, 0);
    for (const work of ['seal', 'open'] as const) {
      burst.next.fill(SELECT);
      engine[work](burst, SELECT, THEN, FAILED);
      for (let i = 0; i < burst.count; i++) assert.deepEqual([burst.next[i], burst.reason[i]], [Next.drop, FAILED], `${work} ${i}`);
    }
  });

  it('forgets a removed key, and uses its handle for another', () => {
    const engine = create();
    const first = engine.install(KEY);
    const second = engine.install({ ...KEY, key: new Uint8Array(32).fill(2) });
    assert.notEqual(first, second);
    engine.remove(first);
    engine.remove(first);
    const burst = createBurst();
    append(burst, unsealed(new SeededRandom('removed'), 64), first, 0);
    engine.seal(burst, SELECT, THEN, FAILED);
    assert.equal(burst.next[0], Next.drop);
    for (let i = 0; i < 5000; i++) engine.remove(engine.install(KEY));
    assert.ok(engine.install(KEY) < second + 100, 'handles are used again');
  });

  it('copies the key', () => {
    const engine = create();
    const key = { ...KEY, key: new Uint8Array(32).fill(3), salt: new Uint8Array(4).fill(4) };
    const handle = engine.install(key);
    const burst = createBurst();
    const packet = unsealed(new SeededRandom('copy'), 64);
    append(burst, packet, handle, 0);
    engine.seal(burst, SELECT, SELECT, FAILED);
    key.key.fill(0);
    key.salt.fill(0);
    engine.open(burst, SELECT, THEN, FAILED);
    assert.equal(burst.next[0], THEN);
    assert.deepEqual(textOf(espAt(burst, 0)), textOf(packet));
  });
}
