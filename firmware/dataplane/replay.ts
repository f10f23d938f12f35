// @hot  Anti-replay (RFC 4303 3.4.3) with the ring bitmap of RFC 6479 and extended sequence numbers inferred as in
// RFC 4303 Appendix A2. Sequence numbers are plain numbers: exact up to 2^53, and larger ones are refused.
//
// Order: infer, check (cheap) -> tag -> commit. A burst may hold one packet twice, so commit checks again.

const SMALLEST_WINDOW = 32;
const LARGEST_WINDOW = 16_384;

const TWO_32 = 0x1_0000_0000;
const LARGEST_SEQUENCE = 2 ** 53 - 1;

/** A window size that the ring can hold: a power of two. */
export function windowSize(packets: number): number {
  let size = SMALLEST_WINDOW;
  while (size < packets && size < LARGEST_WINDOW) size *= 2;
  return size;
}

/** The ring: one word more than the window, rounded up to a power of two, so that the newest word can be cleared alone. */
export function createRing(window: number): Int32Array {
  return new Int32Array(window / 16);
}

/** Everything up to `top` counts as seen: for an SA that another forwarder has already received on. */
export function fillRing(ring: Int32Array, top: number): void {
  ring.fill(-1);
  const low = top >>> 0;
  ring[(low >>> 5) & (ring.length - 1)] = (2 << (low & 31)) - 1;
}

/** The 64-bit number that the low 32 bits stand for, seen from the window that ends at `top`; -1 when there is none. */
export function inferSequence(top: number, window: number, low: number, esn: boolean): number {
  if (!esn) return low === 0 ? -1 : low;
  const topLow = top >>> 0;
  let sequence = top - topLow + low;
  if (topLow >= window - 1) {
    // Case A: the window lies within one subspace.
    if (low < topLow - window + 1) sequence += TWO_32;
  } else if (low >= topLow - window + 1 + TWO_32) {
    // Case B: the window reaches back into the subspace before.
    sequence -= TWO_32;
  }
  return sequence <= 0 || sequence > LARGEST_SEQUENCE ? -1 : sequence;
}

/** Whether `sequence` is new: right of the window, or in it and not seen. */
export function replayIsNew(ring: Int32Array, top: number, window: number, sequence: number): boolean {
  if (sequence > top) return true;
  if (top - sequence >= window) return false;
  const low = sequence >>> 0;
  return (ring[(low >>> 5) & (ring.length - 1)]! & (1 << (low & 31))) === 0;
}

/** Marks `sequence` as seen; the caller then sets top = max(top, sequence). `replayIsNew` must hold. */
export function replayCommit(ring: Int32Array, top: number, sequence: number): void {
  const mask = ring.length - 1;
  if (sequence > top) {
    // Clear the words that the window moves into; at most the whole ring.
    const topLow = top >>> 0;
    const moved = sequence - top + (topLow & 31);
    const words = moved >= ring.length * 32 ? ring.length : moved >>> 5;
    for (let i = 1; i <= words; i++) ring[((topLow >>> 5) + i) & mask] = 0;
  }
  const low = sequence >>> 0;
  ring[(low >>> 5) & mask]! |= 1 << (low & 31);
}
