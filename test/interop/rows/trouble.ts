// Hard times: ends that crash and come back, and those that leave in order.
import { strict as assert } from 'node:assert';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

/** A dead peer is found within seconds; losses do not look like one. */
const OUR_IMPATIENT = { initialMs: 200, factor: 1.2, longestMs: 500, tries: 10, jitter: 0.1 };
const THEIR_IMPATIENT = 'retransmit_tries = 8\n retransmit_timeout = 0.3\n retransmit_base = 1.1';
export const TROUBLE_ROWS: readonly Row[] = [
  {
    name: 'DPD restart',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    always: [{ role: 'initiator', release: '6.0' }],
    // The one that missed the other finds it again: our end when it is the initiator, strongSwan when it is.
    run: async (lab) => {
      if (lab.role === 'initiator') {
        await lab.start({ settings: { dpdMs: 500 }, retransmission: OUR_IMPATIENT });
        await lab.awaitUp();
        await lab.ping('ours');
        const first = lab.theirs;
        await first.kill();
        const { entry } = await lab.ours.event('history', undefined, (event) => event.entry.event === 'Peer Down');
        assert.equal(entry.cause, 'the peer did not answer 10 sendings');
        const down = await lab.ours.event('ike-down');
        assert.equal(down.reason, 'the peer did not answer 10 sendings');
        await lab.ours.event('child-down');
        await first.stop();
        await lab.startTheirs();
        await lab.awaitUp();
      } else {
        const theirs = { connection: 'dpd_delay = 1s\n keyingtries = 0', child: 'dpd_action = restart\n start_action = start', settings: THEIR_IMPATIENT };
        await lab.startBoth({}, theirs);
        await lab.awaitUp();
        await lab.ping('ours');
        await lab.ours.kill();
        await lab.theirs.awaitLog(/giving up after 8 retransmits/);
        await lab.startOurs();
        await lab.ours.event('child-up');
      }
    },
  },
  {
    name: 'strongSwan is back at once and knows nothing of the IKE SA',
    roles: ['initiator'],
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ settings: { dpdMs: 500 }, retransmission: OUR_IMPATIENT });
      await lab.awaitUp();
      await lab.ping('ours');
      await lab.theirs.kill();
      await lab.theirs.stop();
      await lab.startTheirs();
      // Whatever an SPI that is not known is answered with proves nothing (RFC 7296 2.4): the silence does.
      assert.equal((await lab.ours.event('ike-down')).reason, 'the peer did not answer 10 sendings');
      await lab.awaitUp();
    },
  },
  {
    name: 'the initiator comes back after a crash (INITIAL_CONTACT)',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start();
      await lab.awaitUp();
      if (lab.role === 'initiator') {
        await lab.ours.kill();
        (await lab.startOurs()).command('connect');
      } else {
        await lab.theirs.kill();
        await lab.theirs.stop();
        await (await lab.startTheirs()).initiate('net');
        // IKE_AUTH { N(INITIAL_CONTACT) } -->
        await lab.ours.event('ike-down');
      }
      await lab.awaitUp();
    },
  },
  {
    name: 'strongSwan ends the child, makes another one, and ends it all',
    roles: ['initiator'],
    counterparts: ['6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { espProposals: 'aes256gcm16-x25519' });
      await lab.awaitUp();
      await lab.theirs.terminate({ child: 'net' });
      await lab.ours.event('child-down');
      await lab.theirs.initiate('net');
      const child = await lab.ours.event('child-up');
      assert.deepEqual([child.replaces, child.initiator], [undefined, false]);
      await lab.assertTraffic();
      assert.deepEqual(lab.ours.unseen('ike-down'), []);
      await lab.theirs.terminate({ ike: 'peer' });
      assert.match((await lab.ours.event('ike-down')).reason, /peer/);
      // It is still wanted here, so it comes again.
      await lab.awaitUp();
    },
  },
  {
    name: 'our end ends it all',
    roles: ROLES,
    counterparts: ['6.0'],
    path: 'direct',
    ends: 'down',
    run: async (lab) => {
      await lab.start();
      await lab.awaitUp();
      await lab.ping('ours');
      lab.ours.command('terminate');
      await lab.ours.event('ike-down');
      await lab.theirs.awaitLog(/received DELETE for IKE_SA/);
    },
  },
];
