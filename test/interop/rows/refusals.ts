// Connections that cannot be: the cause in words at our end, whichever end started.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../../platform/random.ts';
import { issueBoth } from '../certificates.ts';
import { OUR_IDENTITY, THEIR_IDENTITY } from '../counterpart.ts';
import type { StrongswanSide } from '../counterpart.ts';
import type { InteropLab, OurSide } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

export interface Mismatch {
  readonly ours?: OurSide;
  readonly theirs: StrongswanSide;
}

export interface Reasons {
  /** Our event `connect-failed`. */
  readonly initiator: string;
  /** What strongSwan is told. */
  readonly notify: RegExp;
  readonly responder: (lab: InteropLab) => Promise<void>;
}

export async function refused(lab: InteropLab, { ours, theirs }: Mismatch, reasons: Reasons): Promise<void> {
  await lab.startBoth(ours, theirs);
  if (lab.role === 'initiator') {
    lab.ours.command('connect');
    await lab.awaitConnectFailed(reasons.initiator);
  } else {
    await assert.rejects(lab.theirs.initiate('net', 20), reasons.notify);
    await reasons.responder(lab);
  }
}

export function refusal(row: Pick<Row, 'name' | 'counterparts' | 'always'>, mismatch: () => Mismatch | Promise<Mismatch>, reasons: Reasons): Row {
  return { roles: ROLES, path: 'direct', ends: 'down', ...row, run: async (lab) => refused(lab, await mismatch(), reasons) };
}

export const NOT_ACCEPTED = 'peer refuses: the peer does not accept our identity or credential';

export const REFUSAL_ROWS: readonly Row[] = [
  refusal(
    { name: 'wrong credentials', counterparts: ['5.9', '6.0', '6.1'], always: [{ role: 'responder', release: '6.0' }, { role: 'initiator', release: '6.0', lossy: true }] },
    () => ({ theirs: { credential: { psk: Buffer.from(new SystemRandom().bytes(32)).toString('hex') } } }),
    {
      initiator: NOT_ACCEPTED,
      notify: /AUTHENTICATION_FAILED/,
      responder: async (lab) => assert.equal((await lab.ours.event('peer-refused')).cause, 'pre-shared key does not match'),
    },
  ),
  refusal(
    { name: 'wrong credentials: certificates of strangers', counterparts: ['5.9', '6.0', '6.1'] },
    async () => {
      const [one, other] = [await issueBoth(OUR_IDENTITY, THEIR_IDENTITY, 'CA One'), await issueBoth(OUR_IDENTITY, THEIR_IDENTITY, 'CA Two')];
      return { ours: { credential: one.ours }, theirs: { credential: { files: other.theirs } } };
    },
    {
      initiator: NOT_ACCEPTED,
      notify: /AUTHENTICATION_FAILED/,
      responder: async (lab) => assert.match((await lab.ours.event('peer-refused')).cause, /^peer's certificate .*(?:issue|anchor|trust)/),
    },
  ),
  refusal(
    { name: 'no proposal chosen', counterparts: ['5.9', '6.0', '6.1'], always: [{ role: 'initiator', release: '5.9' }] },
    () => ({
      ours: { settings: { proposals: [{ encryption: ['aes-256-gcm-16'], prf: ['sha384'], groups: [31] }] } },
      theirs: { ikeProposals: 'aes128gcm16-prfsha256-ecp256' },
    }),
    {
      initiator: 'the peer answered NO_PROPOSAL_CHOSEN to IKE_SA_INIT',
      notify: /NO_PROPOSAL_CHOSEN/,
      responder: (lab) => lab.ours.logged(/cause="?peer offered only aes-gcm-16-128; allowed: aes-gcm-16-256/),
    },
  ),
  refusal(
    { name: 'no proposal chosen for the child', counterparts: ['5.9', '6.0', '6.1'] },
    () => ({
      ours: { settings: { childProposals: [{ encryption: ['aes-256-gcm-16'], esn: [true, false], groups: [31], pfs: 'optional' }] } },
      theirs: { espProposals: 'aes128gcm16' },
    }),
    {
      initiator: 'the peer refuses the child SA: NO_PROPOSAL_CHOSEN',
      notify: /NO_PROPOSAL_CHOSEN/,
      responder: (lab) => lab.ours.logged(/child SA refused .*cause=/),
    },
  ),
];
