// Post-quantum pre-shared keys (RFC 8784): a secret of both ends goes into SK_d and into what AUTH is made with, so that
// who can undo the Diffie-Hellman exchange later still does not get the children's keys.
//
// Deviations: one key per profile, of the type PPK_ID_FIXED; the first IKE SA itself is not protected by it, which the
// RFC leaves to the first rekey.
import { concat, equalBytes, utf8, wipe } from '../../platform/bytes.ts';
import { prfPlus } from '../../platform/crypto.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload, PayloadOf } from '../wire/ike/payloads.ts';
import { findNotify, notify } from '../wire/ike/payloads.ts';
import type { IkeSa } from './ike-sa.ts';
import type { IkeKeys } from './keymat.ts';

export interface Ppk {
  /** Text that names the key to both ends. */
  readonly id: string;
  /** At least 32 octets (RFC 8784 6). */
  readonly secret: Uint8Array;
  /** Refuse a peer that does not use the key. */
  readonly required: boolean;
}

const PPK_ID_FIXED = 2;
const NOT_USED = 'the peer does not use the post-quantum pre-shared key that this profile requires';

/** SK_d, SK_pi and SK_pr with the key mixed in (RFC 8784 3); the others are the same. */
export function mixedKeys(sa: IkeSa, ppk: Ppk): IkeKeys {
  const keys = sa.keys!;
  const { suite } = sa.env;
  const { prf } = sa.algorithms!;
  const mix = (key: Uint8Array): Uint8Array => prfPlus(suite, prf, ppk.secret, key, key.length);
  return { ...keys, skD: mix(keys.skD), skPi: mix(keys.skPi), skPr: mix(keys.skPr) };
}

export function adoptKeys(sa: IkeSa, mixed: IkeKeys): void {
  const { skD, skPi, skPr } = sa.keys!;
  sa.keys = mixed;
  wipe(skD, skPi, skPr);
}

function ppkIdentity(ppk: Ppk): Uint8Array {
  return concat(Uint8Array.of(PPK_ID_FIXED), utf8(ppk.id));
}

/** The key that this connection may be authenticated with. */
export function commonPpk(sa: IkeSa): Ppk | undefined {
  return sa.extensions.ppk ? sa.profile.ppk : undefined;
}

/** After IKE_SA_INIT: a cause to go no further. */
export function ppkProblem(sa: IkeSa): string | undefined {
  return sa.profile.ppk?.required === true && !sa.extensions.ppk ? NOT_USED : undefined;
}

/** Initiator: says which key, and what AUTH would be without it, for a responder that does not know the key. */
export function ppkNotifies(ppk: Ppk, authWithout: PayloadOf<'AUTH'>): Payload[] {
  return [notify(NotifyType.PPK_IDENTITY, ppkIdentity(ppk)), ...(ppk.required ? [] : [notify(NotifyType.NO_PPK_AUTH, authWithout.data)])];
}

/** Initiator: takes up the key that the responder says it used; returns a cause when it had to and did not. */
export function settleAsInitiator(sa: IkeSa, payloads: readonly Payload[]): string | undefined {
  const ppk = commonPpk(sa);
  if (ppk === undefined) return undefined;
  if (findNotify(payloads, NotifyType.PPK_IDENTITY) !== undefined) adoptKeys(sa, mixedKeys(sa, ppk));
  else if (ppk.required) return NOT_USED;
  return undefined;
}

export type PpkSettlement =
  /** `payloads`: with the AUTH that is to be checked. */
  | { readonly ok: true; readonly used: boolean; readonly payloads: readonly Payload[] }
  | { readonly ok: false; readonly cause: string };

/** Responder: takes up the key that the initiator names, or goes on without where both may. */
export function settleAsResponder(sa: IkeSa, payloads: readonly Payload[]): PpkSettlement {
  const ppk = commonPpk(sa);
  const named = findNotify(payloads, NotifyType.PPK_IDENTITY);
  if (ppk !== undefined && named !== undefined && equalBytes(named.data, ppkIdentity(ppk))) {
    adoptKeys(sa, mixedKeys(sa, ppk));
    return { ok: true, used: true, payloads };
  }
  if (sa.profile.ppk?.required === true) return { ok: false, cause: named === undefined ? NOT_USED : 'the peer names a post-quantum pre-shared key that is not known' };
  if (named === undefined) return { ok: true, used: false, payloads };
  const without = findNotify(payloads, NotifyType.NO_PPK_AUTH);
  if (without === undefined) return { ok: false, cause: 'the peer requires a post-quantum pre-shared key that is not known' };
  return { ok: true, used: false, payloads: payloads.map((payload) => (payload.kind === 'AUTH' ? { ...payload, data: without.data } : payload)) };
}
