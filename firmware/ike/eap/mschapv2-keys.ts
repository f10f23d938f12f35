// The computations of MSCHAPv2 (RFC 2759 8) and the keys that come of it (RFC 3079 3.4) as EAP's MSK.
import { concat, fromUtf8, utf8, wipe } from '../../../platform/bytes.ts';
import type { Suite } from '../../../platform/crypto.ts';
import { sha1 } from '../sha1.ts';
import { md4 } from './nt-hash.ts';

const MSK_BYTES = 64;
const KEY_BYTES = 16;
const CHALLENGE_HASH_BYTES = 8;
const DES_KEY_BYTES = 7;

const SIGNING = utf8('Magic server to client signing constant');
const ITERATION = utf8('Pad to make it do more than one iteration');
const MASTER_KEY = utf8('This is the MPPE Master Key');
const CLIENT_SENDS = utf8('On the client side, this is the send key; on the server side, it is the receive key.');
const SERVER_SENDS = utf8('On the client side, this is the receive key; on the server side, it is the send key.');
const PAD_1 = new Uint8Array(40);
const PAD_2 = new Uint8Array(40).fill(0xf2);

export interface Challenges {
  readonly authenticator: Uint8Array;
  readonly peer: Uint8Array;
  /** The user name, with or without a `DOMAIN\` in front. */
  readonly name: Uint8Array;
}

/** The user name without the domain, which MSCHAPv2 leaves out of its hashes (RFC 2759 4). */
export function userPart(name: Uint8Array): Uint8Array {
  return name.subarray(name.lastIndexOf(0x5c) + 1);
}

/** The same of a text. */
export function userName(name: string): string {
  return fromUtf8(userPart(utf8(name)));
}

function challengeHash(challenges: Challenges): Uint8Array {
  return sha1(concat(challenges.peer, challenges.authenticator, userPart(challenges.name))).subarray(0, CHALLENGE_HASH_BYTES);
}

/** 56 bits of a key as the 8 octets that DES takes; the parity bits stay zero, DES ignores them. */
export function expandDesKey(key: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(8);
  for (let i = 0; i < 8; i++) out[i] = ((((key[i - 1] ?? 0) << 8) | (key[i] ?? 0)) >>> i) & 0xfe;
  return out;
}

/** RFC 2759 8.1, from the hash of the password. */
export function ntResponse(suite: Suite, hash: Uint8Array, challenges: Challenges): Uint8Array<ArrayBuffer> {
  const padded = new Uint8Array(3 * DES_KEY_BYTES);
  padded.set(hash);
  const challenge = challengeHash(challenges);
  const blocks = [0, 1, 2].map((i) => {
    const key = expandDesKey(padded.subarray(i * DES_KEY_BYTES, (i + 1) * DES_KEY_BYTES));
    const block = suite.desEncrypt(key, challenge);
    wipe(key);
    return block;
  });
  wipe(padded);
  return concat(...blocks);
}

/** RFC 2759 8.7: 20 octets, by which the server shows that it knows the password too. */
export function authenticatorResponse(hash: Uint8Array, response: Uint8Array, challenges: Challenges): Uint8Array<ArrayBuffer> {
  const hashHash = md4(hash);
  const digest = sha1(concat(hashHash, response, SIGNING));
  wipe(hashHash);
  return sha1(concat(digest, challengeHash(challenges), ITERATION));
}

/** The server's receive and send key, then zeros: 64 octets. The caller wipes it. */
export function masterSessionKey(hash: Uint8Array, response: Uint8Array): Uint8Array<ArrayBuffer> {
  const hashHash = md4(hash);
  const master = sha1(concat(hashHash, response, MASTER_KEY)).subarray(0, KEY_BYTES);
  const msk = new Uint8Array(MSK_BYTES);
  for (const [i, magic] of [CLIENT_SENDS, SERVER_SENDS].entries()) {
    const input = concat(master, PAD_1, magic, PAD_2);
    const key = sha1(input);
    msk.set(key.subarray(0, KEY_BYTES), i * KEY_BYTES);
    wipe(input, key);
  }
  wipe(hashHash, master);
  return msk;
}
