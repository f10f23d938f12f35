// Nonces (RFC 7296 2.10), and the collisions that they decide.
import { compareBytes } from '../../platform/bytes.ts';

/** At least half of the largest PRF's output. */
export const NONCE_BYTES = 32;

/** Nonces of one exchange. */
export interface NoncePair {
  readonly initiator: Uint8Array;
  readonly responder: Uint8Array;
}

/** Whether the exchange with nonces `a` loses against `b`: the one with the lowest of the four nonces is redundant (RFC 7296 2.8.1). */
export function losesCollision(a: NoncePair, b: NoncePair): boolean {
  return compareBytes(least(a), least(b)) < 0;
}

function least(pair: NoncePair): Uint8Array {
  return compareBytes(pair.initiator, pair.responder) < 0 ? pair.initiator : pair.responder;
}
