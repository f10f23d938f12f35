// The ESP AEADs that the drivers know; firmware/model.ts re-uses these names for SAs.

/** Transform 20 with a 256 or 128-bit key (RFC 4106), transform 28 (RFC 7634). All: 4 octets of salt, 8 of IV, 16 of ICV. */
export type EspSuite = 'aes-256-gcm-16' | 'aes-128-gcm-16' | 'chacha20-poly1305';

/** Cipher key octets, without the salt. */
export const ESP_KEY_BYTES: Readonly<Record<EspSuite, number>> = {
  'aes-256-gcm-16': 32,
  'aes-128-gcm-16': 16,
  'chacha20-poly1305': 32,
};
