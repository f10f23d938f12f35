// EAP-MSCHAPv2 with strongSwan as the user and as the server, with addresses of both families from the server.
import { strict as assert } from 'node:assert';
import { debianRoot } from './debian-root.ts';
import type { CertificateCredential } from './ike-peer.ts';
import { issueBoth } from './strongswan-interop-credentials.ts';
import type { Issued } from './strongswan-interop-credentials.ts';
import { InteropLab, OUR_IDENTITY, THEIR_IDENTITY } from './strongswan-interop-lab.ts';
import type { OurSide, StrongswanSide } from './strongswan-interop-lab.ts';

const USER = 'alice';
const PASSWORD = 'correct horse';
const METHOD = 'eap-mschapv2';
const PLUGINS = ['md4', 'eap-identity', METHOD];

describe('EAP-MSCHAPv2 with strongSwan', function () {
  this.timeout(700_000);
  let newer: string;
  let issued: Issued;

  before(async () => {
    newer = debianRoot('trixie');
    issued = await issueBoth(OUR_IDENTITY, THEIR_IDENTITY);
  });

  function ourServer(settings: OurSide['settings'] = {}): OurSide {
    const certificate = issued.ours as CertificateCredential;
    return { role: 'responder', credential: { kind: 'eap-server', certificate, passwords: { [USER]: PASSWORD } }, settings, assigns: true };
  }

  function theirUser(user: { identity?: string; password?: string } = {}): StrongswanSide {
    const credential = { files: issued.theirs, user: { method: METHOD, identity: USER, password: PASSWORD, ...user } };
    return { credential, plugins: PLUGINS, addresses: 'asked', connection: 'mobike = no\n encap = yes' };
  }

  function ourUser(user: { identity?: string; password?: string } = {}): OurSide {
    const { anchors } = issued.ours as CertificateCredential;
    const credential = { kind: 'eap-user', identity: USER, password: PASSWORD, anchors, ...user } as const;
    return { role: 'initiator', credential, settings: { requestConfiguration: true } };
  }

  function theirServer(): StrongswanSide {
    const credential = { files: issued.theirs, method: METHOD, passwords: { [USER]: PASSWORD } };
    return { credential, plugins: PLUGINS, addresses: 'given', connection: 'mobike = no\n encap = yes' };
  }

  it('5.9 is the user', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start(ourServer(), theirUser());
      const { ike, child } = await lab.awaitUp();
      assert.deepEqual(ike.remoteIdentity, { kind: 'user', value: USER });
      assert.deepEqual(child.remoteSelectors.map(({ startAddress }) => startAddress), ['10.102.0.1', 'fd00:102::1']);
      assert.match(lab.theirs.log(), /received AUTH_LIFETIME of 86400s/);
      await lab.assertTraffic();
    }));

  it('6.0 is the server', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start(ourUser(), { ...theirServer(), root: newer });
      const { ike } = await lab.awaitUp();
      assert.deepEqual([ike.assigned, ike.alsoAssigned], ['10.101.0.1', 'fd00:101::1']);
      await lab.assertTraffic();
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
      await lab.assertTraffic();
    }));

  it("names strongSwan's wrong password", () =>
    new InteropLab().judge(async (lab) => {
      const [, theirs] = await Promise.all([lab.startOurs(ourServer()), lab.startTheirs(theirUser({ password: 'wrong' }))]);
      // EAP(Response/MSCHAPv2 response) -->   <-- EAP(Request/MSCHAPv2 failure)   INFORMATIONAL N(AUTHENTICATION_FAILED) -->
      assert.throws(() => theirs.initiate('net', 5), /EAP-MS-CHAPv2 failed with error ERROR_AUTHENTICATION_FAILURE/);
      assert.equal((await lab.ours.event('peer-refused')).cause, 'the password is wrong');
      await lab.ours.logged(new RegExp(`EAP user refused .*user=${USER} .*cause="the password is wrong"`));
    }));

  it('names a user whom strongSwan does not know', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start(ourUser({ identity: 'mallory' }), theirServer());
      const failed = await lab.ours.event('connect-failed');
      assert.equal(failed.cause, 'the user name or the password is wrong (E=691)');
      assert.notEqual(failed.nextStep, '');
    }));
});
