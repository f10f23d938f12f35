import { deepStrictEqual, equal, ok, throws } from 'node:assert/strict';
import { concat, fromHex, toHex } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { SeededRandom, randomBelow } from '../../../platform/random.ts';
import { proposalOf } from '../../../firmware/sdwan/derivation.ts';
import { decodeTunnelEncapsulation, encodeTunnelEncapsulation, tunnelEncapsulationWithoutSignature } from '../../../firmware/wire/bgp/tunnel-encap.ts';
import type { TunnelEncapsulation } from '../../../firmware/wire/bgp/tunnel-encap.ts';
import { NODE_A, vector } from '../../sdwan/vectors.ts';

/** The attribute's value without flags, type and length. */
const GOLDEN = vector('TEA').slice(8);
const EXAMPLE: TunnelEncapsulation = {
  egressEndpoint: NODE_A.id, color: 101, udpPort: 4790,
  deviceInformation: { initialContact: true, rekeyCounter: 0x1_0000_0001n, id: NODE_A.id, nonce: NODE_A.nonce },
  keyExchanges: NODE_A.keyExchanges, proposals: NODE_A.proposals,
};
const FULL: TunnelEncapsulation = {
  ...EXAMPLE,
  extendedPort: {
    natType: 3, encapsulationType: 1, transportNetworkId: 2, rdId: 3,
    localAddress: fromHex('c0a80105'), localPort: 4790, publicAddress: fromHex('20010db8000000000000000000000001'), publicPort: 61000,
  },
  underlay: { flags: 1, connectionType: 3, portType: 4, speedGbps: 10 },
  keyParameters: { keyId: 5, lifetimeSeconds: 28800, idBound: true },
  site: { siteId: 101, name: 'branch-ü', model: 'vm', version: '1.0' },
  circuit: { transport: 'INTERNET', interfaceName: 'vni-0/0' },
  directive: { epoch: 9, notBeforeUnixSeconds: 1_795_000_000, spreadSeconds: 30, deadlineSeconds: 120, reason: 5 },
  certificate: fromHex('30820101'),
  signature: { algorithm: 2, signerSha256: new Uint8Array(32).fill(7), signature: fromHex('3045') },
  keyExchanges: [{ group: 19, publicValue: new Uint8Array(64).fill(1) }, { group: 31, publicValue: new Uint8Array(32).fill(2) }],
  proposals: [proposalOf('aes-256-gcm-16'), proposalOf('aes-128-gcm-16'), proposalOf('chacha20-poly1305')],
};

/** One TLV of type 25 around these sub-TLVs. */
function tlv(subTlvs: string): Uint8Array {
  const body = fromHex(subTlvs);
  return concat(fromHex('0019'), Uint8Array.of(body.length >>> 8, body.length), body);
}

const ENDPOINT = '060a00000000 0001 0aff0005';

describe('wire/bgp/tunnel-encap', () => {
  it('reads and writes the worked example octet by octet', () => {
    deepStrictEqual(decodeTunnelEncapsulation(fromHex(GOLDEN)), EXAMPLE);
    equal(toHex(encodeTunnelEncapsulation(EXAMPLE)), GOLDEN);
  });

  it('gives back every sub-TLV and container that it writes', () => {
    deepStrictEqual(decodeTunnelEncapsulation(encodeTunnelEncapsulation(FULL)), FULL);
  });

  it('gives WireError, or less than the whole, for a value cut at any octet', () => {
    const whole = encodeTunnelEncapsulation(FULL);
    for (let length = 1; length < whole.length; length++) {
      throws(() => decodeTunnelEncapsulation(whole.subarray(0, length)), WireError);
      throws(() => tunnelEncapsulationWithoutSignature(whole.subarray(0, length)), WireError);
    }
    equal(decodeTunnelEncapsulation(new Uint8Array(0)), undefined);
  });

  it('answers flipped bits with a value or WireError, never with another exception', () => {
    const whole = encodeTunnelEncapsulation(FULL);
    const random = new SeededRandom('flips');
    let refused = 0;
    for (let run = 0; run < 6000; run++) {
      const bytes = whole.slice();
      for (let flips = 0; flips < 1 + (run % 3); flips++) bytes[randomBelow(random, bytes.length)]! ^= 1 << randomBelow(random, 8);
      try {
        decodeTunnelEncapsulation(bytes);
        tunnelEncapsulationWithoutSignature(bytes);
      } catch (error) {
        ok(error instanceof WireError, String(error));
        refused++;
      }
    }
    ok(refused > 500, `${refused} of 6000 were refused`);
  });

  it('skips unknown sub-TLVs, unknown containers and other tunnel types', () => {
    const unknownSub = tlv(`${ENDPOINT} 7d03aabbcc c80001ff fd0004 090001ee`);
    deepStrictEqual(decodeTunnelEncapsulation(concat(fromHex('000800020102'), unknownSub)), { egressEndpoint: NODE_A.id, keyExchanges: [], proposals: [] });
  });

  it('ignores a TLV with two egress endpoints and takes the next one', () => {
    equal(decodeTunnelEncapsulation(tlv(ENDPOINT + ENDPOINT)), undefined);
    ok(decodeTunnelEncapsulation(concat(tlv(ENDPOINT + ENDPOINT), tlv(ENDPOINT))));
  });

  it('treats as withdraw what draft and RFC 7606 call malformed', () => {
    const dim = GOLDEN.slice(GOLDEN.indexOf('c20030'), GOLDEN.indexOf('c30024'));
    const ke = GOLDEN.slice(GOLDEN.indexOf('c30024'), GOLDEN.indexOf('c40018'));
    for (const [subTlvs, cause] of [
      [dim + dim, /two DIM/],
      [dim.replace('c200300400', 'c200300500'), /ID of 5 octets/],
      [dim.replace('040020', '04000f'), /nonce of 15 octets/],
      [dim.replace('040020', '040024'), /needs/],
      [ke + ke, /group 31 has two public values/],
      [ke.replace('c30024001f', 'c300240013'), /public value of group 19 has 32 octets, 64 are needed/],
      ['c4000c01000000 0000040000020000', /transform type 4/],
      ['c4001402000000 0000050000010000 0000050000010000', /two transforms of type 5/],
      ['c4001001000000 0004010000140000 000c0100', /attribute 0xc is not Key Length/],
      ['060b00000000 0001 0aff000500', /egress endpoint/],
      ['0408030c000000000065', /color sub-TLV/],
      ['0803 12b600', /after its end/],
      ['fd0018 010009 000000010000708001 010009 000000010000708001', /container 1 .* twice/],
    ] as const) {
      throws(() => decodeTunnelEncapsulation(tlv(subTlvs)), (error: unknown) => error instanceof WireError && cause.test(error.message), subTlvs);
    }
  });

  it('takes the signature out and leaves everything else as it stood', () => {
    const { signature, ...unsigned } = FULL;
    ok(signature);
    equal(toHex(tunnelEncapsulationWithoutSignature(encodeTunnelEncapsulation(FULL))), toHex(encodeTunnelEncapsulation(unsigned)));
    equal(toHex(tunnelEncapsulationWithoutSignature(encodeTunnelEncapsulation({ ...EXAMPLE, signature }))), GOLDEN);
  });
});
