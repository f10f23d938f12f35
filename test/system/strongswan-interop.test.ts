// Our IKEv2 and ESP with strongSwan 5.9 (ESP in UDP) and 6.0 (bare ESP), each end starting, with real traffic.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { debianRoot } from './debian-root.ts';
import { issueBoth } from './strongswan-interop-credentials.ts';
import type { Issued } from './strongswan-interop-credentials.ts';
import { InteropLab, OUR_IDENTITY, THEIR_IDENTITY } from './strongswan-interop-lab.ts';
import type { OurSide, StrongswanSide } from './strongswan-interop-lab.ts';

type Release = '5.9' | '6.0';
type Credential = 'psk' | 'certificate';

describe('IKEv2 and ESP with strongSwan', function () {
  this.timeout(700_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  let issued: Issued;
  let newer: string;

  before(async () => {
    newer = debianRoot('trixie');
    issued = await issueBoth(OUR_IDENTITY, THEIR_IDENTITY);
  });

  function ourCredential(kind: Credential): OurSide['credential'] {
    return kind === 'psk' ? { kind: 'psk', psk } : issued.ours;
  }

  function theirSide(release: Release, kind: Credential): StrongswanSide {
    const credential = kind === 'psk' ? { psk } : { files: issued.theirs };
    return release === '5.9' ? { credential, connection: 'encap = yes\n mobike = no' } : { credential, root: newer };
  }

  for (const release of ['5.9', '6.0'] as const) {
    for (const kind of ['psk', 'certificate'] as const) {
      for (const role of ['initiator', 'responder'] as const) {
        it(`${release}, ${kind}, ours is the ${role}`, () =>
          new InteropLab().judge(async (lab) => {
            await lab.start({ role, credential: ourCredential(kind) }, theirSide(release, kind));
            const { ike, child } = await lab.awaitUp();
            assert.equal(ike.remoteIdentity.value, THEIR_IDENTITY);
            assert.equal(ike.suite, 'aes-256-gcm-16/prf-sha384/group-31');
            assert.equal(child.inbound.esn, false);
            assert.equal(child.natt, release === '5.9');
            assert.match(lab.theirs.version(), new RegExp(`^${release}`));
            assert.match(lab.theirs.listSas(), release === '5.9' ? /INSTALLED, TUNNEL-in-UDP/ : /INSTALLED, TUNNEL, /);
            await lab.assertTraffic();
          }));
      }
    }
  }
});
