// A representative part of the matrix against real strongSwan (`npm run interop` runs all of it), and that the document
// shows the matrix that there is.
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { SeededRandom } from '../../platform/random.ts';
import { between, matrixOf, namesIn, withMatrix } from './matrix.ts';
import { HELD_PERCENT, LossyPath, LOST_PERCENT, REPEATED_PERCENT } from './lossy-path.ts';
import { alwaysOf, caseName } from './row.ts';
import type { Row } from './row.ts';
import { prepareReleases, runCases } from './runner.ts';
import type { Result } from './runner.ts';
import { ROWS } from './table.ts';

const AT_ONCE = 4;

describe('Interoperability with strongSwan', function () {
  this.timeout(900_000);
  const cases = alwaysOf(ROWS);
  const results = new Map<string, Result>();

  // Together, since most of their time is waiting; each result is told under its own name below.
  before(async () => {
    prepareReleases(cases, () => undefined);
    await runCases(cases, AT_ONCE, (result) => results.set(caseName(result.case), result));
  });

  for (const which of cases) {
    it(caseName(which), () => {
      const { failure } = results.get(caseName(which))!;
      if (failure !== undefined) throw failure;
    });
  }
});

describe('The interoperability matrix', () => {
  const document = readFileSync(new URL('../../docs/STANDARDS.md', import.meta.url), 'utf8');

  it('has a name for each row', () => {
    assert.equal(new Set(ROWS.map((row) => row.name)).size, ROWS.length);
  });

  it('stands in docs/STANDARDS.md row by row (npm run interop -- --write)', () => {
    assert.deepEqual(namesIn(between(document)), ROWS.map((row) => row.name));
  });

  it('keeps of a former matrix what was not run this time', () => {
    const rows = [{ ...ROWS[0]!, name: 'kept' }, ROWS[0]!];
    const first = { role: 'initiator', release: '5.9', lossy: false } as const;
    const ran = (row: Row, failure: Error | undefined): Result => ({ case: { ...first, row }, version: '5.9.8', durationMs: 1, failure });
    const former = matrixOf(rows, [ran(rows[0]!, undefined), ran(rows[1]!, new Error('once'))]);
    assert.match(former, /strongSwan 5\.9\.8, /);
    assert.equal(matrixOf(rows, [], former), former);
    const later = matrixOf(rows, [ran(rows[1]!, undefined)], former);
    assert.equal(later, former.replace('5.9 FAILS', '5.9'));
  });

  it('replaces only what stands between the marks', () => {
    const replaced = withMatrix(document, matrixOf(ROWS.slice(0, 1), []));
    assert.deepEqual(namesIn(between(replaced)), [ROWS[0]!.name]);
    const [kept, was] = [replaced, document].map((text) => text.split(between(text)));
    assert.deepEqual(kept, was);
  });
});

describe('The lossy path', () => {
  const PACKETS = 20_000;

  function arrivals(seed: string): (readonly number[])[] {
    const path = new LossyPath(new SeededRandom(seed));
    return Array.from({ length: PACKETS }, () => path.next());
  }

  it('loses, repeats and holds back the shares it is said to', () => {
    const decided = arrivals('shares');
    const percent = (of: (copies: readonly number[]) => boolean): number => (100 * decided.filter(of).length) / PACKETS;
    const kept = (100 - LOST_PERCENT) / 100;
    assert.ok(Math.abs(percent((copies) => copies.length === 0) - LOST_PERCENT) < 1);
    assert.ok(Math.abs(percent((copies) => copies.length === 2) - REPEATED_PERCENT * kept) < 1);
    assert.ok(Math.abs(percent((copies) => (copies[0] ?? 0) > 0) - HELD_PERCENT * kept) < 1);
  });

  it('decides the same for the same seed', () => {
    assert.deepEqual(arrivals('one'), arrivals('one'));
    assert.notDeepEqual(arrivals('one'), arrivals('other'));
  });
});
