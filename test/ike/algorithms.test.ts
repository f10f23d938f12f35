import { deepStrictEqual, equal } from 'node:assert/strict';
import type { ChildProposal } from '../../firmware/ike/algorithms.ts';
import { acceptChild, acceptIke, chooseChild, chooseIke, DEFAULT_CHILD_PROPOSAL, DEFAULT_IKE_PROPOSALS, encodeChildProposals, encodeIkeProposals } from '../../firmware/ike/algorithms.ts';
import type { Proposal, Transform } from '../../firmware/wire/ike/proposal.ts';
import { transform } from '../../firmware/wire/ike/proposal.ts';

const NO_SPI = new Uint8Array(0);
const SPI = Uint8Array.of(2, 0, 0, 1);
const GCM_256 = transform(1, 20, 256);
const SHA_256 = transform(2, 5);
const X25519 = transform(4, 31);

function ike(...transforms: Transform[]): Proposal[] {
  return [{ number: 1, protocol: 1, spi: NO_SPI, transforms }];
}

function esp(...transforms: Transform[]): Proposal[] {
  return [{ number: 1, protocol: 3, spi: SPI, transforms }];
}

function suiteOf(offers: Proposal[], keGroup = 31): string | undefined {
  const choice = chooseIke(offers, DEFAULT_IKE_PROPOSALS, keGroup, NO_SPI, 0);
  return choice && `${choice.algorithms.encryption} ${choice.algorithms.prf} ${choice.algorithms.group}`;
}

describe('ike: choice of algorithms', () => {
  it('follows its own order of preference', () => {
    equal(suiteOf(ike(transform(1, 20, 128), GCM_256, SHA_256, transform(2, 6), X25519)), 'aes-256-gcm-16 sha384 31');
  });

  it('prefers the group of the KE payload to its own order', () => {
    equal(suiteOf(ike(GCM_256, SHA_256, X25519, transform(4, 14)), 14), 'aes-256-gcm-16 sha256 14');
    equal(suiteOf(ike(GCM_256, SHA_256, X25519, transform(4, 14)), 21), 'aes-256-gcm-16 sha256 31');
  });

  it('keeps the number of the proposal that it chose', () => {
    const offers = [{ ...ike(transform(1, 12, 256), SHA_256, X25519)[0]!, number: 3 }, { ...ike(GCM_256, SHA_256, X25519)[0]!, number: 4 }];
    deepStrictEqual(chooseIke(offers, DEFAULT_IKE_PROPOSALS, 31, NO_SPI, 0)?.proposal, { number: 4, protocol: 1, spi: NO_SPI, transforms: [GCM_256, SHA_256, X25519] });
  });

  const refused: readonly (readonly [string, Proposal[]])[] = [
    ['without encryption', ike(SHA_256, X25519)],
    ['without PRF', ike(GCM_256, X25519)],
    ['without group', ike(GCM_256, SHA_256)],
    ['with an unknown key length', ike(transform(1, 20, 192), SHA_256, X25519)],
    ['with a key length where there is none', ike(transform(1, 28, 256), SHA_256, X25519)],
    ['with an unknown attribute', ike({ ...GCM_256, strange: true }, SHA_256, X25519)],
    ['with an integrity algorithm beside the AEAD', ike(GCM_256, SHA_256, X25519, transform(3, 12))],
    ['with a transform type that is not known', ike(GCM_256, SHA_256, X25519, transform(13, 36))],
    ['for another protocol', esp(GCM_256, SHA_256, X25519)],
    ['with an SPI where none belongs', [{ ...ike(GCM_256, SHA_256, X25519)[0]!, spi: SPI }]],
  ];
  for (const [name, offers] of refused) {
    it(`refuses an IKE proposal ${name}`, () => equal(suiteOf(offers), undefined));
  }

  it('accepts integrity NONE beside an AEAD', () => {
    equal(suiteOf(ike(GCM_256, SHA_256, X25519, transform(3, 0))), 'aes-256-gcm-16 sha256 31');
  });

  it('accepts an answer with one transform of each type only', () => {
    const own = DEFAULT_IKE_PROPOSALS;
    equal(acceptIke(ike(GCM_256, SHA_256, X25519), own, 0)?.prf, 'sha256');
    equal(acceptIke(ike(GCM_256, SHA_256, transform(2, 6), X25519), own, 0), undefined);
    equal(acceptIke([...ike(GCM_256, SHA_256, X25519), ...ike(GCM_256, SHA_256, X25519)], own, 0), undefined);
    equal(acceptIke(encodeIkeProposals(own, NO_SPI), own, 0), undefined);
  });

  const CBC_256 = transform(1, 12, 256);
  const HMAC_256 = transform(3, 12);

  it('takes a cipher that needs an integrity algorithm only with one', () => {
    equal(suiteOf(ike(CBC_256, SHA_256, HMAC_256, X25519)), 'aes-256-cbc sha256 31');
    equal(suiteOf(ike(CBC_256, SHA_256, X25519)), undefined);
    equal(suiteOf(ike(CBC_256, SHA_256, transform(3, 0), X25519)), undefined);
    equal(suiteOf(ike(CBC_256, SHA_256, transform(3, 2), X25519)), undefined);
  });

  it('answers one integrity algorithm, and none to an AEAD beside NONE', () => {
    const types = (offers: Proposal[]): string[] => chooseIke(offers, DEFAULT_IKE_PROPOSALS, 31, NO_SPI, 0)!.proposal.transforms.map(({ type, id }) => `${type}:${id}`);
    deepStrictEqual(types(ike(CBC_256, SHA_256, HMAC_256, transform(3, 13), X25519)), ['1:12', '2:5', '3:13', '4:31']);
    deepStrictEqual(types(ike(CBC_256, GCM_256, SHA_256, HMAC_256, transform(3, 0), X25519)), ['1:20', '2:5', '4:31']);
  });

  it('never offers AEADs and other ciphers in one proposal', () => {
    for (const { transforms } of encodeIkeProposals(DEFAULT_IKE_PROPOSALS, NO_SPI)) {
      const ciphers = transforms.filter(({ type }) => type === 1).map(({ id }) => id);
      const integrity = transforms.filter(({ type }) => type === 3);
      equal(new Set(ciphers.map((id) => id === 12)).size, 1);
      equal(integrity.length > 0, ciphers.includes(12));
    }
  });

  it('takes a missing ESN transform for "no ESN"', () => {
    equal(chooseChild(esp(GCM_256), [DEFAULT_CHILD_PROPOSAL], undefined, SPI, false)?.algorithms.esn, false);
    equal(chooseChild(esp(GCM_256), [{ ...DEFAULT_CHILD_PROPOSAL, esn: [true] }], undefined, SPI, false), undefined);
    equal(chooseChild(esp(GCM_256, transform(5, 0), transform(5, 1)), [DEFAULT_CHILD_PROPOSAL], undefined, SPI, false)?.algorithms.esn, true);
  });

  it('offers ESN and no ESN, and no group in IKE_AUTH', () => {
    const [first] = encodeChildProposals([DEFAULT_CHILD_PROPOSAL], SPI, false);
    deepStrictEqual(first!.transforms.filter((entry) => entry.type === 5).map((entry) => entry.id), [1, 0]);
    equal(first!.transforms.some((entry) => entry.type === 4), false);
  });

  const none: ChildProposal = { ...DEFAULT_CHILD_PROPOSAL, pfs: 'none' };
  const required: ChildProposal = { ...DEFAULT_CHILD_PROPOSAL, pfs: 'required' };
  const pfs: readonly (readonly [string, ChildProposal, Transform[], number | undefined, number | undefined | 'refused'])[] = [
    ['optional takes the group of the KE', DEFAULT_CHILD_PROPOSAL, [X25519, transform(4, 19)], 19, 19],
    ['optional does without when the peer has none', DEFAULT_CHILD_PROPOSAL, [], undefined, undefined],
    ['optional does without when the peer allows NONE and sent no KE', DEFAULT_CHILD_PROPOSAL, [X25519, transform(4, 0)], undefined, undefined],
    ['optional asks for a KE when the peer insists on a group', DEFAULT_CHILD_PROPOSAL, [X25519], undefined, 31],
    ['required refuses a peer without groups', required, [], undefined, 'refused'],
    ['required asks for a KE', required, [X25519, transform(4, 0)], undefined, 31],
    ['none refuses a peer that insists', none, [X25519], 31, 'refused'],
    ['none takes NONE', none, [X25519, transform(4, 0)], 31, undefined],
  ];
  for (const [name, own, groups, keGroup, expected] of pfs) {
    it(`PFS ${name}`, () => {
      const choice = chooseChild(esp(GCM_256, transform(5, 0), ...groups), [own], keGroup, SPI, true);
      equal(choice === undefined ? 'refused' : choice.algorithms.group, expected);
    });
  }

  it('does not accept a child answer that leaves PFS out where it is required', () => {
    equal(acceptChild(esp(GCM_256, transform(5, 0)), [required], undefined, true), undefined);
    equal(acceptChild(esp(GCM_256, transform(5, 0), X25519), [required], 31, true)?.group, 31);
  });
});
