// Token buckets of the device routes, with virtual time.
import assert from 'node:assert/strict';
import { instant } from '../../platform/time.ts';
import type { Clock } from '../../platform/time.ts';
import { RateLimit } from '../../provisioning/director/rate-limit.ts';

describe('rate limit', () => {
  let nowMs = 0;
  const clock: Clock = { now: () => instant(nowMs), unixMs: () => nowMs, at: () => () => {} };

  it('lets a burst of 60 through and then 10 a second, for each address apart', () => {
    nowMs = 0;
    const limit = new RateLimit(clock);
    const passed = (address: string, tries: number): number => Array.from({ length: tries }, () => limit.take(address)).filter(Boolean).length;
    assert.equal(passed('192.0.2.1', 100), 60);
    assert.equal(passed('192.0.2.2', 100), 60);
    nowMs += 1000;
    assert.equal(passed('192.0.2.1', 100), 10);
    nowMs += 3_600_000;
    assert.equal(passed('192.0.2.1', 100), 60);
  });

  it('forgets the address unseen longest when there are too many', () => {
    nowMs = 0;
    const limit = new RateLimit(clock);
    for (let i = 0; i < 60; i++) limit.take('first');
    for (let i = 0; i < 60; i++) limit.take('second');
    assert.equal(limit.take('first'), false);
    for (let i = 0; i < 4095; i++) limit.take(`other ${i}`);
    assert.equal(limit.take('first'), false);
    assert.equal(limit.take('second'), true);
  });
});
