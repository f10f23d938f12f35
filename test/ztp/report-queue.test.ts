import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ReportQueue } from '../../provisioning/ztp/report-queue.ts';

const CONNECT = '/api/v1/branch-connect';
const FAILED = '/api/v1/branch-failed';

function serials(queue: ReportQueue): unknown[] {
  const seen: unknown[] = [];
  for (let report = queue.first(); report !== undefined; report = queue.first()) {
    seen.push(report.body['serial']);
    queue.done(report.reportId);
  }
  return seen;
}

describe('ztp/report-queue', () => {
  it('gives failures room of their own, so that strangers push no box out', () => {
    const queue = new ReportQueue(new MemoryStore(), new SeededRandom(1));
    queue.add(CONNECT, { serial: 'BOX1' });
    for (let i = 0; i < 1_000; i++) queue.addFailure(FAILED, { serial: `STRANGER${i}` });
    queue.add(CONNECT, { serial: 'BOX2' });
    const seen = serials(queue);
    strictEqual(seen.length, 34);
    deepStrictEqual([seen[0], seen[1], seen.at(-2), seen.at(-1)], ['BOX1', 'STRANGER968', 'STRANGER999', 'BOX2']);
  });

  it('keeps what a box did over a restart, and no failures', () => {
    const store = new MemoryStore();
    const queue = new ReportQueue(store, new SeededRandom(1));
    queue.addFailure(FAILED, { serial: 'STRANGER' });
    queue.add(CONNECT, { serial: 'BOX1' });
    deepStrictEqual(serials(new ReportQueue(store, new SeededRandom(2))), ['BOX1']);
    deepStrictEqual(serials(queue), ['STRANGER', 'BOX1']);
  });

  it('takes the same report once while it waits', () => {
    const queue = new ReportQueue(new MemoryStore(), new SeededRandom(1));
    deepStrictEqual([queue.add(CONNECT, { serial: 'BOX1' }), queue.add(CONNECT, { serial: 'BOX1' }), queue.length], [true, false, 1]);
  });
});
