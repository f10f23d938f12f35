// Malformed input for any decoder: every truncation, and bit flips with a fixed seed.
import assert from 'node:assert/strict';
import { WireError } from '../../../platform/errors.ts';
import { SeededRandom, randomBelow } from '../../../platform/random.ts';

/** The decoder may return or throw WireError, nothing else. */
export function survives(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): 'accepted' | 'refused' {
  try {
    decode(bytes);
    return 'accepted';
  } catch (error) {
    assert.ok(error instanceof WireError, `${String(error)} for ${Buffer.from(bytes).toString('hex')}`);
    assert.notEqual(error.message, '');
    return 'refused';
  }
}

export function truncations(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length));
}

export function* flips(bytes: Uint8Array, seed: string, rounds: number): IterableIterator<Uint8Array> {
  const random = new SeededRandom(seed);
  for (let i = 0; i < rounds; i++) {
    const out = bytes.slice();
    for (let left = 1 + randomBelow(random, 3); left > 0; left--) {
      const at = randomBelow(random, out.length);
      out[at] = out[at]! ^ (1 << randomBelow(random, 8));
    }
    yield out;
  }
}
