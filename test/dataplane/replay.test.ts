import assert from 'node:assert/strict';
import { createRing, fillRing, inferSequence, replayCommit, replayIsNew, windowSize } from '../../firmware/dataplane/replay.ts';
import { SeededRandom } from '../../platform/random.ts';

const TWO_32 = 2 ** 32;

class Window {
  readonly ring: Int32Array;
  readonly size: number;
  top: number;

  constructor(size: number, top = 0) {
    this.size = size;
    this.top = top;
    this.ring = createRing(size);
  }

  accept(sequence: number): boolean {
    if (!replayIsNew(this.ring, this.top, this.size, sequence)) return false;
    replayCommit(this.ring, this.top, sequence);
    this.top = Math.max(this.top, sequence);
    return true;
  }
}

describe('replay window', () => {
  it('accepts every number of the window once, and none left of it', () => {
    for (const size of [32, 64, 4096, 16_384]) {
      const window = new Window(size);
      assert.ok(window.accept(size * 3));
      for (let back = 1; back < size; back++) assert.ok(window.accept(size * 3 - back), `${size}: ${back} back`);
      for (let back = 0; back < size; back++) assert.ok(!window.accept(size * 3 - back));
      assert.ok(!window.accept(size * 2));
      assert.ok(!window.accept(size * 2 - 1));
    }
  });

  for (const start of [0, TWO_32 - 500, 3 * TWO_32 - 20, 2 ** 40]) {
    it(`decides like a set of everything seen, from ${start} on`, () => {
      const random = new SeededRandom(`replay ${start}`);
      const window = new Window(128, start);
      const seen = new Set<number>();
      for (let i = 0; i < 20_000; i++) {
        const jump = random.uint32() % 50 === 0 ? 400 : 12;
        const sequence = Math.max(1, window.top + (random.uint32() % jump) - (random.uint32() % 160));
        const fresh = sequence > start && !seen.has(sequence) && window.top - sequence < 128;
        if (sequence <= start) continue;
        assert.equal(window.accept(sequence), fresh, `${sequence} with top ${window.top}`);
        seen.add(sequence);
      }
    });
  }

  it('treats everything up to the top as seen after a restart', () => {
    const window = new Window(64, 1000);
    fillRing(window.ring, 1000);
    for (let sequence = 937; sequence <= 1000; sequence++) assert.ok(!window.accept(sequence));
    assert.ok(window.accept(1001));
    assert.ok(window.accept(1003));
    assert.ok(window.accept(1002));
    assert.ok(!window.accept(1000));
  });

  it('rounds window sizes to powers of two within its limits', () => {
    assert.deepEqual([0, 1, 32, 33, 64, 4096, 10_000, 1e9].map(windowSize), [32, 32, 32, 64, 64, 4096, 16_384, 16_384]);
  });
});

describe('extended sequence numbers', () => {
  it('infers the high half on both sides of a wrap', () => {
    const wrap = 5 * TWO_32;
    for (let top = wrap - 100; top < wrap + 100; top++) {
      for (let sequence = top - 63; sequence < top + 1000; sequence += 7) {
        assert.equal(inferSequence(top, 64, sequence % TWO_32, true), sequence, `top ${top}`);
      }
    }
  });

  it('infers a jump of almost 2^32 ahead, and takes anything older for the next subspace', () => {
    const top = TWO_32 * 2 + 5000;
    assert.equal(inferSequence(top, 64, 4999, true), top - 1);
    assert.equal(inferSequence(top, 64, 5000 - 64, true), TWO_32 * 3 + 5000 - 64);
    assert.equal(inferSequence(top, 64, 0xffff_ffff, true), TWO_32 * 3 - 1);
  });

  it('refuses number zero, numbers before the first and numbers beyond 2^53', () => {
    assert.equal(inferSequence(0, 64, 0, true), -1);
    assert.equal(inferSequence(0, 64, 0, false), -1);
    assert.equal(inferSequence(5, 64, TWO_32 - 3, true), -1);
    assert.equal(inferSequence(2 ** 53 - 1, 64, 5, true), -1);
    assert.equal(inferSequence(TWO_32 - 1, 64, 0, true), TWO_32);
  });

  it('is the number itself without ESN', () => {
    assert.equal(inferSequence(TWO_32 - 5, 64, 3, false), 3);
  });
});
