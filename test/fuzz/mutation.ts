// Mutators. Everything follows from the dice, so that a case is found again by its seed and number.
import { concat } from '../../platform/bytes.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';

/** Values at the edges of fields of one and two octets. */
const EDGES_8 = [0, 1, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255];
const EDGES_16 = [0, 1, 3, 4, 8, 28, 255, 256, 1280, 4095, 4096, 32_767, 32_768, 65_534, 65_535];
const MOST_INSERTED = 64;
const MOST_STEPS = 4;
/** Longer inputs are of no more use than their beginning. */
const MOST_BYTES = 8192;

export function pick<T>(dice: SeededRandom, items: readonly T[]): T {
  return items[randomBelow(dice, items.length)]!;
}

export function oneIn(dice: SeededRandom, times: number): boolean {
  return randomBelow(dice, times) === 0;
}

type Mutator = (dice: SeededRandom, bytes: Uint8Array, others: readonly Uint8Array[]) => Uint8Array;

function range(dice: SeededRandom, bytes: Uint8Array): [number, number] {
  const from = randomBelow(dice, bytes.length + 1);
  return [from, from + randomBelow(dice, Math.min(MOST_INSERTED, bytes.length - from) + 1)];
}

function changed(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const out = bytes.slice();
  if (at < out.length) out[at] = value;
  return out;
}

const MUTATORS: readonly Mutator[] = [
  // One bit, one octet, an octet at an edge, a field of two octets at an edge.
  (dice, bytes) => {
    const at = randomBelow(dice, bytes.length);
    return changed(bytes, at, (bytes[at] ?? 0) ^ (1 << randomBelow(dice, 8)));
  },
  (dice, bytes) => changed(bytes, randomBelow(dice, bytes.length), dice.uint32() & 0xff),
  (dice, bytes) => changed(bytes, randomBelow(dice, bytes.length), pick(dice, EDGES_8)),
  (dice, bytes) => {
    const at = randomBelow(dice, bytes.length);
    const value = pick(dice, EDGES_16);
    return changed(changed(bytes, at, value >> 8), at + 1, value & 0xff);
  },
  // One more or one less, where lengths and counts are.
  (dice, bytes) => {
    const at = randomBelow(dice, bytes.length);
    return changed(bytes, at, (bytes[at] ?? 0) + (oneIn(dice, 2) ? 1 : 255));
  },
  // Cut at the end, cut out, doubled, put in.
  (dice, bytes) => bytes.slice(0, randomBelow(dice, bytes.length + 1)),
  (dice, bytes) => {
    const [from, to] = range(dice, bytes);
    return concat(bytes.slice(0, from), bytes.slice(to));
  },
  (dice, bytes) => {
    const [from, to] = range(dice, bytes);
    return concat(bytes.slice(0, to), bytes.slice(from));
  },
  (dice, bytes) => {
    const at = randomBelow(dice, bytes.length + 1);
    return concat(bytes.slice(0, at), dice.bytes(randomBelow(dice, MOST_INSERTED)), bytes.slice(at));
  },
  // The beginning of this one and the end of another one.
  (dice, bytes, others) => {
    const other = others.length === 0 ? bytes : pick(dice, others);
    return concat(bytes.slice(0, randomBelow(dice, bytes.length + 1)), other.slice(randomBelow(dice, other.length + 1)));
  },
];

/** A changed copy; `others` lend their ends. */
export function mutate(dice: SeededRandom, bytes: Uint8Array, others: readonly Uint8Array[] = []): Uint8Array<ArrayBuffer> {
  let out: Uint8Array = bytes;
  for (let steps = 1 + randomBelow(dice, MOST_STEPS); steps > 0; steps--) out = pick(dice, MUTATORS)(dice, out, others);
  return new Uint8Array(out.subarray(0, MOST_BYTES));
}
