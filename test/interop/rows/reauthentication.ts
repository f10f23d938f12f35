// Connections that begin anew for another authentication, whoever asks for it.
import { strict as assert } from 'node:assert';
import type { InteropLab } from '../lab.ts';
import type { Row } from '../row.ts';

/** strongSwan is the initiator, and its operator orders it. */
async function ordered(lab: InteropLab): Promise<void> {
  await lab.theirs.reauthenticate('peer');
  const { ike } = await lab.awaitUp();
  const { ikeSa } = await lab.ours.event('ike-down');
  assert.notEqual(ikeSa, ike.ikeSa);
  await lab.assertOneConnection();
  await lab.ping('ours');
}

export const REAUTHENTICATION_ROWS: readonly Row[] = [
  {
    name: 'reauth',
    roles: ['responder'],
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { settings: 'make_before_break = yes' });
      await lab.awaitUp();
      await lab.ping('ours');
      lab.assertNothingLost(await lab.pingDuring(() => ordered(lab)), 'reauthentication');
    },
  },
  {
    name: 'reauth, breaking before making',
    roles: ['responder'],
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { settings: 'make_before_break = no' });
      await lab.awaitUp();
      await ordered(lab);
    },
  },
];
