import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { Deadlines } from '../../platform/deadlines.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { instant, TimerTable, type Instant } from '../../platform/time.ts';

function drain<Name>(table: { takeDue(now: Instant): Name | undefined }, now: Instant): Name[] {
  const names: Name[] = [];
  for (let name = table.takeDue(now); name !== undefined; name = table.takeDue(now)) names.push(name);
  return names;
}

describe('platform/deadlines', () => {
  it('gives what is due, earliest first', () => {
    const deadlines = new Deadlines<string>();
    for (const [name, when] of [['c', 30], ['a', 10], ['d', 40], ['b', 20]] as const) deadlines.set(name, instant(when));
    strictEqual(deadlines.next(), instant(10));
    deepStrictEqual(drain(deadlines, instant(30)), ['a', 'b', 'c']);
    strictEqual(deadlines.next(), instant(40));
  });

  it('counts the newest deadline of a name only', () => {
    const deadlines = new Deadlines<string>();
    deadlines.set('a', instant(10));
    deadlines.set('a', instant(50));
    deadlines.set('b', instant(20));
    deadlines.clear('b');
    strictEqual(deadlines.next(), instant(50));
    deadlines.set('a', instant(5));
    deepStrictEqual(drain(deadlines, instant(100)), ['a']);
    strictEqual(deadlines.next(), undefined);
  });

  it('agrees with a table that looks at every deadline, over any changes', () => {
    const random = new SeededRandom('deadlines');
    const [heap, table] = [new Deadlines<number>(), new TimerTable<number>()];
    let now = 0;
    for (let step = 0; step < 20_000; step++) {
      const name = randomBelow(random, 200);
      const choice = randomBelow(random, 10);
      if (choice < 6) {
        const when = instant(now + randomBelow(random, 1000));
        heap.set(name, when);
        table.set(name, when);
      } else if (choice < 9) {
        heap.clear(name);
        table.clear(name);
      } else {
        now += randomBelow(random, 100);
        deepStrictEqual(drain(heap, instant(now)).toSorted((a, b) => a - b), drain(table, instant(now)).toSorted((a, b) => a - b));
      }
      strictEqual(heap.next(), table.next());
    }
  });

  it('does not grow with deadlines that are set again and again', () => {
    const deadlines = new Deadlines<number>();
    for (let round = 0; round < 200_000; round++) deadlines.set(round % 10, instant(1_000_000 + round));
    const names = drain(deadlines, instant(10_000_000));
    deepStrictEqual(names.length, 10);
    ok(deadlines.next() === undefined);
  });
});
