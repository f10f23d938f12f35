// A clock that never tells less than what is known of the time: a box without a battery wakes up in 1970, and everything
// that is signed would seem not to be valid yet. The floor is the image's build and the birth of the pinned trust anchor;
// a clock before that is wrong, and then whatever Director has signed with a date raises the floor further. A clock that
// may be right is never overruled by Director's. Nothing here sets the host's clock.
import type { CancelTimer, Clock, Instant } from './time.ts';

/** The host's clock and Director's may differ by this without anybody being told. */
const TOLERANCE_MS = 3_600_000;
/** Drift alone does not move a clock by so much. */
const SET_MS = 60_000;
/** From the start of the kernel to the first process that sets the clock. */
const BOOT_MS = 900_000;

export interface TimeFloor {
  /** How far the host's clock is behind what is known, milliseconds, at least 1 while nobody has set it; 0 when it may be right. */
  readonly behindMs: number;
  /** It is at least this late for sure, Unix milliseconds. */
  raise(unixMs: number): void;
  /** Director has dated something so; counts only while the host's clock is known to be wrong. */
  raiseIfBehind(unixMs: number): void;
}

export class FlooredClock implements Clock, TimeFloor {
  readonly #host: Clock;
  /** What Unix time was, at the least, at the instant 0 of the host's monotonic clock. */
  #originUnixMs: number;
  /** The same by a clock that has run from the floor since the boot; undefined: the clock was set. */
  #unsetOriginUnixMs: number | undefined;

  /** @param uptimeMs since the host's boot, which may have set the clock to the floor; undefined: it has not */
  constructor(host: Clock, floorUnixMs: number, uptimeMs?: number) {
    this.#host = host;
    const sinceFloorMs = host.unixMs() - floorUnixMs;
    if (uptimeMs !== undefined && floorUnixMs > 0 && sinceFloorMs >= 0 && sinceFloorMs < uptimeMs + BOOT_MS) this.#unsetOriginUnixMs = host.unixMs() - host.now();
    this.#originUnixMs = floorUnixMs - host.now();
  }

  now(): Instant {
    return this.#host.now();
  }

  unixMs(): number {
    return Math.max(this.#host.unixMs(), this.#floorUnixMs);
  }

  at(when: Instant, run: () => void): CancelTimer {
    return this.#host.at(when, run);
  }

  get behindMs(): number {
    const behindMs = this.#floorUnixMs - this.#host.unixMs();
    if (behindMs > TOLERANCE_MS) return behindMs;
    return this.#isUnset ? Math.max(1, behindMs) : 0;
  }

  raise(unixMs: number): void {
    this.#originUnixMs = Math.max(this.#originUnixMs, unixMs - this.#host.now());
  }

  raiseIfBehind(unixMs: number): void {
    if (this.behindMs > 0) this.raise(unixMs);
  }

  /** Whoever sets the clock moves it away from where it has run. */
  get #isUnset(): boolean {
    if (this.#unsetOriginUnixMs === undefined) return false;
    const movedMs = this.#host.unixMs() - this.#host.now() - this.#unsetOriginUnixMs;
    if (Math.abs(movedMs) > SET_MS) this.#unsetOriginUnixMs = undefined;
    return this.#unsetOriginUnixMs !== undefined;
  }

  get #floorUnixMs(): number {
    return this.#originUnixMs + this.#host.now();
  }
}
