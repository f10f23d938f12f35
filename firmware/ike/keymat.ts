// Key material (RFC 7296 2.14, 2.17, 2.18).
import { concat, wipe } from '../../platform/bytes.ts';
import type { HmacName, Suite } from '../../platform/crypto.ts';
import { prfPlus } from '../../platform/crypto.ts';
import type { ChildAlgorithms, IkeAlgorithms } from './algorithms.ts';
import { ENCRYPTION, INTEGRITY, PRF_BYTES } from './algorithms.ts';

const NOTHING = new Uint8Array(0);

/** A cipher key and its salt. */
export interface CipherKey {
  readonly key: Uint8Array;
  readonly salt: Uint8Array;
}

/** SK_e of one direction and its SK_a, which is empty with an AEAD (RFC 5282 3.2). */
export interface ProtectionKey extends CipherKey {
  readonly integrity: Uint8Array;
}

export interface IkeKeys {
  readonly skD: Uint8Array;
  readonly skEi: ProtectionKey;
  readonly skEr: ProtectionKey;
  readonly skPi: Uint8Array;
  readonly skPr: Uint8Array;
}

export interface ExchangeSecrets {
  /** g^ir; the caller wipes it. */
  readonly shared: Uint8Array;
  /** Of an additional key exchange; the caller wipes it. */
  readonly additional?: Uint8Array | undefined;
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

/** The keys of an IKE SA that replaces another; the PRF of SKEYSEED is the old one (RFC 7296 2.18, RFC 9370 2.2.4). */
export function deriveRekeyedIkeKeys(suite: Suite, oldPrf: HmacName, oldSkD: Uint8Array, algorithms: IkeAlgorithms, secrets: ExchangeSecrets): IkeKeys {
  const skeyseed = suite.hmac(oldPrf, oldSkD, secrets.shared, secrets.nonceI, secrets.nonceR, secrets.additional ?? NOTHING);
  return expandIkeKeys(suite, algorithms, skeyseed, secrets);
}

function expandIkeKeys(suite: Suite, algorithms: IkeAlgorithms, skeyseed: Uint8Array, secrets: ExchangeSecrets): IkeKeys {
  const prfBytes = PRF_BYTES[algorithms.prf];
  const { keyBytes, saltBytes } = ENCRYPTION[algorithms.encryption];
  const integrityBytes = algorithms.integrity === undefined ? 0 : INTEGRITY[algorithms.integrity].keyBytes;
  const seed = concat(secrets.nonceI, secrets.nonceR, secrets.spiI, secrets.spiR);
  const stream = prfPlus(suite, algorithms.prf, skeyseed, seed, 3 * prfBytes + 2 * (integrityBytes + keyBytes + saltBytes));
  wipe(skeyseed);
  let at = 0;
  const take = (length: number): Uint8Array => stream.slice(at, (at += length));
  // SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr (RFC 7296 2.14)
  const skD = take(prfBytes);
  const [skAi, skAr] = [take(integrityBytes), take(integrityBytes)];
  const cipherKey = (integrity: Uint8Array): ProtectionKey => ({ key: take(keyBytes), salt: take(saltBytes), integrity });
  const keys: IkeKeys = { skD, skEi: cipherKey(skAi), skEr: cipherKey(skAr), skPi: take(prfBytes), skPr: take(prfBytes) };
  wipe(stream);
  return keys;
}

export function wipeIkeKeys(keys: IkeKeys | undefined): void {
  if (keys === undefined) return;
  wipe(keys.skD, keys.skPi, keys.skPr);
  for (const { key, salt, integrity } of [keys.skEi, keys.skEr]) wipe(key, salt, integrity);
}

export interface ChildKeys {
  /** From the initiator of the exchange to its responder. */
  readonly fromInitiator: CipherKey;
  readonly fromResponder: CipherKey;
}

/**
 * KEYMAT of a child; `shared` is the exchange's own g^ir, or undefined without one. Of a cipher with an HMAC the keys of
 * both are one behind the other, as KEYMAT has them (RFC 7296 2.17).
 */
export function deriveChildKeys(suite: Suite, prf: HmacName, skD: Uint8Array, algorithms: ChildAlgorithms, secrets: { shared: Uint8Array | undefined; additional?: Uint8Array | undefined; nonceI: Uint8Array; nonceR: Uint8Array }): ChildKeys {
  const { keyBytes: cipherKeyBytes, saltBytes } = ENCRYPTION[algorithms.encryption];
  const keyBytes = cipherKeyBytes + (algorithms.integrity === undefined ? 0 : INTEGRITY[algorithms.integrity].keyBytes);
  const one = keyBytes + saltBytes;
  const seed = concat(secrets.shared ?? NOTHING, secrets.nonceI, secrets.nonceR, secrets.additional ?? NOTHING);
  const stream = prfPlus(suite, prf, skD, seed, 2 * one);
  const at = (start: number): CipherKey => ({
    key: stream.slice(start, start + keyBytes),
    salt: stream.slice(start + keyBytes, start + one),
  });
  const keys: ChildKeys = { fromInitiator: at(0), fromResponder: at(one) };
  wipe(stream, seed);
  return keys;
}
