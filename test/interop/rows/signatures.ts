// Signatures of every kind: what we sign strongSwan verifies, and the other way round.
import type { SignatureAlgorithm } from '../../../platform/crypto.ts';
import { OUR_IDENTITY, THEIR_IDENTITY } from '../counterpart.ts';
import type { InteropLab } from '../lab.ts';
import type { DeviceKey } from '../openssl-certificates.ts';
import { issueWithKeys } from '../openssl-certificates.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

interface Signature extends Pick<Row, 'name' | 'counterparts' | 'always'> {
  readonly key: DeviceKey;
  /** Ours, and strongSwan's as swanctl.conf calls it. */
  readonly algorithm: SignatureAlgorithm;
  readonly theirs: string;
  /** Authorities between the root and each end. */
  readonly levels?: number;
  /** Lines of strongswan.conf. */
  readonly settings?: string;
  /** How strongSwan's log calls what it has verified, and what it has made. */
  readonly log: readonly [verified: string, made: string];
}

/** strongSwan does not know RFC 7427 then. */
const CLASSIC = 'signature_authentication = no';

const SIGNATURES: readonly Signature[] = [
  {
    name: 'rsa-pss',
    counterparts: ['5.9', '6.0', '6.1'],
    always: [{ role: 'initiator', release: '6.0' }],
    key: 'rsa',
    algorithm: 'rsa-pss-sha256',
    theirs: 'rsa/pss-sha256',
    log: ['RSA_EMSA_PSS_SHA2_256', 'RSA_EMSA_PSS_SHA2_256'],
  },
  {
    name: 'ed25519',
    counterparts: ['5.9', '6.0', '6.1'],
    key: 'ed25519',
    algorithm: 'ed25519',
    theirs: 'pubkey',
    log: ['ED25519', 'ED25519'],
  },
  {
    name: 'multi-level CA',
    counterparts: ['5.9', '6.0', '6.1'],
    key: 'ed25519',
    algorithm: 'ed25519',
    theirs: 'pubkey',
    levels: 2,
    log: ['ED25519', 'ED25519'],
  },
  {
    name: 'rsa-pss with SHA-512 and SHA-384',
    counterparts: ['5.9', '6.1'],
    key: 'rsa',
    algorithm: 'rsa-pss-sha512',
    theirs: 'rsa/pss-sha384',
    log: ['RSA_EMSA_PSS_SHA2_512', 'RSA_EMSA_PSS_SHA2_384'],
  },
  {
    name: 'RSA PKCS#1 v1.5 with SHA-256 and SHA-512',
    counterparts: ['6.0', '6.1'],
    key: 'rsa',
    algorithm: 'rsa-pkcs1-sha256',
    theirs: 'rsa-sha512',
    log: ['RSA_EMSA_PKCS1_SHA2_256', 'RSA_EMSA_PKCS1_SHA2_512'],
  },
  {
    name: 'RSA PKCS#1 v1.5 with SHA-384 and SHA-256',
    counterparts: ['5.9'],
    key: 'rsa',
    algorithm: 'rsa-pkcs1-sha384',
    theirs: 'rsa-sha256',
    log: ['RSA_EMSA_PKCS1_SHA2_384', 'RSA_EMSA_PKCS1_SHA2_256'],
  },
  {
    name: 'ECDSA P-384 without RFC 7427',
    counterparts: ['6.0', '6.1'],
    key: 'ec-384',
    algorithm: 'ecdsa-sha384',
    theirs: 'pubkey',
    settings: CLASSIC,
    log: ['ECDSA-384 signature', 'ECDSA-384 signature'],
  },
  {
    name: 'ECDSA P-256 without RFC 7427',
    counterparts: ['5.9'],
    key: 'ec',
    algorithm: 'ecdsa-sha256',
    theirs: 'pubkey',
    settings: CLASSIC,
    log: ['ECDSA-256 signature', 'ECDSA-256 signature'],
  },
];

async function signs(lab: InteropLab, { algorithm, key, levels, theirs: signature, settings = '', log }: Signature): Promise<void> {
  const { ours, theirs } = issueWithKeys({ identity: OUR_IDENTITY, algorithm }, { identity: THEIR_IDENTITY }, key, levels);
  await lab.start({ credential: ours }, { credential: { files: theirs, signature }, settings });
  await lab.awaitUp();
  const [verified, made] = log;
  await lab.theirs.awaitLog(new RegExp(`authentication of '${OUR_IDENTITY}' with ${verified}\\S* successful`));
  await lab.theirs.awaitLog(new RegExp(`authentication of '${THEIR_IDENTITY}' \\(myself\\) with ${made}\\S* successful`));
}

export const SIGNATURE_ROWS: readonly Row[] = SIGNATURES.map(
  (signature): Row => ({
    name: signature.name,
    roles: ROLES,
    counterparts: signature.counterparts,
    path: 'direct',
    ends: 'up',
    ...(signature.always === undefined ? {} : { always: signature.always }),
    run: (lab) => signs(lab, signature),
  }),
);
