// Stateless cookies (RFC 7296 2.6): version 1 | SHA-256(Ni | IPi | SPIi | secret). The address is the source of the
// request alone, so that a cookie cannot be used from elsewhere.
import { equalConstantTime, concat, wipe } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import type { Endpoint } from '../model.ts';
import { addressBytes } from '../wire/address.ts';

/** A secret serves this long, and its predecessor is still accepted during that time. */
const SECRET_LIFE_MS = 60_000;
const SECRET_BYTES = 32;

interface Secret {
  readonly version: number;
  readonly bytes: Uint8Array;
  readonly since: Instant;
}

export class CookieJar {
  readonly #suite: Suite;
  readonly #random: Random;
  #current: Secret | undefined;
  #previous: Secret | undefined;

  constructor(suite: Suite, random: Random) {
    this.#suite = suite;
    this.#random = random;
  }

  cookie(nonce: Uint8Array, remote: Endpoint, spi: Uint8Array, now: Instant): Uint8Array {
    this.#rotate(now);
    return this.#make(this.#current!, nonce, remote, spi);
  }

  accepts(cookie: Uint8Array, nonce: Uint8Array, remote: Endpoint, spi: Uint8Array, now: Instant): boolean {
    this.#rotate(now);
    const secret = [this.#current, this.#previous].find((entry) => entry !== undefined && entry.version === cookie[0]);
    return secret !== undefined && equalConstantTime(this.#make(secret, nonce, remote, spi), cookie);
  }

  #make(secret: Secret, nonce: Uint8Array, remote: Endpoint, spi: Uint8Array): Uint8Array {
    const hash = this.#suite.hash('sha256', nonce, addressBytes(remote.address), spi, secret.bytes);
    return concat(Uint8Array.of(secret.version), hash);
  }

  #rotate(now: Instant): void {
    const current = this.#current;
    if (current !== undefined && now - current.since < SECRET_LIFE_MS) return;
    wipe(this.#previous?.bytes);
    // After a long quiet time the last secret is too old to be of use to anyone honest.
    this.#previous = current !== undefined && now - current.since < 2 * SECRET_LIFE_MS ? current : undefined;
    this.#current = { version: ((current?.version ?? 0) + 1) & 0xff, bytes: this.#random.bytes(SECRET_BYTES), since: now };
  }
}
