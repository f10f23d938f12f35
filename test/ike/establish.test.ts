import { deepStrictEqual, equal, notEqual, ok } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { ANY_IPV4 } from '../../firmware/wire/ike/selector.ts';
import { classicPair, pair, pskProfile, UNIX_MS } from './pair.ts';

describe('ike: establishing with a pre-shared key', () => {
  it('brings up one IKE SA and one child with mirrored keys', () => {
    const { world, branch, controller } = classicPair();
    // IKE_SA_INIT { SA, KE, Ni, N } -->   <-- { SA, KE, Nr, N }
    // IKE_AUTH { IDi, IDr, AUTH, SA, TSi, TSr } -->   <-- { IDr, AUTH, SA, TSi, TSr }
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const [up] = branch.of('ike-up');
    const [answered] = controller.of('ike-up');
    ok(up !== undefined && answered !== undefined, world.story() + JSON.stringify(branch.of('log').concat(controller.of('log'))));
    equal(up.role, 'initiator');
    equal(answered.remoteIdentity.value, 'b1@acme.example');
    equal(up.spis, answered.spis);
    const [mine] = branch.of('child-up');
    const [theirs] = controller.of('child-up');
    deepStrictEqual({ ...mine!.outbound, id: 0 }, { ...theirs!.inbound, id: 0 });
    deepStrictEqual({ ...mine!.inbound, id: 0 }, { ...theirs!.outbound, id: 0 });
    notEqual(mine!.inbound.spi, mine!.outbound.spi);
    equal(mine!.inbound.spi >>> 24, 2);
    equal(mine!.natt, false);
    equal(world.packets.length, 4);
    equal(branch.endpoint.snapshot().ikeSas[0]!.state, 'established');
  });

  for (const [suite, group] of [['aes-128-gcm-16', 19], ['chacha20-poly1305', 20], ['aes-256-gcm-16', 14]] as const) {
    it(`negotiates ${suite} with group ${group}`, () => {
      const proposals = [{ encryption: [suite], prf: ['sha512' as const], groups: [group] }];
      const childProposals = [{ encryption: [suite], esn: [false], groups: [], pfs: 'none' as const }];
      const { world, branch, controller } = pair({ branch: { proposals, childProposals } });
      world.initiate(branch, controller, 'to-controller');
      world.run(100);
      equal(branch.of('ike-up')[0]?.suite, `${suite}/prf-sha512/group-${group}`);
      const [child] = controller.of('child-up');
      equal(child!.inbound.suite, suite);
      equal(child!.inbound.esn, false);
      equal(child!.inbound.hardPackets, 2 ** 32 - 1);
    });
  }

  it('hands out an overlay address, Director and the observed endpoint, and learns serial and tenant', () => {
    const { world, branch, controller } = pair({
      branch: { requestConfiguration: true, deviceSerial: 'SN-0001', tenant: 7 },
      controllerOptions: {
        authorize: (request) => {
          deepStrictEqual([request.wantsAddress, request.serial, request.tenant, request.identity.value], [true, 'SN-0001', 7, 'b1@acme.example']);
          return { ok: true, assignedAddress: '10.0.0.9', directorAddresses: ['10.9.9.1', '2001:db8::1'], observed: true };
        },
      },
    });
    // IKE_AUTH { IDi, IDr, AUTH, N(DEVICE_SERIAL), N(TENANT), CP(REQUEST), SA, TSi, TSr } -->
    //   <-- { IDr, AUTH, N(TENANT), N(OBSERVED_ENDPOINT), CP(REPLY), SA, TSi, TSr }
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const [up] = branch.of('ike-up');
    equal(up!.assigned, '10.0.0.9');
    deepStrictEqual(up!.directorAddresses, ['10.9.9.1', '2001:db8::1']);
    deepStrictEqual(up!.observed, { address: '192.0.2.1', port: 500 });
    const [answered] = controller.of('ike-up');
    deepStrictEqual([answered!.serial, answered!.peerTenant, answered!.assigned], ['SN-0001', 7, '10.0.0.9']);
  });

  it('assigns IPv6 overlay addresses', () => {
    const { world, branch, controller } = pair({ branch: { requestConfiguration: true }, controllerOptions: { authorize: () => ({ ok: true, assignedAddress: '2001:db8:1::9' }) } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(branch.of('ike-up')[0]?.assigned, '2001:db8:1::9');
  });

  it('fails with words when the peer has no address to assign', () => {
    const { world, branch, controller } = pair({ branch: { requestConfiguration: true } });
    world.initiate(branch, controller, 'to-controller');
    world.run(200);
    equal(branch.of('connect-failed')[0]?.cause, 'the peer did not assign an overlay address');
    equal(branch.of('ike-up').length, 0);
    equal(controller.of('ike-down').length, 1);
    equal(controller.of('child-up').length, 0);
  });

  it('agrees on VXLAN encapsulation when both ends want the same VNI', () => {
    const vxlan = { vni: 0x112 };
    const { world, branch, controller } = pair({ branch: { vxlan }, controller: { vxlan } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(branch.of('child-up')[0]?.vxlanVni, 0x112);
    equal(controller.of('child-up')[0]?.vxlanVni, 0x112);
  });

  it('gives an initiator without VXLAN ordinary ESP', () => {
    const { world, branch, controller } = pair({ controller: { vxlan: { vni: 5 } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(controller.of('child-up')[0]?.vxlanVni, undefined);
  });

  it('refuses a child without the VXLAN encapsulation it asked for', () => {
    const { world, branch, controller } = pair({ branch: { vxlan: { vni: 5 } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(200);
    equal(branch.of('connect-failed')[0]?.cause, 'the peer did not agree to VXLAN encapsulation with VNI 5');
    equal(branch.of('child-up').length, 0);
    equal(controller.of('child-down').length, 1);
  });

  it('names a VNI mismatch on both ends', () => {
    const { world, branch, controller } = pair({ branch: { vxlan: { vni: 5 } }, controller: { vxlan: { vni: 6 } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(200);
    equal(branch.of('connect-failed')[0]?.cause, 'the peer refuses the child SA: the peer wants VNI 5, configured is 6');
    equal(controller.logged('child SA refused')[0]?.['cause'], 'the peer wants VNI 5, configured is 6');
  });

  it('narrows traffic selectors to what both ends allow', () => {
    const site = { ...ANY_IPV4, startAddress: '10.1.0.0', endAddress: '10.1.255.255' };
    const { world, branch, controller } = pair({ controller: { trafficSelectors: { local: [ANY_IPV4], remote: [site] } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    deepStrictEqual(branch.of('child-up')[0]?.localSelectors, [site]);
    deepStrictEqual(branch.of('child-up')[0]?.remoteSelectors, [ANY_IPV4]);
    deepStrictEqual(controller.of('child-up')[0]?.remoteSelectors, [site]);
  });

  it('leaves an attempt that began at an address that is ours no longer, and connects from the new one at once', () => {
    const { world, branch, controller } = pair();
    const { route } = world;
    world.route = (to) => (to.address === branch.address ? undefined : (route(to) ?? { node: branch, local: to }));
    world.initiate(branch, controller, 'to-controller');
    world.run(1_000);
    world.input(branch, { kind: 'initiate', profile: 'to-controller', socket: 'wan', nattSocket: 'natt', local: { address: '203.0.113.77', port: 500 }, remote: { address: controller.address, port: 500 } });
    world.run(1_000);
    equal(branch.of('ike-up').length, 1, world.story());
    deepStrictEqual(branch.of('connect-failed'), []);
    equal(branch.endpoint.snapshot().ikeSas.length, 1);
  });

  it('does not connect the same profile twice to one peer', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, controller, 'to-controller');
    world.initiate(branch, controller, 'to-controller');
    equal(branch.of('connect-failed')[0]?.cause, 'the profile is already connecting or connected to this peer');
    world.run(100);
    equal(branch.of('ike-up').length, 1);
  });

  it('says that a profile does not exist', () => {
    const { world, branch, controller } = classicPair();
    world.initiate(branch, controller, 'nobody');
    equal(branch.of('connect-failed')[0]?.cause, 'there is no profile of this name');
  });

  it('drops the former IKE SA of a peer that starts anew', () => {
    const { world, branch, controller } = classicPair();
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const again = world.add('branch-rebooted', '192.0.2.3', { profiles: [pskProfile('to-controller', 'b1@acme.example', 'c1@acme.example')] });
    // IKE_AUTH { ..., N(INITIAL_CONTACT) } -->
    world.initiate(again, controller, 'to-controller');
    world.run(100);
    equal(again.of('ike-up').length, 1);
    equal(controller.of('ike-down')[0]?.reason, 'the peer started anew (INITIAL_CONTACT)');
    equal(controller.endpoint.snapshot().ikeSas.filter((sa) => sa.state === 'established').length, 1);
  });

  it('keeps two circuits of one branch up side by side', () => {
    const profiles: IkeProfile[] = ['one', 'two'].map((name) => pskProfile(name, 'b1@acme.example', 'c1@acme.example'));
    const { world, controller } = classicPair();
    const branch = world.add('two-circuits', '192.0.2.9', { profiles });
    world.initiate(branch, controller, 'one');
    world.run(100);
    world.initiate(branch, controller, 'two');
    world.run(100);
    equal(branch.of('ike-up').length, 2);
    equal(controller.of('ike-down').length, 0);
  });

  it('does not let a late INITIAL_CONTACT end a circuit that began after it', () => {
    const profiles: IkeProfile[] = ['one', 'two'].map((name) => pskProfile(name, 'b1@acme.example', 'c1@acme.example'));
    const { world, controller } = classicPair();
    const branch = world.add('two-circuits', '192.0.2.9', { profiles });
    // The first IKE_AUTH, which carries INITIAL_CONTACT, is lost and comes again when the second circuit is up.
    world.fate = (packet) => (packet.send.bytes[18] === 35 && packet.from === branch && world.packets.filter((earlier) => earlier.send.bytes[18] === 35).length === 1 ? [] : [10]);
    world.initiate(branch, controller, 'one');
    world.run(5);
    world.initiate(branch, controller, 'two');
    world.run(5000);
    equal(branch.of('ike-up').length, 2, world.story());
    equal(controller.of('ike-down').length, 0);
  });

  it('writes history with time, peer, SPIs and NAT', () => {
    const { world, branch, controller } = classicPair();
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const entries = controller.of('history').map(({ entry }) => entry);
    deepStrictEqual(entries.map((entry) => entry.event), ['IKE Done', 'Child Done']);
    deepStrictEqual({ ...entries[0], spis: '' }, { unixMs: UNIX_MS + 30, event: 'IKE Done', profile: 'branches', tenant: 2, role: 'responder', peer: 'b1@acme.example', remote: '192.0.2.1:500', spis: '', nat: false, cause: '' });
  });
});
