// Path probes: what is inside an ESP dummy packet (RFC 4303 2.6, next header 59) that asks whether packets of a size get
// through, and the answer. Others discard dummies unread, so nobody who does not know them is disturbed.
//
//   0  magic "SLVP"
//   4  kind: 1 question, 2 answer
//   5  reserved, 0
//   6  octets of the inner packet whose size a question has; repeated by its answer
//   8  number of the question, repeated by its answer
//  12  zeros up to the size (questions only)
import { read16, read32, write16, write32 } from './ip.ts';

export const PROBE_BYTES = 12;
export const PROBE_QUESTION = 1;
export const PROBE_ANSWER = 2;
const MAGIC = 0x534c_5650;

/** Writes the fixed part; whoever sends a question clears what follows. `number` is unsigned. */
export function writeProbe(bytes: Uint8Array, at: number, kind: number, innerBytes: number, number: number): void {
  write32(bytes, at, MAGIC);
  bytes[at + 4] = kind;
  bytes[at + 5] = 0;
  write16(bytes, at + 6, innerBytes);
  write32(bytes, at + 8, number);
}

/** PROBE_QUESTION, PROBE_ANSWER, or 0 for a dummy of another meaning. */
export function probeKind(bytes: Uint8Array, at: number, length: number): number {
  if (length < PROBE_BYTES || read32(bytes, at) !== MAGIC) return 0;
  const kind = bytes[at + 4]!;
  return kind === PROBE_QUESTION || kind === PROBE_ANSWER ? kind : 0;
}

export function probeInnerBytes(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + 6);
}

export function probeNumber(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + 8) >>> 0;
}
