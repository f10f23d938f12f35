import { deepStrictEqual, match, ok, strictEqual, throws } from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import { chooseSerial, dataPartitionState, handleSignals, imageBuiltUnixMs, readHostFacts, scheduleJob, uptimeMs } from '../../platform/host.ts';
import { SeededRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';

describe('platform/host', () => {
  it('takes the first serial that is one', () => {
    strictEqual(chooseSerial('ABC 123', 'uuid'), 'ABC123');
    strictEqual(chooseSerial('-', 'To Be Filled By O.E.M.', undefined, '4c4c4544-0042'), '4c4c4544-0042');
    strictEqual(chooseSerial('0000', '', 'Default string', ' 9f86d081 \n'), '9f86d081');
    throws(() => chooseSerial('-', '', undefined), OperationalError);
  });

  it('reads this machine and lets every fact be overridden', async () => {
    const own = await readHostFacts({ serial: 'S1' });
    strictEqual(own.serial, 'S1');
    ok(own.memoryBytes > 0 && own.cores > 0);
    match(own.architecture, /^[a-z0-9]+$/);
    const all = { serial: 'S', manufacturer: 'M', model: 'X', architecture: 'arm64', memoryBytes: 1, cores: 2 };
    deepStrictEqual(await readHostFacts(all), all);
  });

  it('finds what became of the data partition of an image where there is one', () => {
    const directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
    const file = join(directory, 'data');
    strictEqual(dataPartitionState(file), undefined);
    writeFileSync(file, 'damaged\n');
    strictEqual(dataPartitionState(file), 'damaged');
    rmSync(directory, { recursive: true });
  });

  it('finds the build time of an image where there is one', () => {
    const directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
    const file = join(directory, 'clock-epoch');
    strictEqual(imageBuiltUnixMs(file), undefined);
    writeFileSync(file, '');
    utimesSync(file, 1_795_000_000, 1_795_000_000);
    strictEqual(imageBuiltUnixMs(file), 1_795_000_000_000);
    rmSync(directory, { recursive: true });
    ok(uptimeMs() > 0);
  });

  it('stops once, reloads any time, and leaves no handler behind', () => {
    const source = new EventEmitter();
    const calls: string[] = [];
    const remove = handleSignals({ onStop: (signal) => calls.push(signal), onReload: () => calls.push('reload') }, source as NodeJS.Process);
    source.emit('SIGHUP');
    source.emit('SIGHUP');
    source.emit('SIGTERM', 'SIGTERM');
    source.emit('SIGINT', 'SIGINT');
    deepStrictEqual(calls, ['reload', 'reload', 'SIGTERM']);
    remove();
    deepStrictEqual(source.eventNames(), []);
  });

  it('runs a job of every second, never twice at once, until cancelled', async () => {
    const clock = new SystemClock();
    let runs = 0;
    await new Promise<void>((resolve, reject) => {
      const cancel = scheduleJob(
        {
          expression: '* * * * * *',
          jitterMs: 1,
          run: async () => {
            runs++;
            throw new Error('expected');
          },
          onError: (error) => {
            cancel();
            if ((error as Error).message === 'expected') resolve();
            else reject(error as Error);
          },
        },
        clock,
        new SeededRandom(1),
      );
    });
    strictEqual(runs, 1);
  });

  it('refuses what is not a cron expression', () => {
    const job = { expression: 'at noon', jitterMs: 0, run: async () => {}, onError: () => {} };
    throws(() => scheduleJob(job, new SystemClock(), new SeededRandom(1)), UsageError);
  });
});
