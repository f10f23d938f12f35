// Vectors: RFC 1320 A.5, RFC 2759 9.2 and 9.3, RFC 3079 3.5.3.
import { equal } from 'node:assert/strict';
import { authenticatorResponse, expandDesKey, masterSessionKey, ntResponse, userName } from '../../../firmware/ike/eap/mschapv2-keys.ts';
import { md4, ntHash } from '../../../firmware/ike/eap/nt-hash.ts';
import { fromHex, toHex, utf8 } from '../../../platform/bytes.ts';
import { FakeSuite } from '../../../platform/crypto-fake.ts';
import { RealSuite } from '../../../platform/crypto-real.ts';

const suite = new RealSuite();
const CHALLENGES = { authenticator: fromHex('5b5d7c7d7b3f2f3e3c2c602132262628'), peer: fromHex('21402324255e262a28295f2b3a337c7e'), name: utf8('User') };
const RESPONSE = fromHex('82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df');

describe('ike: the computations of MSCHAPv2', () => {
  for (const [text, digest] of [
    ['', '31d6cfe0d16ae931b73c59d7e0c089c0'],
    ['a', 'bde52cb31de33e46245e05fbdbd6fb24'],
    ['message digest', 'd9130a8164549fe818874806e1c7014b'],
    ['abcdefghijklmnopqrstuvwxyz', 'd79e1c308aa5bbcdeea8ed63df412da9'],
    ['12345678901234567890123456789012345678901234567890123456789012345678901234567890', 'e33b4ddc9c38f2199c3e7b164fcc0536'],
  ] as const) {
    it(`hashes "${text}" with MD4`, () => equal(toHex(md4(utf8(text))), digest));
  }

  it('hashes a password as UTF-16', () => {
    equal(toHex(ntHash('clientPass')), '44ebba8d5312b8d611474411f56989ae');
    equal(toHex(md4(ntHash('clientPass'))), '41c00c584bd2d91c4017a2a12fa59f3f');
  });

  it('encrypts a block with DES and ignores the parity of its key', () => {
    const block = suite.desEncrypt(fromHex('133457799bbcdff1'), fromHex('0123456789abcdef'));
    equal(toHex(block), '85e813540f0ab405');
    equal(toHex(suite.desEncrypt(fromHex('123456789abcdef0'), fromHex('0123456789abcdef'))), '85e813540f0ab405');
  });

  it('spreads 56 bits of a key over 8 octets', () => {
    // RFC 2759 9.3: each octet holds 7 bits, above the parity bit.
    equal(toHex(expandDesKey(fromHex('fc156af7edcd6c'))), 'fc0a5a5e7e6e34d8');
  });

  it('answers a challenge', () => equal(toHex(ntResponse(suite, ntHash('clientPass'), CHALLENGES)), toHex(RESPONSE)));

  it('leaves the domain out of the hashed name', () => {
    const named = { ...CHALLENGES, name: utf8('EXAMPLE\\User') };
    equal(toHex(ntResponse(suite, ntHash('clientPass'), named)), toHex(RESPONSE));
    equal(userName('EXAMPLE\\User'), 'User');
  });

  it('proves the server', () => equal(toHex(authenticatorResponse(ntHash('clientPass'), RESPONSE, CHALLENGES)), '407a5589115fd0d6209f510fe9c04566932cda56'));

  it('derives the MSK of both directions', () => {
    const msk = toHex(masterSessionKey(ntHash('clientPass'), RESPONSE));
    equal(msk, `d5f0e9521e3ea9589645e86051c822268b7cdc149b993a1ba118cb153f56dccb${'00'.repeat(32)}`);
  });

  it('works with the fake suite too, with other octets', () => {
    equal(ntResponse(new FakeSuite(), ntHash('clientPass'), CHALLENGES).length, 24);
  });
});
