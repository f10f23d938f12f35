// Who the ends are: pre-shared keys and certificates, with the usual suite.
import { strict as assert } from 'node:assert';
import type { IkeIdentity } from '../../../firmware/ike/profile.ts';
import { identityText } from '../../../firmware/ike/profile.ts';
import { toHex, utf8 } from '../../../platform/bytes.ts';
import { encodeElement, Tag } from '../../../platform/der.ts';
import type { CertificateFiles } from '../certificates.ts';
import { issueBoth, issueBothByIntermediates } from '../certificates.ts';
import { OUR_IDENTITY, RELEASE_FACTS, THEIR_IDENTITY } from '../counterpart.ts';
import type { InteropLab, OurSide } from '../lab.ts';
import { RELEASES, ROLES } from '../row.ts';
import type { Row } from '../row.ts';

const UTF8_STRING = 0x0c;

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

function commonNameIdentity(name: string): IkeIdentity {
  const attribute = encodeElement(Tag.sequence, encodeElement(Tag.oid, Uint8Array.of(0x55, 4, 3)), encodeElement(UTF8_STRING, utf8(name)));
  return { kind: 'dn', value: toHex(encodeElement(Tag.sequence, encodeElement(Tag.set, attribute))) };
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
    name: 'identities: DNS names',
    roles: ROLES,
    counterparts: ['5.9', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      const [ours, theirs] = ['ours.peers.example', 'theirs.peers.example'];
      const issued = await issueBoth(ours, theirs);
      const identities = { localIdentity: { kind: 'fqdn', value: ours }, remoteIdentity: { kind: 'fqdn', value: theirs } } as const;
      await lab.start({ credential: issued.ours, identities }, { credential: { files: issued.theirs }, identities: { ours, theirs } });
      assert.deepEqual((await lab.awaitUp()).ike.remoteIdentity, { kind: 'fqdn', value: theirs });
    },
  },
  {
    name: "identities: subjects of certificates, which is strongSwan's default",
    roles: ROLES,
    counterparts: RELEASES,
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      const issued = await issueBoth('ours', 'theirs');
      const identities = { localIdentity: commonNameIdentity('ours'), remoteIdentity: commonNameIdentity('theirs') };
      await lab.start({ credential: issued.ours, identities }, { credential: { files: issued.theirs }, identities: { ours: 'CN=ours', theirs: '' } });
      assert.equal(identityText((await lab.awaitUp()).ike.remoteIdentity), 'CN=theirs');
    },
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
