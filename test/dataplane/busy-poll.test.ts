import assert from 'node:assert/strict';
import { BusyPoll, LONGEST_SLEEP_MS, LONGEST_SPIN_US, NAP_MS, NAPPING_MS } from '../../firmware/dataplane/busy-poll.ts';

describe('adaptive polling', () => {
  function after(waits: readonly (readonly [us: number, found: boolean])[]): number {
    const poll = new BusyPoll();
    for (const [us, found] of waits) poll.waited(us, found);
    return poll.budgetUs;
  }
  const short = Array.from({ length: 20 }, () => [5, true] as const);

  it('sleeps at once when nothing is known, and while packets come rarely', () => {
    assert.equal(after([]), 0);
    assert.equal(after(Array.from({ length: 100 }, () => [10_000, true] as const)), 0);
  });

  it('spins under load, as long as a spin can catch the next packet', () => {
    assert.equal(after(short), LONGEST_SPIN_US);
  });

  it('does not take a few packets in a row for load', () => {
    assert.equal(after(short.slice(0, 5)), 0);
    assert.equal(after([...short.slice(0, 5), [1000, true], ...short.slice(0, 5)]), 0);
  });

  it('stops within a few waits when the load ends', () => {
    const budgets = [1, 2, 3, 4, 5].map((idle) => after([...short, ...Array.from({ length: idle }, () => [1_000_000, false] as const)]));
    assert.deepEqual(budgets, [30, 15, 7, 3, 0]);
  });

  it('naps for a while after a packet, so that the next one finds it warm, and then sleeps', () => {
    const poll = new BusyPoll();
    assert.equal(poll.longestMs, LONGEST_SLEEP_MS);
    poll.waited(900_000, true);
    const naps = NAPPING_MS / NAP_MS;
    for (let nap = 0; nap < naps; nap++) {
      assert.equal(poll.longestMs, NAP_MS);
      poll.waited(NAP_MS * 1000, false);
    }
    assert.equal(poll.longestMs, LONGEST_SLEEP_MS);
  });

  it('naps anew after every packet', () => {
    const poll = new BusyPoll();
    for (let packet = 0; packet < 100; packet++) {
      poll.waited(NAPPING_MS * 900, packet % 2 === 0);
      assert.equal(poll.longestMs, NAP_MS);
    }
  });
});
