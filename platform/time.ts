// Time as the product sees it: monotonic milliseconds for machines, one wall clock for certificates and logs.
// Nothing outside this file and platform/random.ts touches Date, performance or timers (test/tidy.test.ts).

/** Monotonic milliseconds since an arbitrary start; comparable only within one clock. */
export type Instant = number & { readonly __instant: true };

export function instant(ms: number): Instant {
  return ms as Instant;
}

export function after(from: Instant, ms: number): Instant {
  return (from + ms) as Instant;
}

/** The earlier of two deadlines, where undefined means "none". */
export function earlier(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return a < b ? a : b;
}

export type CancelTimer = () => void;

export interface Clock {
  now(): Instant;
  /** Unix time in milliseconds, for certificates and log lines only. */
  unixMs(): number;
  /** Calls `run` once, at or after `when`. */
  at(when: Instant, run: () => void): CancelTimer;
}

/** One deadline per name; a machine's timers without callbacks or a heap. */
export class TimerTable<Name extends string | number> {
  readonly #deadlines = new Map<Name, Instant>();

  set(name: Name, when: Instant): void {
    this.#deadlines.set(name, when);
  }

  clear(name: Name): void {
    this.#deadlines.delete(name);
  }

  get(name: Name): Instant | undefined {
    return this.#deadlines.get(name);
  }

  next(): Instant | undefined {
    let least: Instant | undefined;
    for (const when of this.#deadlines.values()) least = earlier(least, when);
    return least;
  }

  /** Removes and returns one timer that is due, or undefined. */
  takeDue(now: Instant): Name | undefined {
    for (const [name, when] of this.#deadlines) {
      if (when <= now) {
        this.#deadlines.delete(name);
        return name;
      }
    }
    return undefined;
  }
}

/** Node's timers take at most 2^31-1 ms; a longer wait is cut and simply re-armed. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class SystemClock implements Clock {
  now(): Instant {
    return instant(performance.now());
  }

  unixMs(): number {
    return Date.now();
  }

  at(when: Instant, run: () => void): CancelTimer {
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const left = Math.max(0, when - this.now());
      handle = setTimeout(() => (this.now() >= when ? run() : arm()), Math.min(Math.ceil(left), LONGEST_TIMER_MS));
    };
    arm();
    return () => clearTimeout(handle);
  }
}

/** RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`. */
export function rfc3339(unixMs: number): string {
  return new Date(unixMs).toISOString();
}

/** Unix milliseconds of RFC 3339 text in UTC, `2026-01-02T03:04:05Z`; undefined when it is none. */
export function unixMsFromRfc3339(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/.test(text)) return undefined;
  const unixMs = Date.parse(text);
  return Number.isNaN(unixMs) ? undefined : unixMs;
}

/** Unix milliseconds of a UTC time; `month` is 1-12. Undefined when there is no such time. */
export function unixMsFromUtc(year: number, month: number, day: number, hour: number, minute: number, second: number): number | undefined {
  const unixMs = Date.UTC(year, month - 1, day, hour, minute, second);
  const date = new Date(unixMs);
  const same = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour;
  return same && minute < 60 && second < 60 ? unixMs : undefined;
}

/** For libraries that take a Date. */
export function dateFromUnixMs(unixMs: number): Date {
  return new Date(unixMs);
}

/** Waits until `when` by a clock, or until the signal; leaves nothing behind on either. */
export function pauseUntil(clock: Clock, when: Instant, signal: AbortSignal): Promise<void> {
  if (signal.aborted || when <= clock.now()) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = (): void => {
      cancel();
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.at(when, wake);
    signal.addEventListener('abort', wake);
  });
}

/** Waits in real time; for composition roots and tools, never for machines. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
