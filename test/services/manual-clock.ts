// A clock that moves only when the test says so.
import { instant, type CancelTimer, type Clock, type Instant } from '../../platform/time.ts';

export class ManualClock implements Clock {
  #now = 0;
  #timers: { readonly when: Instant; readonly run: () => void }[] = [];

  now(): Instant {
    return instant(this.#now);
  }

  unixMs(): number {
    return 1_700_000_000_000 + this.#now;
  }

  at(when: Instant, run: () => void): CancelTimer {
    const timer = { when, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Runs what falls due, in order of time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((t) => t.when <= end).sort((a, b) => a.when - b.when)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((t) => t !== due);
      this.#now = Math.max(this.#now, due.when);
      due.run();
    }
    this.#now = end;
  }

  get waiting(): number {
    return this.#timers.length;
  }
}
