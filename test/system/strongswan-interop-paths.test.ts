// What lies between the ends: NATs on either side, MOBIKE's change of port, messages too large for one datagram; and
// that each end is missed and comes back.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { debianRoot } from './debian-root.ts';
import { issueBothByIntermediates } from './strongswan-interop-credentials.ts';
import { InteropLab, OUR_IDENTITY, THEIR_IDENTITY } from './strongswan-interop-lab.ts';

/** A dead peer is found within about two seconds. */
const IMPATIENT = { initialMs: 200, factor: 1.5, longestMs: 1_000, tries: 4, jitter: 0.1 };

describe('Paths to strongSwan', function () {
  this.timeout(700_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  const ours = { credential: { kind: 'psk', psk } } as const;
  let newer: string;

  before(() => {
    newer = debianRoot('trixie');
  });

  it('our end behind a NAT floats to port 4500', () =>
    new InteropLab('our NAT').judge(async (lab) => {
      await lab.start({ role: 'initiator', ...ours }, { credential: { psk }, root: newer });
      const { ike, child } = await lab.awaitUp();
      assert.deepEqual(ike.nat, { local: true, remote: false });
      assert.deepEqual([ike.natt, child.natt, child.remote.port], [true, true, 4500]);
      await lab.assertTraffic();
      lab.theirs.rekey({ child: 'net' });
      await lab.ours.event('child-up', 10_000, (event) => event.replaces !== undefined);
      await lab.assertTraffic();
    }));

  it('strongSwan behind a NAT floats to port 4500', () =>
    new InteropLab('their NAT').judge(async (lab) => {
      await lab.start({ role: 'responder', ...ours }, { credential: { psk }, root: newer });
      const { ike, child } = await lab.awaitUp();
      assert.deepEqual(ike.nat, { local: false, remote: true });
      assert.deepEqual([ike.natt, child.natt], [true, true]);
      await lab.assertTraffic();
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
      lab.ours.command('rekey-child');
      await lab.ours.event('child-up', 10_000, (event) => event.replaces !== undefined);
      await lab.assertTraffic();
    }));

  it('our end forces UDP encapsulation on a path without NAT', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start({ role: 'initiator', ...ours, settings: { forceUdpEncapsulation: true } }, { credential: { psk }, root: newer });
      const { ike, child } = await lab.awaitUp();
      assert.deepEqual([ike.natt, child.natt], [true, true]);
      assert.match(lab.theirs.listSas(), /INSTALLED, TUNNEL-in-UDP/);
      await lab.assertTraffic();
    }));

  for (const role of ['initiator', 'responder'] as const) {
    it(`strongSwan with MOBIKE carries bare ESP, ours is the ${role}`, () =>
      new InteropLab().judge(async (lab) => {
        await lab.start({ role, ...ours }, { credential: { psk }, root: newer, connection: 'mobike = yes' });
        const { child } = await lab.awaitUp();
        assert.equal(child.natt, false);
        await lab.assertTraffic();
      }));

    it(`IKE_AUTH with intermediate certificates travels in fragments, ours is the ${role}`, () =>
      new InteropLab().judge(async (lab) => {
        const issued = await issueBothByIntermediates(OUR_IDENTITY, THEIR_IDENTITY);
        // strongSwan's limit counts the whole IP packet, ours the IKE message.
        const theirs = { credential: { files: issued.theirs }, root: newer, settings: 'fragment_size = 628' };
        await lab.start({ role, credential: issued.ours, settings: { fragmentBytes: 600 } }, theirs);
        await lab.awaitUp();
        const [sent, received] = role === 'initiator' ? ['response', 'request'] : ['request', 'response'];
        await lab.theirs.awaitLog(new RegExp(`generating IKE_AUTH ${sent} 1 \\[ EF\\(2/[23]\\) \\]`), 1_000);
        await lab.theirs.awaitLog(new RegExp(`parsed IKE_AUTH ${received} 1 \\[ EF\\(2/[23]\\) \\]`), 1_000);
        await lab.assertTraffic();
      }));
  }

  it('a dead strongSwan is missed with a cause, and found again', () =>
    new InteropLab().judge(async (lab) => {
      const theirs = { credential: { psk }, root: newer };
      await lab.start({ role: 'initiator', ...ours, settings: { dpdMs: 500 }, retransmission: IMPATIENT }, theirs);
      await lab.awaitUp();
      lab.assertPing('ours', 64);
      const first = lab.theirs;
      await first.kill();
      const { entry } = await lab.ours.event('history', 10_000, (event) => event.entry.event === 'Peer Down');
      assert.equal(entry.cause, 'the peer did not answer 4 sendings');
      const down = await lab.ours.event('ike-down');
      assert.equal(down.reason, 'the peer did not answer 4 sendings');
      await lab.ours.event('child-down');
      await first.stop();
      await lab.startTheirs(theirs);
      await lab.awaitUp();
      await lab.assertTraffic();
    }));

  it('our end comes back after a crash and replaces what strongSwan still holds', () =>
    new InteropLab().judge(async (lab) => {
      await lab.start({ role: 'initiator', ...ours }, { credential: { psk }, root: newer });
      await lab.awaitUp();
      await lab.ours.kill();
      (await lab.startOurs({ role: 'initiator', ...ours })).command('connect');
      await lab.awaitUp();
      await lab.assertTraffic();
      assert.equal([...lab.theirs.listSas().matchAll(/ESTABLISHED/g)].length, 1);
    }));

  it('strongSwan comes back after a crash and replaces what our end still holds', () =>
    new InteropLab().judge(async (lab) => {
      const theirs = { credential: { psk }, root: newer };
      await lab.start({ role: 'responder', ...ours }, theirs);
      await lab.awaitUp();
      await lab.theirs.kill();
      await lab.theirs.stop();
      (await lab.startTheirs(theirs)).initiate('net');
      // IKE_AUTH { N(INITIAL_CONTACT) } -->
      await lab.ours.event('ike-down');
      await lab.awaitUp();
      await lab.assertTraffic();
    }));

  it('strongSwan finds our end again after a crash', () =>
    new InteropLab().judge(async (lab) => {
      const first = await lab.startOurs({ role: 'responder', ...ours });
      const theirs = await lab.startTheirs({
        credential: { psk },
        root: newer,
        connection: 'mobike = no\n dpd_delay = 1s\n keyingtries = 0',
        child: 'dpd_action = restart\n start_action = start',
        settings: 'retransmit_tries = 2\n retransmit_timeout = 0.3\n retransmit_base = 1.2',
      });
      await lab.awaitUp();
      lab.assertPing('ours', 64);
      await first.kill();
      await theirs.awaitLog(/giving up after 2 retransmits/, 20_000);
      await lab.startOurs({ role: 'responder', ...ours });
      await lab.ours.event('child-up', 30_000);
      await lab.assertTraffic();
    }));
});
