// Upgrades of many boxes through Director's API; the boxes are clients that say what a test wants.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../../platform/time.ts';
import type { DirectorClient } from '../../provisioning/director/client.ts';
import type { TaskView } from '../../provisioning/director/tasks.ts';
import { nextStep, waveSizes } from '../../provisioning/director/upgrade-waves.ts';
import type { UpgradeState, WaveBox } from '../../provisioning/director/upgrade-waves.ts';
import { INTERNET_CIRCUIT, certifyByHand, populate, startDirector } from './director-fixture.ts';
import type { Fixture } from './director-fixture.ts';
import { packageOf } from './package-fixture.ts';

describe('waves of an upgrade', () => {
  it('are cut as ordered, with the rest in a last one', () => {
    assert.deepEqual(waveSizes(7, {}), [7]);
    assert.deepEqual(waveSizes(7, { waveSizes: [1, 2] }), [1, 2, 4]);
    assert.deepEqual(waveSizes(2, { waveSizes: [1, 5, 9] }), [1, 1]);
    assert.deepEqual(waveSizes(7, { waves: 3 }), [2, 2, 3]);
    assert.deepEqual(waveSizes(2, { waves: 5 }), [1, 1]);
  });

  it('begin one after the other, and stop after a failure too many', () => {
    const box = (wave: number, state: UpgradeState, started: boolean): WaveBox => ({ wave, state, startedUnixMs: started ? 1 : undefined });
    const step = (boxes: readonly WaveBox[], allowed = 0, cancelled = false): unknown => nextStep(boxes, allowed, cancelled);
    const rest = [box(2, 'pending', false), box(3, 'pending', false)];
    assert.deepEqual(step([box(1, 'pending', false), ...rest]), { kind: 'begin', wave: 1 });
    assert.deepEqual(step([box(1, 'on-trial', true), ...rest]), { kind: 'wait' });
    assert.deepEqual(step([box(1, 'good', true), ...rest]), { kind: 'begin', wave: 2 });
    assert.deepEqual(step([box(1, 'returned', true), ...rest]), { kind: 'stop' });
    assert.deepEqual(step([box(1, 'returned', true), ...rest], 1), { kind: 'begin', wave: 2 });
    // A box of the same wave that has begun goes on.
    assert.deepEqual(step([box(1, 'failed', true), box(1, 'downloading', true), box(2, 'cancelled', false)]), { kind: 'wait' });
    assert.deepEqual(step([box(1, 'failed', true), box(2, 'cancelled', false)]), { kind: 'over', status: 'FAILED' });
    assert.deepEqual(step([box(1, 'failed', true), box(2, 'good', true)], 1), { kind: 'over', status: 'COMPLETED' });
    assert.deepEqual(step([box(1, 'installing', true), ...rest], 0, true), { kind: 'stop' });
    assert.deepEqual(step([box(1, 'good', true), box(2, 'cancelled', false)], 0, true), { kind: 'over', status: 'CANCELLED' });
  });
});

interface Software {
  readonly version: string;
  readonly package: { readonly version: string } | null;
  readonly order: { readonly id: number; readonly bytesPerSecond: number; readonly package: { readonly sha256: string } } | null;
}

describe("upgrades by Director's order", () => {
  let fixture: Fixture;
  let scratch: string;
  const boxes = new Map<string, DirectorClient>();

  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'selvage-upgrades-'));
    fixture = await startDirector();
    await populate(fixture);
    boxes.clear();
    for (const n of [1, 2, 3]) {
      const name = `Branch-${n}`;
      if (n > 1) await fixture.operator.createSite({ name, serial: `BOX000${n}`, circuits: [{ ...INTERNET_CIRCUIT, addresses: [`192.0.2.1${n}/24`] }], tenants: [] });
      boxes.set(name, fixture.client(await certifyByHand(fixture, name)));
    }
    await fixture.operator.uploadSoftware(packageOf(scratch, '1.1.0').file);
  });

  afterEach(async () => {
    await fixture.close();
    rmSync(scratch, { recursive: true });
  });

  const poll = (name: string, running = '1.0.0', compatible: string | undefined = 'selvage-x86_64'): Promise<Software> =>
    boxes.get(name)!.call('GET', `/api/v1/devices/self/software?running=${running}${compatible === undefined ? '' : `&compatible=${compatible}`}`);
  const tell = (name: string, order: number, state: UpgradeState, more: object = {}): Promise<void> => boxes.get(name)!.call('POST', '/api/v1/devices/self/upgrade', { order, state, ...more });
  const states = (task: TaskView): string => task.boxes.map((box) => box.state).join(' ');
  const task = (id: number): Promise<TaskView> => fixture.operator.task(id);

  it('go through their states, wave by wave, with percentages, and Director remembers the version', async () => {
    const { id, boxes: rows, description } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2'], waves: 2, bytesPerSecond: 50_000 });
    assert.deepEqual([description, rows.map(({ site, wave }) => `${site} ${wave}`)], ['Upgrade Appliances to 1.1.0: 2 sites', ['Branch-1 1', 'Branch-2 2']]);
    assert.equal((await poll('Branch-2')).order, null);
    const { order } = await poll('Branch-1');
    assert.deepEqual([order!.id, order!.bytesPerSecond], [id, 50_000]);
    const percentages: number[] = [];
    for (const [state, more] of [['downloading', { percentage: 40 }], ['installing', {}], ['rebooting', {}], ['on-trial', {}], ['good', {}]] as const) {
      await tell('Branch-1', id, state, more);
      const now = await task(id);
      percentages.push(now.percentage);
      assert.equal(states(now), `${state} pending`);
    }
    assert.deepEqual(percentages, [10, 25, 35, 40, 50]);
    // The first is done: the second hears of its order. One that runs the version already is done at once.
    assert.equal((await poll('Branch-2', '1.1.0')).order, null);
    const end = await task(id);
    assert.deepEqual([end.status, end.percentage, end.boxes[1]!.cause], ['COMPLETED', 100, 'it runs this version already']);
    const site = await fixture.operator.site('Branch-1');
    assert.deepEqual([site.softwareVersion, site.runningVersion, site.compatible], ['1.1.0', '1.1.0', 'selvage-x86_64']);
    assert.ok(end.progressMessages.some(({ message }) => message === 'Wave 2 begins: 1 of 2 boxes'));
    // The same answer to a report whose answer was lost.
    await tell('Branch-1', id, 'good');
  });

  it('stop after a failure, whose cause stands in Task and log, and let who has begun finish', async () => {
    const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2', 'Branch-3'], waveSizes: [2] });
    await tell('Branch-2', id, 'downloading', { percentage: 5 });
    await tell('Branch-1', id, 'returned', { cause: 'within 10 minutes: BGP of Acme is down', nextStep: 'look at its log' });
    assert.equal(states(await task(id)), 'returned downloading cancelled');
    await tell('Branch-2', id, 'installing');
    await tell('Branch-2', id, 'good');
    const end = await task(id);
    assert.deepEqual([end.status, states(end)], ['FAILED', 'returned good cancelled']);
    assert.deepEqual(end.errorMessages.map(({ message, nextStep: next }) => [message, next]), [['Branch-1 returned: within 10 minutes: BGP of Acme is down', 'look at its log']]);
    assert.ok(fixture.log.records.some(({ sentence, fields }) => sentence === 'Upgrade report' && fields['cause'] === 'within 10 minutes: BGP of Acme is down'));
    assert.equal((await poll('Branch-3')).order, null);
    // Whoever was cancelled can be ordered again.
    assert.equal((await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-3'] })).status, 'PENDING');
  });

  it('are called back from boxes that have not begun to install, and from no others', async () => {
    const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2', 'Branch-3'], waveSizes: [2] });
    await tell('Branch-1', id, 'installing');
    await tell('Branch-2', id, 'downloading');
    const cancelled = await fixture.operator.cancelUpgrade(id);
    assert.deepEqual([cancelled.status, states(cancelled)], ['PENDING', 'installing cancelled cancelled']);
    await assert.rejects(tell('Branch-2', id, 'installing'), /order \d+ is over: cancelled/);
    assert.equal((await poll('Branch-2')).order, null);
    await tell('Branch-1', id, 'good');
    assert.equal((await task(id)).status, 'CANCELLED');
    await assert.rejects(fixture.operator.cancelUpgrade(id), /is over: CANCELLED/);
  });

  it('give up a box that does not answer, but not one that is busy, and hear a late end', async () => {
    const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2', 'Branch-3'], failuresAllowed: 1, answerSeconds: 120 });
    await tell('Branch-1', id, 'installing');
    await tell('Branch-2', id, 'good');
    fixture.clock.shiftMs += 121_000;
    for (let tries = 0; tries < 200 && states(await task(id)) !== 'installing good failed'; tries++) await sleep(20);
    assert.deepEqual((await task(id)).boxes[2]!.cause, 'it has not answered for 120 s in state pending');
    fixture.clock.shiftMs += 2_400_000;
    for (let tries = 0; tries < 200 && (await task(id)).status === 'PENDING'; tries++) await sleep(20);
    assert.deepEqual([states(await task(id)), (await task(id)).status], ['failed good failed', 'FAILED']);
    await tell('Branch-1', id, 'good');
    assert.deepEqual([states(await task(id)), (await task(id)).status], ['good good failed', 'FAILED']);
  });

  it('go on after a restart of Director where they were', async () => {
    const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2'], waves: 2 });
    await tell('Branch-1', id, 'downloading', { percentage: 70 });
    await fixture.restart();
    assert.deepEqual((await task(id)).boxes.map(({ state, downloaded }) => [state, downloaded]), [['downloading', 70], ['pending', 0]]);
    assert.equal((await poll('Branch-1')).order!.id, id);
    await tell('Branch-1', id, 'good');
    assert.equal((await poll('Branch-2')).order!.id, id);
  });

  it('are refused for boxes without slots, without a package, and at the order where that is known', async () => {
    const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2'], failuresAllowed: 2 });
    assert.equal((await poll('Branch-1', '1.0.0', 'selvage-aarch64')).order, null);
    assert.equal((await boxes.get('Branch-2')!.call<Software>('GET', '/api/v1/devices/self/software?running=1.0.0')).order, null);
    const end = await task(id);
    assert.deepEqual(end.boxes.map(({ state, cause }) => [state, cause]), [['refused', 'there is no software package of 1.1.0 for selvage-aarch64'], ['refused', 'the box has no system slots']]);
    await assert.rejects(fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] }), /no software package of 1\.1\.0 for selvage-aarch64, which Branch-1 needs/);
    await assert.rejects(fixture.operator.orderUpgrade({ version: '9.9.9', sites: ['Branch-3'] }), /there is no software package of version 9\.9\.9/);
    await assert.rejects(fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-3', 'Branch-3'] }), /a site is listed twice/);
    await assert.rejects(fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Nowhere'] }), /there is no site Nowhere/);
    await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-3'] });
    await assert.rejects(fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-3'] }), /belongs to upgrade \d+, which is under way/);
    const [kept] = await fixture.operator.software();
    await assert.rejects(fixture.operator.deleteSoftware(kept!.sha256), /is under way/);
  });

  it('end for a site that is deleted, and take reports of a box about its own order only', async () => {
    const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] });
    await assert.rejects(tell('Branch-2', id, 'good'), /there is none for this site/);
    await fixture.operator.call('DELETE', '/api/v1/sites/Branch-1');
    for (let tries = 0; tries < 200 && (await task(id)).status === 'PENDING'; tries++) await sleep(20);
    assert.deepEqual((await task(id)).boxes.map(({ state, cause }) => [state, cause]), [['failed', 'its site was deleted']]);
  });
});
