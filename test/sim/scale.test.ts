// The whole scenario that `npm run sim` runs, at the size that CI can bear; by hand it runs with hundreds of branches.
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { SDWAN_SCENARIO } from './sdwan-scenario.ts';
import { createWorld } from './world.ts';

const TIMEOUT_MS = 300_000;

describe('sim/scale', () => {
  it('takes 50 branches with two circuits and two Controllers through onboarding, rekey and loss of a Controller', async () => {
    const world = createWorld(50);
    deepStrictEqual(await SDWAN_SCENARIO.run(world, { nodes: 50 }), []);
  }).timeout(TIMEOUT_MS);

  it('gives the same trace twice for one seed, and another for another seed', async () => {
    const traces: string[] = [];
    for (const seed of [3, 3, 4]) {
      const world = createWorld(seed);
      deepStrictEqual(await SDWAN_SCENARIO.run(world, { nodes: 8 }), []);
      traces.push(world.traceHash());
    }
    strictEqual(traces[0], traces[1]);
    strictEqual(traces[0] === traces[2], false);
  }).timeout(TIMEOUT_MS);
});
