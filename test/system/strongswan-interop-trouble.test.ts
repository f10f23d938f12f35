// Hard times for a connection with strongSwan 6.0: colliding rekeys, lifetimes of seconds, reauthentication, lost
// messages, cookies, a NAT that forgets, and every suite that both ends know.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import type { PeerSettings } from './ike-peer.ts';
import { debianRoot } from './debian-root.ts';
import { InteropLab } from './strongswan-interop-lab.ts';

const QUICK = { initialMs: 300, factor: 1.5, longestMs: 1_000, tries: 10, jitter: 0.1 };
/** strongSwan, repeating as quickly. */
const THEIR_QUICK = 'retransmit_tries = 10\n retransmit_timeout = 0.3\n retransmit_base = 1.2';
/** strongSwan repeats after 1 s, our end after 0.3 s. */
const BOTH_REPEATED_MS = 1_300;

/** strongSwan's names, and ours. */
const SUITES: readonly (readonly [ike: string, esp: string, settings: PeerSettings])[] = [
  ['aes128gcm16-prfsha256-ecp256', 'aes128gcm16', suite('aes-128-gcm-16', 'sha256', 19)],
  ['aes256gcm16-prfsha384-ecp384', 'aes256gcm16', suite('aes-256-gcm-16', 'sha384', 20)],
  ['aes256gcm16-prfsha512-ecp521', 'aes256gcm16', suite('aes-256-gcm-16', 'sha512', 21)],
  ['chacha20poly1305-prfsha256-x25519', 'chacha20poly1305', suite('chacha20-poly1305', 'sha256', 31)],
  ['aes128gcm16-prfsha512-modp2048', 'chacha20poly1305', suite('aes-128-gcm-16', 'sha512', 14, 'chacha20-poly1305')],
];

type Proposal = NonNullable<PeerSettings['proposals']>[number];

function suite(encryption: Proposal['encryption'][number], prf: Proposal['prf'][number], group: Proposal['groups'][number], esp = encryption): PeerSettings {
  return {
    proposals: [{ encryption: [encryption], prf: [prf], groups: [group] }],
    childProposals: [{ encryption: [esp], esn: [true, false], groups: [group], pfs: 'required' }],
  };
}

describe('strongSwan in hard times', function () {
  this.timeout(700_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  const ours = { credential: { kind: 'psk', psk }, retransmission: QUICK } as const;
  let theirs: { readonly credential: { readonly psk: string }; readonly root: string };

  before(() => {
    theirs = { credential: { psk }, root: debianRoot('trixie') };
  });

  for (const [ike, esp, settings] of SUITES) {
    it(`${ike} with ${esp}, and its rekeys`, () =>
      new InteropLab().judge(async (lab) => {
        const group = ike.slice(ike.lastIndexOf('-'));
        await lab.start({ role: 'initiator', ...ours, settings }, { ...theirs, ikeProposals: ike, espProposals: `${esp}${group}` });
        await lab.awaitUp();
        lab.assertPing('ours', 64);
        lab.ours.command('rekey-child');
        await lab.ours.event('child-up', 10_000, (event) => event.replaces !== undefined);
        lab.ours.command('rekey-ike');
        await lab.ours.event('ike-rekeyed');
        lab.assertPing('theirs', 1300);
        await lab.assertNoSuspiciousDrops();
      }));
  }

  /**
   * Our request is lost, so that strongSwan's arrives while ours is outstanding; ours, repeated, then arrives while
   * strongSwan waits for our lost answer, which it asks for again only after one second.
   */
  async function collide(lab: InteropLab, request: () => void): Promise<void> {
    lab.loseIke('everything to strongSwan');
    request();
    await lab.ours.logged(/exchange=(?:rekey-\w+|CREATE_CHILD_SA) messageId=0/);
    lab.loseIke('nothing');
    await sleep(BOTH_REPEATED_MS);
  }

  for (const [what, sign, request] of [
    ['child rekeys', /rekey collided with the peer/, (lab: InteropLab) => (lab.ours.command('rekey-child'), lab.theirs.rekey({ child: 'net' }))],
    ['IKE rekeys', /rekey collided with the peer/, (lab: InteropLab) => (lab.ours.command('rekey-ike'), lab.theirs.rekey({ ike: 'peer' }))],
    ['a child rekey of ours and an IKE rekey of theirs', /answer=TEMPORARY_FAILURE/, (lab: InteropLab) => (lab.ours.command('rekey-child'), lab.theirs.rekey({ ike: 'peer' }))],
    ['an IKE rekey of ours and a child rekey of theirs', /answer=TEMPORARY_FAILURE/, (lab: InteropLab) => (lab.ours.command('rekey-ike'), lab.theirs.rekey({ child: 'net' }))],
  ] as const) {
    it(`colliding: ${what}`, () =>
      new InteropLab().judge(async (lab) => {
        await lab.start({ role: 'initiator', ...ours }, theirs);
        await lab.awaitUp();
        lab.assertPing('ours', 64);
        const { answered, lost } = await lab.pingDuring(() => collide(lab, () => void request(lab)));
        assert.ok(answered > 50, `${answered} pings were answered`);
        assert.equal(lost, 0);
        assert.deepEqual(lab.ours.unseen('ike-down'), []);
        await lab.ours.logged(sign);
        lab.ours.forgetEvents();
        // Whatever won, one IKE SA and one child are left, and they can be rekeyed again.
        lab.theirs.rekey({ child: 'net' });
        await lab.ours.event('child-down', 20_000);
        await lab.assertTraffic();
      }));
  }

  it('both ends rekey by clocks of seconds', () =>
    new InteropLab().judge(async (lab) => {
      const settings = { childLifetimeMs: 1_500, ikeLifetimeMs: 3_000 };
      const connection = 'mobike = no\n rekey_time = 2s\n over_time = 5s\n rand_time = 0s';
      const child = 'rekey_time = 1s\n life_time = 6s\n rand_time = 0s';
      await lab.start({ role: 'initiator', ...ours, settings }, { ...theirs, connection, child });
      await lab.awaitUp();
      lab.assertPing('ours', 64);
      const { answered, lost } = await lab.pingDuring(() => sleep(4_000));
      assert.ok(answered > 200, `${answered} pings were answered`);
      assert.equal(lost, 0);
      assert.deepEqual(lab.ours.unseen('ike-down'), []);
      assert.ok(lab.ours.unseen('child-up').length >= 3, 'children were rekeyed');
      assert.ok(lab.ours.unseen('ike-rekeyed').length >= 2, 'IKE SAs were rekeyed');
    }));

  it('strongSwan reauthenticates, making before breaking', () =>
    new InteropLab().judge(async (lab) => {
      const connection = 'mobike = no\n reauth_time = 2s\n over_time = 5s\n rand_time = 0s';
      await lab.start({ role: 'responder', ...ours }, { ...theirs, connection, settings: 'make_before_break = yes' });
      await lab.awaitUp();
      lab.assertPing('ours', 64);
      const { lost } = await lab.pingDuring(async () => {
        await lab.awaitUp();
        await lab.ours.event('ike-down');
        await sleep(300);
      });
      assert.equal(lost, 0);
      await lab.assertTraffic();
    }));

  for (const role of ['initiator', 'responder'] as const) {
    it(`every third IKE message is lost, ours is the ${role}`, () =>
      new InteropLab().judge(async (lab) => {
        lab.loseIke('every third message');
        await lab.start({ role, ...ours }, { ...theirs, settings: THEIR_QUICK });
        await lab.ours.event('child-up', 30_000);
        lab.ours.command('rekey-ike');
        await lab.ours.event('ike-rekeyed', 30_000);
        lab.theirs.rekey({ child: 'net' });
        await lab.ours.event('child-down', 30_000);
        lab.loseIke('nothing');
        await lab.assertTraffic();
      }));
  }

  it('strongSwan returns our cookie', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start({ role: 'responder', ...ours, halfOpen: { cookieThreshold: 0, total: 10, perNetwork: 10 } }, theirs);
      await lab.awaitUp();
      await lab.theirs.awaitLog(/parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]/, 1_000);
      lab.assertPing('ours', 64);
    }));

  it('strongSwan ends a child and makes another one in the same IKE SA; either end ends it all in order', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start({ role: 'initiator', ...ours }, { ...theirs, espProposals: 'aes256gcm16-x25519' });
      await lab.awaitUp();
      lab.theirs.terminate({ child: 'net' });
      await lab.ours.event('child-down');
      lab.theirs.initiate('net');
      const child = await lab.ours.event('child-up');
      assert.deepEqual([child.replaces, child.initiator], [undefined, false]);
      await lab.assertTraffic();
      assert.deepEqual(lab.ours.unseen('ike-down'), []);
      lab.theirs.terminate({ ike: 'peer' });
      assert.match((await lab.ours.event('ike-down')).reason, /peer/);
      // It is still wanted here, so it comes again.
      await lab.awaitUp();
      lab.assertPing('ours', 64);
      lab.ours.command('terminate');
      await lab.theirs.awaitLog(/received DELETE for IKE_SA/, 5_000);
      assert.equal(lab.theirs.listSas(), '');
    }));

  it("strongSwan's NAT forgets it: our end follows", () =>
    new InteropLab('their NAT').judge(async (lab) => {
      await lab.start({ role: 'responder', ...ours }, theirs);
      await lab.awaitUp();
      lab.assertPing('ours', 64);
      lab.moveNat();
      // ESP from there is enough for ESP; IKE follows with the first message of IKE.
      lab.assertPing('theirs', 64);
      lab.theirs.rekey({ child: 'net' });
      const moved = await lab.ours.event('endpoint');
      assert.equal(moved.remote.address, '198.51.100.3');
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
      await lab.assertTraffic();
    }));

  it('bare ESP over IPv6', () =>
    new InteropLab('ipv6').judge(async (lab) => {
      await lab.start({ role: 'initiator', ...ours }, theirs);
      const { child } = await lab.awaitUp();
      assert.equal(child.natt, false);
      await lab.assertTraffic();
    }));

  it('ESP in UDP over IPv6', () =>
    new InteropLab('ipv6').judge(async (lab) => {
      await lab.start({ role: 'responder', ...ours }, { ...theirs, connection: 'encap = yes\n mobike = no' });
      const { child } = await lab.awaitUp();
      assert.equal(child.natt, true);
      await lab.assertTraffic();
    }));
});
