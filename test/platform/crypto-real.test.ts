import { deepStrictEqual, notDeepStrictEqual, strictEqual } from 'node:assert/strict';
import { generateKeyPairSync, getDiffieHellman } from 'node:crypto';
import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { concat, fromHex, utf8 } from '../../platform/bytes.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { SigningKey } from './suite-contract.ts';
import { suiteContract } from './suite-contract.ts';

function ecKey(namedCurve: string, algorithm: SigningKey['algorithm']): SigningKey {
  const pair = generateKeyPairSync('ec', { namedCurve, publicKeyEncoding: { type: 'spki', format: 'der' }, privateKeyEncoding: { type: 'pkcs8', format: 'der' } });
  return { algorithm, privateKey: pair.privateKey, publicKey: pair.publicKey };
}

function edKey(): SigningKey {
  const pair = generateKeyPairSync('ed25519', { publicKeyEncoding: { type: 'spki', format: 'der' }, privateKeyEncoding: { type: 'pkcs8', format: 'der' } });
  return { algorithm: 'ed25519', privateKey: pair.privateKey, publicKey: pair.publicKey };
}

/** One RSA key for every way to sign with it. */
function rsaKeys(algorithms: readonly SigningKey['algorithm'][], modulusLength = 2048): SigningKey[] {
  const pair = generateKeyPairSync('rsa', { modulusLength, publicKeyEncoding: { type: 'spki', format: 'der' }, privateKeyEncoding: { type: 'pkcs8', format: 'der' } });
  return algorithms.map((algorithm) => ({ algorithm, privateKey: pair.privateKey, publicKey: pair.publicKey }));
}

const suite = new RealSuite();
const RSA = ['rsa-pss-sha256', 'rsa-pss-sha384', 'rsa-pss-sha512', 'rsa-pkcs1-sha256', 'rsa-pkcs1-sha384', 'rsa-pkcs1-sha512'] as const;
const ECP = [
  [19, p256],
  [20, p384],
  [21, p521],
] as const;

function minusOne(prime: Uint8Array): Uint8Array {
  const value = prime.slice();
  value[value.length - 1]! -= 1;
  return value;
}

describe('platform/crypto-real', () => {
  suiteContract(
    () => new RealSuite(),
    () => {
      const [pss256, pss512, pkcs256, pkcs384] = rsaKeys(['rsa-pss-sha256', 'rsa-pss-sha512', 'rsa-pkcs1-sha256', 'rsa-pkcs1-sha384']) as [SigningKey, SigningKey, SigningKey, SigningKey];
      // Neighbours have different keys: each key is tried on its neighbour's signature.
      return [ecKey('prime256v1', 'ecdsa-sha256'), pss256, ecKey('secp384r1', 'ecdsa-sha384'), pss512, ecKey('secp521r1', 'ecdsa-sha512'), pkcs256, edKey(), pkcs384];
    },
  );

  it('does not take an RSA signature of one scheme or hash for one of another', () => {
    const keys = rsaKeys(RSA);
    const data = utf8('octets');
    for (const { algorithm, privateKey, publicKey } of keys) {
      const signature = suite.sign(algorithm, privateKey, data);
      deepStrictEqual(keys.filter((other) => suite.verify(other.algorithm, publicKey, data, signature)).map((other) => other.algorithm), [algorithm]);
    }
  });

  it('refuses signatures of an RSA key of 1024 bits', () => {
    const [{ algorithm, privateKey, publicKey }] = rsaKeys(['rsa-pss-sha256'], 1024) as [SigningKey];
    strictEqual(suite.verify(algorithm, publicKey, utf8('octets'), suite.sign(algorithm, privateKey, utf8('octets'))), false);
  });

  // RFC 4231 4.3
  it('computes the HMAC-SHA-256 of RFC 4231 test case 2', () => {
    deepStrictEqual(
      suite.hmac('sha256', utf8('Jefe'), utf8('what do ya want for nothing?')),
      fromHex('5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'),
    );
  });

  it('computes the HMAC-SHA-1 of RFC 2202 test case 2', () => {
    deepStrictEqual(suite.hmac('sha1', utf8('Jefe'), utf8('what do ya want for nothing?')), fromHex('effcdf6ae5eb2fa2d27416d5f184df9c259a7c79'));
  });

  it('computes the AES-CBC of RFC 3602 4, case 1', () => {
    const [key, iv] = [fromHex('06a9214036b8a15b512e03d534120006'), fromHex('3dafba429d9eb430b422da802c9fac41')];
    deepStrictEqual(suite.cbcEncrypt(key, iv, utf8('Single block msg')), fromHex('e353779c1079aeb82708942dbe77181a'));
  });

  it('computes the X448 secret of RFC 7748 6.2', () => {
    const privateValue = fromHex('9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b');
    const publicValue = fromHex('9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0');
    const peer = fromHex('3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609');
    deepStrictEqual(
      suite.dhShared({ group: 32, privateValue, publicValue }, peer),
      fromHex('07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d'),
    );
  });

  it('computes the X25519 secret of RFC 7748 6.1', () => {
    const privateValue = fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    const publicValue = fromHex('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
    const peer = fromHex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
    deepStrictEqual(
      suite.dhShared({ group: 31, privateValue, publicValue }, peer),
      fromHex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742'),
    );
  });

  it('agrees with another implementation of X25519', () => {
    const pair = suite.dhGenerate(31, new SeededRandom('x'));
    deepStrictEqual(pair.publicValue, x25519.getPublicKey(pair.privateValue));
    const peer = new SeededRandom('y').bytes(32);
    deepStrictEqual(suite.dhShared(pair, x25519.getPublicKey(peer)), x25519.getSharedSecret(peer, pair.publicValue));
  });

  it('refuses the points of small order of X25519', () => {
    const pair = suite.dhGenerate(31, new SeededRandom('x'));
    for (const point of [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ]) {
      strictEqual(suite.dhShared(pair, fromHex(point)), undefined);
    }
  });

  for (const [group, curve] of ECP) {
    it(`agrees with another implementation of group ${group}`, () => {
      const pair = suite.dhGenerate(group, new SeededRandom(group));
      deepStrictEqual(concat(Uint8Array.of(4), pair.publicValue), curve.getPublicKey(pair.privateValue, false));
      const peer = suite.dhGenerate(group, new SeededRandom('peer'));
      const point = curve.getSharedSecret(peer.privateValue, concat(Uint8Array.of(4), pair.publicValue), false);
      deepStrictEqual(suite.dhShared(pair, peer.publicValue), point.slice(1, 1 + (point.length - 1) / 2));
    });

    it(`refuses a point that is not on the curve of group ${group}`, () => {
      const pair = suite.dhGenerate(group, new SeededRandom(group));
      const off = pair.publicValue.slice();
      off[off.length - 1]! ^= 1;
      strictEqual(suite.dhShared(pair, off), undefined);
      strictEqual(suite.dhShared(pair, new Uint8Array(off.length).fill(0xff)), undefined);
    });
  }

  for (const [group, name] of [[2, 'modp2'], [14, 'modp14'], [15, 'modp15'], [16, 'modp16']] as const) {
    it(`refuses 0, 1, p - 1, p and more in group ${group}`, () => {
      const pair = suite.dhGenerate(group, new SeededRandom(1));
      const p = new Uint8Array(getDiffieHellman(name).getPrime());
      const small = (value: number): Uint8Array => Uint8Array.from(p, (_, i) => (i === p.length - 1 ? value : 0));
      for (const value of [small(0), small(1), minusOne(p), p, new Uint8Array(p.length).fill(0xff)]) strictEqual(suite.dhShared(pair, value), undefined);
      // 2 is the generator, so the secret is the public value itself.
      deepStrictEqual(suite.dhShared(pair, small(2)), pair.publicValue);
    });
  }

  it('left-pads a secret whose leading octet is zero', () => {
    const pair = suite.dhGenerate(19, new SeededRandom('pad'));
    let padded = 0;
    for (let seed = 0; seed < 2000 && padded === 0; seed++) {
      const peer = suite.dhGenerate(19, new SeededRandom(seed));
      const secret = suite.dhShared(pair, peer.publicValue);
      strictEqual(secret?.length, 32);
      if (secret![0] === 0) {
        padded++;
        deepStrictEqual(suite.dhShared(peer, pair.publicValue), secret);
      }
    }
    strictEqual(padded, 1);
  });

  it('signs Ed25519 as another implementation does', () => {
    const { privateKey, publicKey } = edKey();
    const seed = privateKey.slice(-32);
    deepStrictEqual(new Uint8Array(suite.sign('ed25519', privateKey, utf8('data'))), ed25519.sign(utf8('data'), seed));
    strictEqual(suite.verify('ed25519', publicKey, utf8('data'), ed25519.sign(utf8('data'), seed)), true);
  });

  it('makes DER signatures that another implementation of P-256 verifies', () => {
    const { privateKey, publicKey } = ecKey('prime256v1', 'ecdsa-sha256');
    const signature = suite.sign('ecdsa-sha256', privateKey, utf8('data'));
    strictEqual(p256.verify(signature, utf8('data'), publicKey.slice(-65), { format: 'der', lowS: false }), true);
  });

  // RFC 8439 2.8.2: the tag of that example.
  it('seals the ChaCha20-Poly1305 example of RFC 8439', () => {
    const key = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
    const text = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    const sealed = suite.aeadSeal('chacha20-poly1305', key, fromHex('070000004041424344454647'), fromHex('50515253c0c1c2c3c4c5c6c7'), utf8(text));
    deepStrictEqual(sealed.slice(-16), fromHex('1ae10b594f09e26a7e902ecbd0600691'));
  });

  it('gives pairs of other streams other values', () => {
    notDeepStrictEqual(suite.dhGenerate(31, new SeededRandom(1)).publicValue, suite.dhGenerate(31, new SeededRandom(2)).publicValue);
  });
});
