// The rescue process's own clockwork, on a clock that the test moves.
import assert from 'node:assert/strict';
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import { managementOnly, RescueEnd, RescueService } from '../../firmware/services/rescue.ts';
import type { Site } from '../../firmware/services/service.ts';
import { Alarms } from '../../platform/alarms.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ManualClock } from './manual-clock.ts';

const MINUTE_MS = 60_000;

function makeSite(store = new MemoryStore(), seed = 1) {
  const clock = new ManualClock();
  const log = new SinkLog([new MemorySink()], () => clock.unixMs());
  const alarms = new Alarms(log.channel('alarms'), () => clock.unixMs());
  return { clock, alarms, store, site: { clock, log, alarms, store, random: new SeededRandom(seed) } as unknown as Site };
}

async function rescue(store: MemoryStore, seed = 1, startMain = (): Promise<void> => Promise.resolve()) {
  const made = makeSite(store, seed);
  const started: number[] = [];
  const service = new RescueService({
    site: made.site,
    firstRetrySeconds: 120,
    longestRetrySeconds: 3600,
    startMain: () => {
      started.push(made.clock.now());
      return startMain();
    },
  });
  await service.start();
  return { ...made, started, service };
}

describe('services: rescue', () => {
  it('raises branch-in-maintenance-mode as long as it runs', async () => {
    const { alarms } = await rescue(new MemoryStore());
    assert.deepEqual(alarms.active().map(({ name, severity }) => [name, severity]), [['branch-in-maintenance-mode', 'critical']]);
  });

  it('tries the main service again at intervals that double from one rescue to the next, up to an hour, each spread by a quarter', async () => {
    const store = new MemoryStore();
    for (const meanMinutes of [2, 4, 8, 16, 32, 60, 60]) {
      // Each attempt ends this process; the next rescue finds the count in the store.
      const { clock, started, service } = await rescue(store, meanMinutes);
      clock.advance(meanMinutes * 0.75 * MINUTE_MS - 1);
      assert.deepEqual(started, []);
      clock.advance(meanMinutes * 0.5 * MINUTE_MS + 1);
      assert.equal(started.length, 1);
      await service.stop();
    }
  });

  it('does not try at the same moment as another box', async () => {
    const times = await Promise.all([1, 2, 3, 4].map(async (seed) => {
      const { clock, started } = await rescue(new MemoryStore(), seed);
      clock.advance(3 * MINUTE_MS);
      return started[0];
    }));
    assert.equal(new Set(times).size, 4);
  });

  it('goes on when the service manager refuses', async () => {
    const { clock, started } = await rescue(new MemoryStore(), 1, () => Promise.reject(new Error('no bus')));
    clock.advance(3 * MINUTE_MS);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(5 * MINUTE_MS);
    assert.equal(started.length, 2);
  });

  it('begins with its first interval again after the main service has run for 15 minutes, and not before', async () => {
    const store = new MemoryStore();
    const first = await rescue(store);
    first.clock.advance(3 * MINUTE_MS);
    for (const [minutes, left] of [[14, 1], [15, 0]] as const) {
      const { clock, site } = makeSite(store);
      const end = new RescueEnd(site);
      await end.start();
      clock.advance(minutes * MINUTE_MS);
      await end.stop();
      assert.equal(store.list().length, left);
    }
  });

  it('leaves of a configuration the circuits and the provider, and no LAN', () => {
    const lan = { ports: [] };
    const configuration = { circuits: ['c'], tenants: [{ tenant: 1, lan: undefined }, { tenant: 2, lan }, { tenant: 3, lan }] } as unknown as DeviceConfiguration;
    assert.deepEqual(managementOnly(configuration), { circuits: ['c'], tenants: [{ tenant: 1, lan: undefined }] });
  });
});
