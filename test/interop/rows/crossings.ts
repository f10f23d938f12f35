// Requests of both ends that cross. Ours is kept from strongSwan until strongSwan's own is under way, so that they meet for
// sure; and both are ordered at the same moment, again and again, so that they meet as they happen to.
import { strict as assert } from 'node:assert';
import type { PeerCommand } from '../../system/ike-peer.ts';
import type { Strongswan } from '../../system/strongswan.ts';
import type { InteropLab } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

/** Our lost request is repeated long before strongSwan asks for our lost answer again, also on a busy machine. */
const REPEATED_LATE = 'retransmit_timeout = 5';
const REPEATED_SOON = { initialMs: 200, factor: 1.2, longestMs: 500, tries: 30, jitter: 0.1 };
const EXCHANGES = '(?:rekey-\\w+|delete-\\w+|CREATE_CHILD_SA|informational|INFORMATIONAL)';
const TOGETHER_TIMES = 4;

interface Crossing {
  readonly ours: PeerCommand;
  theirs(strongswan: Strongswan): Promise<unknown>;
}

const CHILD_BY_THEM = (strongswan: Strongswan): Promise<string> => strongswan.rekey({ child: 'net' });
const IKE_BY_THEM = (strongswan: Strongswan): Promise<string> => strongswan.rekey({ ike: 'peer' });

/** Returns when strongSwan's request has been taken at our end, and ours has a free way; and what strongSwan's operator is told. */
async function cross(lab: InteropLab, { ours, theirs }: Crossing): Promise<{ readonly told: Promise<unknown> }> {
  // Message ids that come next: the initiator has used 0 and 1 in IKE_SA_INIT and IKE_AUTH.
  const [ourId, theirId] = lab.role === 'initiator' ? [2, 0] : [0, 2];
  lab.loseIkeToTheirs(true);
  lab.ours.command(ours);
  await lab.ours.logged(new RegExp(`IKE message retransmitted .*exchange=${EXCHANGES} messageId=${ourId}\\b`));
  const told = theirs(lab.theirs);
  await lab.ours.logged(new RegExp(`exchange=${EXCHANGES} messageId=${theirId}\\b`));
  lab.loseIkeToTheirs(false);
  return { told };
}

/** On a path that loses more than it is told to, both repeat soon, and may miss each other. */
function startCrossing(lab: InteropLab): Promise<void> {
  return lab.start({ retransmission: REPEATED_SOON }, lab.lossy ? {} : { settings: REPEATED_LATE });
}

function rekeys(what: string, sign: RegExp, crossing: Crossing): Row {
  return {
    name: `colliding: ${what}`,
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await startCrossing(lab);
      await lab.awaitUp();
      await lab.ping('ours');
      const stream = await lab.pingDuring(async () => {
        await (await cross(lab, crossing)).told;
        if (!lab.lossy) await lab.ours.logged(sign);
        await lab.assertOneConnection();
      });
      lab.assertNothingLost(stream, what);
      assert.deepEqual(lab.ours.unseen('ike-down'), []);
      lab.ours.forgetEvents();
      // Whatever won can be rekeyed again.
      await lab.theirs.rekey({ child: 'net' });
      await lab.ours.event('child-down');
    },
  };
}

const COLLIDED = /rekey collided with the peer/;
const NOT_NOW = /answer=TEMPORARY_FAILURE/;

export const CROSSING_ROWS: readonly Row[] = [
  rekeys('child rekeys', COLLIDED, { ours: 'rekey-child', theirs: CHILD_BY_THEM }),
  rekeys('IKE rekeys', COLLIDED, { ours: 'rekey-ike', theirs: IKE_BY_THEM }),
  rekeys('a child rekey of ours and an IKE rekey of theirs', NOT_NOW, { ours: 'rekey-child', theirs: IKE_BY_THEM }),
  rekeys('an IKE rekey of ours and a child rekey of theirs', NOT_NOW, { ours: 'rekey-ike', theirs: CHILD_BY_THEM }),
  {
    name: 'both ends rekey at the same moment, again and again',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ retransmission: REPEATED_SOON });
      await lab.awaitUp();
      await lab.ping('ours');
      const stream = await lab.pingDuring(async () => {
        for (let time = 0; time < TOGETHER_TIMES; time++) {
          for (const { ours, theirs } of [{ ours: 'rekey-child', theirs: CHILD_BY_THEM }, { ours: 'rekey-ike', theirs: IKE_BY_THEM }] as const) {
            lab.ours.command(ours);
            await theirs(lab.theirs);
            await lab.assertOneConnection();
          }
        }
      });
      lab.assertNothingLost(stream, 'rekeys at the same moment');
      assert.deepEqual(lab.ours.unseen('ike-down'), []);
    },
  },
  {
    name: 'crossing: both ends end the IKE SA',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'down',
    run: async (lab) => {
      await startCrossing(lab);
      await lab.awaitUp();
      const { told } = await cross(lab, { ours: 'terminate', theirs: (strongswan) => strongswan.terminate({ ike: 'peer' }) });
      await told;
      await lab.ours.event('ike-down');
      await lab.theirs.awaitLog(/IKE_SA peer\[1\] state change: DELETING => DESTROYING/);
    },
  },
  {
    name: 'crossing: an IKE rekey of ours and the end of the IKE SA by strongSwan',
    roles: ['initiator'],
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await startCrossing(lab);
      await lab.awaitUp();
      const { told } = await cross(lab, { ours: 'rekey-ike', theirs: (strongswan) => strongswan.terminate({ ike: 'peer' }) });
      await told;
      assert.match((await lab.ours.event('ike-down')).reason, /the peer/);
      // It is still wanted here, so it comes again.
      await lab.awaitUp();
    },
  },
  {
    name: 'crossing: a child rekey of ours and the end of that child by strongSwan',
    roles: ['initiator'],
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await startCrossing(lab);
      await lab.awaitUp();
      const { told } = await cross(lab, { ours: 'rekey-child', theirs: (strongswan) => strongswan.terminate({ child: 'net' }) });
      await told;
      // An IKE SA that stays without a child is closed, and wanted again.
      await lab.ours.event('child-down');
      assert.equal((await lab.ours.event('ike-down')).reason, 'no child SA is left');
      await lab.awaitUp();
    },
  },
];
