// Who the ends are: pre-shared keys and certificates, with the usual suite.
import { strict as assert } from 'node:assert';
import type { CertificateFiles } from '../certificates.ts';
import { issueBoth, issueBothByIntermediates } from '../certificates.ts';
import { OUR_IDENTITY, RELEASE_FACTS, THEIR_IDENTITY } from '../counterpart.ts';
import type { InteropLab, OurSide } from '../lab.ts';
import { RELEASES, ROLES } from '../row.ts';
import type { Row } from '../row.ts';

async function connect(lab: InteropLab, issued?: CertificateFiles, settings: OurSide['settings'] = {}): Promise<void> {
  if (issued === undefined) await lab.start({ settings });
  else await lab.start({ credential: issued.ours, settings }, { credential: { files: issued.theirs } });
  const { ike, child } = await lab.awaitUp();
  const { bareEsp } = RELEASE_FACTS[lab.release];
  assert.equal(ike.remoteIdentity.value, THEIR_IDENTITY);
  assert.equal(ike.suite, 'aes-256-gcm-16/prf-sha384/group-31');
  assert.equal(child.inbound.esn, false);
  assert.equal(child.natt, !bareEsp);
  assert.ok((await lab.theirs.version()).startsWith(lab.release));
  assert.match(await lab.theirs.listSas(), bareEsp ? /INSTALLED, TUNNEL, / : /INSTALLED, TUNNEL-in-UDP/);
}

export const CREDENTIAL_ROWS: readonly Row[] = [
  {
    name: 'psk',
    roles: ROLES,
    counterparts: RELEASES,
    path: 'direct',
    ends: 'up',
    always: [
      { role: 'initiator', release: '5.9' },
      { role: 'responder', release: '6.0', lossy: true },
    ],
    run: (lab) => connect(lab),
  },
  {
    name: 'ecdsa',
    roles: ROLES,
    counterparts: RELEASES,
    path: 'direct',
    ends: 'up',
    run: async (lab) => connect(lab, await issueBoth(OUR_IDENTITY, THEIR_IDENTITY)),
  },
  {
    name: 'fragmentation',
    roles: ROLES,
    counterparts: RELEASES,
    path: 'direct',
    ends: 'up',
    always: [{ role: 'initiator', release: '6.0' }],
    run: async (lab) => {
      const issued = await issueBothByIntermediates(OUR_IDENTITY, THEIR_IDENTITY);
      // strongSwan's limit counts the whole IP packet, ours the IKE message.
      await lab.start({ credential: issued.ours, settings: { fragmentBytes: 600 } }, { credential: { files: issued.theirs }, settings: 'fragment_size = 628' });
      await lab.awaitUp();
      const [sent, received] = lab.role === 'initiator' ? ['response', 'request'] : ['request', 'response'];
      await lab.theirs.awaitLog(new RegExp(`generating IKE_AUTH ${sent} 1 \\[ EF\\(2/[23]\\) \\]`));
      await lab.theirs.awaitLog(new RegExp(`parsed IKE_AUTH ${received} 1 \\[ EF\\(2/[23]\\) \\]`));
    },
  },
];
