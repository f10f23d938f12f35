// The keys of an IKE SA for decryptable debugging: given out only while an operator asked for it.
import { concat } from '../../platform/bytes.ts';
import type { Endpoint, TenantId } from '../model.ts';
import type { IkeAlgorithms } from './algorithms.ts';
import type { IkeSa } from './ike-sa.ts';

/** Which IKE SA the keys are of, for the choice whether they are wanted. */
export interface SessionKeysOwner {
  readonly tenant: TenantId;
  readonly profile: string;
  /** The peer's identity, or its address while that is not known. */
  readonly peer: string;
  readonly remote: Endpoint;
}

export interface SessionKeys extends SessionKeysOwner {
  readonly spiInitiator: Uint8Array;
  readonly spiResponder: Uint8Array;
  readonly algorithms: IkeAlgorithms;
  /** Of an AEAD the key and then its salt (RFC 5282 7.1). */
  readonly skEi: Uint8Array;
  readonly skEr: Uint8Array;
  /** Empty with an AEAD. */
  readonly skAi: Uint8Array;
  readonly skAr: Uint8Array;
}

export function sessionKeysOwner(sa: IkeSa): SessionKeysOwner {
  return { tenant: sa.profile.tenant, profile: sa.profile.name, peer: sa.peerText, remote: sa.path.remote };
}

/** Copies; undefined before IKE_SA_INIT is done. */
export function sessionKeysOf(sa: IkeSa): SessionKeys | undefined {
  const { keys, algorithms } = sa;
  if (keys === undefined || algorithms === undefined) return undefined;
  return {
    ...sessionKeysOwner(sa),
    spiInitiator: sa.spiInitiator.slice(),
    spiResponder: sa.spiResponder.slice(),
    algorithms,
    skEi: concat(keys.skEi.key, keys.skEi.salt),
    skEr: concat(keys.skEr.key, keys.skEr.salt),
    skAi: keys.skEi.integrity.slice(),
    skAr: keys.skEr.integrity.slice(),
  };
}
