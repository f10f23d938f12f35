import { deepStrictEqual, equal, notEqual, ok } from 'node:assert/strict';
import { pair } from './pair.ts';

describe('ike: establishing with a pre-shared key', () => {
  it('brings up one IKE SA and one child with mirrored keys', () => {
    const { world, branch, controller } = pair();
    // IKE_SA_INIT { SA, KE, Ni, N } -->   <-- { SA, KE, Nr, N }
    // IKE_AUTH { IDi, IDr, AUTH, SA, TSi, TSr } -->   <-- { IDr, AUTH, SA, TSi, TSr }
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const [up] = branch.of('ike-up');
    const [answered] = controller.of('ike-up');
    ok(up !== undefined && answered !== undefined, world.story() + JSON.stringify(branch.of('log').concat(controller.of('log'))));
    equal(up.role, 'initiator');
    equal(answered.remoteIdentity.value, 'b1@acme.example');
    equal(up.spis, answered.spis);
    const [mine] = branch.of('child-up');
    const [theirs] = controller.of('child-up');
    deepStrictEqual({ ...mine!.outbound, id: 0 }, { ...theirs!.inbound, id: 0 });
    deepStrictEqual({ ...mine!.inbound, id: 0 }, { ...theirs!.outbound, id: 0 });
    notEqual(mine!.inbound.spi, mine!.outbound.spi);
    equal(mine!.inbound.spi >>> 24, 2);
    equal(mine!.natt, false);
    equal(world.packets.length, 4);
    equal(branch.endpoint.snapshot().ikeSas[0]!.state, 'established');
  });
});
