// What every Suite keeps, whichever way it computes.
import { deepStrictEqual, notDeepStrictEqual, strictEqual } from 'node:assert/strict';
import { utf8 } from '../../platform/bytes.ts';
import type { ControlAead, DhGroup, HashName, KemId, SignatureAlgorithm, Suite } from '../../platform/crypto.ts';
import { DH_PUBLIC_BYTES, DH_SHARED_BYTES, KEM_SHARED_BYTES, KEM_SIZES, prfPlus } from '../../platform/crypto.ts';
import { SeededRandom } from '../../platform/random.ts';

export interface SigningKey {
  readonly algorithm: SignatureAlgorithm;
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

const GROUPS: readonly DhGroup[] = [2, 14, 15, 16, 19, 20, 21, 31, 32];
const KEMS: readonly KemId[] = [35, 36, 37];
const HASHES: readonly (readonly [HashName, number])[] = [['sha256', 32], ['sha384', 48], ['sha512', 64]];
const AEADS: readonly (readonly [ControlAead, number])[] = [['aes-128-gcm', 16], ['aes-256-gcm', 32], ['chacha20-poly1305', 32]];

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 0x10;
  return copy;
}

export function suiteContract(make: () => Suite, signingKeys: () => readonly SigningKey[]): void {
  const suite = make();

  for (const [name, length] of HASHES) {
    it(`${name} digests have ${length} octets and do not depend on how the input is cut`, () => {
      const whole = suite.hash(name, utf8('one two three'));
      strictEqual(whole.length, length);
      deepStrictEqual(suite.hash(name, utf8('one '), utf8(''), utf8('two three')), whole);
      notDeepStrictEqual(suite.hash(name, utf8('one two thref')), whole);
    });

    it(`hmac ${name} depends on key and data`, () => {
      const mac = suite.hmac(name, utf8('key'), utf8('data'));
      strictEqual(mac.length, length);
      deepStrictEqual(suite.hmac(name, utf8('key'), utf8('da'), utf8('ta')), mac);
      notDeepStrictEqual(suite.hmac(name, utf8('kez'), utf8('data')), mac);
      notDeepStrictEqual(suite.hmac(name, utf8('key'), utf8('datb')), mac);
    });
  }

  it('prf+ is a prefix of its longer self', () => {
    const long = prfPlus(suite, 'sha256', utf8('key'), utf8('seed'), 200);
    deepStrictEqual(prfPlus(suite, 'sha256', utf8('key'), utf8('seed'), 33), long.slice(0, 33));
  });

  for (const group of GROUPS) {
    it(`group ${group}: both sides agree, a third party does not`, () => {
      const [a, b, c] = ['a', 'b', 'c'].map((seed) => suite.dhGenerate(group, new SeededRandom(seed)));
      strictEqual(a!.publicValue.length, DH_PUBLIC_BYTES[group]);
      const shared = suite.dhShared(a!, b!.publicValue);
      strictEqual(shared?.length, DH_SHARED_BYTES[group]);
      deepStrictEqual(suite.dhShared(b!, a!.publicValue), shared);
      notDeepStrictEqual(suite.dhShared(c!, a!.publicValue), shared);
    });

    it(`group ${group}: the pair is a function of the random stream`, () => {
      deepStrictEqual(suite.dhGenerate(group, new SeededRandom(5)), suite.dhGenerate(group, new SeededRandom(5)));
    });

    it(`group ${group}: bad public values give no secret`, () => {
      const pair = suite.dhGenerate(group, new SeededRandom('pair'));
      const length = DH_PUBLIC_BYTES[group];
      strictEqual(suite.dhShared(pair, new Uint8Array(length)), undefined);
      strictEqual(suite.dhShared(pair, new Uint8Array(0)), undefined);
      strictEqual(suite.dhShared(pair, pair.publicValue.slice(1)), undefined);
      strictEqual(suite.dhShared(pair, new Uint8Array(length + 1).fill(1)), undefined);
    });
  }

  for (const kem of KEMS) {
    it(`KEM ${kem}: the owner of the key gets the encapsulated secret, a third party another one`, () => {
      const [a, b] = ['a', 'b'].map((seed) => suite.kemGenerate(kem, new SeededRandom(seed)));
      strictEqual(a!.publicKey.length, KEM_SIZES[kem].publicBytes);
      const { ciphertext, shared } = suite.kemEncapsulate(kem, a!.publicKey, new SeededRandom('value'))!;
      strictEqual(ciphertext.length, KEM_SIZES[kem].ciphertextBytes);
      strictEqual(shared.length, KEM_SHARED_BYTES);
      deepStrictEqual(suite.kemDecapsulate(a!, ciphertext), shared);
      notDeepStrictEqual(suite.kemDecapsulate(b!, ciphertext), shared);
      notDeepStrictEqual(suite.kemDecapsulate(a!, flipped(ciphertext, 700)), shared);
      notDeepStrictEqual(suite.kemEncapsulate(kem, a!.publicKey, new SeededRandom('another value'))!.shared, shared);
    });

    it(`KEM ${kem}: the pair is a function of the random stream`, () => {
      deepStrictEqual(suite.kemGenerate(kem, new SeededRandom(5)), suite.kemGenerate(kem, new SeededRandom(5)));
    });

    it(`KEM ${kem}: bad public keys and ciphertexts of a wrong length give no secret`, () => {
      const random = new SeededRandom('values');
      const pair = suite.kemGenerate(kem, random);
      const { publicBytes, ciphertextBytes } = KEM_SIZES[kem];
      // Coefficients above the modulus (FIPS 203 7.2).
      strictEqual(suite.kemEncapsulate(kem, new Uint8Array(publicBytes).fill(0xff), random), undefined);
      strictEqual(suite.kemEncapsulate(kem, pair.publicKey.slice(1), random), undefined);
      strictEqual(suite.kemEncapsulate(kem, new Uint8Array(0), random), undefined);
      strictEqual(suite.kemDecapsulate(pair, new Uint8Array(ciphertextBytes - 1)), undefined);
      strictEqual(suite.kemDecapsulate(pair, new Uint8Array(0)), undefined);
    });
  }

  it('verifies what it signed and nothing else', () => {
    const data = utf8('Selvage key route v1');
    const keys = signingKeys();
    for (const [i, { algorithm, privateKey, publicKey }] of keys.entries()) {
      const signature = suite.sign(algorithm, privateKey, data);
      strictEqual(suite.verify(algorithm, publicKey, data, signature), true);
      strictEqual(suite.verify(algorithm, publicKey, flipped(data, 3), signature), false);
      strictEqual(suite.verify(algorithm, publicKey, data, flipped(signature, signature.length - 1)), false);
      strictEqual(suite.verify(algorithm, publicKey, data, signature.slice(0, -1)), false);
      strictEqual(suite.verify(algorithm, publicKey, data, new Uint8Array(0)), false);
      strictEqual(suite.verify(algorithm, publicKey.slice(0, -1), data, signature), false);
      strictEqual(suite.verify(algorithm, new Uint8Array(0), data, signature), false);
      const other = keys[(i + 1) % keys.length]!;
      strictEqual(suite.verify(algorithm, other.publicKey, data, signature), false);
    }
  });

  it('aes-cbc gives back what it was given, in whole blocks alone', () => {
    const random = new SeededRandom('cbc');
    for (const keyBytes of [16, 24, 32]) {
      const [key, iv, plaintext] = [random.bytes(keyBytes), random.bytes(16), random.bytes(48)];
      const ciphertext = suite.cbcEncrypt(key, iv, plaintext);
      strictEqual(ciphertext.length, 48);
      deepStrictEqual(suite.cbcDecrypt(key, iv, ciphertext), plaintext);
      notDeepStrictEqual(suite.cbcDecrypt(flipped(key, 1), iv, ciphertext), plaintext);
      notDeepStrictEqual(suite.cbcEncrypt(key, flipped(iv, 1), plaintext), ciphertext);
      for (const length of [1, 15, 17, 47]) strictEqual(suite.cbcDecrypt(key, iv, ciphertext.slice(0, length)), undefined);
    }
  });

  for (const [aead, keyBytes] of AEADS) {
    it(`${aead} opens what it sealed and refuses every single flipped octet`, () => {
      const random = new SeededRandom(aead);
      const key = random.bytes(keyBytes);
      const nonce = random.bytes(12);
      const aad = random.bytes(9);
      for (const length of [0, 1, 15, 16, 100]) {
        const plaintext = random.bytes(length);
        const sealed = suite.aeadSeal(aead, key, nonce, aad, plaintext);
        strictEqual(sealed.length, length + 16);
        deepStrictEqual(suite.aeadOpen(aead, key, nonce, aad, sealed), plaintext);
        for (let at = 0; at < sealed.length; at++) strictEqual(suite.aeadOpen(aead, key, nonce, aad, flipped(sealed, at)), undefined);
      }
    });

    it(`${aead} binds key, nonce and associated data, and refuses short input`, () => {
      const random = new SeededRandom(aead);
      const [key, nonce, aad] = [random.bytes(keyBytes), random.bytes(12), random.bytes(5)];
      const sealed = suite.aeadSeal(aead, key, nonce, aad, utf8('plain'));
      strictEqual(suite.aeadOpen(aead, flipped(key, 0), nonce, aad, sealed), undefined);
      strictEqual(suite.aeadOpen(aead, key, flipped(nonce, 11), aad, sealed), undefined);
      strictEqual(suite.aeadOpen(aead, key, nonce, flipped(aad, 4), sealed), undefined);
      strictEqual(suite.aeadOpen(aead, key, nonce, new Uint8Array(0), sealed), undefined);
      for (let length = 0; length < 16; length++) strictEqual(suite.aeadOpen(aead, key, nonce, aad, sealed.slice(0, length)), undefined);
    });
  }
}
