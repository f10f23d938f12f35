// Extensions that strongSwan has as well: IKE SAs that begin without a child, post-quantum pre-shared keys.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { InteropLab } from './strongswan-interop-lab.ts';

describe('Extensions with strongSwan', function () {
  this.timeout(120_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  const secret = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  const credential = { kind: 'psk', psk } as const;

  for (const role of ['initiator', 'responder'] as const) {
    it(`the first child comes by an exchange of its own, ours is the ${role}`, () =>
      new InteropLab().judge(async (lab) => {
        const ours = { role, credential, settings: { forceUdpEncapsulation: true, childless: true } };
        await lab.start(ours, { credential: { psk }, connection: 'mobike = no\n childless = force' });
        await lab.awaitUp();
        assert.match(lab.theirs.log(), role === 'initiator' ? /parsed CREATE_CHILD_SA request 2/ : /generating CREATE_CHILD_SA request 2/);
        await lab.assertTraffic();
      }));

    it(`a post-quantum pre-shared key that both require, ours is the ${role}`, () =>
      new InteropLab().judge(async (lab) => {
        const ours = { role, credential, settings: { forceUdpEncapsulation: true }, ppk: { id: 'ppk-1', secret, required: true } };
        const connection = 'mobike = no\n ppk_id = ppk-1\n ppk_required = yes';
        await lab.start(ours, { credential: { psk }, connection, ppk: { id: 'ppk-1', secret } });
        await lab.awaitUp();
        await lab.assertTraffic();
        lab.ours.command('rekey-ike');
        await lab.ours.event('ike-rekeyed');
        lab.ours.command('rekey-child');
        await lab.ours.event('child-up', 10_000, (event) => event.replaces !== undefined);
        await lab.assertTraffic();
      }));
  }
});
