import { deepStrictEqual, notDeepStrictEqual, ok } from 'node:assert/strict';
import { SeededRandom, SystemRandom, randomBelow } from '../../platform/random.ts';

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

  it('never gives the same octets of the system twice, whatever is drawn', () => {
    const random = new SystemRandom();
    const seen = new Set<string>();
    const lengths = [8, 16, 32, 33, 1024, 1000, 3000];
    for (let i = 0; i < 7000; i++) {
      const octets = random.bytes(lengths[i % lengths.length]!);
      ok(octets.length === lengths[i % lengths.length]);
      seen.add(Buffer.from(octets.subarray(0, 8)).toString('hex'));
      ok(random.uint32() <= 0xffff_ffff);
    }
    ok(seen.size === 7000, `${7000 - seen.size} draws of 64 bits were drawn before`);
  });

  it('keeps nothing in common between what it gave out and what it gives next', () => {
    const random = new SystemRandom();
    const first = random.bytes(16);
    const copy = first.slice();
    first.fill(0);
    notDeepStrictEqual(random.bytes(16), copy);
    notDeepStrictEqual(random.bytes(16), first);
  });
});
