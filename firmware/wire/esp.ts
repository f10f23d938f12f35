// @hot  ESP with an AEAD in place (RFC 4303, RFC 4106, RFC 7634).
//
//   SPI 32 | sequence number 32 | IV 64 | payload | padding 1, 2, 3 ... | pad length 8 | next header 8 | ICV 128
//
// The IV is the 64-bit sequence number, so it never repeats under one key. Deviation: the values of received padding
// are not compared; the tag covers them.
import { read32, write32 } from './ip.ts';

const ESP_HEADER_BYTES = 8;
const ESP_IV_BYTES = 8;
const ESP_ICV_BYTES = 16;
/** From the SPI to the payload. */
export const ESP_PAYLOAD_OFFSET = ESP_HEADER_BYTES + ESP_IV_BYTES;
/** Header, IV, pad length, next header and ICV, with 2 octets of padding to reach a multiple of 4. */
export const ESP_SHORTEST_BYTES = ESP_PAYLOAD_OFFSET + 4 + ESP_ICV_BYTES;

/** Long enough for every field, and its SPI is not one that RFC 4303 2.1 reserves. */
export function isEsp(bytes: Uint8Array, at: number, length: number): boolean {
  return length >= ESP_SHORTEST_BYTES && (bytes[at] !== 0 || bytes[at + 1] !== 0 || bytes[at + 2] !== 0);
}

/** As a signed 32-bit integer: a key, never arithmetic. */
export function espSpi(bytes: Uint8Array, at: number): number {
  return read32(bytes, at);
}

export function espSequence(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + 4) >>> 0;
}

export function writeEspHeader(bytes: Uint8Array, at: number, spi: number, seqHi: number, seqLo: number): void {
  write32(bytes, at, spi);
  write32(bytes, at + 4, seqLo);
  write32(bytes, at + 8, seqHi);
  write32(bytes, at + 12, seqLo);
}

/** Octets of the whole ESP packet that carries `payloadBytes`. */
export function espBytes(payloadBytes: number): number {
  return ESP_PAYLOAD_OFFSET + ((payloadBytes + 5) & ~3) + ESP_ICV_BYTES;
}

/** Padding, pad length and next header behind the payload, up to the ICV; `end` is the first octet behind the payload. */
export function writeEspTrailer(bytes: Uint8Array, end: number, payloadBytes: number, nextHeader: number): void {
  const padding = -(payloadBytes + 2) & 3;
  for (let i = 0; i < padding; i++) bytes[end + i] = i + 1;
  bytes[end + padding] = padding;
  bytes[end + padding + 1] = nextHeader;
}

/** Of a decrypted packet of `length` octets. */
export function espNextHeader(bytes: Uint8Array, at: number, length: number): number {
  return bytes[at + length - ESP_ICV_BYTES - 1]!;
}

/** Payload octets of a decrypted packet of `length` octets; -1 when the pad length reaches into the header. */
export function espPayloadBytes(bytes: Uint8Array, at: number, length: number): number {
  const trailer = bytes[at + length - ESP_ICV_BYTES - 2]! + 2;
  const payload = length - ESP_PAYLOAD_OFFSET - ESP_ICV_BYTES - trailer;
  return payload < 0 ? -1 : payload;
}
