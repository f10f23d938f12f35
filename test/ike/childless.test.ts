import { deepStrictEqual, equal } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { classicPair, pair } from './pair.ts';

const PFS = [{ encryption: ['aes-256-gcm-16' as const], esn: [true], groups: [19 as const], pfs: 'required' as const }];

function connect(branch: Partial<IkeProfile>, controller: Partial<IkeProfile> = {}): ReturnType<typeof pair> {
  const made = classicPair({ branch: { childless: true, ...branch }, controller });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(2000);
  return made;
}

describe('ike: an IKE SA that begins without a child', () => {
  it('makes its first child by an exchange of its own, with a Diffie-Hellman exchange of its own', () => {
    // IKE_SA_INIT -->   <-- { .., N(CHILDLESS_IKEV2_SUPPORTED) }   IKE_AUTH { IDi, AUTH } -->   <-- { IDr, AUTH }
    // CREATE_CHILD_SA { SA, Ni, KE, TSi, TSr } -->   <-- { SA, Nr, KE, TSi, TSr }
    const { world, branch, controller } = connect({ childProposals: PFS }, { childProposals: PFS });
    deepStrictEqual(world.packets.map(({ send }) => send.bytes[18]), [34, 34, 35, 35, 36, 36], world.story());
    equal(branch.endpoint.snapshot().ikeSas[0]!.children[0]!.suite, 'aes-256-gcm-16/esn/group-19');
    deepStrictEqual(branch.of('child-up')[0]!.outbound.key, controller.of('child-up')[0]!.inbound.key);
    deepStrictEqual([branch, controller].map((node) => node.of('child-up')[0]!.replaces), [undefined, undefined]);
    world.run(60_000);
    equal(branch.of('ike-down').length, 0);
  });

  it('agrees on VXLAN and an overlay address all the same', () => {
    const { branch, controller } = connect({ vxlan: { vni: 77 } }, { vxlan: { vni: 77 } });
    deepStrictEqual([branch, controller].map((node) => node.of('child-up')[0]?.vxlanVni), [77, 77]);
  });

  it('ends with the cause when the peer refuses its first child', () => {
    const { branch, controller } = connect({ childProposals: [{ encryption: ['aes-128-gcm-16'], esn: [true], groups: [], pfs: 'none' }] }, { childProposals: PFS });
    equal(branch.of('ike-down')[0]?.reason, 'the peer refuses the child SA: NO_PROPOSAL_CHOSEN');
    equal(controller.of('ike-down')[0]?.reason, 'the peer deleted the IKE SA');
  });

  it('is ended by the responder when no child comes', () => {
    const { world, branch, controller } = classicPair({ branch: { childless: true } });
    world.fate = ({ from, send }) => (from === branch && send.bytes[18] === 36 ? [] : [10]);
    world.initiate(branch, controller, 'to-controller');
    world.run(15_000);
    equal(controller.of('ike-down')[0]?.reason, 'no child SA is left');
  });
});
