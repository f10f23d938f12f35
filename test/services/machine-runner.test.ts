import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import type { Machine, Timeout } from '../../firmware/machine.ts';
import { MachineRunner } from '../../firmware/services/machine-runner.ts';
import { after, type Instant } from '../../platform/time.ts';
import { ManualClock } from './manual-clock.ts';

/** Says `n` twice for an input n, and wants to be woken 100 ms after each input. */
class Echo implements Machine<number, string> {
  readonly #outputs: string[] = [];
  #deadline: Instant | undefined;

  handle(input: number | Timeout, now: Instant): void {
    if (typeof input !== 'number') {
      this.#deadline = undefined;
      this.#outputs.push('timeout');
      return;
    }
    this.#outputs.push(`${input}a`, `${input}b`);
    this.#deadline = after(now, 100);
  }

  poll(): string | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return this.#deadline;
  }
}

describe('services/machine-runner', () => {
  it('drains all outputs of one input before the next, even when an output makes the next', () => {
    const seen: string[] = [];
    const runner = new MachineRunner(new Echo(), new ManualClock(), (output) => {
      seen.push(output);
      if (output === '1a') runner.push(2);
    });
    runner.push(1);
    deepStrictEqual(seen, ['1a', '1b', '2a', '2b']);
  });

  it('wakes the machine at its deadline, once', () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    const runner = new MachineRunner(new Echo(), clock, (output) => seen.push(output));
    runner.push(1);
    clock.advance(99);
    deepStrictEqual(seen, ['1a', '1b']);
    clock.advance(500);
    deepStrictEqual(seen, ['1a', '1b', 'timeout']);
  });

  it('does nothing after stop', () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    const runner = new MachineRunner(new Echo(), clock, (output) => seen.push(output));
    runner.push(1);
    runner.stop();
    runner.push(2);
    clock.advance(1000);
    deepStrictEqual(seen, ['1a', '1b']);
    strictEqual(clock.waiting, 0);
  });
});
