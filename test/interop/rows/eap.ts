// EAP with passwords: strongSwan as the user and as the server, with addresses of both families from the server.
import { strict as assert } from 'node:assert';
import type { CertificateCredential } from '../../system/ike-peer.ts';
import { issueBoth } from '../certificates.ts';
import type { CertificateFiles } from '../certificates.ts';
import { OUR_IDENTITY, THEIR_IDENTITY } from '../counterpart.ts';
import type { StrongswanSide } from '../counterpart.ts';
import type { InteropLab, OurSide } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';
import { INSIDE } from '../topology.ts';

const USER = 'alice';
const PASSWORD = 'correct horse';
const METHOD = 'eap-mschapv2';
const PLUGINS = ['md4', 'eap-identity', METHOD];

interface User {
  readonly identity: string;
  readonly password: string;
}

/** The initiator is the user. */
function sides(lab: InteropLab, issued: CertificateFiles, user: User): [OurSide, StrongswanSide] {
  const certificate = issued.ours as CertificateCredential;
  const known = { [USER]: PASSWORD };
  if (lab.role === 'initiator') {
    const credential = { kind: 'eap-user', ...user, anchors: certificate.anchors } as const;
    return [{ credential, settings: { requestConfiguration: true } }, { credential: { files: issued.theirs, method: METHOD, passwords: known }, plugins: PLUGINS, addresses: 'given' }];
  }
  const theirs: StrongswanSide = { credential: { files: issued.theirs, user: { method: METHOD, ...user } }, plugins: PLUGINS, addresses: 'asked' };
  return [{ credential: { kind: 'eap-server', methods: ['tls', 'mschapv2'], certificate, passwords: known }, assigns: true }, theirs];
}

export const EAP_ROWS: readonly Row[] = [
  {
    name: 'EAP-MSCHAPv2',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    always: [{ role: 'responder', release: '5.9' }],
    run: async (lab) => {
      await lab.start(...sides(lab, await issueBoth(OUR_IDENTITY, THEIR_IDENTITY), { identity: USER, password: PASSWORD }));
      const { ike, child } = await lab.awaitUp();
      if (lab.role === 'initiator') {
        assert.deepEqual([ike.assigned, ike.alsoAssigned], Object.values(INSIDE.ours));
        await lab.ping('ours');
        lab.ours.command('rekey-ike');
        await lab.ours.event('ike-rekeyed');
      } else {
        assert.deepEqual(ike.remoteIdentity, { kind: 'user', value: USER });
        assert.deepEqual(child.remoteSelectors.map(({ startAddress }) => startAddress), Object.values(INSIDE.theirs));
        assert.match(lab.theirs.log(), /received AUTH_LIFETIME of 86400s/);
      }
    },
  },
  {
    name: 'reauth, asked for by AUTH_LIFETIME',
    roles: ['initiator'],
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      const [ours, theirs] = sides(lab, await issueBoth(OUR_IDENTITY, THEIR_IDENTITY), { identity: USER, password: PASSWORD });
      await lab.start(ours, { ...theirs, connection: 'reauth_time = 20s \n rand_time = 0s' });
      const { ike } = await lab.awaitUp();
      await lab.ping('ours');
      // Without packets meanwhile: strongSwan sends on the new child before its answer about it is here.
      const next = await lab.awaitUp();
      const { ikeSa, reason } = await lab.ours.event('ike-down');
      assert.deepEqual([ikeSa, reason], [ike.ikeSa, 'authenticated anew']);
      assert.notEqual(next.ike.ikeSa, ikeSa);
    },
  },
  {
    name: 'wrong credentials: EAP-MSCHAPv2 password or user',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'down',
    run: async (lab) => {
      const user = lab.role === 'initiator' ? { identity: 'mallory', password: PASSWORD } : { identity: USER, password: 'wrong' };
      await lab.startBoth(...sides(lab, await issueBoth(OUR_IDENTITY, THEIR_IDENTITY), user));
      if (lab.role === 'initiator') {
        lab.ours.command('connect');
        // 6.1 does not even ask a user whom it does not know for the password.
        await lab.awaitConnectFailed(lab.release === '6.1' ? 'the server refuses the user' : 'the user name or the password is wrong (E=691)');
      } else {
        // EAP(Response/MSCHAPv2 response) -->   <-- EAP(Request/MSCHAPv2 failure)   INFORMATIONAL N(AUTHENTICATION_FAILED) -->
        await assert.rejects(lab.theirs.initiate('net'), /EAP-MS-CHAPv2 failed with error ERROR_AUTHENTICATION_FAILURE/);
        assert.equal((await lab.ours.event('peer-refused')).cause, 'the password is wrong');
        await lab.ours.logged(new RegExp(`EAP user refused .*user=${USER} .*cause="the password is wrong"`));
      }
    },
  },
];
