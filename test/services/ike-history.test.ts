import { deepStrictEqual, equal } from 'node:assert/strict';
import type { IkeOutput } from '../../firmware/ike/input-output.ts';
import { HISTORY_PER_PROFILE, IkeHistory } from '../../firmware/services/ike-history.ts';
import type { Site } from '../../firmware/services/service.ts';
import { SinkLog } from '../../platform/log.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ManualClock } from './manual-clock.ts';

function entry(profile: string, number: number): IkeOutput {
  const spis = `${number}/${number}`;
  return { kind: 'history', entry: { unixMs: number, event: 'IKE Rekeyed', profile, tenant: 1, role: 'initiator', peer: 'p', remote: '192.0.2.1:500', spis, nat: false, cause: '', replaces: `${number - 1}/${number - 1}` } };
}

function make(): { clock: ManualClock; store: MemoryStore; restart(): IkeHistory } {
  const clock = new ManualClock();
  const store = new MemoryStore();
  const log = new SinkLog([], () => 0);
  return { clock, store, restart: () => new IkeHistory({ clock, store, log } as unknown as Site) };
}

describe('services: history of IKE SAs', () => {
  it('keeps the last events of each profile, oldest first', () => {
    const history = make().restart();
    history.onOutput(entry('b', 0));
    for (let i = 1; i <= HISTORY_PER_PROFILE + 5; i++) history.onOutput(entry('a', i));
    deepStrictEqual([history.of('a').length, history.of('a')[0]!.unixMs, history.of('a').at(-1)!.unixMs], [HISTORY_PER_PROFILE, 6, HISTORY_PER_PROFILE + 5]);
    equal(history.of('b').length, 1);
    deepStrictEqual(history.of('c'), []);
  });

  it('shows after a restart what happened before it', () => {
    const { clock, restart } = make();
    const before = restart();
    before.onOutput(entry('a', 1));
    clock.advance(5_000);
    before.onOutput(entry('a', 2));
    before.stop();
    const after = restart();
    deepStrictEqual(after.of('a'), before.of('a'));
    after.onOutput(entry('a', 3));
    equal(after.of('a').length, 3);
  });

  it('tells the life of an SA with those that it replaced, and of no other', () => {
    const history = make().restart();
    for (const number of [1, 2, 9, 3]) history.onOutput(entry('a', number));
    deepStrictEqual(history.lifeOf('a', ['3/3']).map((e) => e.spis), ['1/1', '2/2', '3/3']);
    deepStrictEqual(history.lifeOf('a', ['7/7']), []);
  });

  it('starts empty when its document cannot be read', () => {
    const { store, restart } = make();
    store.write('ike-history', new TextEncoder().encode('{'));
    deepStrictEqual(restart().profiles(), []);
  });
});
