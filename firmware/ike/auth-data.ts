// What AUTH is made over, and AUTH with a pre-shared key (RFC 7296 2.15); signatures are signatures.ts.
import { concat, equalConstantTime, utf8, wipe } from '../../platform/bytes.ts';
import type { HmacName, Suite } from '../../platform/crypto.ts';

const KEY_PAD = utf8('Key Pad for IKEv2');

export interface SignedParts {
  /** The signer's first message, as it was on the wire. */
  readonly message: Uint8Array;
  /** The other end's nonce. */
  readonly nonce: Uint8Array;
  /** SK_pi or SK_pr: the signer's. */
  readonly skP: Uint8Array;
  /** Body of the signer's ID payload. */
  readonly identity: Uint8Array;
  /** RFC 9242 3.3.1: empty without IKE_INTERMEDIATE. */
  readonly intermediate: Uint8Array;
}

/** RFC 7296 2.15: message | nonce | prf(SK_p, ID body), and IntAuth. */
export function signedOctets(suite: Suite, prf: HmacName, parts: SignedParts): Uint8Array<ArrayBuffer> {
  return concat(parts.message, parts.nonce, suite.hmac(prf, parts.skP, parts.identity), parts.intermediate);
}

/** Body of an ID payload: type | reserved 3 | data. */
export function identityBody(idType: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(Uint8Array.of(idType, 0, 0, 0), data);
}

export function sharedKeyAuth(suite: Suite, prf: HmacName, key: Uint8Array, octets: Uint8Array): Uint8Array {
  const padded = suite.hmac(prf, key, KEY_PAD);
  const auth = suite.hmac(prf, padded, octets);
  wipe(padded);
  return auth;
}

export function sharedKeyMatches(suite: Suite, prf: HmacName, key: Uint8Array, octets: Uint8Array, auth: Uint8Array): boolean {
  return equalConstantTime(sharedKeyAuth(suite, prf, key, octets), auth);
}
