// Encrypted payloads with an AEAD: SK (RFC 7296 3.14, RFC 5282) and its fragment SKF (RFC 7383 2.5).
//
//   SK   generic header 4 | IV 8 | ciphertext of (payloads | padding | pad length 1) | ICV 16
//   SKF  generic header 4 | fragment number 2 | total fragments 2 | IV 8 | ciphertext | ICV 16
//
// The additional data runs from the IKE header to the last octet before the IV. We send no padding.
import { Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { Header, SealedPart } from './message.ts';
import { HEADER_BYTES, PAYLOAD_HEADER_BYTES, finishMessage, writeHeader } from './message.ts';
import { NotifyType, PayloadType } from './numbers.ts';

const IV_BYTES = 8;
export const ICV_BYTES = 16;
const FRAGMENT_HEADER_BYTES = 4;
const PAD_LENGTH_BYTES = 1;
/** Octets that an SKF message adds to the piece it carries. */
export const FRAGMENT_OVERHEAD_BYTES = HEADER_BYTES + PAYLOAD_HEADER_BYTES + FRAGMENT_HEADER_BYTES + IV_BYTES + PAD_LENGTH_BYTES + ICV_BYTES;
/** Octets that an SK message adds to the payloads it carries. */
export const SEALED_OVERHEAD_BYTES = FRAGMENT_OVERHEAD_BYTES - FRAGMENT_HEADER_BYTES;

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

export function encodeSealed(header: Header, content: SealedContent, iv: Uint8Array, seal: Seal): Uint8Array<ArrayBuffer> {
  const { inner, fragment } = content;
  const writer = new Writer(FRAGMENT_OVERHEAD_BYTES + inner.length);
  writeHeader(writer, header, fragment === undefined ? PayloadType.SK : PayloadType.SKF);
  const fragmentBytes = fragment === undefined ? 0 : FRAGMENT_HEADER_BYTES;
  const payloadBytes = PAYLOAD_HEADER_BYTES + fragmentBytes + IV_BYTES + inner.length + PAD_LENGTH_BYTES + ICV_BYTES;
  writer.u8(content.firstPayload).u8(0).u16(payloadBytes);
  if (fragment !== undefined) writer.u16(fragment.number).u16(fragment.total);
  writer.patch32(24, HEADER_BYTES + payloadBytes);
  const plaintext = new Uint8Array(inner.length + PAD_LENGTH_BYTES);
  plaintext.set(inner);
  const sealed = seal(writer.finish(), iv, plaintext);
  writer.put(iv).put(sealed);
  return finishMessage(writer);
}

export interface SealedBody {
  readonly additional: Uint8Array;
  readonly iv: Uint8Array;
  /** Ciphertext and ICV. */
  readonly sealed: Uint8Array;
  readonly fragment: FragmentPosition | undefined;
}

/** Takes an SK or SKF payload apart for opening. */
export function sealedBody(bytes: Uint8Array, part: SealedPart): SealedBody {
  let at = part.start + PAYLOAD_HEADER_BYTES;
  let fragment: FragmentPosition | undefined;
  const fragmentBytes = part.kind === 'SKF' ? FRAGMENT_HEADER_BYTES : 0;
  const least = fragmentBytes + IV_BYTES + PAD_LENGTH_BYTES + ICV_BYTES;
  if (bytes.length - at < least) throw new WireError(`${part.kind} needs ${least} octets, ${bytes.length - at} remain`);
  if (part.kind === 'SKF') {
    fragment = { number: (bytes[at]! << 8) | bytes[at + 1]!, total: (bytes[at + 2]! << 8) | bytes[at + 3]! };
    if (fragment.number === 0 || fragment.number > fragment.total) {
      throw new WireError(`fragment ${fragment.number} of ${fragment.total}`, NotifyType.INVALID_SYNTAX);
    }
    at += FRAGMENT_HEADER_BYTES;
  }
  return { additional: bytes.slice(0, at), iv: bytes.slice(at, at + IV_BYTES), sealed: bytes.slice(at + IV_BYTES), fragment };
}

/** Cuts padding and pad length off what was decrypted. */
export function withoutPadding(plaintext: Uint8Array): Uint8Array {
  const pad = plaintext.at(-1) ?? 0;
  if (plaintext.length < pad + PAD_LENGTH_BYTES) {
    throw new WireError(`padding of ${pad} octets in a plaintext of ${plaintext.length}`, NotifyType.INVALID_SYNTAX);
  }
  return plaintext.subarray(0, plaintext.length - pad - PAD_LENGTH_BYTES);
}
