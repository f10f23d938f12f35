// How long an authentication counts (RFC 4478): a responder cannot authenticate an EAP user anew by itself, so it says
// when the user has to come again, and closes the IKE SA then. The initiator comes again with a connection that takes over
// from the former one. Deviation: only in IKE_AUTH, not in INFORMATIONAL.
import { Writer } from '../../platform/bytes.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload, PayloadOf } from '../wire/ike/payloads.ts';
import { findNotify, notify } from '../wire/ike/payloads.ts';
import type { IkeSa } from './ike-sa.ts';

export const DEFAULT_AUTH_LIFETIME_MS = 86_400_000;
export const AUTH_EXPIRED = 'its authentication lifetime ended';
/** The initiator comes again before the responder closes. */
const INITIATOR_SHARE = 0.9;

export function authLifetimeNotify(lifetimeMs: number): PayloadOf<'Notify'> {
  return notify(NotifyType.AUTH_LIFETIME, new Writer(4).u32(Math.floor(lifetimeMs / 1000)).finish());
}

/** How long the peer believes an initiator, or undefined when it sets no limit. */
export function authLifetimeMs(payloads: readonly Payload[]): number | undefined {
  const data = findNotify(payloads, NotifyType.AUTH_LIFETIME)?.data;
  if (data?.length !== 4) return undefined;
  const seconds = new DataView(data.buffer, data.byteOffset).getUint32(0);
  return seconds === 0 ? undefined : seconds * 1000;
}

export function limitAuthentication(sa: IkeSa, lifetimeMs: number, now: Instant): void {
  sa.setTimer('reauth', after(now, lifetimeMs * INITIATOR_SHARE));
  sa.setTimer('expire-auth', after(now, lifetimeMs));
}

/** Over the path that is in use; what does not come up leaves the former one until it expires. */
export function authenticateAnew(sa: IkeSa, now: Instant): void {
  const { profile, path, nattPath } = sa;
  sa.env.begin({ profile, path, nattPath, replaces: { connection: sa.number, reason: 'authenticated anew', event: 'IKE Deleted' } }, now);
}
