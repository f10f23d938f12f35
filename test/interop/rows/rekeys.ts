// Rekeys of child and IKE SAs and reauthentication, under a stream of pings.
import { strict as assert } from 'node:assert';
import { sleep } from '../../../platform/time.ts';
import type { InteropLab } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

/** Traffic before, between and after the rekeys. */
const PAUSE_MS = 300;

/** Each rekey's own events say that it has happened; the former child goes after it. */
async function childRekeyed(lab: InteropLab, initiator: boolean): Promise<void> {
  const child = await lab.awaitChildRekeyed();
  assert.equal(child.initiator, initiator);
  await lab.ours.event('child-down', undefined, (event) => event.child === child.replaces);
}

const BY_US = {
  child: async (lab: InteropLab) => {
    lab.ours.command('rekey-child');
    await childRekeyed(lab, true);
  },
  ike: async (lab: InteropLab) => {
    lab.ours.command('rekey-ike');
    await lab.ours.event('ike-rekeyed');
  },
};

const BY_THEM = {
  child: async (lab: InteropLab) => {
    await lab.theirs.rekey({ child: 'net' });
    await childRekeyed(lab, false);
  },
  ike: async (lab: InteropLab) => {
    await lab.theirs.rekey({ ike: 'peer' });
    await lab.ours.event('ike-rekeyed');
  },
};

/** With perfect forward secrecy: the KE payload goes both ways. */
async function withoutLoss(lab: InteropLab, rekeys: readonly (readonly [string, (lab: InteropLab) => Promise<void>])[]): Promise<void> {
  await lab.start({}, { espProposals: 'aes256gcm16-x25519' });
  await lab.awaitUp();
  await lab.ping('ours');
  for (const [what, rekey] of rekeys) {
    const stream = await lab.pingDuring(async () => {
      await sleep(PAUSE_MS);
      await rekey(lab);
      await sleep(PAUSE_MS);
    });
    lab.assertNothingLost(stream, what);
  }
  assert.deepEqual(lab.ours.unseen('ike-down'), []);
}

export const REKEY_ROWS: readonly Row[] = [
  {
    name: 'child rekey',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    always: [{ role: 'responder', release: '5.9' }],
    run: (lab) =>
      withoutLoss(lab, [
        ['by our end', BY_US.child],
        ['by strongSwan', BY_THEM.child],
      ]),
  },
  {
    name: 'IKE rekey',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: (lab) =>
      withoutLoss(lab, [
        ['by our end', BY_US.ike],
        ['by strongSwan', BY_THEM.ike],
        ['a child under the newest IKE SA', BY_US.child],
      ]),
  },
  {
    name: 'rekeys by clocks of seconds at both ends',
    roles: ROLES,
    counterparts: ['6.0'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      // Where messages are lost a rekey takes a second more, and must still come before the lifetime's end.
      const seconds = lab.lossy ? 2 : 1;
      const settings = { childLifetimeMs: 1_500 * seconds, ikeLifetimeMs: 3_000 * seconds };
      const connection = `rekey_time = ${2 * seconds}s\n over_time = 20s\n rand_time = 0s`;
      const child = `rekey_time = ${seconds}s\n life_time = 20s\n rand_time = 0s`;
      await lab.start({ settings }, { connection, child });
      await lab.awaitUp();
      await lab.ping('ours');
      const stream = await lab.pingDuring(async () => {
        for (let rekeyed = 0; rekeyed < 3; rekeyed++) await lab.awaitChildRekeyed();
        for (let rekeyed = 0; rekeyed < 2; rekeyed++) await lab.ours.event('ike-rekeyed');
      });
      lab.assertNothingLost(stream, 'by clocks');
      assert.deepEqual(lab.ours.unseen('ike-down'), []);
    },
  },
];
