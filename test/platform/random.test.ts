import { deepStrictEqual, notDeepStrictEqual, ok } from 'node:assert/strict';
import { SeededRandom, randomBelow } from '../../platform/random.ts';

describe('platform/random', () => {
  it('gives the same numbers for the same seed', () => {
    deepStrictEqual(new SeededRandom(7).bytes(64), new SeededRandom(7).bytes(64));
  });

  it('gives other numbers for another seed', () => {
    notDeepStrictEqual(new SeededRandom(7).bytes(64), new SeededRandom(8).bytes(64));
  });

  it('forks streams that differ from their parent and from each other', () => {
    const parent = new SeededRandom('world');
    const a = parent.fork('a').bytes(32);
    const b = parent.fork('b').bytes(32);
    notDeepStrictEqual(a, b);
    notDeepStrictEqual(a, new SeededRandom('world').bytes(32));
  });

  it('spreads randomBelow over the whole range', () => {
    const random = new SeededRandom(1);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) counts[randomBelow(random, 10)]!++;
    for (const count of counts) ok(count > 800 && count < 1200, `bucket has ${count}`);
  });
});
