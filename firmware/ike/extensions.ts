// Extensions that both ends announce, in IKE_SA_INIT: post-quantum pre-shared keys (RFC 8784 3) and IKE SAs that begin
// without a child (RFC 6023 3), redirection (RFC 5685 3); in IKE_AUTH: MOBIKE (tasks/mobike.ts).
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { findNotify, notify } from '../wire/ike/payloads.ts';
import type { IkeSa } from './ike-sa.ts';
import { redirectNotifies, supportsRedirect } from './redirect.ts';

export interface Extensions {
  /** The responder takes an IKE_AUTH without a child. */
  childless: boolean;
  /** Both ends said USE_PPK. */
  ppk: boolean;
  /** Both ends said MOBIKE_SUPPORTED, in IKE_AUTH. */
  mobike: boolean;
  /** The initiator follows redirections. */
  redirect: boolean;
}

export const NO_EXTENSIONS: Readonly<Extensions> = { childless: false, ppk: false, mobike: false, redirect: false };

/** What the other end announced; a responder reads it before it answers. */
export function readExtensions(sa: IkeSa, payloads: readonly Payload[]): void {
  sa.extensions.ppk = sa.profile.ppk !== undefined && findNotify(payloads, NotifyType.USE_PPK) !== undefined;
  sa.extensions.redirect = supportsRedirect(payloads);
  sa.extensions.childless = findNotify(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED) !== undefined;
}

/** Our own announcements; a responder's USE_PPK only answers the initiator's. */
export function extensionNotifies(sa: IkeSa): Payload[] {
  const ppk = sa.role === 'initiator' ? sa.profile.ppk !== undefined : sa.extensions.ppk;
  return [...(ppk ? [notify(NotifyType.USE_PPK)] : []), ...(sa.role === 'responder' ? [notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED)] : redirectNotifies(sa))];
}
