import { equal, ok } from 'node:assert/strict';
import { FlooredClock } from '../../platform/time-floor.ts';
import { instant } from '../../platform/time.ts';

const HOUR = 3_600_000;
const BUILT = 1_795_000_000_000;

describe('platform/time-floor', () => {
  /** A host whose wall clock runs from `unixMs` on, with a monotonic clock that started before. */
  function host(unixMs: number) {
    const started = 5_000;
    let now = started;
    const clock = { now: () => instant(now), unixMs: () => unixMs + now - started, at: () => () => undefined };
    return { clock, advance: (ms: number) => void (now += ms), set: (to: number) => void (unixMs = to - (now - started)) };
  }

  it('leaves a clock alone that may be right', () => {
    for (const unixMs of [BUILT, BUILT + HOUR, 4_000_000_000_000]) {
      const floored = new FlooredClock(host(unixMs).clock, BUILT);
      equal(floored.unixMs(), unixMs);
      equal(floored.behindMs, 0);
      // Director's clock is ahead: that is no reason to follow it.
      floored.raiseIfBehind(unixMs + 1000 * HOUR);
      equal(floored.unixMs(), unixMs);
    }
  });

  it('goes on from the floor while the clock is behind it, and follows the clock again once it was set', () => {
    const { clock, advance, set } = host(0);
    const floored = new FlooredClock(clock, BUILT);
    equal(floored.unixMs(), BUILT);
    advance(2 * HOUR);
    equal(floored.unixMs(), BUILT + 2 * HOUR);
    equal(floored.behindMs, BUILT);
    set(BUILT + 50 * HOUR);
    equal(floored.unixMs(), BUILT + 50 * HOUR);
    equal(floored.behindMs, 0);
  });

  it('is raised by what Director has dated while the clock is behind, and never lowered', () => {
    const { clock, advance } = host(0);
    const floored = new FlooredClock(clock, BUILT);
    advance(HOUR);
    floored.raiseIfBehind(BUILT + 9 * HOUR);
    equal(floored.unixMs(), BUILT + 9 * HOUR);
    floored.raiseIfBehind(BUILT + 3 * HOUR);
    floored.raise(BUILT);
    advance(HOUR);
    equal(floored.unixMs(), BUILT + 10 * HOUR);
  });

  it('does not believe a clock that has run from the floor since the boot, until somebody sets it', () => {
    const UPTIME = 3 * HOUR;
    const { clock, advance, set } = host(BUILT + UPTIME + 20_000);
    const floored = new FlooredClock(clock, BUILT, UPTIME);
    equal(floored.behindMs, 1);
    floored.raiseIfBehind(BUILT + 900 * HOUR);
    equal(floored.unixMs(), BUILT + 900 * HOUR);
    advance(HOUR);
    ok(floored.behindMs > 800 * HOUR);
    set(BUILT + 950 * HOUR);
    equal(floored.behindMs, 0);
    for (const unixMs of [BUILT + UPTIME + HOUR, BUILT - HOUR / 2]) equal(new FlooredClock(host(unixMs).clock, BUILT, UPTIME).behindMs, 0);
  });

  it('says nothing of a clock that is behind by less than an hour, but does not go below the floor', () => {
    const floored = new FlooredClock(host(BUILT - HOUR / 2).clock, BUILT);
    equal(floored.behindMs, 0);
    equal(floored.unixMs(), BUILT);
  });
});
