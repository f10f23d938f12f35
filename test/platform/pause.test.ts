import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, pauseUntil, SystemClock } from '../../platform/time.ts';

describe('a pause', () => {
  const clock = new SystemClock();

  it('ends at its time, and leaves nothing with the signal, however often', async () => {
    const { signal } = new AbortController();
    for (let i = 0; i < 50; i++) await pauseUntil(clock, after(clock.now(), 1), signal);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  it('ends with the signal, also with one that came before', async () => {
    const abort = new AbortController();
    const paused = pauseUntil(clock, after(clock.now(), 3_600_000), abort.signal);
    abort.abort();
    await paused;
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    await pauseUntil(clock, after(clock.now(), 3_600_000), abort.signal);
  });
});
