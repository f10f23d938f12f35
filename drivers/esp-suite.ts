// The protection of ESP that the drivers know; firmware/model.ts re-uses these names for SAs.

/** Transform 20 with a 256 or 128-bit key (RFC 4106), transform 28 (RFC 7634). */
export type AeadEspSuite = 'aes-256-gcm-16' | 'aes-128-gcm-16' | 'chacha20-poly1305';
/** AES-CBC (RFC 3602) and then an HMAC over all of the packet (RFC 4868, RFC 2404). */
export type CbcEspSuite = `aes-${256 | 192 | 128}-cbc/hmac-${'sha256-128' | 'sha384-192' | 'sha512-256' | 'sha1-96'}`;
export type EspSuite = AeadEspSuite | CbcEspSuite;

/** How a suite lays out a packet, and what it needs. */
export interface EspShape {
  /** Key of the cipher, then that of the HMAC. */
  readonly keyBytes: number;
  readonly cipherKeyBytes: number;
  readonly saltBytes: number;
  readonly ivBytes: number;
  readonly icvBytes: number;
  /** What is encrypted is a multiple of this long. */
  readonly blockBytes: number;
}

function aead(cipherKeyBytes: number): EspShape {
  return { keyBytes: cipherKeyBytes, cipherKeyBytes, saltBytes: 4, ivBytes: 8, icvBytes: 16, blockBytes: 4 };
}

function cbc(cipherKeyBytes: number, hmacKeyBytes: number, icvBytes: number): EspShape {
  return { keyBytes: cipherKeyBytes + hmacKeyBytes, cipherKeyBytes, saltBytes: 0, ivBytes: 16, icvBytes, blockBytes: 16 };
}

export const ESP_SHAPES: Readonly<Record<EspSuite, EspShape>> = {
  'aes-256-gcm-16': aead(32),
  'aes-128-gcm-16': aead(16),
  'chacha20-poly1305': aead(32),
  'aes-256-cbc/hmac-sha256-128': cbc(32, 32, 16),
  'aes-192-cbc/hmac-sha256-128': cbc(24, 32, 16),
  'aes-128-cbc/hmac-sha256-128': cbc(16, 32, 16),
  'aes-256-cbc/hmac-sha384-192': cbc(32, 48, 24),
  'aes-192-cbc/hmac-sha384-192': cbc(24, 48, 24),
  'aes-128-cbc/hmac-sha384-192': cbc(16, 48, 24),
  'aes-256-cbc/hmac-sha512-256': cbc(32, 64, 32),
  'aes-192-cbc/hmac-sha512-256': cbc(24, 64, 32),
  'aes-128-cbc/hmac-sha512-256': cbc(16, 64, 32),
  'aes-256-cbc/hmac-sha1-96': cbc(32, 20, 12),
  'aes-192-cbc/hmac-sha1-96': cbc(24, 20, 12),
  'aes-128-cbc/hmac-sha1-96': cbc(16, 20, 12),
};

export function isCbc(suite: EspSuite): suite is CbcEspSuite {
  return ESP_SHAPES[suite].saltBytes === 0;
}
