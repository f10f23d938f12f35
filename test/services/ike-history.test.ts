import { deepStrictEqual, equal } from 'node:assert/strict';
import type { IkeOutput } from '../../firmware/ike/input-output.ts';
import { HISTORY_PER_PROFILE, IkeHistory, MOST_PROFILES } from '../../firmware/services/ike-history.ts';
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

  it('forgets the profile that was quiet longest when there are too many', () => {
    const history = make().restart();
    for (let i = 0; i < MOST_PROFILES; i++) history.onOutput(entry(`p${i}`, i));
    history.onOutput(entry('p0', 1000));
    history.onOutput(entry('new', 1001));
    deepStrictEqual([history.profiles().length, history.of('p0').length, history.of('p1').length, history.of('new').length], [MOST_PROFILES, 2, 0, 1]);
  });

  it('starts empty when its document cannot be read, whatever is in it', () => {
    const { restart, store } = make();
    const first = restart();
    first.onOutput(entry('a', 1));
    first.stop();
    const good = JSON.parse(new TextDecoder().decode(store.read('ike-history'))) as { a: [object] };
    const broken = [{ ...good.a[0], unixMs: 'yesterday' }, { ...good.a[0], spis: undefined }, { ...good.a[0], nat: 1 }, { ...good.a[0], replacedBy: {} }, null, 7];
    const texts = ['{', '7', 'null', '[]', '{"a":7}', '{"a":{}}', ...broken.map((one) => JSON.stringify({ a: [one] }))];
    for (const text of texts) {
      store.write('ike-history', new TextEncoder().encode(text));
      const history = restart();
      deepStrictEqual(history.profiles(), [], text);
      history.onOutput(entry('a', 2));
      equal(history.of('a').length, 1);
    }
    store.write('ike-history', new TextEncoder().encode(JSON.stringify(good)));
    equal(restart().of('a').length, 1);
  });
});
