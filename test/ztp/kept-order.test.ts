// What a box keeps of Director's order, when the disk gives something else back.
import assert from 'node:assert/strict';
import { utf8 } from '../../platform/bytes.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { SystemClock } from '../../platform/time.ts';
import { SoftwareOrders } from '../../provisioning/ztp/software-orders.ts';

const DOCUMENT = 'ztp-software-order';
const PACKAGE = { sha256: 'ab'.repeat(32), compatible: 'selvage-x86_64', version: '1.1.0', bytes: 1000 };
const ORDER = { id: 7, package: PACKAGE, bytesPerSecond: 10_000 };

/** What an operator is shown, and what the log says, after a start with this document. */
function startedWith(document: string): { readonly activity: string; readonly logged: readonly string[] } {
  const store = new MemoryStore();
  store.write(DOCUMENT, utf8(document));
  const sink = new MemorySink();
  const log = new SinkLog([sink], () => 0).channel('ztp');
  const orders = new SoftwareOrders({ site: { clock: new SystemClock(), random: new SeededRandom(1), store }, log, slots: undefined, running: '1.0.0' });
  const { activity } = orders;
  orders.stop();
  return { activity, logged: sink.records.map(({ sentence }) => sentence) };
}

describe('an order that a box keeps', () => {
  it('goes on after a restart', () => {
    assert.deepEqual(startedWith(JSON.stringify({ ...ORDER, phase: 'downloading' })), { activity: 'downloads 1.1.0 by order 7 of Director: 0 %', logged: [] });
    assert.deepEqual(startedWith(JSON.stringify({ ...ORDER, phase: 'installing' })), { activity: 'carries out order 7 of Director: 1.1.0', logged: [] });
    assert.deepEqual(startedWith(JSON.stringify({ ...ORDER, phase: 'over', end: { state: 'good', cause: '', nextStep: '' } })), { activity: '', logged: [] });
  });

  for (const [what, document] of Object.entries({
    'no JSON': '{"id":7,',
    nothing: 'null',
    'a list': '[]',
    'an order without package': JSON.stringify({ id: 7, bytesPerSecond: 10_000, phase: 'downloading' }),
    'a package without version': JSON.stringify({ ...ORDER, package: { ...PACKAGE, version: undefined }, phase: 'downloading' }),
    'a phase that there is not': JSON.stringify({ ...ORDER, phase: 'resting' }),
    'an end that is missing': JSON.stringify({ ...ORDER, phase: 'over' }),
  })) {
    it(`counts as none when the disk has ${what}, and the log says so`, () => {
      assert.deepEqual(startedWith(document), { activity: '', logged: ['Upgrade order that was kept cannot be read'] });
    });
  }
});
