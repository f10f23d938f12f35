// The NT hash of a password: MD4 (RFC 1320) of its UTF-16 (RFC 2759 8.3). MD4 is broken as a hash, and MSCHAPv2 is what
// still asks for it: nothing else may use it, so it stays out of the Suite.
import { wipe } from '../../../platform/bytes.ts';

export const NT_HASH_BYTES = 16;
const BLOCK_BYTES = 64;

interface Round {
  readonly mix: (x: number, y: number, z: number) => number;
  readonly constant: number;
  /** Order of the message's words. */
  readonly order: readonly number[];
  readonly shifts: readonly number[];
}

const ROUNDS: readonly Round[] = [
  { mix: (x, y, z) => (x & y) | (~x & z), constant: 0, order: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], shifts: [3, 7, 11, 19] },
  { mix: (x, y, z) => (x & y) | (x & z) | (y & z), constant: 0x5a827999, order: [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15], shifts: [3, 5, 9, 13] },
  { mix: (x, y, z) => x ^ y ^ z, constant: 0x6ed9eba1, order: [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], shifts: [3, 9, 11, 15] },
];

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

export function md4(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const padded = new Uint8Array(Math.ceil((message.length + 9) / BLOCK_BYTES) * BLOCK_BYTES);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(message.length) * 8n, true);
  const state = new Int32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]);
  for (let start = 0; start < padded.length; start += BLOCK_BYTES) {
    let [a, b, c, d] = state as unknown as [number, number, number, number];
    for (const { mix, constant, order, shifts } of ROUNDS) {
      for (const [i, word] of order.entries()) {
        const sum = (a + mix(b, c, d) + view.getInt32(start + 4 * word, true) + constant) | 0;
        [a, b, c, d] = [d, rotateLeft(sum, shifts[i % 4]!), b, c];
      }
    }
    for (const [i, value] of [a, b, c, d].entries()) state[i] = (state[i]! + value) | 0;
  }
  wipe(padded);
  const out = new DataView(new ArrayBuffer(NT_HASH_BYTES));
  for (const [i, word] of state.entries()) out.setInt32(4 * i, word, true);
  return new Uint8Array(out.buffer);
}

/** The caller wipes it: whoever has it can log in. */
export function ntHash(password: string): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(2 * password.length);
  const view = new DataView(octets.buffer);
  for (let i = 0; i < password.length; i++) view.setUint16(2 * i, password.charCodeAt(i), true);
  const hash = md4(octets);
  wipe(octets);
  return hash;
}
