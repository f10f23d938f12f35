// @hot  Waiting for several descriptors. Descriptors, marks and times lie in one block of memory that the addon knows
// (src/wait.c): a thread that was just woken has cold caches, and every object that a call looks at costs it time.
import { instant, type Instant } from '../../platform/time.ts';
import type { NativeAddon } from './addon.ts';

const TIMES = 2;
const TIMES_BYTES = TIMES * 8;
/** Descriptor, then what is waited for and what came: `struct pollfd`. */
const ENTRY_BYTES = 8;
const ENTRY_WORDS = 2;

export class Waiter {
  readonly #addon: NativeAddon;
  #memory = new ArrayBuffer(TIMES_BYTES);
  /** When the last wait began and ended, in ms of CLOCK_MONOTONIC. */
  #times = new Float64Array(this.#memory, 0, TIMES);
  #count = 0;
  /** By descriptor: 1 when the last wait found it readable, broken or closed, else 0. */
  ready = new Uint8Array(0);

  constructor(addon: NativeAddon, fds: readonly number[] = []) {
    this.#addon = addon;
    this.watch(fds);
  }

  /** What to wait on from now on; negative descriptors are never ready. */
  watch(fds: readonly number[]): void {
    const now = this.#times[1]!;
    this.#count = fds.length;
    this.#memory = new ArrayBuffer(TIMES_BYTES + fds.length * (ENTRY_BYTES + 1));
    this.#times = new Float64Array(this.#memory, 0, TIMES).fill(now);
    const entries = new Int32Array(this.#memory, TIMES_BYTES, fds.length * ENTRY_WORDS);
    for (const [i, fd] of fds.entries()) entries[i * ENTRY_WORDS] = fd;
    this.ready = new Uint8Array(this.#memory, TIMES_BYTES + fds.length * ENTRY_BYTES, fds.length);
  }

  /**
   * Waits until a descriptor is ready, or for `timeoutMs` (negative: for ever); looks without letting the processor go for
   * the first `spinUs`. Only the first `count` are waited on. Returns how many are ready; 0 after the timeout or a signal.
   */
  wait(timeoutMs: number, spinUs = 0, count = this.#count): number {
    return this.#addon.wait(this.#memory, count, timeoutMs, spinUs);
  }

  /** When the last wait ended; comparable with the times of other waits of this machine only. */
  get now(): Instant {
    return instant(this.#times[1]!);
  }

  /** How long the last wait took. */
  get waitedUs(): number {
    return (this.#times[1]! - this.#times[0]!) * 1000;
  }
}
