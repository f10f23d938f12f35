// Keys that OpenSSL has read once: reading one takes as long as using it. They are remembered by the octets' identity, so
// that one lives no longer than its octets and no copy of a private key is made.
import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { encodePem } from './pem.ts';

/**
 * Opens an SPKI. Throws for what is no key. As PEM because Node tells octets from key objects by exceptions that it throws
 * and catches, which takes longer than the reading itself; for text it does not.
 */
export function readPublicKey(der: Uint8Array): KeyObject {
  return createPublicKey(encodePem('PUBLIC KEY', der));
}

export class KeyMemory {
  readonly #keys = new WeakMap<Uint8Array, KeyObject>();

  /** `der` is PKCS#8 and must not change. Throws for what is no key. */
  privateKey(der: Uint8Array): KeyObject {
    return this.#keys.get(der) ?? this.remember(der, createPrivateKey({ key: Buffer.from(der.buffer, der.byteOffset, der.length), format: 'der', type: 'pkcs8' }));
  }

  /** `der` is SPKI and must not change. Throws for what is no key. */
  publicKey(der: Uint8Array): KeyObject {
    return this.#keys.get(der) ?? this.remember(der, readPublicKey(der));
  }

  find(octets: Uint8Array): KeyObject | undefined {
    return this.#keys.get(octets);
  }

  remember(octets: Uint8Array, key: KeyObject): KeyObject {
    this.#keys.set(octets, key);
    return key;
  }
}
