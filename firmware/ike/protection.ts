// How the octets of SK and SKF are protected: with an AEAD (RFC 5282), or with AES-CBC and then an HMAC over the whole
// message up to it (RFC 7296 3.14). Nothing is decrypted, and no padding looked at, before the HMAC is good.
import { concat, equalConstantTime } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import type { SealedBody, SealedLayout } from '../wire/ike/sealed.ts';
import { AEAD_LAYOUT } from '../wire/ike/sealed.ts';
import type { Integrity, Protection } from './algorithms.ts';
import { ENCRYPTION, INTEGRITY } from './algorithms.ts';
import type { ProtectionKey } from './keymat.ts';

const CBC_BYTES = 16;

export function layoutOf({ integrity }: Protection): SealedLayout {
  return integrity === undefined ? AEAD_LAYOUT : { ivBytes: CBC_BYTES, icvBytes: INTEGRITY[integrity].icvBytes, blockBytes: CBC_BYTES };
}

/** For message number `count` of a key: an AEAD's nonce must be unique (RFC 5282 3.1), the IV of CBC unpredictable (RFC 7296 3.14). */
export function nextIv(ciphers: Protection, count: bigint, random: Random): Uint8Array {
  if (ciphers.integrity !== undefined) return random.bytes(CBC_BYTES);
  const iv = new Uint8Array(AEAD_LAYOUT.ivBytes);
  new DataView(iv.buffer).setBigUint64(0, count);
  return iv;
}

/** Ciphertext | ICV. */
export function protect(suite: Suite, ciphers: Protection, key: ProtectionKey, additional: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const { aead } = ENCRYPTION[ciphers.encryption];
  if (aead !== undefined) return suite.aeadSeal(aead, key.key, concat(key.salt, iv), additional, plaintext);
  const ciphertext = suite.cbcEncrypt(key.key, iv, plaintext);
  return concat(ciphertext, icv(suite, ciphers.integrity!, key, additional, iv, ciphertext));
}

/** The plaintext, or undefined for what is not authentic. */
export function unprotect(suite: Suite, ciphers: Protection, key: ProtectionKey, { additional, iv, sealed }: SealedBody): Uint8Array | undefined {
  const { aead } = ENCRYPTION[ciphers.encryption];
  if (aead !== undefined) return suite.aeadOpen(aead, key.key, concat(key.salt, iv), additional, sealed);
  const integrity = ciphers.integrity!;
  const end = sealed.length - INTEGRITY[integrity].icvBytes;
  const ciphertext = sealed.subarray(0, end);
  if (!equalConstantTime(icv(suite, integrity, key, additional, iv, ciphertext), sealed.subarray(end))) return undefined;
  return suite.cbcDecrypt(key.key, iv, ciphertext);
}

function icv(suite: Suite, integrity: Integrity, key: ProtectionKey, ...parts: readonly Uint8Array[]): Uint8Array {
  const { hmac, icvBytes } = INTEGRITY[integrity];
  return suite.hmac(hmac, key.integrity, ...parts).subarray(0, icvBytes);
}
