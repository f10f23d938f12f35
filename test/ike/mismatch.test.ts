import { equal } from 'node:assert/strict';
import { CLASSIC_IKE_PROPOSAL, DEFAULT_CHILD_PROPOSAL, encodeChildProposals, encodeIkeProposals } from '../../firmware/ike/algorithms.ts';
import { mismatch } from '../../firmware/ike/mismatch.ts';
import type { Proposal, Transform } from '../../firmware/wire/ike/proposal.ts';
import { transform } from '../../firmware/wire/ike/proposal.ts';

const NO_SPI = new Uint8Array(0);
const SPI = Uint8Array.of(2, 0, 0, 1);

function ike(...transforms: Transform[]): Proposal {
  return { number: 1, protocol: 1, spi: NO_SPI, transforms };
}

const OWN = encodeIkeProposals([CLASSIC_IKE_PROPOSAL], NO_SPI);
const GCM = transform(1, 20, 256);
const SHA_256 = transform(2, 5);

describe('ike: why no proposal is chosen', () => {
  const rows: readonly (readonly [string, Proposal[], readonly Proposal[], string])[] = [
    ['a weak group', [ike(GCM, SHA_256, transform(4, 2)), ike(GCM, SHA_256, transform(4, 5))], OWN, 'peer offered only modp1024, modp1536; allowed: x25519, ecp256, ecp384, modp2048'],
    ['a weak cipher', [ike(transform(1, 3), SHA_256, transform(4, 14))], OWN, 'peer offered only 3des; allowed: aes-gcm-16-256, aes-gcm-16-128, chacha20-poly1305'],
    ['a transform that nobody knows', [ike(GCM, transform(2, 77), transform(4, 14))], OWN, 'peer offered only PRF 77; allowed: prf-sha384, prf-sha256, prf-sha512'],
    ['parts that fit, but not together', [ike(GCM, SHA_256, transform(4, 2)), ike(transform(1, 3), SHA_256, transform(4, 14))], OWN, 'no IKE proposal of the peer fits as a whole: offered aes-gcm-16-256/prf-sha256/modp1024, 3des/prf-sha256/modp2048; allowed: aes-gcm-16-256+aes-gcm-16-128+chacha20-poly1305/prf-sha384+prf-sha256+prf-sha512/x25519+ecp256+ecp384+modp2048'],
    ['another protocol', [{ ...ike(GCM), protocol: 2 }], OWN, 'peer offered no proposal for IKE'],
    ['ESP with a cipher that needs integrity', [{ number: 1, protocol: 3, spi: SPI, transforms: [transform(1, 12, 256), transform(3, 12), transform(5, 0)] }], encodeChildProposals([DEFAULT_CHILD_PROPOSAL], SPI, false), 'peer offered only aes-cbc-256; allowed: aes-gcm-16-256, aes-gcm-16-128, chacha20-poly1305'],
    ['more than a line holds', [ike(...Array.from({ length: 100 }, (_, i) => transform(1, 1000 + i)))], OWN, `peer offered only ${Array.from({ length: 12 }, (_, i) => `encryption ${1000 + i}`).join(', ')} and 88 more; allowed: aes-gcm-16-256, aes-gcm-16-128, chacha20-poly1305`],
  ];
  for (const [name, offers, allowed, expected] of rows) it(`names ${name}`, () => equal(mismatch(offers, allowed), expected));
});
