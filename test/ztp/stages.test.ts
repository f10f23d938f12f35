// Ladders of the stages machine with virtual time. `-->` is what the box asks, `<--` what it is told.
import assert from 'node:assert/strict';
import { SeededRandom } from '../../platform/random.ts';
import { instant } from '../../platform/time.ts';
import type { StageInput, StageOutcome, StageOutput, StageReport, StageRequest } from '../../provisioning/ztp/stages-messages.ts';
import { Stages } from '../../provisioning/ztp/stages.ts';
import { CONFIGURATION, RECORD } from './configuration-fixture.ts';

const FAILED: StageOutcome = { kind: 'failed', cause: 'no route', refused: false, certificateRefused: false };
const REFUSED: StageOutcome = { kind: 'failed', cause: 'no', refused: true, certificateRefused: false };
const UP = { kind: 'post-staging', controlTunnels: 'up', bgp: 'up', detail: '' } as const;
const DOWN = { kind: 'post-staging', controlTunnels: 'down', bgp: 'down', detail: 'IKE: no answer' } as const;

const UPGRADE = { package: { sha256: 'ab'.repeat(32), compatible: 'selvage-x86_64', version: '0.2.0', bytes: 1000 }, bytesPerSecond: 100 };
const WANTED: StageOutcome = { kind: 'software', wanted: '0.2.0', upgrade: UPGRADE, obstacle: '' };

/** A machine with its clock; keeps what it asked for. */
class Box {
  readonly stages = new Stages({ random: new SeededRandom('box'), softwareVersion: '0.1.0' });
  now = 1000;
  outputs: StageOutput[] = [];
  readonly logged: string[] = [];

  tell(input: StageInput): this {
    this.stages.handle(input, instant(this.now));
    return this.#drain();
  }

  #drain(): this {
    for (let output = this.stages.poll(); output !== undefined; output = this.stages.poll()) {
      if (output.kind === 'log') this.logged.push(output.event.sentence);
      else this.outputs.push(output);
    }
    return this;
  }

  /** Lets virtual time pass, with every deadline on the way. */
  pass(ms: number): this {
    const end = this.now + ms;
    for (let deadline = this.stages.deadline(); deadline !== undefined && deadline <= end; deadline = this.stages.deadline()) {
      this.now = Math.max(this.now, deadline);
      this.stages.handle({ kind: 'timeout' }, instant(this.now));
      this.#drain();
    }
    this.now = end;
    return this;
  }

  /** What was asked since the last look, as words. */
  asked(): string[] {
    const words = this.outputs.map((output) => (output.kind === 'request' ? output.request.kind : output.kind));
    this.outputs = [];
    return words;
  }

  lastRequest(kind: StageRequest['kind']): Extract<StageOutput, { kind: 'request' }> {
    const found = this.outputs.findLast((output) => output.kind === 'request' && output.request.kind === kind);
    assert.ok(found?.kind === 'request', `no ${kind} request among ${this.outputs.map((output) => output.kind).join(', ')}`);
    return found;
  }

  answer(kind: StageRequest['kind'], outcome: StageOutcome): this {
    return this.tell({ kind: 'outcome', request: this.lastRequest(kind).id, outcome });
  }

  staged(): this {
    return this.tell({ kind: 'prestaging', record: RECORD, hasCertificate: false }).tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5', '203.0.113.6'] });
  }

  /** Up to and including the order to apply the configuration. */
  configured(): this {
    this.staged().answer('certificate', { kind: 'certificate' }).answer('bundle', { kind: 'bundle', configuration: CONFIGURATION });
    this.answer('report', { kind: 'reported' }).answer('software', { kind: 'software', wanted: '0.1.0', upgrade: undefined, obstacle: 'Director has no package of it' });
    return this.answer('report', { kind: 'reported' });
  }

  operational(): this {
    return this.configured().tell({ kind: 'applied' }).tell(UP);
  }
}

describe('ZTP stages', () => {
  it('waits in the factory without a record and asks nothing', () => {
    const box = new Box().tell(UP).tell({ kind: 'staging-down', cause: 'x' });
    assert.equal(box.stages.stage, 'factory');
    assert.equal(box.stages.deadline(), undefined);
    assert.deepEqual(box.asked(), []);
  });

  it('climbs from prestaging to operational', () => {
    const box = new Box();
    // prestaging record <-- ; staging IKE -->
    box.tell({ kind: 'prestaging', record: RECORD, hasCertificate: false });
    assert.deepEqual([box.stages.stage, box.asked()], ['staging-ike', ['start-staging']]);
    // tunnel up <-- ; certificate --> over the staging address, port unknown
    box.tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5'] });
    assert.deepEqual(box.lastRequest('certificate').path, { localAddress: '172.30.0.1', director: '203.0.113.5', port: undefined });
    // certificate <-- ; bundle -->
    box.answer('certificate', { kind: 'certificate' });
    assert.equal(box.stages.stage, 'bundle');
    // bundle <-- ; report and software -->
    box.answer('bundle', { kind: 'bundle', configuration: CONFIGURATION });
    assert.equal(box.stages.stage, 'software-check');
    box.answer('report', { kind: 'reported' }).answer('software', { kind: 'software', wanted: '0.2.0', upgrade: undefined, obstacle: 'Director has no package of it' });
    const { request } = box.lastRequest('report');
    assert.ok(request.kind === 'report');
    assert.match(request.reports[0]!.message, /0.1.0 runs, Director wants 0.2.0/);
    assert.deepEqual(request.reports.map((report: StageReport) => `${report.step} ${report.state}`), ['software completed', 'post-staging started']);
    // reports taken <-- ; staging ends, configuration applied -->
    box.outputs = box.outputs.filter((output) => output.kind === 'request');
    box.answer('report', { kind: 'reported' });
    assert.deepEqual([box.stages.stage, box.outputs.slice(-2).map((output) => output.kind)], ['post-staging', ['stop-staging', 'apply']]);
    box.tell({ kind: 'applied' }).tell(DOWN).tell({ ...DOWN, controlTunnels: 'up', detail: 'BGP: active' });
    assert.equal(box.stages.stage, 'post-staging');
    // tunnels and BGP up <-- ; last report --> over the provider's control VR
    box.tell(UP);
    assert.equal(box.stages.stage, 'operational');
    assert.deepEqual(box.lastRequest('report').path, { localAddress: '10.0.0.3', director: '203.0.113.5', port: 8443 });
    assert.equal(box.stages.onboarded, false);
    box.answer('report', { kind: 'reported' });
    assert.deepEqual([box.stages.onboarded, box.outputs.at(-1)!.kind], [true, 'onboarded']);
  });

  it('starts the staging tunnel over when it does not come', () => {
    const box = new Box().tell({ kind: 'prestaging', record: RECORD, hasCertificate: false });
    assert.deepEqual(box.asked(), ['start-staging']);
    box.tell({ kind: 'staging-down', cause: 'IKE: authentication failed' });
    assert.match(box.stages.detail, /authentication failed/);
    box.pass(119_000);
    assert.deepEqual(box.asked(), []);
    box.pass(10_000);
    assert.deepEqual(box.asked(), ['stop-staging', 'start-staging']);
  });

  it('repeats a request with growing pauses at the next address of Director, then makes the tunnel anew', () => {
    const box = new Box().staged();
    const directors: string[] = [];
    const times: number[] = [];
    for (let tries = 0; tries < 4; tries++) {
      directors.push(box.lastRequest('certificate').path.director);
      times.push(box.now);
      box.answer('certificate', FAILED);
      if (tries < 3) {
        box.asked();
        const before = box.now;
        while (!box.outputs.some((output) => output.kind === 'request') && box.now < before + 60_000) box.pass(100);
      }
    }
    assert.deepEqual(directors, ['203.0.113.5', '203.0.113.6', '203.0.113.5', '203.0.113.6']);
    const pauses = times.slice(1).map((time, i) => time - times[i]!);
    for (const [i, pause] of pauses.entries()) assert.ok(pause >= 1500 * 2 ** i && pause <= 2600 * 2 ** i, `pause ${i} is ${pause} ms`);
    assert.equal(box.stages.stage, 'staging-ike');
    assert.equal(box.outputs.at(-1)!.kind, 'stop-staging');
    box.asked();
    assert.deepEqual(box.pass(3000).asked(), ['start-staging']);
  });

  it('goes back to staging at once when Director refuses, each time for longer', () => {
    const box = new Box();
    box.staged();
    const waits: number[] = [];
    for (let round = 0; round < 12; round++) {
      box.answer('certificate', REFUSED);
      box.asked();
      const before = box.now;
      for (let tries = 0; tries < 1000 && box.outputs.length === 0; tries++) box.pass(500);
      waits.push(box.now - before);
      assert.deepEqual(box.asked(), ['start-staging']);
      box.tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5'] });
    }
    assert.ok(waits[1]! > waits[0]! && waits[4]! > waits[2]!);
    assert.ok(Math.max(...waits) <= 375_500, 'never longer than five minutes and a quarter');
  });

  it('keeps a good certificate over a failed bundle, and drops one that Director does not accept', () => {
    const box = new Box().staged().answer('certificate', { kind: 'certificate' }).answer('bundle', REFUSED);
    box.pass(3000).tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5'] });
    assert.equal(box.stages.stage, 'bundle');
    box.answer('bundle', { ...REFUSED, certificateRefused: true } as StageOutcome);
    box.pass(6000).tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5'] });
    assert.equal(box.stages.stage, 'certificate');
  });

  it('tells Director why it refuses a bundle and asks again', () => {
    const box = new Box().staged().answer('certificate', { kind: 'certificate' });
    box.answer('bundle', { kind: 'bundle-invalid', cause: 'its signature is wrong' });
    const { request } = box.lastRequest('report');
    assert.ok(request.kind === 'report' && request.reports[0]!.state === 'failed' && /its signature is wrong/.test(request.reports[0]!.message));
    box.answer('report', { kind: 'reported' }).asked();
    assert.deepEqual(box.pass(6000).asked(), ['bundle']);
  });

  it('waits for the tunnel again when it breaks under a request, and ignores the late answer', () => {
    const box = new Box().staged();
    const late = box.lastRequest('certificate').id;
    box.tell({ kind: 'staging-down', cause: 'dead peer' });
    assert.equal(box.stages.stage, 'staging-ike');
    box.tell({ kind: 'outcome', request: late, outcome: { kind: 'certificate' } });
    assert.equal(box.stages.stage, 'staging-ike');
    box.tell({ kind: 'staging-up', assignedAddress: '172.30.0.2', directorAddresses: ['203.0.113.5'] });
    assert.equal(box.lastRequest('certificate').path.localAddress, '172.30.0.2');
  });

  it('does not wait for reports longer than five seconds before it moves on', () => {
    const box = new Box().staged().answer('certificate', { kind: 'certificate' }).answer('bundle', { kind: 'bundle', configuration: CONFIGURATION });
    box.answer('report', FAILED).answer('software', { kind: 'software', wanted: '0.1.0', upgrade: undefined, obstacle: 'Director has no package of it' });
    assert.equal(box.stages.stage, 'software-check');
    box.pass(5000);
    assert.equal(box.stages.stage, 'post-staging');
    // They follow over the control VR.
    box.tell({ kind: 'applied' }).tell(UP).pass(5000);
    const { request } = box.lastRequest('report');
    assert.ok(request.kind === 'report');
    assert.deepEqual(request.reports.map((report) => `${report.step} ${report.state}`), ['config completed', 'software completed', 'post-staging started', 'post-staging completed']);
  });

  it('goes back to staging when a box that was never onboarded gets no control tunnel, and says so there', () => {
    const box = new Box().configured().tell({ kind: 'applied' }).tell(DOWN);
    box.asked();
    box.pass(299_000);
    assert.equal(box.stages.stage, 'post-staging');
    box.pass(5000);
    assert.deepEqual(box.asked(), ['stop-staging', 'start-staging']);
    box.tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5'] });
    box.answer('bundle', { kind: 'bundle', configuration: CONFIGURATION });
    const { request } = box.lastRequest('report');
    assert.ok(request.kind === 'report' && request.reports[0]!.step === 'post-staging' && /no control tunnel within 300 s: IKE: no answer/i.test(request.reports[0]!.message));
  });

  it('restores a box that was onboarded straight to post-staging and never stages again by itself', () => {
    const box = new Box().tell({ kind: 'restored', configuration: CONFIGURATION, record: RECORD, onboarded: true });
    assert.deepEqual([box.stages.stage, box.asked()], ['post-staging', ['apply']]);
    box.tell({ kind: 'applied' }).tell(DOWN).pass(3_600_000);
    assert.deepEqual([box.stages.stage, box.asked()], ['post-staging', []]);
    // Up again: no report, Director knows already.
    box.tell(UP);
    assert.deepEqual([box.stages.stage, box.asked()], ['operational', []]);
  });

  it('reports all that Director may have missed when it restarts before it was onboarded', () => {
    const box = new Box().tell({ kind: 'restored', configuration: CONFIGURATION, record: RECORD, onboarded: false }).tell({ kind: 'applied' }).tell(UP);
    const { request } = box.lastRequest('report');
    assert.ok(request.kind === 'report');
    assert.deepEqual(request.reports.map((report) => `${report.step} ${report.state}`), ['config completed', 'software completed', 'post-staging completed']);
    box.answer('report', { kind: 'reported' });
    assert.equal(box.stages.onboarded, true);
  });

  it('keeps the cause for which it ended the tunnel itself', () => {
    const box = new Box().staged().answer('certificate', REFUSED).tell({ kind: 'staging-down', cause: 'terminated' });
    assert.equal(box.stages.detail, 'no');
  });

  it('asks for a newer bundle about every minute while it is operational, and applies it', () => {
    const box = new Box().operational().answer('report', { kind: 'reported' });
    box.asked();
    box.pass(90_000);
    const { request } = box.lastRequest('bundle');
    assert.deepEqual(request, { kind: 'bundle', after: 7 });
    const newer = { ...CONFIGURATION, generation: 8 };
    box.answer('bundle', { kind: 'bundle', configuration: newer });
    const last = box.outputs.at(-1)!;
    assert.ok(last.kind === 'apply' && last.configuration.generation === 8);
    box.tell({ kind: 'applied' }).asked();
    box.tell(DOWN).pass(300_000);
    assert.deepEqual(box.asked(), [], 'no requests without a path');
  });

  it('applies the newest configuration when one arrives while another is being applied', () => {
    const box = new Box().operational().answer('report', { kind: 'reported' });
    const poll = (generation: number): void => {
      box.asked();
      for (let seconds = 0; seconds < 100 && !box.outputs.some((output) => output.kind === 'request'); seconds++) box.pass(1000);
      box.answer('bundle', { kind: 'bundle', configuration: { ...CONFIGURATION, generation } });
    };
    poll(8);
    poll(9);
    assert.ok(!box.outputs.some((output) => output.kind === 'apply'), 'one at a time');
    box.tell({ kind: 'applied' });
    const last = box.outputs.at(-1)!;
    assert.ok(last.kind === 'apply' && last.configuration.generation === 9);
  });

  it('tries again when a configuration cannot be applied', () => {
    const box = new Box().configured();
    box.asked();
    box.tell({ kind: 'apply-failed', cause: 'device vni-0/2 is missing' });
    assert.match(box.stages.detail, /vni-0\/2 is missing/);
    assert.deepEqual(box.pass(3000).asked(), ['apply']);
  });

  it('survives any order of inputs without an exception and with a bounded queue of reports', () => {
    const random = new SeededRandom('orders');
    const outcomes: StageOutcome[] = [FAILED, REFUSED, { kind: 'certificate' }, { kind: 'bundle', configuration: CONFIGURATION }, { kind: 'bundle-unchanged' }, { kind: 'bundle-invalid', cause: 'x' }, { kind: 'software', wanted: '9', upgrade: undefined, obstacle: 'Director has no package of it' }, { kind: 'reported' }, WANTED, { kind: 'software-refused', version: '9', isWriting: true, cause: 'x', nextStep: 'y' }, { kind: 'software-installed' }];
    for (let run = 0; run < 200; run++) {
      const box = new Box();
      for (let step = 0; step < 120; step++) {
        const inputs: StageInput[] = [
          { kind: 'prestaging', record: RECORD, hasCertificate: random.uint32() % 2 === 0 },
          { kind: 'restored', configuration: CONFIGURATION, record: undefined, onboarded: false },
          { kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: random.uint32() % 4 === 0 ? [] : ['203.0.113.5'] },
          { kind: 'staging-down', cause: 'x' },
          { kind: 'outcome', request: random.uint32() % 40, outcome: outcomes[random.uint32() % outcomes.length]! },
          { kind: 'software-progress', progress: { version: '9', phase: 'downloading', percentage: random.uint32() % 101 } },
          { kind: 'applied' },
          { kind: 'apply-failed', cause: 'x' },
          UP,
          DOWN,
        ];
        box.tell(inputs[random.uint32() % inputs.length]!).pass(random.uint32() % 20_000);
        for (const output of box.outputs) if (output.kind === 'request' && output.request.kind === 'report') assert.ok(output.request.reports.length <= 32);
        box.asked();
      }
    }
  });

  describe('in the software step', () => {
    /** What Director was told since the last look, each as `step state percentage: message`. */
    function told(box: Box): string[] {
      const { request } = box.lastRequest('report');
      assert.ok(request.kind === 'report');
      return request.reports.map(({ step, state, percentage, message }) => `${step} ${state}${percentage === undefined ? '' : ` ${percentage} %`}: ${message}`);
    }

    function upgrading(): Box {
      const box = new Box().staged().answer('certificate', { kind: 'certificate' }).answer('bundle', { kind: 'bundle', configuration: CONFIGURATION });
      return box.answer('report', { kind: 'reported' }).answer('software', WANTED);
    }

    it('asks for the system that Director wants, and tells Director every few percent', () => {
      const box = upgrading();
      assert.deepEqual(box.lastRequest('upgrade').request, { kind: 'upgrade', ...UPGRADE });
      assert.deepEqual(told(box), ['software started 0 %: Software 0.1.0 runs, Director wants 0.2.0: the box downloads it']);
      box.answer('report', { kind: 'reported' }).asked();
      for (let percentage = 1; percentage < 10; percentage++) box.tell({ kind: 'software-progress', progress: { version: '0.2.0', phase: 'downloading', percentage } });
      assert.deepEqual(told(box), ['software started 5 %: The box downloads software 0.2.0']);
      assert.equal(box.stages.detail, 'downloads software 0.2.0: 9 %');
      // What could not be told yet is told with its last state only.
      for (const percentage of [50, 60, 70]) box.tell({ kind: 'software-progress', progress: { version: '0.2.0', phase: 'downloading', percentage } });
      box.answer('report', { kind: 'reported' });
      assert.deepEqual(told(box), ['software started 70 %: The box downloads software 0.2.0']);
      box.tell({ kind: 'software-progress', progress: { version: '0.2.0', phase: 'rebooting' } });
      assert.equal(box.stages.stage, 'software-check');
    });

    it('asks again, after the bundle, when the tunnel breaks and comes back', () => {
      const box = upgrading();
      const { id } = box.lastRequest('upgrade');
      box.tell({ kind: 'staging-down', cause: 'no answer' });
      box.asked();
      box.tell({ kind: 'outcome', request: id, outcome: FAILED }).tell({ kind: 'staging-up', assignedAddress: '172.30.0.1', directorAddresses: ['203.0.113.5'] });
      box.answer('bundle', { kind: 'bundle', configuration: CONFIGURATION }).answer('software', WANTED);
      assert.equal(box.lastRequest('upgrade').path.director, '203.0.113.5');
    });

    it('counts failures of a download from its last progress', () => {
      const box = upgrading();
      for (let failure = 1; failure <= 9; failure++) {
        box.answer('upgrade', FAILED).pass(30_000);
        if (failure % 3 === 0) box.tell({ kind: 'software-progress', progress: { version: '0.2.0', phase: 'downloading', percentage: failure } });
      }
      assert.equal(box.stages.stage, 'software-check');
    });

    it('goes on with what it has when that is refused, with the cause for the Task', () => {
      const box = upgrading();
      box.answer('report', { kind: 'reported' });
      box.answer('upgrade', { kind: 'software-refused', version: '0.2.0', isWriting: false, cause: 'it is unsigned', nextStep: 'sign it' });
      assert.deepEqual(told(box), ['software failed: Software 0.2.0 is refused: it is unsigned']);
      box.answer('report', { kind: 'reported' });
      assert.deepEqual(told(box), ['software completed: Software 0.1.0 runs; the box goes on with what it has', 'post-staging started: The box moves to its post-staging configuration']);
      box.answer('report', { kind: 'reported' });
      assert.equal(box.stages.stage, 'post-staging');
    });

    it('tries once more when the reboot does not come', () => {
      const box = upgrading();
      box.answer('upgrade', { kind: 'software-installed' }).asked();
      box.pass(599_000);
      assert.ok(!box.asked().includes('upgrade'));
      box.pass(2_000);
      assert.ok(box.asked().includes('upgrade'));
    });

    it('tells in the former system that the new one was given up', () => {
      const box = new Box().tell({ kind: 'restored', configuration: CONFIGURATION, record: RECORD, onboarded: false, returned: { version: '0.2.0', cause: 'BGP is down' } });
      box.tell({ kind: 'applied' }).tell(UP);
      assert.deepEqual(told(box).slice(1, 3), ['software failed: Software 0.2.0 was given up: BGP is down', 'software completed: Software 0.1.0 runs after a restart']);
    });
  });
});
