// Hard times: crashes, requests of both ends that cross, reauthentication, children that end.
import { strict as assert } from 'node:assert';
import { sleep } from '../../../platform/time.ts';
import type { InteropLab } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

const OUR_QUICK = { initialMs: 300, factor: 1.5, longestMs: 1_000, tries: 10, jitter: 0.1 };
/** A dead peer is found within seconds; losses do not look like one. */
const OUR_IMPATIENT = { initialMs: 200, factor: 1.2, longestMs: 500, tries: 10, jitter: 0.1 };
const THEIR_IMPATIENT = 'retransmit_tries = 8\n retransmit_timeout = 0.3\n retransmit_base = 1.1';
/** strongSwan repeats after 1 s, our end after 0.3 s. */
const BOTH_REPEATED_MS = 1_300;

/** Begins what both ends have ordered at the same time. */
type Crossing = (lab: InteropLab) => Promise<unknown>;

const CROSSINGS: readonly (readonly [what: string, sign: RegExp, request: Crossing])[] = [
  ['child rekeys', /rekey collided with the peer/, (lab) => (lab.ours.command('rekey-child'), lab.theirs.rekey({ child: 'net' }))],
  ['IKE rekeys', /rekey collided with the peer/, (lab) => (lab.ours.command('rekey-ike'), lab.theirs.rekey({ ike: 'peer' }))],
  ['a child rekey of ours and an IKE rekey of theirs', /answer=TEMPORARY_FAILURE/, (lab) => (lab.ours.command('rekey-child'), lab.theirs.rekey({ ike: 'peer' }))],
  ['an IKE rekey of ours and a child rekey of theirs', /answer=TEMPORARY_FAILURE/, (lab) => (lab.ours.command('rekey-ike'), lab.theirs.rekey({ child: 'net' }))],
];

/**
 * Our request is lost, so that strongSwan's arrives while ours is outstanding; ours, repeated, then arrives while
 * strongSwan waits for our lost answer, which it asks for again only after one second.
 */
async function collide(lab: InteropLab, request: Crossing): Promise<void> {
  lab.loseIkeToTheirs(true);
  await request(lab);
  await lab.ours.logged(/exchange=(?:rekey-\w+|CREATE_CHILD_SA) messageId=0/);
  lab.loseIkeToTheirs(false);
  await sleep(BOTH_REPEATED_MS);
}

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
  ...CROSSINGS.map(
    ([what, sign, request]): Row => ({
      name: `colliding: ${what}`,
      roles: ROLES,
      counterparts: ['6.0', '6.1'],
      path: 'direct',
      ends: 'up',
      run: async (lab) => {
        await lab.start({ retransmission: OUR_QUICK });
        await lab.awaitUp();
        await lab.ping('ours');
        lab.assertNothingLost(await lab.pingDuring(() => collide(lab, request)), what);
        assert.deepEqual(lab.ours.unseen('ike-down'), []);
        await lab.ours.logged(sign);
        lab.ours.forgetEvents();
        // Whatever won can be rekeyed again.
        await lab.theirs.rekey({ child: 'net' });
        await lab.ours.event('child-down');
      },
    }),
  ),
  {
    name: 'reauth',
    roles: ['responder'],
    counterparts: ['6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { settings: 'make_before_break = yes' });
      await lab.awaitUp();
      await lab.ping('ours');
      const stream = await lab.pingDuring(async () => {
        await lab.theirs.reauthenticate('peer');
        await lab.awaitUp();
        await lab.ours.event('ike-down');
        await sleep(300);
      });
      lab.assertNothingLost(stream, 'reauthentication');
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
