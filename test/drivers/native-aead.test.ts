import { strict as assert } from 'node:assert';
import { createCipheriv, createHmac } from 'node:crypto';
import type { AeadKey } from '../../drivers/aead.ts';
import { appendPacket, BURST_PACKETS, createBurst, Next, packetAt } from '../../drivers/burst.ts';
import { ESP_SHAPES, isCbc, type AeadEspSuite, type EspSuite } from '../../drivers/esp-suite.ts';
import { NativeAead } from '../../drivers/native/aead.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { concat } from '../../platform/bytes.ts';
import { UsageError } from '../../platform/errors.ts';
import { pattern } from './port-contract.ts';

const REASON = 77;
const SUITES = Object.keys(ESP_SHAPES) as EspSuite[];
const CIPHER = { 'aes-256-gcm-16': 'aes-256-gcm', 'aes-128-gcm-16': 'aes-128-gcm', 'chacha20-poly1305': 'chacha20-poly1305' } as const;

function keyOf(suite: EspSuite, esn: boolean, seed = 1): AeadKey {
  const { keyBytes, saltBytes } = ESP_SHAPES[suite];
  return { suite, esn, key: pattern(keyBytes, seed), salt: pattern(saltBytes, seed + 1) };
}

/** Octets of packet number `i` of a burst. */
function sizeOf(suite: EspSuite, i: number): number {
  const { ivBytes, icvBytes } = ESP_SHAPES[suite];
  return 8 + ivBytes + icvBytes + (isCbc(suite) ? 16 * (1 + (i % 90)) : 5 * i);
}

function sealed(key: AeadKey, clear: Uint8Array, seqHi: number): Uint8Array {
  const high = new Uint8Array(4);
  new DataView(high.buffer).setUint32(0, seqHi);
  return isCbc(key.suite) ? sealedByCbc(key, clear, high) : sealedByAead(key, clear, high);
}

/** What RFC 3602 2 and RFC 4868 2 ask for, by node:crypto; the IV is the first block encrypted alone. */
function sealedByCbc({ suite, key, esn }: AeadKey, clear: Uint8Array, high: Uint8Array): Uint8Array {
  const { cipherKeyBytes, icvBytes } = ESP_SHAPES[suite];
  const cipherKey = key.slice(0, cipherKeyBytes);
  const first = createCipheriv(`aes-${8 * cipherKeyBytes}-ecb`, cipherKey, null).setAutoPadding(false);
  const iv = first.update(clear.slice(8, 24));
  const cipher = createCipheriv(`aes-${8 * cipherKeyBytes}-cbc`, cipherKey, iv).setAutoPadding(false);
  const covered = concat(clear.slice(0, 8), iv, cipher.update(clear.slice(24, -icvBytes)));
  const digest = /sha\d+/.exec(suite)![0];
  return concat(covered, createHmac(digest, key.slice(cipherKeyBytes)).update(covered).update(esn ? high : '').digest().subarray(0, icvBytes));
}

/** What RFC 4106 3 asks for, by node:crypto. */
function sealedByAead(key: AeadKey, clear: Uint8Array, high: Uint8Array): Uint8Array {
  const [header, iv, text] = [clear.slice(0, 8), clear.slice(8, 16), clear.slice(16, -16)];
  const cipher = createCipheriv(CIPHER[key.suite as AeadEspSuite] as 'aes-256-gcm', key.key, concat(key.salt, iv), { authTagLength: 16 });
  cipher.setAAD(key.esn ? concat(header.slice(0, 4), high, header.slice(4)) : header);
  return concat(header, iv, cipher.update(text), cipher.final(), cipher.getAuthTag());
}

describe('native AEAD engine', () => {
  const engine = (): NativeAead => new NativeAead(requireNative());

  for (const suite of SUITES) {
    for (const esn of [false, true]) {
      it(`seals a full burst as node:crypto does, and opens it again: ${suite}${esn ? ' with ESN' : ''}`, () => {
        const aead = engine();
        const keys = [keyOf(suite, esn, 1), keyOf(suite, esn, 2)];
        const handles = keys.map((key) => aead.install(key));
        const burst = createBurst();
        for (let i = 0; i < BURST_PACKETS; i++) {
          appendPacket(burst, pattern(sizeOf(suite, i % 256), i));
          burst.sa[i] = handles[i % 2]!;
          burst.esp[i] = burst.offset[i]!;
          burst.espLength[i] = burst.length[i]!;
          burst.seqHi[i] = 0xffff_fff0 + i;
          burst.next[i] = i % 5 === 4 ? Next.control : Next.seal;
        }
        const clear = Array.from({ length: BURST_PACKETS }, (_, i) => packetAt(burst, i));
        aead.seal(burst, Next.seal, Next.open, REASON);
        for (let i = 0; i < BURST_PACKETS; i++) {
          const touched = i % 5 !== 4;
          assert.equal(burst.next[i], touched ? Next.open : Next.control);
          assert.deepEqual(packetAt(burst, i), touched ? sealed(keys[i % 2]!, clear[i]!, burst.seqHi[i]! >>> 0) : clear[i]);
        }
        burst.bytes[burst.offset[1]! + 20]! ^= 1;
        burst.seqHi[2]! ^= 1;
        aead.open(burst, Next.open, Next.unwrap, REASON);
        for (let i = 0; i < BURST_PACKETS; i++) {
          if (i % 5 === 4) continue;
          const good = i !== 1 && (i !== 2 || !esn);
          assert.deepEqual([burst.next[i], burst.reason[i]], good ? [Next.unwrap, 0] : [Next.drop, REASON]);
          const { ivBytes, icvBytes } = ESP_SHAPES[suite];
          if (good) assert.deepEqual(packetAt(burst, i).slice(8 + ivBytes, -icvBytes), clear[i]!.slice(8 + ivBytes, -icvBytes));
        }
        for (const handle of handles) aead.remove(handle);
      });
    }
  }

  it('drops packets whose ESP lies outside the arena, is too short or has no key, and goes on', () => {
    const aead = engine();
    const handle = aead.install(keyOf('aes-256-gcm-16', false));
    const burst = createBurst();
    const end = burst.bytes.length;
    const rows = [
      [handle, -1, 100], [handle, 0, 31], [handle, 0, -5], [handle, end - 31, 32], [handle, 2 ** 31 - 1, 2 ** 31 - 1],
      [handle + 1, 0, 100], [-1, 0, 100], [2 ** 31 - 1, 0, 100], [handle, end - 32, 32],
    ] as const;
    for (const work of ['seal', 'open'] as const) {
      burst.count = 0;
      for (const [sa, esp, length] of rows) {
        const i = appendPacket(burst, pattern(100, 1));
        burst.sa[i] = sa;
        burst.esp[i] = esp;
        burst.espLength[i] = length;
        burst.next[i] = Next.seal;
      }
      aead[work](burst, Next.seal, Next.done, REASON);
      // The last row is a good packet at the very end of the arena: first sealed, then opened.
      assert.deepEqual([...burst.next.subarray(0, rows.length)], [...rows.slice(1).map(() => Next.drop), Next.done]);
      assert.equal(burst.reason[0], REASON);
    }
    aead.remove(handle);
  });

  it('gives many keys handles of their own, and forgets a removed one', () => {
    const aead = engine();
    const handles = Array.from({ length: 500 }, (_, i) => aead.install(keyOf('aes-128-gcm-16', true, i)));
    assert.equal(new Set(handles).size, 500);
    aead.remove(handles[7]!);
    aead.remove(handles[7]!);
    aead.remove(12_345_678);
    const burst = createBurst();
    appendPacket(burst, pattern(64, 1));
    burst.sa[0] = handles[7]!;
    burst.esp[0] = burst.offset[0]!;
    burst.espLength[0] = 64;
    burst.next[0] = Next.seal;
    aead.seal(burst, Next.seal, Next.done, REASON);
    assert.deepEqual([burst.next[0], burst.reason[0]], [Next.drop, REASON]);
    assert.equal(aead.install(keyOf('aes-128-gcm-16', true, 7)), handles[7]);
    for (const handle of handles) aead.remove(handle);
  });

  it('leaves the keys of another engine on its thread alone', () => {
    const [mine, other] = [engine(), engine()];
    const handle = mine.install(keyOf('aes-256-gcm-16', true));
    other.remove(handle);
    assert.notEqual(other.install(keyOf('aes-256-gcm-16', true)), handle);
    mine.remove(handle);
  });

  it('refuses keys and salts of a wrong length', () => {
    for (const suite of SUITES) {
      const key = keyOf(suite, true);
      assert.throws(() => engine().install({ ...key, key: key.key.slice(1) }), UsageError);
      assert.throws(() => engine().install({ ...key, salt: new Uint8Array(8) }), UsageError);
    }
  });
});
