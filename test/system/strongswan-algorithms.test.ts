// Our IKEv2 with strongSwan over algorithms beyond the usual: ML-KEM (6.1), and falling back from it.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { debianRoot } from './debian-root.ts';
import { InteropLab } from './strongswan-interop-lab.ts';

describe('IKEv2 with strongSwan: algorithms', function () {
  this.timeout(700_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  let newest: string;

  before(() => {
    newest = debianRoot('sid');
  });

  for (const role of ['initiator', 'responder'] as const) {
    it(`6.1 adds ML-KEM-768, ours is the ${role}`, () =>
      new InteropLab().judge(async (lab) => {
        await lab.start({ role, credential: { kind: 'psk', psk } }, { credential: { psk }, root: newest, ikeProposals: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768' });
        const { ike } = await lab.awaitUp();
        assert.equal(ike.suite, 'aes-256-gcm-16/prf-sha384/group-31/ml-kem-768');
        assert.match(lab.theirs.version(), /^6\.1/);
        await lab.assertTraffic();
      }));
  }
});
