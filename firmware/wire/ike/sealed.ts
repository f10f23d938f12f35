// Encrypted payloads: SK (RFC 7296 3.14, RFC 5282) and its fragment SKF (RFC 7383 2.5).
//
//   SK   generic header 4 | IV | ciphertext of (payloads | padding | pad length 1) | ICV
//   SKF  generic header 4 | fragment number 2 | total fragments 2 | IV | ciphertext | ICV
//
// The additional data of an AEAD runs from the IKE header to the last octet before the IV; an HMAC is over all before
// the ICV. We send as little padding as the cipher's blocks need.
import { Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { Header, SealedPart } from './message.ts';
import { HEADER_BYTES, PAYLOAD_HEADER_BYTES, finishMessage, writeHeader } from './message.ts';
import { NotifyType, PayloadType } from './numbers.ts';

const FRAGMENT_HEADER_BYTES = 4;
const PAD_LENGTH_BYTES = 1;

/** What the cipher and its integrity make of an encrypted payload. */
export interface SealedLayout {
  readonly ivBytes: number;
  readonly icvBytes: number;
  /** The ciphertext is a multiple of this. */
  readonly blockBytes: number;
}

export const AEAD_LAYOUT: SealedLayout = { ivBytes: 8, icvBytes: 16, blockBytes: 1 };

/** Octets of payloads that fit into a message of this length; negative: none. */
export function largestInner(messageBytes: number, layout: SealedLayout, fragmented: boolean): number {
  const fragmentBytes = fragmented ? FRAGMENT_HEADER_BYTES : 0;
  const ciphertextBytes = messageBytes - HEADER_BYTES - PAYLOAD_HEADER_BYTES - fragmentBytes - layout.ivBytes - layout.icvBytes;
  return ciphertextBytes - (ciphertextBytes % layout.blockBytes) - PAD_LENGTH_BYTES;
}

export interface FragmentPosition {
  /** From 1. */
  readonly number: number;
  readonly total: number;
}

/** Encrypts; returns ciphertext | ICV. */
export type Seal = (additional: Uint8Array, iv: Uint8Array, plaintext: Uint8Array) => Uint8Array;

export interface SealedContent {
  readonly firstPayload: number;
  /** Payload chain, or this fragment's piece of it. */
  readonly inner: Uint8Array;
  /** Undefined: SK. */
  readonly fragment: FragmentPosition | undefined;
}

export function encodeSealed(header: Header, content: SealedContent, iv: Uint8Array, seal: Seal, layout = AEAD_LAYOUT): Uint8Array<ArrayBuffer> {
  const { inner, fragment } = content;
  const { icvBytes, blockBytes } = layout;
  const plaintext = padded(inner, blockBytes);
  const writer = new Writer(HEADER_BYTES + PAYLOAD_HEADER_BYTES + FRAGMENT_HEADER_BYTES + iv.length + plaintext.length + icvBytes);
  writeHeader(writer, header, fragment === undefined ? PayloadType.SK : PayloadType.SKF);
  const fragmentBytes = fragment === undefined ? 0 : FRAGMENT_HEADER_BYTES;
  const payloadBytes = PAYLOAD_HEADER_BYTES + fragmentBytes + iv.length + plaintext.length + icvBytes;
  writer.u8(content.firstPayload).u8(0).u16(payloadBytes);
  if (fragment !== undefined) writer.u16(fragment.number).u16(fragment.total);
  writer.patch32(24, HEADER_BYTES + payloadBytes);
  const sealed = seal(writer.finish(), iv, plaintext);
  writer.put(iv).put(sealed);
  return finishMessage(writer);
}

/** Payloads | padding | pad length: whole blocks. */
function padded(inner: Uint8Array, blockBytes: number): Uint8Array {
  const padding = (blockBytes - ((inner.length + PAD_LENGTH_BYTES) % blockBytes)) % blockBytes;
  const plaintext = new Uint8Array(inner.length + padding + PAD_LENGTH_BYTES);
  plaintext.set(inner);
  plaintext[plaintext.length - 1] = padding;
  return plaintext;
}

export interface SealedBody {
  readonly additional: Uint8Array;
  readonly iv: Uint8Array;
  /** Ciphertext and ICV. */
  readonly sealed: Uint8Array;
  readonly fragment: FragmentPosition | undefined;
}

/** Takes an SK or SKF payload apart for opening. */
export function sealedBody(bytes: Uint8Array, part: SealedPart, { ivBytes, icvBytes, blockBytes } = AEAD_LAYOUT): SealedBody {
  let at = part.start + PAYLOAD_HEADER_BYTES;
  let fragment: FragmentPosition | undefined;
  const fragmentBytes = part.kind === 'SKF' ? FRAGMENT_HEADER_BYTES : 0;
  const least = fragmentBytes + ivBytes + Math.max(PAD_LENGTH_BYTES, blockBytes) + icvBytes;
  if (bytes.length - at < least) throw new WireError(`${part.kind} needs ${least} octets, ${bytes.length - at} remain`);
  if (part.kind === 'SKF') {
    fragment = { number: (bytes[at]! << 8) | bytes[at + 1]!, total: (bytes[at + 2]! << 8) | bytes[at + 3]! };
    if (fragment.number === 0 || fragment.number > fragment.total) {
      throw new WireError(`fragment ${fragment.number} of ${fragment.total}`, NotifyType.INVALID_SYNTAX);
    }
    at += FRAGMENT_HEADER_BYTES;
  }
  return { additional: bytes.slice(0, at), iv: bytes.slice(at, at + ivBytes), sealed: bytes.slice(at + ivBytes), fragment };
}

/** Cuts padding and pad length off what was decrypted. */
export function withoutPadding(plaintext: Uint8Array): Uint8Array {
  const pad = plaintext.at(-1) ?? 0;
  if (plaintext.length < pad + PAD_LENGTH_BYTES) {
    throw new WireError(`padding of ${pad} octets in a plaintext of ${plaintext.length}`, NotifyType.INVALID_SYNTAX);
  }
  return plaintext.subarray(0, plaintext.length - pad - PAD_LENGTH_BYTES);
}
