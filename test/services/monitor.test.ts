import { deepStrictEqual, match, rejects, strictEqual } from 'node:assert/strict';
import { connect } from 'node:net';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MonitorService } from '../../firmware/services/monitor.ts';
import { UsageError } from '../../platform/errors.ts';
import { LONGEST_REQUEST, askJson } from '../../platform/unix-socket.ts';

describe('services/monitor', () => {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-monitor-'));
  const path = join(directory, 'run', 'monitor.sock');
  const monitor = new MonitorService(
    path,
    new Map([
      ['echo', (parameters: Readonly<Record<string, string>>) => parameters],
      [
        'fail',
        () => {
          throw new UsageError('no tenant 9 is configured; known are 2 (Acme)');
        },
      ],
    ]),
  );

  before(() => monitor.start());
  after(async () => {
    await monitor.stop();
    rmSync(directory, { recursive: true });
  });

  it('answers a query with its parameters', async () => {
    deepStrictEqual(await askJson(path, { query: 'echo', parameters: { tenant: '2' } }), { tenant: '2' });
  });

  it('hands a refusal to the asker in words', async () => {
    await rejects(askJson(path, { query: 'fail' }), /no tenant 9 is configured; known are 2 \(Acme\)/);
    await rejects(askJson(path, { query: 'nothing' }), /no query nothing; known are echo, fail/);
    await rejects(askJson(path, 'text'), /a request is one JSON object/);
    await rejects(askJson(path, { query: 'echo', parameters: { a: 1 } }), /parameters are texts/);
  });

  it('names the cause and the next step when nobody listens', async () => {
    await rejects(askJson(`${path}.other`, { query: 'echo' }), (error: Error & { nextStep?: string }) => {
      match(error.message, /no answer on/);
      match(error.nextStep ?? '', /check that the appliance service runs/);
      return true;
    });
  });

  it('lets nobody but its owner connect', () => {
    strictEqual(statSync(path).mode & 0o777, 0o600);
  });

  it('goes on after garbage and after a line without end', async () => {
    await new Promise<void>((resolve) => {
      const socket = connect(path);
      socket.resume();
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
      socket.write('not json\n');
      socket.write('x'.repeat(LONGEST_REQUEST + 2));
    });
    deepStrictEqual(await askJson(path, { query: 'echo' }), {});
  });
});
