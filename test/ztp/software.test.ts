// The box's own software with a real Director: the software step of onboarding, and orders to boxes that work.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import type { DirectorClient } from '../../provisioning/director/client.ts';
import type { TaskView } from '../../provisioning/director/tasks.ts';
import { INTERNET_CIRCUIT, enrol, populate, startDirector } from '../director/director-fixture.ts';
import type { Fixture } from '../director/director-fixture.ts';
import { packageOf } from '../director/package-fixture.ts';
import { until } from './agent-host.ts';
import { SoftwareBox } from './software-box.ts';

/** Of a trial that ends badly. */
const HASTE = 300;

describe("a box's own software", function () {
  this.timeout(60_000);
  let fixture: Fixture;
  let controller: DirectorClient;
  let scratch: string;
  const boxes: SoftwareBox[] = [];

  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'selvage-software-'));
    fixture = await startDirector();
    await populate(fixture);
    controller = fixture.client(await enrol(fixture));
  });

  afterEach(async () => {
    for (const box of boxes.splice(0)) await box.close();
    await fixture.close();
    rmSync(scratch, { recursive: true });
  });

  function makeBox(serial = 'BOX0001', hasSlots = true): SoftwareBox {
    const box = new SoftwareBox(serial, fixture.director.port, hasSlots);
    boxes.push(box);
    return box;
  }

  /** Orders the record, and says what the Controller would say of the staging tunnel. */
  async function stage(box: SoftwareBox, name = 'Branch-1'): Promise<void> {
    const record = await fixture.operator.orderPrestaging(name);
    await controller.call('POST', '/api/v1/branch-connect', {
      reportId: `connect-${record.serial}`,
      serial: record.serial,
      tenant: 1,
      identity: record.staging.localIdentity,
      observed: { address: '198.51.100.7', port: 500 },
      temporaryAddress: '172.30.0.1',
    });
    await box.boot(record);
  }

  const offer = async (version: string, options = {}): Promise<void> => void (await fixture.operator.uploadSoftware(packageOf(scratch, version, options).file));
  const onboardingTask = async (): Promise<TaskView | undefined> => (await fixture.operator.tasks()).find(({ kind }) => kind === 'onboarding');
  const onboarded = (): Promise<void> => until('the Task is completed', async () => (await onboardingTask())?.status === 'COMPLETED');
  const software = (task: TaskView | undefined): TaskView['steps'][number] | undefined => task?.steps.find(({ name }) => name === 'software');
  const messages = (task: TaskView | undefined): string => (task?.progressMessages ?? []).map(({ message }) => message).join('\n');
  const said = (box: SoftwareBox, sentence: string): boolean => box.lines.some((line) => line.sentence === sentence);
  const order = (task: TaskView): string => task.boxes.map(({ state }) => state).join(' ');

  async function operational(box: SoftwareBox, name = 'Branch-1'): Promise<void> {
    await stage(box, name);
    await until(`${name} is onboarded`, async () => (await fixture.operator.site(name)).onboarded && box.agent.missing === '');
  }

  async function ends(id: number, status: string): Promise<TaskView> {
    await until(`upgrade ${id} is ${status}`, async () => (await fixture.operator.task(id)).status === status);
    return fixture.operator.task(id);
  }

  describe('in the software step of onboarding', () => {
    it('is fetched and installed, and onboarding goes on in the new system, in the same Task', async () => {
      await fixture.operator.updateSite('Branch-1', { softwareVersion: '1.1.0' });
      await offer('1.1.0');
      const box = makeBox();
      const seen = new Set<number | undefined>();
      await stage(box);
      await until('the new system runs', async () => {
        seen.add(software(await onboardingTask())?.percentage);
        return box.running === '1.1.0';
      });
      await onboarded();
      const task = await onboardingTask();
      assert.deepEqual([box.booted, box.written, box.boots, box.stagings.length], ['B', ['1.1.0'], 2, 1]);
      assert.match(messages(task), /Software 0\.1\.0 runs, Director wants 1\.1\.0: the box downloads it[^]*Software 1\.1\.0 runs after a restart/);
      assert.ok([...seen].some((percentage) => percentage !== undefined), 'the step shows its percentage');
      await until('the system is good', () => box.upgrade.outcome().kind === 'good');
      assert.equal(existsSync(join(box.directory, 'software')), false);
      assert.equal((await fixture.operator.tasks()).length, 1);
    });

    it('goes on where it was when the box restarts while it fetches', async () => {
      await fixture.operator.updateSite('Branch-1', { softwareVersion: '1.1.0' });
      await offer('1.1.0', { bytes: 3_000_000 });
      const box = makeBox();
      await stage(box);
      const partial = (): number => Math.max(0, ...readdirSync(join(box.directory, 'software')).map((name) => statSync(join(box.directory, 'software', name)).size));
      await until('some of it', () => existsSync(join(box.directory, 'software')) && partial() > 500_000);
      await box.halt();
      const kept = partial();
      let came = 0;
      box.cuts = (bytes) => {
        came += bytes;
        return false;
      };
      await box.boot();
      await until('the new system runs', () => box.running === '1.1.0');
      assert.ok(came < 3_000_000 - kept + 200_000, `${came} octets came, ${kept} of 3000000 were there`);
      await onboarded();
    });

    it('goes back when onboarding does not come to its end in the new system, and is not tried twice', async () => {
      await fixture.operator.updateSite('Branch-1', { softwareVersion: '1.1.0' });
      await offer('1.1.0');
      const box = makeBox();
      box.broken = ['1.1.0'];
      box.haste = HASTE;
      await stage(box);
      await until('the box is back', () => box.boots === 3);
      await onboarded();
      const task = await onboardingTask();
      assert.deepEqual([box.running, box.written], ['0.1.0', ['1.1.0']]);
      assert.match(task!.errorMessages.at(-1)!.message, /^Software 1\.1\.0 was given up: within 10 minutes: ztp: /);
      // Staged anew, because its configuration was lost, it goes on with what it has.
      await box.halt();
      box.disk.remove('ztp-bundle.A');
      box.disk.remove('ztp-bundle.B');
      await box.boot();
      await until('the box is operational', () => box.agent.stage === 'operational');
      assert.deepEqual([box.lines.filter(({ sentence }) => sentence === 'Software version checked').length, box.written.length], [2, 1]);
      // For another prestaging record nothing of that counts.
      box.agent.loadPrestaging(await fixture.operator.orderPrestaging('Branch-1'));
      await until('another package', () => box.written.length === 2);
    });

    it('comes whole although the connection breaks at seeded points', async () => {
      await fixture.operator.updateSite('Branch-1', { softwareVersion: '1.1.0' });
      await offer('1.1.0', { bytes: 900_000 });
      const box = makeBox();
      const random = new SeededRandom('cuts');
      let left = Infinity;
      box.cuts = (bytes) => (left -= bytes) < 0;
      await stage(box);
      // Each of these breaks whatever connection reaches its end; what was fetched before stays.
      for (let cut = 0; cut < 3; cut++) {
        left = 60_000 + randomBelow(random, 120_000);
        await until(`cut ${cut}`, () => left < 0 || box.running === '1.1.0');
        left = Infinity;
        await sleep(100);
      }
      await until('the new system runs', () => box.running === '1.1.0');
      await onboarded();
      assert.ok(said(box, 'Request to Director failed'));
    });

    it('is refused with the cause in Task and log before a slot is written, and the box goes on with what it has', async () => {
      await fixture.operator.updateSite('Branch-1', { softwareVersion: '1.1.0' });
      await offer('1.1.0');
      const box = makeBox();
      box.signature = 'signature verification failed: unable to get local issuer certificate';
      await stage(box);
      await onboarded();
      const task = await onboardingTask();
      assert.deepEqual([box.running, box.written, box.boots], ['0.1.0', [], 1]);
      assert.deepEqual(task!.errorMessages.map(({ message }) => message), [`Software 1.1.0 is refused: rauc info: ${box.signature}`]);
      assert.match(messages(task), /the box goes on with what it has/);
      for (const sentence of ['bundle refused', 'Software could not be upgraded']) assert.ok(box.lines.some((line) => line.sentence === sentence && /unable to get local issuer/.test(String(line.fields['cause']))), sentence);
      assert.equal(existsSync(join(box.directory, 'software')), false);
    });

    for (const [what, hasSlots, obstacle] of [['without system slots', false, /it has no system slots/], ['without a package for it', true, /Director has no package of it for selvage-x86_64/]] as const) {
      it(`goes on as it is ${what}, and says so`, async () => {
        await fixture.operator.updateSite('Branch-1', { softwareVersion: '1.1.0' });
        await offer('1.1.0', { compatible: hasSlots ? 'selvage-aarch64' : 'selvage-x86_64' });
        const box = makeBox('BOX0001', hasSlots);
        await stage(box);
        await onboarded();
        assert.match(messages(await onboardingTask()), obstacle);
        assert.equal(box.boots, 1);
      });
    }
  });

  describe('by order of an operator', () => {
    it('is replaced on one box after the other, with every state in the Task', async () => {
      await fixture.operator.createSite({ name: 'Branch-2', serial: 'BOX0002', circuits: [{ ...INTERNET_CIRCUIT, addresses: ['192.0.2.11/24'] }], tenants: [] });
      const [one, two] = [makeBox(), makeBox('BOX0002')];
      await operational(one);
      await operational(two, 'Branch-2');
      await offer('1.1.0');
      one.isTrialHeld = true;
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2'], waves: 2, bytesPerSecond: 200_000 });
      const seen = new Set<string>();
      await until('the first is good', async () => {
        const [first, second] = (await fixture.operator.task(id)).boxes;
        seen.add(first!.state);
        if (first!.state !== 'good') assert.equal(second!.state, 'pending');
        one.isTrialHeld = first!.state !== 'on-trial';
        return first!.state === 'good';
      });
      await ends(id, 'COMPLETED');
      for (const state of ['downloading', 'on-trial']) assert.ok(seen.has(state), `${state} among ${[...seen].join(' ')}`);
      assert.deepEqual([one.running, two.running], ['1.1.0', '1.1.0']);
      const states = fixture.log.records.filter(({ sentence, fields }) => sentence === 'Upgrade report' && fields['site'] === 'Branch-1').map(({ fields }) => fields['state']);
      assert.deepEqual(states, ['downloading', 'installing', 'rebooting', 'on-trial', 'good']);
      assert.equal((await fixture.operator.site('Branch-1')).runningVersion, '1.1.0');
    });

    it('comes back when it does not work, which stops the waves that have not begun', async () => {
      await fixture.operator.createSite({ name: 'Branch-2', serial: 'BOX0002', circuits: [{ ...INTERNET_CIRCUIT, addresses: ['192.0.2.11/24'] }], tenants: [] });
      const [one, two] = [makeBox(), makeBox('BOX0002')];
      one.broken = ['1.1.0'];
      one.haste = HASTE;
      await operational(one);
      await operational(two, 'Branch-2');
      await offer('1.1.0');
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1', 'Branch-2'], waveSizes: [1] });
      const task = await ends(id, 'FAILED');
      assert.equal(order(task), 'returned cancelled');
      assert.match(task.errorMessages[0]!.message, /^Branch-1 returned: within 10 minutes: ztp: /);
      assert.deepEqual([one.running, one.boots, two.boots], ['0.1.0', 3, 1]);
    });

    for (const [what, prepare, cause] of [
      ['unsigned', (box: SoftwareBox) => void (box.signature = 'signature verification failed'), /signature verification failed/],
      ['older than the floor', (box: SoftwareBox) => box.disk.write('upgrade-floor', Buffer.from('2.0.0')), /the bundle has version 1\.1\.0, and nothing older than 2\.0\.0/],
    ] as const) {
      it(`is refused when it is ${what}, with the cause in Task and log, and no slot is written`, async () => {
        const box = makeBox();
        await operational(box);
        await offer('1.1.0');
        prepare(box);
        const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] });
        const task = await ends(id, 'FAILED');
        assert.equal(order(task), 'refused');
        assert.match(task.boxes[0]!.cause, cause);
        assert.ok(task.boxes[0]!.nextStep.length > 0);
        assert.ok(box.lines.some(({ sentence, fields }) => sentence === 'bundle refused' && cause.test(String(fields['cause']))));
        assert.deepEqual([box.written, box.boots, existsSync(join(box.directory, 'software'))], [[], 1, false]);
      });
    }

    it('is not given to the slots when what came is not what Director named', async () => {
      const box = makeBox();
      await operational(box);
      await offer('1.1.0');
      const [name] = readdirSync(join(fixture.directory, 'software'));
      const kept = join(fixture.directory, 'software', name!);
      const spoilt = readFileSync(kept);
      spoilt[1000]! ^= 1;
      writeFileSync(kept, spoilt);
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] });
      const task = await ends(id, 'FAILED');
      assert.equal(order(task), 'failed');
      assert.match(task.boxes[0]!.cause, /the package that came has SHA-256 [0-9a-f]{64}, Director named/);
      assert.ok(said(box, 'Upgrade order is over') && !said(box, 'bundle accepted') && !said(box, 'bundle refused'));
      assert.deepEqual([box.written, existsSync(join(box.directory, 'software'))], [[], false]);
    });

    it('goes on after restarts of Director and of the box in the middle of the download where it was', async () => {
      const box = makeBox();
      await operational(box);
      await offer('1.1.0', { bytes: 600_000 });
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'], bytesPerSecond: 150_000 });
      const shown: number[] = [];
      const downloaded = async (): Promise<number> => {
        shown.push((await fixture.operator.task(id)).boxes[0]!.downloaded);
        return shown.at(-1)!;
      };
      const reached = (percentage: number): Promise<void> => until(`${percentage} %`, async () => (await downloaded()) >= percentage);
      await reached(15);
      assert.match(box.agent.softwareActivity, /^downloads 1\.1\.0 by order \d+ of Director: \d+ %$/);
      await fixture.restart();
      await reached(30);
      await box.halt();
      const [partial] = readdirSync(join(box.directory, 'software'));
      assert.match(partial!, /^[0-9a-f]{64}\.partial$/);
      await box.boot();
      await reached(100);
      await ends(id, 'COMPLETED');
      assert.deepEqual(shown, shown.toSorted((a, b) => a - b));
      assert.equal(box.running, '1.1.0');
    });

    it('is called back while it is fetched, and the box has nothing left of it', async () => {
      const box = makeBox();
      await operational(box);
      await offer('1.1.0');
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'], bytesPerSecond: 20_000 });
      await until('the download', async () => (await fixture.operator.task(id)).boxes[0]!.downloaded > 0);
      assert.equal((await fixture.operator.cancelUpgrade(id)).status, 'CANCELLED');
      await until('the box hears it', () => said(box, 'Upgrade order called back'));
      await until('the disk is free', () => !existsSync(join(box.directory, 'software')));
      assert.deepEqual([box.written, box.agent.softwareActivity], [[], '']);
      // And the same box takes the next one.
      const next = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] });
      await ends(next.id, 'COMPLETED');
    });

    it('is not called back once a slot is written', async () => {
      const box = makeBox();
      await operational(box);
      await offer('1.1.0');
      let finish = (): void => {};
      box.installing = new Promise((resolve) => (finish = resolve));
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] });
      await until('it is installed', async () => order(await fixture.operator.task(id)) === 'installing');
      assert.equal(order(await fixture.operator.cancelUpgrade(id)), 'installing');
      finish();
      assert.equal(order(await ends(id, 'CANCELLED')), 'good');
    });

    it('is refused at once by a box without system slots', async () => {
      const box = makeBox('BOX0001', false);
      await operational(box);
      await offer('1.1.0');
      const { id } = await fixture.operator.orderUpgrade({ version: '1.1.0', sites: ['Branch-1'] });
      assert.equal((await ends(id, 'FAILED')).boxes[0]!.cause, 'the box has no system slots');
    });
  });
});
