// Ends that change their address (MOBIKE), on the wire, behind a NAT, and behind one each; and peers that are sent to
// another gateway.
import { strict as assert } from 'node:assert';
import type { InteropLab } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

/** The initiator, who decides over addresses, gets another one and loses the first. */
async function moveInitiator(lab: InteropLab): Promise<string> {
  const mover = lab.role === 'initiator' ? 'ours' : 'theirs';
  const address = lab.topology.addAddress(mover);
  if (mover === 'ours') lab.ours.command(`move ${address}`);
  // strongSwan sees it by itself when the first one goes.
  lab.topology.dropAddress(mover);
  return address;
}

/** UPDATE_SA_ADDRESSES as strongSwan's log calls it, sent or received. */
const UPDATED = { initiator: /parsed INFORMATIONAL request \d+ \[[^\]]*N\(UPD_SA_ADDR\)/, responder: /generating INFORMATIONAL request \d+ \[[^\]]*N\(UPD_SA_ADDR\)/ } as const;
/** Ours came from another address; the liveness check before that also has UPDATE_SA_ADDRESSES. */
const SEEN_ELSEWHERE = /remote endpoint changed from (\S+)\[4500\] to (?!\1\[)\S+\[4500\]/;
/** kernel-libipsec cannot move a child, so strongSwan makes another one. */
const CHILD_MOVED = /rekeyed CHILD_SA/;
const TOLD_MS = 15_000;

async function moves(lab: InteropLab, seen: (address: string) => string): Promise<void> {
  await lab.start({ settings: { mobike: true } }, { mobike: true, ...(lab.role === 'responder' ? { connection: 'local_addrs = %any' } : {}) });
  await lab.awaitUp();
  await lab.ping('ours');
  const address = await moveInitiator(lab);
  await lab.theirs.awaitLog(UPDATED[lab.role], TOLD_MS);
  const moved = await lab.ours.event('endpoint', TOLD_MS);
  if (lab.role === 'initiator') assert.equal(moved.local.address, address);
  else assert.equal(moved.remote.address, seen(address));
  await lab.ping('theirs');
  lab.ours.command('rekey-ike');
  await lab.ours.event('ike-rekeyed');
  lab.ours.command('rekey-child');
  await lab.awaitChildRekeyed();
}

export const MOBILITY_ROWS: readonly Row[] = [
  {
    name: 'MOBIKE: another address',
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    always: [{ role: 'responder', release: '6.0' }],
    run: (lab) => moves(lab, (address) => address),
  },
  {
    name: 'MOBIKE: another address, IPv6',
    roles: ROLES,
    counterparts: ['6.0'],
    path: 'IPv6',
    ends: 'up',
    run: (lab) => moves(lab, (address) => address),
  },
  {
    name: 'MOBIKE: another address behind a NAT',
    roles: ROLES,
    counterparts: ['6.0', '6.1'],
    path: 'NAT',
    ends: 'up',
    run: (lab) => moves(lab, () => lab.topology.seen('theirs')),
  },
  {
    name: 'MOBIKE: another address behind a NAT, with one at the other end',
    roles: ROLES,
    counterparts: ['6.0', '6.1'],
    path: 'double NAT',
    ends: 'up',
    always: [{ role: 'initiator', release: '6.0' }],
    run: (lab) => moves(lab, () => lab.topology.seen('theirs')),
  },
  {
    name: 'MOBIKE: a NAT with other mappings, found by the liveness check',
    roles: ['initiator'],
    counterparts: ['6.0', '6.1'],
    path: 'NAT',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ settings: { mobike: true, dpdMs: 1_000 } }, { mobike: true });
      await lab.awaitUp();
      lab.topology.moveNat();
      await lab.theirs.awaitLog(SEEN_ELSEWHERE, TOLD_MS);
      await lab.theirs.awaitLog(CHILD_MOVED, TOLD_MS);
      await lab.ping('ours');
      await lab.ping('theirs');
    },
  },
  ...(['init', 'auth'] as const).map((at): Row => ({
    name: `redirect in ${at === 'init' ? 'IKE_SA_INIT' : 'IKE_AUTH'}`,
    roles: ['responder'],
    counterparts: ['6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      const to = lab.topology.addAddress('ours');
      await lab.startBoth({ redirect: { at, to } });
      // To strongSwan 6.0's command the connection that was redirected in IKE_AUTH has failed.
      await lab.theirs.initiate('net').catch(() => undefined);
      const { ike } = await lab.awaitUp();
      assert.equal(ike.local.address, to);
      assert.match(lab.theirs.log(), /N\(REDIR/);
    },
  })),
  {
    name: 'redirect of an established connection',
    roles: ['initiator'],
    counterparts: ['6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      const to = lab.topology.addAddress('theirs');
      await lab.start({ settings: { followRedirects: true } }, { connection: 'local_addrs = %any' });
      await lab.awaitUp();
      await lab.ping('ours');
      await lab.theirs.redirect('peer', to);
      const { ike } = await lab.awaitUp();
      assert.equal(ike.remote.address, to);
      await lab.ours.event('ike-down');
    },
  },
];
