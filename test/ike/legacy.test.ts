import { equal, throws } from 'node:assert/strict';
import type { ChildProposal, IkeProposal } from '../../firmware/ike/algorithms.ts';
import { DEFAULT_IKE_PROPOSALS } from '../../firmware/ike/algorithms.ts';
import { completeProfile } from '../../firmware/ike/profile.ts';
import { pair, pskProfile } from './pair.ts';

/** What a stock Windows offers, as far as it is not triple DES. */
const WINDOWS: IkeProposal = { encryption: ['aes-256-cbc'], integrity: ['hmac-sha1-96'], prf: ['sha1'], groups: [2] };

function connect(legacy: boolean, offer = WINDOWS): ReturnType<typeof pair> {
  const made = pair({ branch: { proposals: [offer], legacy: true }, controller: { proposals: DEFAULT_IKE_PROPOSALS, legacy } });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(6000);
  return made;
}

describe('ike: legacy profiles', () => {
  it('talk to a peer that knows only MODP-1024 and SHA-1, and rekey', () => {
    const { world, branch, controller } = connect(true);
    equal(controller.of('ike-up')[0]?.suite, 'aes-256-cbc/hmac-sha1-96/prf-sha1/group-2', world.story());
    world.input(branch, { kind: 'rekey-ike', ikeSa: 1 });
    world.run(1000);
    equal(branch.of('ike-rekeyed').length, 1);
    equal(branch.of('child-up').length, 1);
  });

  it('also talk ESP to a peer that knows only SHA-1 there; others do not', () => {
    const childProposals: readonly ChildProposal[] = [{ encryption: ['aes-256-cbc'], integrity: ['hmac-sha1-96'], esn: [false], groups: [2], pfs: 'none' }];
    for (const legacy of [true, false]) {
      const made = pair({ branch: { childProposals, legacy: true }, controller: { legacy } });
      made.world.initiate(made.branch, made.controller, 'to-controller');
      made.world.run(3000);
      equal(made.controller.of('child-up')[0]?.inbound.suite, legacy ? 'aes-256-cbc/hmac-sha1-96' : undefined, made.world.story());
      if (!legacy) equal(made.controller.logged('child SA refused')[0]?.['cause'], 'peer offered only hmac-sha1-96; allowed: hmac-sha256-128, hmac-sha384-192, hmac-sha512-256');
    }
    throws(() => completeProfile({ ...pskProfile('p', 'a@x.example', undefined), childProposals }), /must say that it is a legacy profile/);
  });

  it('are not the default: such a peer is refused, and the cause names what it offered and what is allowed', () => {
    for (const [offer, cause] of [
      [WINDOWS, 'peer offered only prf-sha1; allowed: prf-sha384, prf-sha256, prf-sha512'],
      [{ ...WINDOWS, integrity: ['hmac-sha384-192'], prf: ['sha384'] }, 'peer offered only modp1024; allowed: x25519, ecp256, ecp384, modp2048'],
    ] satisfies [IkeProposal, string][]) {
      const { controller, branch } = connect(false, offer);
      equal(controller.of('ike-up').length, 0);
      const refusal = controller.logged('IKE request refused')[0];
      equal(refusal?.['answer'], 'NO_PROPOSAL_CHOSEN');
      equal(refusal?.['cause'], cause);
      equal(branch.of('connect-failed').length, 1);
    }
  });

  it('need to say so: weak algorithms are no choice of other profiles', () => {
    throws(() => completeProfile({ ...pskProfile('p', 'a@x.example', undefined), proposals: [WINDOWS] }), /must say that it is a legacy profile/);
    equal(completeProfile(pskProfile('p', 'a@x.example', undefined)).proposals.some(({ groups }) => groups.includes(2)), false);
  });
});
