// Lines of Wireshark's tables of keys: `ikev2_decryption_table` and `esp_sa`.
import { toHex } from '../../platform/bytes.ts';
import { ESP_SHAPES } from '../../drivers/esp-suite.ts';
import type { AeadCipher, Cipher, Integrity } from '../ike/algorithms.ts';
import type { SessionKeys } from '../ike/session-keys.ts';
import type { SaSpec } from '../model.ts';

const ESP_AEAD_NAMES: Readonly<Record<AeadCipher, string>> = {
  'aes-256-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'aes-128-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'chacha20-poly1305': 'ChaCha20 with Poly1305 [RFC7634]',
};

/** Wireshark cannot open ChaCha20-Poly1305 in IKE. */
const IKE_NAMES: Readonly<Record<Cipher, string | undefined>> = {
  'aes-256-gcm-16': 'AES-GCM-256 with 16 octet ICV [RFC5282]',
  'aes-128-gcm-16': 'AES-GCM-128 with 16 octet ICV [RFC5282]',
  'chacha20-poly1305': undefined,
  'aes-256-cbc': 'AES-CBC-256 [RFC3602]',
  'aes-192-cbc': 'AES-CBC-192 [RFC3602]',
  'aes-128-cbc': 'AES-CBC-128 [RFC3602]',
};
const INTEGRITY_NAMES: Readonly<Record<Integrity, string>> = {
  'hmac-sha256-128': 'HMAC_SHA2_256_128 [RFC4868]',
  'hmac-sha384-192': 'HMAC_SHA2_384_192 [RFC4868]',
  'hmac-sha512-256': 'HMAC_SHA2_512_256 [RFC4868]',
  'hmac-sha1-96': 'HMAC_SHA1_96 [RFC2404]',
};
const NO_INTEGRITY = 'NONE [RFC4306]';
const ESP_CBC_NAME = 'AES-CBC [RFC3602]';
const ESP_INTEGRITY_NAMES: Readonly<Record<Integrity, string>> = {
  'hmac-sha256-128': 'HMAC-SHA-256-128 [RFC4868]',
  'hmac-sha384-192': 'HMAC-SHA-384-192 [RFC4868]',
  'hmac-sha512-256': 'HMAC-SHA-512-256 [RFC4868]',
  'hmac-sha1-96': 'HMAC-SHA-1-96 [RFC2404]',
};

function line(values: readonly string[]): string {
  return values.map((value) => `"${value}"`).join(',');
}

/** Any address: a NAT may change it, and the SPI tells SAs apart. One line per family. */
export function espLines(sa: SaSpec): readonly string[] {
  const spi = `0x${sa.spi.toString(16).padStart(8, '0')}`;
  return ['IPv4', 'IPv6'].map((family) => line([family, '*', '*', spi, ...espKeys(sa)]));
}

/** Cipher and its key, integrity algorithm and its key. */
function espKeys({ suite, key, salt }: SaSpec): readonly string[] {
  const [, integrity] = suite.split('/') as [string, Integrity | undefined];
  if (integrity === undefined) return [ESP_AEAD_NAMES[suite as AeadCipher], `0x${toHex(key)}${toHex(salt)}`, 'NULL', ''];
  const { cipherKeyBytes } = ESP_SHAPES[suite];
  return [ESP_CBC_NAME, `0x${toHex(key.slice(0, cipherKeyBytes))}`, ESP_INTEGRITY_NAMES[integrity], `0x${toHex(key.slice(cipherKeyBytes))}`];
}

/** Undefined for a cipher that Wireshark does not open. */
export function ikeLine(keys: SessionKeys): string | undefined {
  const name = IKE_NAMES[keys.algorithms.encryption];
  if (name === undefined) return undefined;
  const { spiInitiator, spiResponder, skEi, skEr, skAi, skAr } = keys;
  const { integrity } = keys.algorithms;
  const integrityName = integrity === undefined ? NO_INTEGRITY : INTEGRITY_NAMES[integrity];
  return [toHex(spiInitiator), toHex(spiResponder), toHex(skEi), toHex(skEr), `"${name}"`, toHex(skAi), toHex(skAr), `"${integrityName}"`].join(',');
}
