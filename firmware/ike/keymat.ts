// Key material (RFC 7296 2.14, 2.17, 2.18).
import { concat, wipe } from '../../platform/bytes.ts';
import type { HashName, Suite } from '../../platform/crypto.ts';
import { prfPlus } from '../../platform/crypto.ts';
import type { ChildAlgorithms, IkeAlgorithms } from './algorithms.ts';
import { ENCRYPTION, PRF_BYTES, SALT_BYTES } from './algorithms.ts';

/** A cipher key and its salt. */
export interface CipherKey {
  readonly key: Uint8Array;
  readonly salt: Uint8Array;
}

export interface IkeKeys {
  readonly skD: Uint8Array;
  readonly skEi: CipherKey;
  readonly skEr: CipherKey;
  readonly skPi: Uint8Array;
  readonly skPr: Uint8Array;
}

export interface ExchangeSecrets {
  /** g^ir; the caller wipes it. */
  readonly shared: Uint8Array;
  readonly nonceI: Uint8Array;
  readonly nonceR: Uint8Array;
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
}

/** The keys of a first IKE SA. */
export function deriveIkeKeys(suite: Suite, algorithms: IkeAlgorithms, secrets: ExchangeSecrets): IkeKeys {
  const skeyseed = suite.hmac(algorithms.prf, concat(secrets.nonceI, secrets.nonceR), secrets.shared);
  return expandIkeKeys(suite, algorithms, skeyseed, secrets);
}

/** The keys of an IKE SA that replaces another; the PRF of SKEYSEED is the old one (RFC 7296 2.18). */
export function deriveRekeyedIkeKeys(suite: Suite, oldPrf: HashName, oldSkD: Uint8Array, algorithms: IkeAlgorithms, secrets: ExchangeSecrets): IkeKeys {
  const skeyseed = suite.hmac(oldPrf, oldSkD, secrets.shared, secrets.nonceI, secrets.nonceR);
  return expandIkeKeys(suite, algorithms, skeyseed, secrets);
}

function expandIkeKeys(suite: Suite, algorithms: IkeAlgorithms, skeyseed: Uint8Array, secrets: ExchangeSecrets): IkeKeys {
  const prfBytes = PRF_BYTES[algorithms.prf];
  const { keyBytes } = ENCRYPTION[algorithms.encryption];
  const seed = concat(secrets.nonceI, secrets.nonceR, secrets.spiI, secrets.spiR);
  const stream = prfPlus(suite, algorithms.prf, skeyseed, seed, 3 * prfBytes + 2 * (keyBytes + SALT_BYTES));
  wipe(skeyseed);
  let at = 0;
  const take = (length: number): Uint8Array => stream.slice(at, (at += length));
  const cipherKey = (): CipherKey => ({ key: take(keyBytes), salt: take(SALT_BYTES) });
  // An AEAD has no SK_a (RFC 5282 3.2): SK_d | SK_ei | SK_er | SK_pi | SK_pr.
  const keys: IkeKeys = { skD: take(prfBytes), skEi: cipherKey(), skEr: cipherKey(), skPi: take(prfBytes), skPr: take(prfBytes) };
  wipe(stream);
  return keys;
}

export function wipeIkeKeys(keys: IkeKeys | undefined): void {
  if (keys === undefined) return;
  wipe(keys.skD, keys.skPi, keys.skPr, keys.skEi.key, keys.skEi.salt, keys.skEr.key, keys.skEr.salt);
}

export interface ChildKeys {
  /** From the initiator of the exchange to its responder. */
  readonly fromInitiator: CipherKey;
  readonly fromResponder: CipherKey;
}

/** KEYMAT of a child; `shared` is the exchange's own g^ir, or undefined without one. */
export function deriveChildKeys(suite: Suite, prf: HashName, skD: Uint8Array, algorithms: ChildAlgorithms, secrets: { shared: Uint8Array | undefined; nonceI: Uint8Array; nonceR: Uint8Array }): ChildKeys {
  const { keyBytes } = ENCRYPTION[algorithms.encryption];
  const one = keyBytes + SALT_BYTES;
  const seed = concat(secrets.shared ?? new Uint8Array(0), secrets.nonceI, secrets.nonceR);
  const stream = prfPlus(suite, prf, skD, seed, 2 * one);
  const at = (start: number): CipherKey => ({
    key: stream.slice(start, start + keyBytes),
    salt: stream.slice(start + keyBytes, start + one),
  });
  const keys: ChildKeys = { fromInitiator: at(0), fromResponder: at(one) };
  wipe(stream, seed);
  return keys;
}
