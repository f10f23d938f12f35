// Onboarding Tasks through the API: what reports make of them.
import assert from 'node:assert/strict';
import type { TaskView } from '../../provisioning/director/tasks.ts';
import type { DirectorClient } from '../../provisioning/director/client.ts';
import { certificateBody, enrol, populate, startDirector } from './director-fixture.ts';
import type { Fixture } from './director-fixture.ts';

const IDENTITY = 'BOX0001@staging.Provider';

function connectBody(reportId: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return { reportId, serial: 'BOX0001', tenant: 1, identity: IDENTITY, observed: { address: '198.51.100.7', port: 4500 }, temporaryAddress: '172.30.0.1', ...changes };
}

describe('onboarding Tasks', () => {
  let fixture: Fixture;
  let controller: DirectorClient;

  beforeEach(async () => {
    fixture = await startDirector();
    await populate(fixture);
    controller = fixture.client(await enrol(fixture));
  });

  afterEach(() => fixture.close());

  async function onlyTask(): Promise<TaskView> {
    const tasks = await fixture.operator.tasks();
    assert.equal(tasks.length, 1);
    return tasks[0]!;
  }

  const states = (task: TaskView): string[] => task.steps.map((step) => `${step.name} ${step.state}`);

  async function boxOf(psk: string): Promise<DirectorClient> {
    const { body, privateKey } = await certificateBody(psk, 'BOX0001', IDENTITY);
    const { certificateChain } = await fixture.client().call<{ certificateChain: string[] }>('POST', '/api/v1/devices/certificate', body);
    return fixture.client({ certificateChain: certificateChain.map((der) => Buffer.from(der, 'base64')), privateKey });
  }

  const progress = (box: DirectorClient, step: string, state: string): Promise<unknown> => box.call('POST', '/api/v1/devices/self/progress', { reports: [{ step, state, message: `${step} ${state}`, nextStep: 'look' }] });

  it('shows no Task before a Controller reports the box', async () => {
    await fixture.operator.orderPrestaging('Branch-1');
    assert.deepEqual(await fixture.operator.tasks(), []);
  });

  it('goes from branch-connect to completed by reports alone, and then forgets the pre-shared key', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001'));
    let task = await onlyTask();
    assert.equal(task.description, 'Onboard Appliance: Branch-1');
    assert.deepEqual([task.status, task.percentage], ['PENDING', 40]);
    assert.deepEqual(states(task), ['ike COMPLETED', 'branch-connect COMPLETED', 'config PENDING', 'software PENDING', 'post-staging PENDING']);
    const box = await boxOf(staging.psk);
    assert.deepEqual(states(await onlyTask())[2], 'config RUNNING');
    for (const step of ['config', 'software', 'post-staging']) await progress(box, step, 'completed');
    task = await onlyTask();
    assert.deepEqual([task.status, task.percentage], ['COMPLETED', 100]);
    assert.equal((await fixture.operator.site('Branch-1')).onboarded, true);
    const { body } = await certificateBody(staging.psk, 'BOX0001', IDENTITY);
    await assert.rejects(fixture.client().call('POST', '/api/v1/devices/certificate', body), /no prestaging record in force/);
  });

  it('acts once on a report that comes twice', async () => {
    await fixture.operator.orderPrestaging('Branch-1');
    const first = await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001'));
    const messages = (await onlyTask()).progressMessages.length;
    assert.deepEqual(await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001')), first);
    assert.equal((await onlyTask()).progressMessages.length, messages);
  });

  it('says which serial, identity or tenant does not match, with a next step', async () => {
    await fixture.operator.orderPrestaging('Branch-1');
    await assert.rejects(controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001', { serial: 'BOX7777' })), /serial BOX7777 does not match enrolled BOX0001/);
    await assert.rejects(controller.call('POST', '/api/v1/branch-connect', connectBody('report-0002', { tenant: 9 })), /staged in tenant 9/);
    const task = await onlyTask();
    assert.equal(task.status, 'FAILED');
    assert.deepEqual(task.errorMessages.map((entry) => entry.message), ['serial BOX7777 does not match enrolled BOX0001', 'the box staged in tenant 9, staging belongs to tenant 1']);
    assert.ok(task.errorMessages.every((entry) => entry.nextStep.length > 0));
    const vos = (await fixture.operator.call<Record<string, Record<string, unknown>>>('GET', `/vnms/tasks/task/${task.id}`))['versa-tasks.task']!;
    assert.deepEqual([vos['task-status'], vos['percentage-completion']], ['FAILED', 0]);
  });

  it('opens no Task for a box that nobody knows, and logs its failure', async () => {
    for (const named of [{ serial: 'STRANGER' }, { identity: 'STRANGER@staging.Provider' }, {}]) {
      const body = { reportId: `report-${JSON.stringify(named).length}-aaaa`, step: 'ike', ...named, cause: 'it is not enrolled', nextStep: 'create the site' };
      assert.deepEqual(await controller.call('POST', '/api/v1/branch-failed', body), { task: null });
    }
    assert.deepEqual(await fixture.operator.tasks(), []);
    assert.equal(fixture.log.records.filter(({ sentence }) => sentence === 'Onboarding failure of an unknown box').length, 3);
  });

  it('counts repeated errors in place', async () => {
    await fixture.operator.orderPrestaging('Branch-1');
    for (const id of ['report-0001', 'report-0002']) {
      await controller.call('POST', '/api/v1/branch-failed', { reportId: id, step: 'ike', serial: 'BOX0001', cause: 'pre-shared key does not match', nextStep: 'compare' });
    }
    assert.deepEqual((await onlyTask()).errorMessages.map(({ message, count }) => [message, count]), [['Controller-1: pre-shared key does not match', 2]]);
  });

  it('lets nobody change a Task by a bad certificate request: it is mentioned, and the onboarding goes on', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001'));
    const before = await onlyTask();
    const bad = async (psk: string, identity: string): Promise<void> => {
      const { body } = await certificateBody(psk, 'BOX0001', identity);
      await assert.rejects(fixture.client().call('POST', '/api/v1/devices/certificate', body));
    };
    const stranger = Buffer.alloc(32, 1).toString('base64');
    for (let i = 0; i < 4; i++) await bad(stranger, i % 2 === 0 ? IDENTITY : `guess-${i}@staging.Provider`);
    const after = await onlyTask();
    assert.deepEqual([after.status, states(after)], [before.status, states(before)]);
    assert.deepEqual(after.errorMessages.map(({ message, count }) => [message.replace(/^.*: /, ''), count]), [['it is not proven with the pre-shared key', 2], ['it names another staging identity', 2]]);
    const box = await boxOf(staging.psk);
    for (const step of ['config', 'software', 'post-staging']) await progress(box, step, 'completed');
    await bad(stranger, IDENTITY);
    assert.equal((await onlyTask()).status, 'COMPLETED');
  });

  it('opens no new Task for a box that is in when somebody fails under its name', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001'));
    const box = await boxOf(staging.psk);
    for (const step of ['config', 'software', 'post-staging']) await progress(box, step, 'completed');
    const failed = { reportId: 'report-0002', step: 'ike', serial: 'BOX0001', identity: IDENTITY, cause: 'the identity is not known', nextStep: 'compare' };
    assert.deepEqual(await controller.call('POST', '/api/v1/branch-failed', failed), { task: null });
    assert.equal((await onlyTask()).status, 'COMPLETED');
  });

  it('continues the same Task when a failed onboarding later succeeds', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    await controller.call('POST', '/api/v1/branch-failed', { reportId: 'report-0001', step: 'ike', identity: IDENTITY, serial: 'BOX7777', cause: 'serial BOX7777 does not match BOX0001', nextStep: 'load the right record' });
    const failed = await onlyTask();
    assert.deepEqual([failed.status, states(failed)[0], failed.siteId], ['FAILED', 'ike FAILED', 100]);
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0002'));
    const again = await onlyTask();
    assert.deepEqual([again.id, again.status], [failed.id, 'PENDING']);
    assert.ok(again.progressMessages.some((entry) => /tries again after a failure/.test(entry.message)));
    assert.equal(again.errorMessages.length, 1);
    const box = await boxOf(staging.psk);
    await progress(box, 'config', 'failed');
    assert.equal((await onlyTask()).status, 'FAILED');
    for (const step of ['config', 'software', 'post-staging']) await progress(box, step, 'completed');
    assert.equal((await onlyTask()).status, 'COMPLETED');
  });

  it('fails the Task of a box whose certificate a Controller refuses, until the box is in, and never afterwards', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    const refused = (id: string, serial: string): Promise<{ readonly task: number | null }> =>
      controller.call('POST', '/api/v1/branch-failed', { reportId: id, step: 'post-staging', identity: 'Branch-1@Acme.Provider', serial, cause: 'the certificate is not trusted', nextStep: 'compare' });
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001'));
    const box = await boxOf(staging.psk);
    for (const step of ['config', 'software']) await progress(box, step, 'completed');
    await refused('report-0002', 'BOX0001');
    const task = await onlyTask();
    assert.deepEqual([task.status, states(task).at(-1), task.errorMessages.at(-1)?.message], ['FAILED', 'post-staging FAILED', 'Controller-1: the certificate is not trusted']);
    await progress(box, 'post-staging', 'completed');
    for (const serial of ['BOX0001', 'STRANGER']) assert.equal((await refused(`report-${serial}`, serial)).task, null);
    assert.equal((await onlyTask()).status, 'COMPLETED');
  });

  it('leaves a completed Task alone when late reports come, and opens a new one for a new staging', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0001'));
    const box = await boxOf(staging.psk);
    for (const step of ['config', 'software', 'post-staging']) await progress(box, step, 'completed');
    await progress(box, 'post-staging', 'failed');
    assert.equal((await onlyTask()).status, 'COMPLETED');
    await fixture.operator.orderPrestaging('Branch-1');
    await controller.call('POST', '/api/v1/branch-connect', connectBody('report-0002'));
    assert.deepEqual((await fixture.operator.tasks()).map((task) => task.status), ['PENDING', 'COMPLETED']);
  });

  it('takes branch reports from Controllers only', async () => {
    const { staging } = await fixture.operator.orderPrestaging('Branch-1');
    const box = await boxOf(staging.psk);
    await assert.rejects(box.call('POST', '/api/v1/branch-connect', connectBody('report-0001')), /this route is for a controller/);
  });
});
