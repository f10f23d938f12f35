// AeadEngine for large simulations: same places, same verdicts, no security. A tag over key, IV, header and text, and
// a text that is not readable on the wire.
import type { AeadEngine, AeadKey } from '../../drivers/aead.ts';
import type { Burst } from '../../drivers/burst.ts';
import { Next } from '../../drivers/burst.ts';

const HEADER_BYTES = 16; // SPI, sequence number and IV
const ICV_BYTES = 16;

interface Lanes {
  a: number;
  b: number;
}

function absorb(lanes: Lanes, bytes: Uint8Array, start: number, end: number): void {
  let { a, b } = lanes;
  for (let i = start; i < end; i++) {
    a = Math.imul(a ^ bytes[i]!, 0x01000193);
    b = Math.imul(b ^ bytes[i]! ^ (b >>> 15), 0x85ebca6b);
  }
  lanes.a = a;
  lanes.b = b;
}

function absorbWord(lanes: Lanes, word: number): void {
  lanes.a = Math.imul(lanes.a ^ word, 0x01000193);
  lanes.b = Math.imul(lanes.b ^ word ^ (lanes.b >>> 15), 0x85ebca6b);
}

function squeeze(lanes: Lanes): number {
  lanes.a = (lanes.a + 0x9e3779b9) | 0;
  lanes.b = Math.imul(lanes.b ^ (lanes.b >>> 16) ^ lanes.a, 0x21f0aaad);
  lanes.b ^= lanes.b >>> 15;
  return lanes.b;
}

interface Key {
  readonly lanes: Readonly<Lanes>;
  readonly esn: boolean;
}

export class FakeAead implements AeadEngine {
  readonly name = 'fake';
  readonly #keys: (Key | undefined)[] = [];
  readonly #lanes: Lanes = { a: 0, b: 0 };
  readonly #tag = new Uint8Array(ICV_BYTES);

  install({ suite, key, salt, esn }: AeadKey): number {
    const lanes: Lanes = { a: 0x811c9dc5, b: 0x9e3779b9 };
    for (const part of [new TextEncoder().encode(suite), key, salt]) absorb(lanes, part, 0, part.length);
    const free = this.#keys.indexOf(undefined);
    const handle = free < 0 ? this.#keys.length : free;
    this.#keys[handle] = { lanes, esn };
    return handle;
  }

  remove(handle: number): void {
    this.#keys[handle] = undefined;
  }

  seal(burst: Burst, select: number, then: number, failReason: number): void {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      const good = this.#start(burst, i, false);
      if (good) burst.bytes.set(this.#tag, burst.esp[i]! + burst.espLength[i]! - ICV_BYTES);
      this.#settle(burst, i, good, then, failReason);
    }
  }

  open(burst: Burst, select: number, then: number, failReason: number): void {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      const good = this.#start(burst, i, true);
      const at = burst.esp[i]! + burst.espLength[i]! - ICV_BYTES;
      const same = good && this.#tag.every((octet, j) => octet === burst.bytes[at + j]);
      this.#settle(burst, i, same, then, failReason);
    }
  }

  /** Turns the text into its other form and computes the tag over the readable one. */
  #start(burst: Burst, i: number, isSealed: boolean): boolean {
    const key = this.#keys[burst.sa[i]!];
    const start = burst.esp[i]!;
    const end = start + burst.espLength[i]! - ICV_BYTES;
    if (key === undefined || end < start + HEADER_BYTES) return false;
    const { bytes } = burst;
    const lanes = Object.assign(this.#lanes, key.lanes);
    absorb(lanes, bytes, start, start + HEADER_BYTES);
    if (key.esn) absorbWord(lanes, burst.seqHi[i]!);
    if (!isSealed) absorb(lanes, bytes, start + HEADER_BYTES, end);
    const mask = (key.lanes.a ^ bytes[start + HEADER_BYTES - 1]!) & 0xff;
    for (let at = start + HEADER_BYTES; at < end; at++) bytes[at] = bytes[at]! ^ mask ^ (at - start);
    if (isSealed) absorb(lanes, bytes, start + HEADER_BYTES, end);
    for (let at = 0; at < ICV_BYTES; at++) this.#tag[at] = squeeze(lanes);
    return true;
  }

  #settle(burst: Burst, i: number, good: boolean, then: number, failReason: number): void {
    burst.next[i] = good ? then : Next.drop;
    if (!good) burst.reason[i] = failReason;
  }
}
