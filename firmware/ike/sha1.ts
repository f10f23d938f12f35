// SHA-1 (FIPS 180-4), because NAT_DETECTION_* (RFC 7296 2.23), CERTREQ (3.7) and MSCHAPv2 (RFC 2759) are defined with
// it. The first two do not rely on its strength, the third is no stronger than its DES. Nothing else may use it, so it
// stays out of the Suite.
import { Writer } from '../../platform/bytes.ts';

const BLOCK_BYTES = 64;

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** f and K of round `t`. */
function round(t: number, b: number, c: number, d: number): number {
  if (t < 20) return ((b & c) | (~b & d)) + 0x5a827999;
  if (t < 40) return (b ^ c ^ d) + 0x6ed9eba1;
  if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

export function sha1(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const paddedBytes = Math.ceil((message.length + 9) / BLOCK_BYTES) * BLOCK_BYTES;
  const padded = new Writer(paddedBytes).put(message).u8(0x80).zeros(paddedBytes - message.length - 9).u64(BigInt(message.length) * 8n).finish();
  const view = new DataView(padded.buffer);
  const state = new Int32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);
  const words = new Int32Array(80);
  for (let start = 0; start < paddedBytes; start += BLOCK_BYTES) {
    for (let t = 0; t < 16; t++) words[t] = view.getInt32(start + 4 * t);
    for (let t = 16; t < 80; t++) words[t] = rotateLeft(words[t - 3]! ^ words[t - 8]! ^ words[t - 14]! ^ words[t - 16]!, 1);
    let [a, b, c, d, e] = state as unknown as [number, number, number, number, number];
    for (let t = 0; t < 80; t++) {
      const next = (rotateLeft(a, 5) + round(t, b, c, d) + e + words[t]!) | 0;
      [a, b, c, d, e] = [next, a, rotateLeft(b, 30), c, d];
    }
    for (const [i, value] of [a, b, c, d, e].entries()) state[i] = (state[i]! + value) | 0;
  }
  const out = new Writer(20);
  for (const word of state) out.u32(word >>> 0);
  return out.finish();
}
