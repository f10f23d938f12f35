import assert from 'node:assert/strict';
import { asPathLength, selectBest } from '../../firmware/bgp/decision.ts';
import type { Path, PathSource } from '../../firmware/bgp/decision.ts';
import { makeRoute } from '../../firmware/bgp/route.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import { AS_SEQUENCE, AS_SET } from '../../firmware/wire/bgp/attributes.ts';
import { UNICAST4 } from '../../firmware/wire/bgp/family.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';

function path(route: Partial<BgpRoute> = {}, source: Partial<PathSource> = {}, stale = false): Path {
  const all = { id: 'a', kind: 'client' as const, routerId: '10.0.0.2', address: '10.0.0.2', ...source };
  return { source: all, route: { ...makeRoute(UNICAST4, { kind: 'unicast', prefix: '10.0.0.0/8' }, '10.0.0.2'), ...route }, stale };
}

const via = (...asNumbers: number[]): BgpRoute['asPath'] => [{ type: AS_SEQUENCE, asNumbers }];

describe('the decision process', () => {
  // Each better path is worse in the step after its own, so a step that is skipped shows.
  const ladder: readonly [string, Path, Path][] = [
    ['a higher LOCAL_PREF', path({ localPref: 200 }), path({}, { kind: 'local', id: '' })],
    ['a local route', path({ asPath: via(1, 2) }, { kind: 'local', id: '' }), path({ asPath: via(1) })],
    ['a shorter AS path', path({ asPath: via(1), origin: 2 }), path({ asPath: via(1, 2), origin: 0 })],
    ['a lower ORIGIN', path({ origin: 0, asPath: via(1), med: 9 }), path({ origin: 2, asPath: via(1), med: 1 })],
    ['a lower MED of the same AS', path({ asPath: via(1), med: 1 }, { kind: 'client' }), path({ asPath: via(1), med: 9 }, { kind: 'external' })],
    ['no MED before a MED', path({ asPath: via(1) }), path({ asPath: via(1), med: 1 })],
    ['another AS before this one', path({}, { kind: 'external' }, true), path({}, { kind: 'client' }, false)],
    ['a fresh path', path({}, { routerId: '10.0.0.9' }, false), path({}, { routerId: '10.0.0.1' }, true)],
    ['a lower identifier', path({ clusterList: ['1.1.1.1'] }, { routerId: '10.0.0.9' }), path({}, { routerId: '10.0.0.10' })],
    ['a lower ORIGINATOR_ID before the identifier', path({ originatorId: '10.0.0.1' }, { routerId: '10.0.0.99' }), path({}, { routerId: '10.0.0.2' })],
    ['a shorter CLUSTER_LIST', path({ clusterList: ['1.1.1.1'] }, { address: '10.0.0.9' }), path({ clusterList: ['1.1.1.1', '2.2.2.2'] }, { address: '10.0.0.3' })],
    ['a lower peer address', path({}, { address: '10.0.0.9' }), path({}, { address: '10.0.0.10' })],
  ];
  for (const [name, better, worse] of ladder) {
    it(`prefers ${name}`, () => {
      assert.equal(selectBest([better, worse]), better);
      assert.equal(selectBest([worse, better]), better);
    });
  }

  it('compares MED only within one neighbouring AS, whatever the order', () => {
    const paths = [
      path({ asPath: via(1), med: 10 }, { routerId: '10.0.0.1' }), path({ asPath: via(2), med: 1 }, { routerId: '10.0.0.2' }),
      path({ asPath: via(1), med: 5 }, { routerId: '10.0.0.3' }),
    ];
    const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (const order of orders) assert.equal(selectBest(order.map((i) => paths[i]!)), paths[1], String(order));
  });

  it('counts a set as one AS', () => {
    assert.equal(asPathLength(path({ asPath: [...via(1, 2), { type: AS_SET, asNumbers: [3, 4, 5] }] }).route), 3);
  });

  it('has nothing to select from nothing', () => {
    assert.equal(selectBest([]), undefined);
  });

  it('does not depend on the order of random paths', () => {
    const random = new SeededRandom('decision');
    for (let round = 0; round < 300; round++) {
      const paths = Array.from({ length: 5 }, (_, i) =>
        path(
          { localPref: 100 + randomBelow(random, 2), asPath: via(1 + randomBelow(random, 2)), med: randomBelow(random, 3) },
          { id: String(i), address: `10.0.0.${i}`, routerId: `10.0.0.${randomBelow(random, 3)}` },
        ),
      );
      const best = selectBest(paths);
      for (let i = 0; i < 5; i++) assert.equal(selectBest([...paths.slice(i), ...paths.slice(0, i)]), best);
    }
  });
});
