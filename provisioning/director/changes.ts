// Wakes the Controllers' long polls when anything that they show may have changed.
import { after } from '../../platform/time.ts';
import type { CancelTimer, Clock } from '../../platform/time.ts';

export class ChangeSignal {
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something changed: everyone who waits looks again. */
  announce(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  /** Resolves with the next announcement, after `timeoutMs`, or at once after `close`. */
  wait(timeoutMs: number): Promise<void> {
    if (this.#closed || timeoutMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => {};
      const wake = (): void => {
        this.#waiters.delete(wake);
        cancel();
        resolve();
      };
      cancel = this.#clock.at(after(this.#clock.now(), timeoutMs), wake);
      this.#waiters.add(wake);
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    this.announce();
  }
}
