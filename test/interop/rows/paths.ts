// What lies between the ends: NATs, another family, UDP encapsulation where no NAT asks for it.
import { strict as assert } from 'node:assert';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';
import { INITIATOR_NAT_LATER } from '../topology.ts';

export const PATH_ROWS: readonly Row[] = [
  {
    name: 'NAT',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'NAT',
    ends: 'up',
    always: [{ role: 'initiator', release: '6.0' }],
    run: async (lab) => {
      await lab.start();
      const { ike, child } = await lab.awaitUp();
      // strongSwan 5.9 pretends to be behind one, too, so that its ESP is in UDP.
      assert.equal(ike.nat[lab.role === 'initiator' ? 'local' : 'remote'], true);
      assert.deepEqual([ike.natt, child.natt], [true, true]);
      if (lab.role === 'initiator') assert.equal(child.remote.port, 4500);
      await lab.ping('ours');
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
      await lab.theirs.rekey({ child: 'net' });
      await lab.awaitChildRekeyed();
    },
  },
  {
    name: 'double NAT',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'double NAT',
    ends: 'up',
    run: async (lab) => {
      await lab.start();
      const { ike, child } = await lab.awaitUp();
      assert.deepEqual(ike.nat, { local: true, remote: true });
      assert.deepEqual([ike.natt, child.natt], [true, true]);
      await lab.ping('ours');
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
      await lab.theirs.rekey({ child: 'net' });
      await lab.awaitChildRekeyed();
    },
  },
  {
    name: 'a NAT that forgets',
    roles: ['responder'],
    counterparts: ['6.0', '6.1'],
    path: 'NAT',
    ends: 'up',
    run: async (lab) => {
      await lab.start();
      await lab.awaitUp();
      await lab.ping('ours');
      lab.topology.moveNat();
      // ESP from there is enough for ESP; IKE follows with the first message of IKE.
      await lab.ping('theirs');
      await lab.theirs.rekey({ child: 'net' });
      const moved = await lab.ours.event('endpoint');
      assert.equal(moved.remote.address, INITIATOR_NAT_LATER);
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
    },
  },
  {
    name: 'UDP encapsulation forced by our end',
    roles: ROLES,
    counterparts: ['6.0'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ settings: { forceUdpEncapsulation: true } });
      const { ike, child } = await lab.awaitUp();
      assert.deepEqual([ike.natt, child.natt], [true, true]);
      assert.match(await lab.theirs.listSas(), /INSTALLED, TUNNEL-in-UDP/);
    },
  },
  {
    name: 'MOBIKE offered, nobody moves',
    roles: ROLES,
    counterparts: ['6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { mobike: true });
      const { child } = await lab.awaitUp();
      assert.equal(child.natt, false);
    },
  },
  {
    name: 'bare ESP over IPv6',
    roles: ROLES,
    counterparts: ['6.0'],
    path: 'IPv6',
    ends: 'up',
    run: async (lab) => {
      await lab.start();
      const { child } = await lab.awaitUp();
      assert.equal(child.natt, false);
    },
  },
  {
    name: 'ESP in UDP over IPv6',
    roles: ROLES,
    counterparts: ['6.0'],
    path: 'IPv6',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { connection: 'encap = yes' });
      const { child } = await lab.awaitUp();
      assert.equal(child.natt, true);
    },
  },
];
