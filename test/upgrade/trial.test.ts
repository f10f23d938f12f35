// The trial of a system slot as ladders, on a clock that the test moves.
import assert from 'node:assert/strict';
import { SlotTrial, TRIAL_MS, type PendingTrial, type TrialInput, type TrialOutput } from '../../firmware/upgrade/trial.ts';
import { instant } from '../../platform/time.ts';

const PENDING: PendingTrial = { from: 'A', to: 'B', version: '1.1.0', cause: '' };

function trial(booted: 'A' | 'B', pending: PendingTrial | undefined, upMs = 30_000) {
  const machine = new SlotTrial();
  const step = (input: TrialInput | { readonly kind: 'timeout' }, ms: number): TrialOutput[] => {
    machine.handle(input, instant(ms));
    const outputs: TrialOutput[] = [];
    for (let output = machine.poll(); output !== undefined; output = machine.poll()) if (output.kind !== 'log') outputs.push(output);
    return outputs;
  };
  return { machine, step, first: step({ kind: 'started', booted, upMs, pending }, 0) };
}

describe('upgrade: the trial of a slot', () => {
  it('marks the slot good at once when nothing was changed', () => {
    assert.deepEqual(trial('A', undefined).first, [{ kind: 'mark-good' }]);
  });

  it('marks a new system good only after its own check, and forgets the trial after that', () => {
    // boot of B -->
    const { machine, step, first } = trial('B', PENDING);
    assert.deepEqual(first, []);
    // services up, Controllers away -->
    assert.deepEqual(step({ kind: 'health', missing: 'Acme: connecting' }, 60_000), []);
    assert.equal(machine.waitsFor, 'Acme: connecting');
    // everything up --> good
    assert.deepEqual(step({ kind: 'health', missing: '' }, 90_000), [{ kind: 'mark-good' }]);
    assert.deepEqual(step({ kind: 'health', missing: 'Acme: connecting' }, 91_000), []);
    assert.equal(machine.waitsFor, 'it is being marked good');
    // the boot loader knows --> decided
    assert.deepEqual(step({ kind: 'marked', done: true }, 92_000), [{ kind: 'decided', version: '1.1.0', cause: '' }]);
    assert.deepEqual([machine.waitsFor, machine.deadline()], [undefined, undefined]);
  });

  it('tells the boot loader again and again when that failed, and keeps the trial until it knows', () => {
    const { machine, step } = trial('B', PENDING);
    step({ kind: 'health', missing: '' }, 90_000);
    for (const failedMs of [91_000, 151_000]) {
      assert.deepEqual(step({ kind: 'marked', done: false }, failedMs), []);
      assert.equal(machine.deadline(), failedMs + 60_000);
      assert.deepEqual(step({ kind: 'timeout' }, failedMs + 60_000), [{ kind: 'mark-good' }]);
    }
    assert.deepEqual(step({ kind: 'marked', done: true }, 212_000), [{ kind: 'decided', version: '1.1.0', cause: '' }]);
    // The same for a boot without a trial, whose slot would be left at the next one.
    const untried = trial('A', undefined);
    untried.step({ kind: 'marked', done: false }, 1000);
    assert.deepEqual(untried.step({ kind: 'timeout' }, 61_000), [{ kind: 'mark-good' }]);
    assert.deepEqual(untried.step({ kind: 'marked', done: true }, 62_000), []);
  });

  it('gives up 10 minutes after the boot, however often the service was started since, and keeps the cause', () => {
    const { machine, step } = trial('B', PENDING, TRIAL_MS - 60_000);
    assert.equal(machine.deadline(), 60_000);
    step({ kind: 'health', missing: 'BGP of Acme is down' }, 59_000);
    const cause = 'within 10 minutes: BGP of Acme is down';
    assert.deepEqual(step({ kind: 'timeout' }, 60_000), [{ kind: 'give-up', pending: { ...PENDING, cause } }]);
    // What comes up after that is too late: the box is on its way back.
    assert.deepEqual(step({ kind: 'health', missing: '' }, 61_000), []);
    // boot of A --> the former system is good, and says why it is back
    assert.deepEqual(trial('A', { ...PENDING, cause }).first, [{ kind: 'decided', version: undefined, cause }, { kind: 'mark-good' }]);
  });

  it('knows a system that did not come up at all by the boot of the former one', () => {
    assert.deepEqual(trial('A', PENDING).first, [{ kind: 'decided', version: undefined, cause: 'it did not come up' }, { kind: 'mark-good' }]);
  });
});
