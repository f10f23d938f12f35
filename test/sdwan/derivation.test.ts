import { deepStrictEqual, equal, notEqual, ok } from 'node:assert/strict';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SeededRandom } from '../../platform/random.ts';
import { concat, fromHex, toHex } from '../../platform/bytes.ts';
import { prfPlus } from '../../platform/crypto.ts';
import { derive, proposalOf, suiteOf } from '../../firmware/sdwan/derivation.ts';
import type { Derivation, DerivationInput, PublishedKey } from '../../firmware/sdwan/derivation.ts';
import { ALICE, BOB, NODE_A, NODE_B, keyAndSalt, vector } from './vectors.ts';

const suite = new RealSuite();

type Good = Extract<Derivation, { ok: true }>;

function derived(change: Partial<DerivationInput>): Good {
  const result = derive(suite, { local: NODE_A, pairs: [ALICE], peer: NODE_B, prf: 'sha256', idBound: true, ...change });
  ok(result.ok, result.ok ? '' : result.cause);
  return result;
}

const ASIDE = { local: NODE_A, pairs: [ALICE], peer: NODE_B };
const BSIDE = { local: NODE_B, pairs: [BOB], peer: NODE_A };

function refused(change: Partial<DerivationInput>): string {
  const result = derive(suite, { ...ASIDE, prf: 'sha256', idBound: true, ...change });
  ok(!result.ok);
  return result.cause;
}

describe('sdwan/derivation', () => {
  for (const form of ['draft', 'id-bound'] as const) {
    it(`gives the ${form} form's SPIs and keys on both nodes`, () => {
      const a = derived({ ...ASIDE, idBound: form === 'id-bound' });
      const b = derived({ ...BSIDE, idBound: form === 'id-bound' });
      equal(a.initiator, false);
      equal(b.initiator, true);
      const toA = keyAndSalt(`${form} K(i->r)`);
      const toB = keyAndSalt(`${form} K(r->i)`);
      for (const [direction, expected, spi] of [
        [a.inbound, toA, vector('SPIr')], [b.outbound, toA, vector('SPIr')],
        [b.inbound, toB, vector('SPIi')], [a.outbound, toB, vector('SPIi')],
      ] as const) {
        equal(direction.spi.toString(16), spi);
        equal(toHex(direction.key), expected.key);
        equal(toHex(direction.salt), expected.salt);
      }
    });
  }

  it('gives other keys with a PPK, the same ones on both nodes', () => {
    const ppk = new Uint8Array(32).fill(0x5a);
    const a = derived({ ...ASIDE, ppk });
    const b = derived({ ...BSIDE, ppk });
    deepStrictEqual(a.inbound, b.outbound);
    deepStrictEqual(a.outbound, b.inbound);
    const keymat = prfPlus(suite, 'sha256', fromHex(vector("id-bound SK_d' with PPK=5a*32")), concat(NODE_B.nonce, NODE_A.nonce), 72);
    equal(toHex(concat(a.inbound.key, a.inbound.salt, a.outbound.key, a.outbound.salt)), toHex(keymat));
  });

  it("follows the responder's order of proposals and puts the chosen numbers into the SPIs", () => {
    const local: PublishedKey = { ...NODE_A, proposals: [proposalOf('chacha20-poly1305'), proposalOf('aes-128-gcm-16')] };
    const peer: PublishedKey = { ...NODE_B, proposals: [proposalOf('aes-256-gcm-16'), proposalOf('aes-128-gcm-16'), proposalOf('chacha20-poly1305')] };
    const a = derived({ ...ASIDE, local, peer });
    const b = derived({ ...BSIDE, local: peer, peer: local });
    equal(a.suite, 'chacha20-poly1305');
    equal(b.suite, 'chacha20-poly1305');
    deepStrictEqual(a.inbound, b.outbound);
    notEqual(a.inbound.spi, derived(ASIDE).inbound.spi);
  });

  it("follows the responder's order of groups", () => {
    const random = new SeededRandom('groups');
    const pairsA = [suite.dhGenerate(31, random), suite.dhGenerate(19, random)];
    const pairsB = [suite.dhGenerate(19, random), suite.dhGenerate(31, random)];
    const local = { ...NODE_A, keyExchanges: pairsA };
    const peer = { ...NODE_B, keyExchanges: pairsB };
    const a = derived({ local, pairs: pairsA, peer });
    const b = derived({ local: peer, pairs: pairsB, peer: local });
    equal(a.group, 31);
    deepStrictEqual(a.inbound, b.outbound);
    deepStrictEqual(a.outbound, b.inbound);
  });

  it('pads the shorter nonce on the right before it compares', () => {
    const short = { ...NODE_A, nonce: new Uint8Array(16).fill(0x30) };
    equal(derived({ ...ASIDE, local: short }).initiator, true);
    equal(derived({ ...BSIDE, peer: short }).initiator, false);
  });

  it('never derives an SPI below 256 or with the top octet that IKE uses', () => {
    for (let i = 0; i < 600; i++) {
      const random = new SeededRandom(i);
      const a = derived({ local: { ...NODE_A, nonce: random.bytes(32) } });
      for (const { spi } of [a.inbound, a.outbound]) ok(spi >= 256 && spi >>> 24 !== 2, `SPI ${spi.toString(16)} with seed ${i}`);
    }
  });

  it('draws again, alike on both nodes, where the first SPIs would have the top octet 0x02', () => {
    const seed = Array.from({ length: 2000 }, (_, i) => i).find((i) => firstTopOctets(i).includes(2));
    ok(seed !== undefined);
    const nonce = new SeededRandom(seed).bytes(32);
    const a = derived({ local: { ...NODE_A, nonce } });
    const b = derived({ ...BSIDE, peer: { ...NODE_A, nonce } });
    deepStrictEqual(a.inbound, b.outbound);
    ok(!firstTopOctets(seed).includes(a.inbound.spi >>> 24) || !firstTopOctets(seed).includes(a.outbound.spi >>> 24));
  });

  it('refuses equal nonces, foreign proposals, foreign groups and weak public values, each by name', () => {
    equal(refused({ peer: { ...NODE_B, nonce: NODE_A.nonce } }), 'the peer published the same nonce as this node');
    equal(refused({ peer: { ...NODE_B, proposals: [proposalOf('aes-128-gcm-16')] } }), 'no SA proposal in common');
    equal(refused({ peer: { ...NODE_B, keyExchanges: [{ group: 19, publicValue: new Uint8Array(64) }] } }), 'no Diffie-Hellman group in common');
    equal(refused({ peer: { ...NODE_B, keyExchanges: [{ group: 31, publicValue: new Uint8Array(32) }] } }), 'the public value of group 31 fails the checks of RFC 6989');
  });

  it('does not take a proposal without extended sequence numbers for one of ours', () => {
    equal(suiteOf(proposalOf('aes-256-gcm-16')), 'aes-256-gcm-16');
    equal(suiteOf([{ type: 1, id: 20, keyBits: 256 }]), undefined);
    equal(suiteOf([{ type: 1, id: 20, keyBits: 256 }, { type: 5, id: 0, keyBits: undefined }]), undefined);
  });
});

/** Top octets of the two provisional SPIs of NODE_B with a node whose nonce has this seed, computed here with HMAC alone. */
function firstTopOctets(seed: number): readonly number[] {
  const nonce = new SeededRandom(seed).bytes(32);
  const larger = Buffer.compare(nonce, NODE_B.nonce) > 0;
  const key = larger ? Buffer.concat([nonce, NODE_B.nonce]) : Buffer.concat([NODE_B.nonce, nonce]);
  const block = suite.hmac('sha256', key, new TextEncoder().encode('SPI generation'), Uint8Array.of(1));
  return [block[0]!, block[4]!];
}
