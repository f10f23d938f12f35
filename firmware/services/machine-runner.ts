// Runs one machine on a clock: input in, outputs out, one timer. The law of firmware/machine.ts (drain before the next
// input) holds even when handling an output produces the next input: that input waits in a queue.
import { InternalError } from '../../platform/errors.ts';
import type { CancelTimer, Clock, Instant } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';

/** Inputs that may wait while outputs are handled; more means two machines feed each other without end. */
const LONGEST_QUEUE = 100_000;

export class MachineRunner<Input, Output> {
  readonly machine: Machine<Input, Output>;
  readonly #clock: Clock;
  readonly #onOutput: (output: Output) => void;
  #queue: (Input | Timeout)[] = [];
  #running = false;
  #stopped = false;
  #armedFor: Instant | undefined;
  #cancel: CancelTimer | undefined;

  constructor(machine: Machine<Input, Output>, clock: Clock, onOutput: (output: Output) => void) {
    this.machine = machine;
    this.#clock = clock;
    this.#onOutput = onOutput;
  }

  push(input: Input | Timeout): void {
    if (this.#stopped) return;
    if (this.#queue.length >= LONGEST_QUEUE) throw new InternalError('machine input queue without end');
    this.#queue.push(input);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let i = 0; i < this.#queue.length && !this.#stopped; i++) {
        this.machine.handle(this.#queue[i]!, this.#clock.now());
        this.#drain();
      }
    } finally {
      this.#queue = [];
      this.#running = false;
    }
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #drain(): void {
    for (let output = this.machine.poll(); output !== undefined; output = this.machine.poll()) this.#onOutput(output);
  }

  #arm(): void {
    if (this.#stopped) return;
    const deadline = this.machine.deadline();
    if (deadline === this.#armedFor) return;
    this.#cancel?.();
    this.#armedFor = deadline;
    this.#cancel =
      deadline === undefined
        ? undefined
        : this.#clock.at(deadline, () => {
            this.#armedFor = undefined;
            this.push({ kind: 'timeout' });
          });
  }
}
