// @hot  ESP in place: with an AEAD (RFC 4303, RFC 4106, RFC 7634), or with AES-CBC and an HMAC (RFC 3602, RFC 4868).
//
//   SPI 32 | sequence number 32 | IV | payload | padding 1, 2, 3 ... | pad length 8 | next header 8 | ICV
//
//   AEAD: IV 64, ICV 128, padded to 4 octets.   AES-CBC: IV 128, ICV 96 to 256, padded to 16 octets.
//
// An AEAD's IV is the 64-bit sequence number, so it never repeats under one key; that of AES-CBC is made from the number
// by sealing (drivers/aead.ts). Deviation: the values of received padding are not compared; the tag covers them.
import { read32, write32 } from './ip.ts';

const ESP_HEADER_BYTES = 8;
const AEAD_IV_BYTES = 8;
const AEAD_ICV_BYTES = 16;
const AEAD_BLOCK_BYTES = 4;
/** Header, an AEAD's IV and ICV, pad length, next header, with 2 octets of padding to reach a multiple of 4: nothing is shorter. */
export const ESP_SHORTEST_BYTES = ESP_HEADER_BYTES + AEAD_IV_BYTES + AEAD_BLOCK_BYTES + AEAD_ICV_BYTES;

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

/** From the SPI to the payload. */
export function espPayloadOffset(ivBytes: number): number {
  return ESP_HEADER_BYTES + ivBytes;
}

export function writeEspHeader(bytes: Uint8Array, at: number, ivBytes: number, spi: number, seqHi: number, seqLo: number): void {
  write32(bytes, at, spi);
  write32(bytes, at + 4, seqLo);
  write32(bytes, at + 8, seqHi);
  write32(bytes, at + 12, seqLo);
  for (let o = ESP_HEADER_BYTES + AEAD_IV_BYTES; o < ESP_HEADER_BYTES + ivBytes; o++) bytes[at + o] = 0;
}

/** Octets of the whole ESP packet that carries `payloadBytes`; blocks are of a power of two. */
export function espBytes(payloadBytes: number, ivBytes: number, icvBytes: number, blockBytes: number): number {
  return ESP_HEADER_BYTES + ivBytes + ((payloadBytes + 1 + blockBytes) & -blockBytes) + icvBytes;
}

/** Padding, pad length and next header behind the payload, up to the ICV; `end` is the first octet behind the payload. */
export function writeEspTrailer(bytes: Uint8Array, end: number, payloadBytes: number, blockBytes: number, nextHeader: number): void {
  const padding = -(payloadBytes + 2) & (blockBytes - 1);
  for (let i = 0; i < padding; i++) bytes[end + i] = i + 1;
  bytes[end + padding] = padding;
  bytes[end + padding + 1] = nextHeader;
}

/** Of a decrypted packet of `length` octets. */
export function espNextHeader(bytes: Uint8Array, at: number, length: number, icvBytes: number): number {
  return bytes[at + length - icvBytes - 1]!;
}

/** Payload octets of a decrypted packet of `length` octets; -1 when the pad length reaches into the header. */
export function espPayloadBytes(bytes: Uint8Array, at: number, length: number, ivBytes: number, icvBytes: number): number {
  const trailer = bytes[at + length - icvBytes - 2]! + 2;
  const payload = length - ESP_HEADER_BYTES - ivBytes - icvBytes - trailer;
  return payload < 0 ? -1 : payload;
}
