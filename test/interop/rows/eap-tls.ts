// EAP-TLS: strongSwan as the user and as the server. 5.9 knows TLS 1.3 only as it was before RFC 9190.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../../platform/random.ts';
import type { CertificateCredential } from '../../system/ike-peer.ts';
import { issueBoth } from '../certificates.ts';
import { OUR_IDENTITY, THEIR_IDENTITY } from '../counterpart.ts';
import type { StrongswanSide } from '../counterpart.ts';
import type { InteropLab, OurSide } from '../lab.ts';
import { issueRevoked, issueWithKeys } from '../openssl-certificates.ts';
import { RELEASES, ROLES } from '../row.ts';
import type { Row } from '../row.ts';

const METHOD = 'eap-tls';
/** Of a server of ours: users of another method get it after they have declined the first. */
const METHODS = ['mschapv2', 'tls'] as const;

interface Credentials {
  readonly ours: CertificateCredential;
  readonly theirs: Readonly<Record<string, string>>;
}

interface Variant {
  readonly version: '1.2' | '1.3';
  /** Certificates are shown in EAP-TLS only. */
  readonly alone?: boolean;
  /** strongSwan's server asks who we are. Default true. */
  readonly asks?: boolean;
  /** Of our server. */
  readonly crls?: OurSide['crls'];
}

async function issue(authority?: string): Promise<Credentials> {
  const { ours, theirs } = await issueBoth(OUR_IDENTITY, THEIR_IDENTITY, authority);
  return { ours: ours as CertificateCredential, theirs };
}

/** The initiator is the user. */
function sides(lab: InteropLab, { ours: certificate, theirs: files }: Credentials, { version, alone = false, asks = true, crls }: Variant): [OurSide, StrongswanSide] {
  const theirs = { plugins: ['eap-identity', METHOD], settings: `tls { version_max = ${version} }` };
  if (lab.role === 'initiator') {
    const credential = { files, method: METHOD, passwords: {}, certificate: !alone, asks };
    return [{ credential: { kind: 'eap-tls-user', identity: OUR_IDENTITY, certificate, eapOnly: alone } }, { ...theirs, credential }];
  }
  const ours: OurSide = { credential: { kind: 'eap-server', methods: alone ? ['tls'] : METHODS, certificate, eapOnly: alone } };
  return [crls === undefined ? ours : { ...ours, crls }, { ...theirs, credential: { files, user: { method: METHOD, identity: THEIR_IDENTITY }, certificate: !alone } }];
}

async function connect(lab: InteropLab, variant: Variant): Promise<void> {
  await lab.start(...sides(lab, await issue(), variant));
  const { ike } = await lab.awaitUp();
  if (lab.role === 'responder') assert.deepEqual(ike.remoteIdentity, { kind: 'user', value: THEIR_IDENTITY });
  assert.match(lab.theirs.log(), new RegExp(`negotiated TLS ${variant.version.replace('.', '\\.')}`));
}

async function refused(lab: InteropLab, both: [OurSide, StrongswanSide], cause: RegExp): Promise<void> {
  await lab.startBoth(...both);
  if (lab.role === 'initiator') {
    lab.ours.command('connect');
    const failed = await lab.ours.event('connect-failed', undefined, (event) => !lab.lossy || /TLS/.test(event.cause));
    assert.match(failed.cause, /^peer refuses: TLS fails: .*alert|^TLS fails: .*alert/);
    lab.ours.command('terminate');
  } else {
    await assert.rejects(lab.theirs.initiate('net'), /AUTHENTICATION_FAILED/);
    assert.match((await lab.ours.event('peer-refused')).cause, cause);
  }
}

const COMMON = { roles: ROLES, path: 'direct' } as const;

export const EAP_TLS_ROWS: readonly Row[] = [
  {
    ...COMMON,
    name: 'EAP-TLS, TLS 1.2',
    counterparts: RELEASES,
    ends: 'up',
    always: [{ role: 'initiator', release: '5.9' }],
    run: (lab) => connect(lab, { version: '1.2' }),
  },
  {
    ...COMMON,
    name: 'EAP-TLS, TLS 1.3',
    counterparts: ['6.0', '6.1'],
    ends: 'up',
    run: (lab) => connect(lab, { version: '1.3' }),
  },
  {
    ...COMMON,
    name: 'EAP-TLS, TLS 1.3, EAP-only',
    counterparts: ['6.0', '6.1'],
    ends: 'up',
    always: [{ role: 'responder', release: '6.0' }],
    run: (lab) => connect(lab, { version: '1.3', alone: true }),
  },
  {
    ...COMMON,
    name: 'EAP-TLS without EAP identity',
    roles: ['initiator'],
    counterparts: ['5.9', '6.1'],
    ends: 'up',
    run: (lab) => connect(lab, { version: '1.2', asks: false }),
  },
  {
    ...COMMON,
    name: 'EAP-TLS with RSA and intermediate authorities',
    counterparts: RELEASES,
    ends: 'up',
    run: async (lab) => {
      const issued = issueWithKeys({ identity: OUR_IDENTITY, algorithm: 'rsa-pss-sha256' }, { identity: THEIR_IDENTITY }, 'rsa', 1);
      await lab.start(...sides(lab, issued, { version: lab.release === '5.9' ? '1.2' : '1.3' }));
      await lab.awaitUp();
    },
  },
  {
    ...COMMON,
    name: 'EAP-TLS with PPK',
    counterparts: RELEASES,
    ends: 'up',
    run: async (lab) => {
      const secret = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
      const [ours, theirs] = sides(lab, await issue(), { version: '1.2' });
      const connection = 'ppk_id = ppk-1\n ppk_required = yes';
      await lab.start({ ...ours, ppk: { id: 'ppk-1', secret, required: true } }, { ...theirs, connection, ppk: { id: 'ppk-1', secret } });
      await lab.awaitUp();
    },
  },
  {
    ...COMMON,
    name: 'wrong credentials: EAP-TLS user of a stranger',
    counterparts: RELEASES,
    ends: 'down',
    run: async (lab) => {
      const [known, stranger] = [await issue(), await issue('Other CA')];
      // The user trusts the server, and shows a certificate that the server does not trust.
      const theirs = { ...known.theirs, 'x509/peer.pem': stranger.theirs['x509/peer.pem']!, 'private/peer.pem': stranger.theirs['private/peer.pem']! };
      const ours = { ...stranger.ours, anchors: known.ours.anchors };
      const mixed = lab.role === 'initiator' ? { ours, theirs: known.theirs } : { ours: known.ours, theirs };
      await refused(lab, sides(lab, mixed, { version: '1.2' }), /^the user's certificate leads to no trust anchor/);
    },
  },
  {
    ...COMMON,
    name: 'revoked certificate: EAP-TLS user',
    roles: ['responder'],
    counterparts: RELEASES,
    ends: 'down',
    run: async (lab) => {
      const { ours, theirs, crl } = issueRevoked(OUR_IDENTITY, THEIR_IDENTITY);
      const crls = [Buffer.from(crl).toString('base64')];
      await refused(lab, sides(lab, { ours, theirs }, { version: '1.2', crls }), /^the user's certificate was revoked on 2026-10-01/);
    },
  },
];
