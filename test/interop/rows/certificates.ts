// Certificates that must not count any longer, or never did: which end refuses, and with which words.
import { strict as assert } from 'node:assert';
import { encodePem } from '../../../platform/pem.ts';
import { rfc3339, SystemClock } from '../../../platform/time.ts';
import { OUR_IDENTITY, THEIR_IDENTITY } from '../counterpart.ts';
import type { InteropLab } from '../lab.ts';
import { issueFaulty, issueRevoked } from '../openssl-certificates.ts';
import { RELEASES, ROLES } from '../row.ts';
import type { Row } from '../row.ts';
import { NOT_ACCEPTED, refusal, refused } from './refusals.ts';
import type { Mismatch, Reasons } from './refusals.ts';

const DAY_MS = 86_400_000;

/** We refuse strongSwan's certificate for this cause, whichever end started. */
function ourRefusal(cause: string): Reasons {
  const words = `peer's ${cause}`;
  return {
    initiator: words,
    notify: /AUTHENTICATION_FAILED/,
    responder: async (lab) => assert.equal((await lab.ours.event('peer-refused')).cause, words),
  };
}

function faulty(fault: Parameters<typeof issueFaulty>[2]): Mismatch {
  const { ours, theirs } = issueFaulty(OUR_IDENTITY, THEIR_IDENTITY, fault);
  return { ours: { credential: ours }, theirs: { credential: { files: theirs } } };
}

function theirsRevoked(): Mismatch {
  const { ours, theirs, crl } = issueRevoked(OUR_IDENTITY, THEIR_IDENTITY);
  return { ours: { credential: ours, crls: [Buffer.from(crl).toString('base64')] }, theirs: { credential: { files: theirs } } };
}

function oursRevoked(): Mismatch {
  const { ours, theirs, crl } = issueRevoked(OUR_IDENTITY, THEIR_IDENTITY, 'ours');
  const files = { ...theirs, 'x509crl/list.pem': encodePem('X509 CRL', crl) };
  return { ours: { credential: ours }, theirs: { credential: { files }, plugins: ['revocation'] } };
}

/** strongSwan refuses ours: as the initiator only after we have answered, so that our end comes up and goes again. */
async function ourEndIsRefused(lab: InteropLab): Promise<void> {
  const { ours, theirs } = oursRevoked();
  await lab.startBoth(ours, theirs);
  if (lab.role === 'initiator') {
    lab.ours.command('connect');
    await lab.awaitConnectFailed(NOT_ACCEPTED);
  } else {
    await assert.rejects(lab.theirs.initiate('net', 20), /failed/);
    await lab.awaitUp();
    await lab.ours.event('ike-down');
  }
  await lab.theirs.awaitLog(new RegExp(`certificate was revoked on .*|certificate with subject '.*${OUR_IDENTITY}.*' is revoked`));
}

async function expired(lab: InteropLab): Promise<void> {
  const yesterday = rfc3339(new SystemClock().unixMs() - DAY_MS).slice(0, 10);
  await refused(lab, faulty('expired'), ourRefusal(`certificate expired on ${yesterday}`));
}

/** The list names neither end: what is refused for want of it passes with it. Our CERTREQ asks for OCSP responses then, which strongSwan passes over. */
async function hardFailPasses(lab: InteropLab): Promise<void> {
  const { ours, theirs, crl } = issueRevoked(OUR_IDENTITY, THEIR_IDENTITY, 'ours');
  await lab.start({ credential: ours, crls: [Buffer.from(crl).toString('base64')], revocationPolicy: 'hard' }, { credential: { files: theirs } });
  await lab.awaitUp();
}

export const CERTIFICATE_ROWS: readonly Row[] = [
  { name: 'certificates under hard fail', roles: ROLES, counterparts: RELEASES, path: 'direct', ends: 'up', run: hardFailPasses },
  refusal({ name: "revoked certificate: strongSwan's", counterparts: RELEASES, always: [{ role: 'responder', release: '6.0' }] }, theirsRevoked, ourRefusal('certificate was revoked on 2026-10-01')),
  { name: 'revoked certificate: ours', roles: ROLES, counterparts: RELEASES, path: 'direct', ends: 'down', always: [{ role: 'initiator', release: '5.9' }], run: ourEndIsRefused },
  refusal(
    { name: 'certificate outside of the name constraints of its authority', counterparts: RELEASES },
    () => faulty('name constraints'),
    ourRefusal(`certificate is outside of the name constraints of authority Narrow CA: the mail address ${THEIR_IDENTITY} is not permitted`),
  ),
  { name: 'expired certificate', roles: ROLES, counterparts: RELEASES, path: 'direct', ends: 'down', run: expired },
];
