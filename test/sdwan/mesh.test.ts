import { deepStrictEqual, ok } from 'node:assert/strict';
import { randomBelow } from '../../platform/random.ts';
import type { RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';
import { createProvider, signerFor, trustIn } from './credentials.ts';
import { Mesh, POLICY } from './mesh.ts';

const SITES = [101, 102, 103, 104];
const MINUTE = 60_000;

describe('sdwan/tenant-keying in a mesh', function () {
  this.timeout(60_000);
  let trust: RouteTrust;
  const signers = new Map<number, RouteSigner>();

  before(async () => {
    const authority = await createProvider();
    trust = trustIn(authority);
    for (const site of SITES) signers.set(site, await signerFor(authority, site));
  });

  it('brings up one SA each way between every two nodes', () => {
    const mesh = new Mesh({ seed: 1, sites: [101, 102], signers, trust });
    mesh.run(MINUTE);
    deepStrictEqual(mesh.faults(), []);
    deepStrictEqual(mesh.lost, []);
  });

  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`loses no packet by rekeys and ends with one SA each way, seed ${seed}`, () => {
      const policy = { ...POLICY, lifetimeSeconds: seed % 2 === 0 ? 900 : 28800 };
      const mesh = new Mesh({ seed, sites: SITES, signers, trust, policy });
      mesh.run(MINUTE);
      for (let minute = 0; minute < 15; minute++) {
        for (let orders = 1 + randomBelow(mesh.random, 4); orders > 0; orders--) {
          const node = mesh.nodes[randomBelow(mesh.random, mesh.nodes.length)]!;
          mesh.at(randomBelow(mesh.random, MINUTE), () => mesh.give(node, { kind: 'rekey', reason: 5 }));
        }
        if (minute % 6 === 5) mesh.at(randomBelow(mesh.random, MINUTE), () => mesh.reboot(mesh.nodes[randomBelow(mesh.random, mesh.nodes.length)]!));
        mesh.run(MINUTE);
      }
      mesh.runUntilQuiet(MINUTE);
      deepStrictEqual(mesh.lost, []);
      deepStrictEqual(mesh.faults(), []);
      ok(mesh.delivered > 10_000, `${mesh.delivered} packets were delivered`);
      const published = mesh.nodes.flatMap((node) => node.outputs).filter((output) => output.kind === 'publish').length;
      ok(published >= 16, `${published} key routes were published`);
    });
  }
});
