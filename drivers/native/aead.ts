// @hot  The AEAD engine on libipsec-mb where the machine has it, else on the OpenSSL inside the node binary. Keys live in the addon, per thread.
import { UsageError } from '../../platform/errors.ts';
import type { AeadEngine, AeadKey } from '../aead.ts';
import type { Burst } from '../burst.ts';
import type { EspSuite } from '../esp-suite.ts';
import { ESP_SHAPES } from '../esp-suite.ts';
import type { NativeAddon } from './addon.ts';

/** The numbers of src/aead.c. */
const SUITE_NUMBER: Readonly<Record<EspSuite, number>> = {
  'aes-256-gcm-16': 0,
  'aes-128-gcm-16': 1,
  'chacha20-poly1305': 2,
  'aes-256-cbc/hmac-sha256-128': 3,
  'aes-192-cbc/hmac-sha256-128': 4,
  'aes-128-cbc/hmac-sha256-128': 5,
  'aes-256-cbc/hmac-sha384-192': 6,
  'aes-192-cbc/hmac-sha384-192': 7,
  'aes-128-cbc/hmac-sha384-192': 8,
  'aes-256-cbc/hmac-sha512-256': 9,
  'aes-192-cbc/hmac-sha512-256': 10,
  'aes-128-cbc/hmac-sha512-256': 11,
  'aes-256-cbc/hmac-sha1-96': 12,
  'aes-192-cbc/hmac-sha1-96': 13,
  'aes-128-cbc/hmac-sha1-96': 14,
};

export class NativeAead implements AeadEngine {
  readonly name: string;
  readonly #addon: NativeAddon;
  readonly #vaes: boolean;
  /** Handles of this engine: another engine's key on the same thread is not ours to remove. */
  readonly #handles = new Set<number>();

  /** `path` chooses who does AES-GCM: libipsec-mb where the machine has it, or OpenSSL in any case. */
  constructor(addon: NativeAddon, path: 'fastest' | 'openssl' = 'fastest') {
    this.#addon = addon;
    this.#vaes = path === 'fastest' && addon.aeadHasVaes();
    this.name = this.#vaes ? 'libipsec-mb' : 'OpenSSL';
  }

  install(key: AeadKey): number {
    const { keyBytes, saltBytes } = ESP_SHAPES[key.suite];
    if (key.key.length !== keyBytes || key.salt.length !== saltBytes) {
      throw new UsageError(`${key.suite} takes a key of ${keyBytes} and a salt of ${saltBytes} octets, not ${key.key.length} and ${key.salt.length}`);
    }
    const handle = this.#addon.aeadInstall(SUITE_NUMBER[key.suite], key.key, key.salt, key.esn, this.#vaes);
    this.#handles.add(handle);
    return handle;
  }

  remove(handle: number): void {
    if (this.#handles.delete(handle)) this.#addon.aeadRemove(handle);
  }

  seal(burst: Burst, select: number, then: number, failReason: number): void {
    this.#addon.aeadSeal(burst.memory, burst.count, select, then, failReason);
  }

  open(burst: Burst, select: number, then: number, failReason: number): void {
    this.#addon.aeadOpen(burst.memory, burst.count, select, then, failReason);
  }
}
