// What our end says when a connection with strongSwan cannot be: the cause in words, whichever end started.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { issueBoth } from './strongswan-interop-credentials.ts';
import { InteropLab, OUR_IDENTITY, THEIR_IDENTITY } from './strongswan-interop-lab.ts';
import type { OurSide, StrongswanSide } from './strongswan-interop-lab.ts';

interface Mismatch {
  readonly theirs: StrongswanSide;
  readonly ours: Omit<OurSide, 'role'>;
}

describe('Refusals between our end and strongSwan', function () {
  this.timeout(60_000);
  const random = new SystemRandom();
  const psk = Buffer.from(random.bytes(32)).toString('hex');
  const otherPsk = Buffer.from(random.bytes(32)).toString('hex');
  const encap = 'encap = yes\n mobike = no';

  const WRONG_KEY: Mismatch = { theirs: { credential: { psk: otherPsk }, connection: encap }, ours: { credential: { kind: 'psk', psk } } };
  const NO_IKE_PROPOSAL: Mismatch = {
    theirs: { credential: { psk }, connection: encap, ikeProposals: 'aes128gcm16-prfsha256-ecp256' },
    ours: { credential: { kind: 'psk', psk }, settings: { proposals: [{ encryption: ['aes-256-gcm-16'], prf: ['sha384'], groups: [31] }] } },
  };
  const NO_ESP_PROPOSAL: Mismatch = {
    theirs: { credential: { psk }, connection: encap, espProposals: 'aes128gcm16' },
    ours: { credential: { kind: 'psk', psk }, settings: { childProposals: [{ encryption: ['aes-256-gcm-16'], esn: [true, false], groups: [31], pfs: 'optional' }] } },
  };
  const OTHER_GROUP: Mismatch = {
    theirs: { credential: { psk }, connection: encap, ikeProposals: 'aes256gcm16-prfsha384-ecp384-ecp256' },
    ours: { credential: { kind: 'psk', psk } },
  };

  /** Both ends trust only their own authority. */
  async function strangers(): Promise<Mismatch> {
    const [one, other] = [await issueBoth(OUR_IDENTITY, THEIR_IDENTITY, 'CA One'), await issueBoth(OUR_IDENTITY, THEIR_IDENTITY, 'CA Two')];
    return { theirs: { credential: { files: other.theirs }, connection: encap }, ours: { credential: one.ours } };
  }

  function ourAttempt(mismatch: Mismatch, check: (lab: InteropLab) => Promise<void>): Promise<void> {
    return new InteropLab().judge(async (lab) => {
      await lab.start({ role: 'initiator', ...mismatch.ours }, mismatch.theirs);
      await check(lab);
    });
  }

  function theirAttempt(mismatch: Mismatch, theySay: RegExp, check: (lab: InteropLab) => Promise<void>): Promise<void> {
    return new InteropLab().judge(async (lab) => {
      const [, theirs] = await Promise.all([lab.startOurs({ role: 'responder', ...mismatch.ours }), lab.startTheirs(mismatch.theirs)]);
      assert.throws(() => theirs.initiate('net', 5), theySay);
      await check(lab);
    });
  }

  async function assertFailed(lab: InteropLab, cause: string): Promise<void> {
    const failed = await lab.ours.event('connect-failed');
    assert.equal(failed.cause, cause);
    assert.notEqual(failed.nextStep, '');
  }

  it('names a pre-shared key that strongSwan does not accept', () =>
    ourAttempt(WRONG_KEY, (lab) => assertFailed(lab, 'peer refuses: the peer does not accept our identity or credential')));

  it("names strongSwan's pre-shared key that does not match", () =>
    theirAttempt(WRONG_KEY, /AUTHENTICATION_FAILED/, async (lab) => {
      assert.equal((await lab.ours.event('peer-refused')).cause, 'pre-shared key does not match');
    }));

  it('names a certificate that strongSwan does not trust', async () =>
    ourAttempt(await strangers(), (lab) => assertFailed(lab, 'peer refuses: the peer does not accept our identity or credential')));

  it("names the authority that strongSwan's certificate lacks", async () =>
    theirAttempt(await strangers(), /AUTHENTICATION_FAILED/, async (lab) => {
      assert.match((await lab.ours.event('peer-refused')).cause, /^peer's certificate .*(?:issue|anchor|trust)/);
    }));

  it('names IKE proposals that strongSwan does not choose', () =>
    ourAttempt(NO_IKE_PROPOSAL, (lab) => assertFailed(lab, 'the peer answered NO_PROPOSAL_CHOSEN to IKE_SA_INIT')));

  it("names strongSwan's IKE proposals that are not acceptable", () =>
    theirAttempt(NO_IKE_PROPOSAL, /NO_PROPOSAL_CHOSEN/, async (lab) => {
      await lab.ours.logged(/no IKE proposal of the peer is acceptable/);
    }));

  it('names ESP proposals that strongSwan does not choose', () =>
    ourAttempt(NO_ESP_PROPOSAL, (lab) => assertFailed(lab, 'the peer refuses the child SA: NO_PROPOSAL_CHOSEN')));

  it("names strongSwan's ESP proposals that are not acceptable", () =>
    theirAttempt(NO_ESP_PROPOSAL, /NO_PROPOSAL_CHOSEN/, async (lab) => {
      await lab.ours.logged(/child SA refused .*cause=/);
    }));

  it('takes the group that strongSwan asks for', () =>
    ourAttempt(OTHER_GROUP, async (lab) => {
      // IKE_SA_INIT KE(31) -->   <-- N(INVALID_KE_PAYLOAD 20)   IKE_SA_INIT KE(20) -->
      const { ike } = await lab.awaitUp();
      assert.equal(ike.suite, 'aes-256-gcm-16/prf-sha384/group-20');
      lab.assertPing('ours', 64);
    }));
});
