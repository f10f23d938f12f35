// Lines of Wireshark's tables of keys: `ikev2_decryption_table` and `esp_sa`.
import { toHex } from '../../platform/bytes.ts';
import type { EspSuite } from '../../drivers/esp-suite.ts';
import type { IkeCipher, Integrity } from '../ike/algorithms.ts';
import type { SessionKeys } from '../ike/session-keys.ts';
import type { SaSpec } from '../model.ts';

const ESP_NAMES: Readonly<Record<EspSuite, string>> = {
  'aes-256-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'aes-128-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'chacha20-poly1305': 'ChaCha20 with Poly1305 [RFC7634]',
};

/** Wireshark cannot open ChaCha20-Poly1305 in IKE. */
const IKE_NAMES: Readonly<Record<IkeCipher, string | undefined>> = {
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

function line(values: readonly string[]): string {
  return values.map((value) => `"${value}"`).join(',');
}

/** Any address: a NAT may change it, and the SPI tells SAs apart. One line per family. */
export function espLines(sa: SaSpec): readonly string[] {
  const spi = `0x${sa.spi.toString(16).padStart(8, '0')}`;
  const key = `0x${toHex(sa.key)}${toHex(sa.salt)}`;
  return ['IPv4', 'IPv6'].map((family) => line([family, '*', '*', spi, ESP_NAMES[sa.suite], key, 'NULL', '']));
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
