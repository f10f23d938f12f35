// Signatures of every kind with strongSwan 5.9 and 6.0: what we sign it verifies, and the other way round.
import { strict as assert } from 'node:assert';
import type { SignatureAlgorithm } from '../../platform/crypto.ts';
import { debianRoot } from './debian-root.ts';
import { InteropLab, OUR_IDENTITY, THEIR_IDENTITY } from './strongswan-interop-lab.ts';
import type { DeviceKey } from './strongswan-signature-credentials.ts';
import { issueWithKeys } from './strongswan-signature-credentials.ts';

export interface SignatureRow {
  readonly name: string;
  readonly release: '5.9' | '6.0';
  readonly role: 'initiator' | 'responder';
  readonly key: DeviceKey;
  /** Ours, and strongSwan's as swanctl.conf calls it. */
  readonly algorithm: SignatureAlgorithm;
  readonly theirs: string;
  readonly levels?: number;
  /** Lines of strongswan.conf. */
  readonly settings?: string;
  /** How strongSwan's log calls what it has verified, and what it has made. */
  readonly log: readonly [verified: string, made: string];
  /** One of those that every test run takes. */
  readonly usual?: true;
}

/** strongSwan does not know RFC 7427 then. */
const CLASSIC = 'signature_authentication = no';

export const SIGNATURE_ROWS: readonly SignatureRow[] = [
  { name: 'RSA-PSS with SHA-256', usual: true, release: '6.0', role: 'initiator', key: 'rsa', algorithm: 'rsa-pss-sha256', theirs: 'rsa/pss-sha256', log: ['RSA_EMSA_PSS_SHA2_256', 'RSA_EMSA_PSS_SHA2_256'] },
  { name: 'RSA-PSS with SHA-512', release: '5.9', role: 'responder', key: 'rsa', algorithm: 'rsa-pss-sha512', theirs: 'rsa/pss-sha384', log: ['RSA_EMSA_PSS_SHA2_512', 'RSA_EMSA_PSS_SHA2_384'] },
  { name: 'RSA PKCS#1 v1.5 with SHA-384', release: '5.9', role: 'initiator', key: 'rsa', algorithm: 'rsa-pkcs1-sha384', theirs: 'rsa-sha256', log: ['RSA_EMSA_PKCS1_SHA2_384', 'RSA_EMSA_PKCS1_SHA2_256'] },
  { name: 'RSA PKCS#1 v1.5 with SHA-256', usual: true, release: '6.0', role: 'responder', key: 'rsa', algorithm: 'rsa-pkcs1-sha256', theirs: 'rsa-sha512', log: ['RSA_EMSA_PKCS1_SHA2_256', 'RSA_EMSA_PKCS1_SHA2_512'] },
  { name: 'Ed25519 over two intermediate authorities', usual: true, release: '6.0', role: 'initiator', key: 'ed25519', algorithm: 'ed25519', theirs: 'pubkey', levels: 2, log: ['ED25519', 'ED25519'] },
  { name: 'Ed25519', release: '5.9', role: 'responder', key: 'ed25519', algorithm: 'ed25519', theirs: 'pubkey', log: ['ED25519', 'ED25519'] },
  { name: 'ECDSA P-384 without RFC 7427', release: '6.0', role: 'initiator', key: 'ec-384', algorithm: 'ecdsa-sha384', theirs: 'pubkey', settings: CLASSIC, log: ['ECDSA-384 signature', 'ECDSA-384 signature'] },
  { name: 'ECDSA P-256 without RFC 7427', usual: true, release: '5.9', role: 'responder', key: 'ec', algorithm: 'ecdsa-sha256', theirs: 'pubkey', settings: CLASSIC, log: ['ECDSA-256 signature', 'ECDSA-256 signature'] },
];

/** Brings a tunnel up with these signatures and looks at what strongSwan says of them. */
export function signs(row: SignatureRow): Promise<void> {
  const { ours, theirs } = issueWithKeys({ identity: OUR_IDENTITY, algorithm: row.algorithm }, { identity: THEIR_IDENTITY }, row.key, row.levels);
  return new InteropLab().judge(async (lab) => {
    await lab.start(
      { role: row.role, credential: ours },
      {
        credential: { files: theirs, signature: row.theirs },
        ...(row.release === '5.9' ? { connection: 'encap = yes\n mobike = no' } : { root: debianRoot('trixie') }),
        ...(row.settings === undefined ? {} : { settings: row.settings }),
      },
    );
    await lab.awaitUp();
    const [verified, made] = row.log;
    assert.match(lab.theirs.log(), new RegExp(`authentication of '${OUR_IDENTITY}' with ${verified}\\S* successful`));
    assert.match(lab.theirs.log(), new RegExp(`authentication of '${THEIR_IDENTITY}' \\(myself\\) with ${made}\\S* successful`));
    lab.assertPing('ours', 1300);
  });
}
