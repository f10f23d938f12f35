// What both ends of the IKE bench are told: JSON on standard input.
import type { IkeProfile, LocalAuth, RemoteAuth } from '../../firmware/ike/profile.ts';
import { fromHex } from '../../platform/bytes.ts';

export const RESPONDER_IDENTITY = 'responder@bench.example';

/** Octets are hexadecimal. */
export type BenchCredential =
  | { readonly kind: 'psk'; readonly psk: string }
  | { readonly kind: 'ecdsa'; readonly certificate: string; readonly privateKey: string; readonly anchor: string };

export interface BenchEnd {
  readonly role: 'responder' | 'initiator';
  readonly local: string;
  readonly remote: string;
  readonly identity: string;
  readonly credential: BenchCredential;
  /** Of an initiator: how many IKE SAs it makes, and how many at once. */
  readonly handshakes: number;
  readonly concurrency: number;
  /** ML-KEM-768 as additional key exchange (RFC 9370). */
  readonly mlKem: boolean;
}

function authentication(credential: BenchCredential): { localAuth: LocalAuth; remoteAuth: RemoteAuth } {
  if (credential.kind === 'psk') {
    const psk = { kind: 'psk', key: fromHex(credential.psk) } as const;
    return { localAuth: psk, remoteAuth: psk };
  }
  return {
    localAuth: { kind: 'certificate', chain: [fromHex(credential.certificate)], privateKey: fromHex(credential.privateKey), algorithm: 'ecdsa-sha256' },
    remoteAuth: { kind: 'certificate', anchors: [fromHex(credential.anchor)] },
  };
}

/** AES-GCM-16-256, PRF HMAC-SHA2-256, Curve25519; ESP AES-GCM-16-256. UDP encapsulation, which charon needs. */
export function benchProfile(name: string, end: Pick<BenchEnd, 'role' | 'identity' | 'credential' | 'mlKem'>): IkeProfile {
  return {
    name,
    tenant: 1,
    localIdentity: { kind: 'email', value: end.role === 'initiator' ? end.identity : RESPONDER_IDENTITY },
    remoteIdentity: end.role === 'initiator' ? { kind: 'email', value: RESPONDER_IDENTITY } : undefined,
    ...authentication(end.credential),
    proposals: [{ encryption: ['aes-256-gcm-16'], prf: ['sha256'], groups: [31], ...(end.mlKem ? { additional: [36] } : {}) }],
    childProposals: [{ encryption: ['aes-256-gcm-16'], esn: [false], groups: [], pfs: 'none' }],
    forceUdpEncapsulation: true,
  };
}
