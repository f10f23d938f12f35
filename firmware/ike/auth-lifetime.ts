// How long an authentication counts (RFC 4478): a responder cannot authenticate an EAP user anew by itself, so it says
// when the user has to come again, and closes the IKE SA then. Deviation: only in IKE_AUTH, not in INFORMATIONAL.
import { Writer } from '../../platform/bytes.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload, PayloadOf } from '../wire/ike/payloads.ts';
import { findNotify, notify } from '../wire/ike/payloads.ts';

export const DEFAULT_AUTH_LIFETIME_MS = 86_400_000;
export const AUTH_EXPIRED = 'its authentication lifetime ended';
/** The initiator comes again before the responder closes. */
const INITIATOR_SHARE = 0.9;

export function authLifetimeNotify(lifetimeMs: number): PayloadOf<'Notify'> {
  return notify(NotifyType.AUTH_LIFETIME, new Writer(4).u32(Math.floor(lifetimeMs / 1000)).finish());
}

/** How long an initiator keeps the IKE SA, or undefined when the peer sets no limit. */
export function authLifetimeMs(payloads: readonly Payload[]): number | undefined {
  const data = findNotify(payloads, NotifyType.AUTH_LIFETIME)?.data;
  if (data?.length !== 4) return undefined;
  const seconds = new DataView(data.buffer, data.byteOffset).getUint32(0);
  return seconds === 0 ? undefined : seconds * 1000 * INITIATOR_SHARE;
}
