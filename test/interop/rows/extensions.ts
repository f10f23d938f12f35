// Extensions that strongSwan has as well: IKE SAs that begin without a child, post-quantum pre-shared keys, cookies.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../../platform/random.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

export const EXTENSION_ROWS: readonly Row[] = [
  {
    name: 'childless',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ settings: { childless: true } }, { connection: 'childless = force' });
      await lab.awaitUp();
      assert.match(lab.theirs.log(), lab.role === 'initiator' ? /parsed CREATE_CHILD_SA request 2/ : /generating CREATE_CHILD_SA request 2/);
    },
  },
  {
    name: 'PPK',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    always: [{ role: 'responder', release: '6.0' }],
    run: async (lab) => {
      const secret = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
      await lab.start({ ppk: { id: 'ppk-1', secret, required: true } }, { connection: 'ppk_id = ppk-1\n ppk_required = yes', ppk: { id: 'ppk-1', secret } });
      await lab.awaitUp();
      await lab.ping('ours');
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
      lab.ours.command('rekey-child');
      await lab.awaitChildRekeyed();
    },
  },
  {
    name: 'cookie',
    roles: ['responder'],
    counterparts: ['5.9', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ halfOpen: { cookieThreshold: 0, total: 10, perNetwork: 10 } });
      await lab.awaitUp();
      await lab.theirs.awaitLog(/parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/);
    },
  },
];
