// Virtual time. Events run in the order of their time, and in the order in which they were asked for when that is
// equal, so a run is a function of its seed.
import type { CancelTimer, Clock, Instant } from '../../platform/time.ts';
import { instant } from '../../platform/time.ts';

/**
 * Time moves in steps of a 64th of a millisecond. Such numbers add and subtract without rounding, so that
 * "since then" and "due by then" always agree.
 */
const STEPS_PER_MS = 64;

interface Event {
  readonly when: number;
  readonly order: number;
  /** Undefined once cancelled. */
  run: (() => void) | undefined;
}

function isBefore(a: Event, b: Event): boolean {
  return a.when < b.when || (a.when === b.when && a.order < b.order);
}

export class VirtualClock implements Clock {
  /** Unix time of instant 0. */
  readonly #epochUnixMs: number;
  /** A binary heap; the first is the next. */
  readonly #events: Event[] = [];
  #now = 0;
  #order = 0;

  constructor(epochUnixMs = 1_800_000_000_000) {
    this.#epochUnixMs = epochUnixMs;
  }

  now(): Instant {
    return instant(this.#now);
  }

  unixMs(): number {
    return this.#epochUnixMs + this.#now;
  }

  at(when: Instant, run: () => void): CancelTimer {
    const event: Event = { when: Math.max(Math.ceil(when * STEPS_PER_MS) / STEPS_PER_MS, this.#now), order: this.#order++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** When the next event is due, or undefined. */
  next(): Instant | undefined {
    while (this.#events.length > 0 && this.#events[0]!.run === undefined) this.#pop();
    const first = this.#events[0];
    return first === undefined ? undefined : instant(first.when);
  }

  /** Runs the next event, moving time to it. False when there is none. */
  step(): boolean {
    if (this.next() === undefined) return false;
    const event = this.#pop();
    this.#now = event.when;
    event.run!();
    return true;
  }

  /** Moves time without running anything; events that were due before then must have run. */
  advanceTo(when: number): void {
    this.#now = Math.max(this.#now, Math.ceil(when * STEPS_PER_MS) / STEPS_PER_MS);
  }

  #push(event: Event): void {
    const heap = this.#events;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#events;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(event: Event): void {
    const heap = this.#events;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, event)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = event;
  }
}

/** A node's view of the clock; its timers end with it. */
export class NodeClock implements Clock {
  readonly #world: VirtualClock;
  readonly #skewMs: number;
  #alive = true;

  /** `skewMs` moves the wall clock only. */
  constructor(world: VirtualClock, skewMs = 0) {
    this.#world = world;
    this.#skewMs = skewMs;
  }

  now(): Instant {
    return this.#world.now();
  }

  unixMs(): number {
    return this.#world.unixMs() + this.#skewMs;
  }

  at(when: Instant, run: () => void): CancelTimer {
    return this.#world.at(when, () => {
      if (this.#alive) run();
    });
  }

  stop(): void {
    this.#alive = false;
  }
}
