// AUTH made with the key of an EAP method (RFC 7296 2.16), by both ends.
import { equalConstantTime, wipe } from '../../../platform/bytes.ts';
import { AuthMethod } from '../../wire/ike/numbers.ts';
import type { Payload, PayloadOf } from '../../wire/ike/payloads.ts';
import { findPayload } from '../../wire/ike/payloads.ts';
import { identityBody, sharedKeyAuth } from '../auth-data.ts';
import type { IkeSa } from '../ike-sa.ts';
import { commonPpk, mixedKeys, ppkNotifies } from '../ppk.ts';
import { encodeIdentity } from '../profile.ts';
import { octetsOf } from './auth.ts';

/** The contents of AUTH that `signer` makes. */
function keyedAuth(sa: IkeSa, signer: 'initiator' | 'responder', keys = sa.keys!): Uint8Array {
  const { machine, peerId } = sa.eap!;
  const own = encodeIdentity(sa.profile.localIdentity);
  const body = signer === sa.role ? identityBody(own.idType, own.data) : identityBody(peerId.idType, peerId.data);
  return sharedKeyAuth(sa.env.suite, sa.algorithms!.prf, machine.msk!, octetsOf(sa, signer, body, keys));
}

export function ownKeyedAuth(sa: IkeSa, keys = sa.keys!): PayloadOf<'AUTH'> {
  return { kind: 'AUTH', method: AuthMethod.sharedKey, data: keyedAuth(sa, sa.role, keys) };
}

/** The initiator's: with a post-quantum pre-shared key it is made with it; the responder may take the one without. */
export function keyedAuthWithPpk(sa: IkeSa): Payload[] {
  const ppk = commonPpk(sa);
  const without = ownKeyedAuth(sa);
  if (ppk === undefined) return [without];
  const mixed = mixedKeys(sa, ppk);
  const auth = ownKeyedAuth(sa, mixed);
  wipe(mixed.skD, mixed.skPi, mixed.skPr);
  return [auth, ...ppkNotifies(ppk, without)];
}

export function keyedAuthMatches(sa: IkeSa, payloads: readonly Payload[]): boolean {
  const auth = findPayload(payloads, 'AUTH');
  if (auth?.method !== AuthMethod.sharedKey) return false;
  return equalConstantTime(keyedAuth(sa, sa.role === 'initiator' ? 'responder' : 'initiator'), auth.data);
}
