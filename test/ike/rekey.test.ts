import { deepStrictEqual, equal, notDeepStrictEqual, notEqual, ok } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import type { Retransmission } from '../../firmware/ike/window.ts';
import { DEFAULT_RETRANSMISSION } from '../../firmware/ike/window.ts';
import type { Node, World } from './pair.ts';
import { CLASSIC, LATENCY_MS, pair } from './pair.ts';

/** Under heavy loss the usual number of sendings may well not be enough. */
const PATIENT: Retransmission = { ...DEFAULT_RETRANSMISSION, longestMs: 4000, tries: 30 };

function up(extra: Partial<IkeProfile> = {}, seed = 1, retransmission = DEFAULT_RETRANSMISSION): ReturnType<typeof pair> {
  const made = pair({ branch: extra, controller: extra, seed, both: { retransmission } });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(1000);
  return made;
}

function children(node: Node): number[] {
  return node.endpoint.snapshot().ikeSas.flatMap((sa) => sa.children.map((child) => child.child));
}

/** Both ends hold the same children, as mirror images. */
function assertMirrored(world: World, a: Node, b: Node, count: number): void {
  const spis = (node: Node): string[] => node.endpoint.snapshot().ikeSas.flatMap((sa) => sa.children.map((child) => child.spis));
  const turned = spis(b).map((pairOfSpis) => pairOfSpis.split('/').reverse().join('/'));
  deepStrictEqual(spis(a).toSorted(), turned.toSorted(), world.story());
  equal(spis(a).length, count, world.story());
  for (const node of [a, b]) {
    equal(node.endpoint.snapshot().ikeSas.filter((sa) => sa.state === 'established').length, 1, `${node.name}\n${world.story()}`);
    equal(node.of('ike-down').length, 0);
    equal(node.of('child-up').length - node.of('child-down').length, count);
  }
}

const PFS: readonly (readonly ['none' | 'optional' | 'required', string])[] = [
  ['none', 'aes-256-gcm-16/esn'],
  ['optional', 'aes-256-gcm-16/esn/group-19'],
  ['required', 'aes-256-gcm-16/esn/group-19'],
];

describe('ike: rekey of a child', () => {
  for (const [pfs, suite] of PFS) {
    it(`replaces the child and deletes the old one (PFS ${pfs})`, () => {
      const { world, branch, controller } = up({ childProposals: [{ encryption: ['aes-256-gcm-16'], esn: [true], groups: [19], pfs }] });
      const [first] = branch.of('child-up');
      // CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, [KE], TSi, TSr } -->   <-- { SA, Nr, [KE], TSi, TSr }
      // INFORMATIONAL { D } -->   <-- { D }
      world.input(branch, { kind: 'rekey-child', child: first!.child });
      world.run(1000);
      const [, second] = branch.of('child-up');
      const [, theirs] = controller.of('child-up');
      equal(second!.replaces, first!.child);
      equal(second!.initiator, true);
      equal(theirs!.initiator, false);
      equal(theirs!.replaces, controller.of('child-up')[0]!.child);
      deepStrictEqual(second!.inbound.key, theirs!.outbound.key);
      notDeepStrictEqual(second!.inbound.key, first!.inbound.key);
      equal(branch.of('child-down')[0]?.child, first!.child);
      equal(branch.endpoint.snapshot().ikeSas[0]!.children[0]!.suite, suite);
      assertMirrored(world, branch, controller, 1);
    });
  }

  it('refuses a rekey without Diffie-Hellman where PFS is required, and keeps the old child', () => {
    const none = { encryption: ['aes-256-gcm-16' as const], esn: [true], groups: [19 as const], pfs: 'none' as const };
    const { world, branch, controller } = pair({ branch: { childProposals: [none] }, controller: { childProposals: [{ ...none, pfs: 'required' }] } });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    world.input(branch, { kind: 'rekey-child', child: children(branch)[0]! });
    world.run(1000);
    equal(branch.logged('IKE request failed at the peer')[0]?.['answer'], 'NO_PROPOSAL_CHOSEN');
    equal(branch.logged('rekey postponed').length, 1);
    assertMirrored(world, branch, controller, 1);
  });

  it('retries with the group that the peer wants', () => {
    const base = { encryption: ['aes-256-gcm-16' as const], esn: [true], pfs: 'required' as const };
    const { world, branch, controller } = pair({ branch: { childProposals: [{ ...base, groups: [31, 20] }] }, controller: { childProposals: [{ ...base, groups: [20] }] } });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    world.input(branch, { kind: 'rekey-child', child: children(branch)[0]! });
    world.run(1000);
    equal(branch.endpoint.snapshot().ikeSas[0]!.children[0]!.suite, 'aes-256-gcm-16/esn/group-20');
    assertMirrored(world, branch, controller, 1);
  });

  it('keeps ordinary ESP with a peer that did not ask for VXLAN, and VXLAN with one that did', () => {
    for (const vni of [undefined, 77]) {
      const { world, branch, controller } = pair({ branch: vni === undefined ? {} : { vxlan: { vni } }, controller: { vxlan: { vni: 77 } } });
      world.initiate(branch, controller, 'to-controller');
      world.run(1000);
      world.input(controller, { kind: 'rekey-child', child: children(controller)[0]! });
      world.run(1000);
      assertMirrored(world, branch, controller, 1);
      deepStrictEqual(branch.of('child-up').concat(controller.of('child-up')).map((output) => output.vxlanVni), [vni, vni, vni, vni]);
    }
  });

  it('happens by itself between 60 and 70 % of the lifetime', () => {
    const { world, branch, controller } = up({ childLifetimeMs: 1_000_000, dpdMs: 0 });
    world.run(598_000);
    equal(branch.of('child-up').length + controller.of('child-up').length, 2);
    world.run(102_000);
    ok(branch.of('child-up').length >= 2, world.story());
    assertMirrored(world, branch, controller, 1);
  });

  it('ends the old child at its hard lifetime when the peer never lets it be rekeyed', () => {
    const none = { encryption: ['aes-256-gcm-16' as const], esn: [true], groups: [19 as const], pfs: 'none' as const };
    const { world, branch, controller } = pair({ branch: { childProposals: [none], childLifetimeMs: 100_000 }, controller: { childProposals: [{ ...none, pfs: 'required' }] } });
    world.initiate(branch, controller, 'to-controller');
    world.run(120_000);
    equal(branch.of('child-down')[0]?.reason, 'its lifetime ended');
    const reasons = [branch, controller].map((node) => node.of('ike-down')[0]?.reason);
    deepStrictEqual(reasons.toSorted(), ['no child SA is left', 'the peer deleted the IKE SA']);
  });

  for (let seed = 1; seed <= 8; seed++) {
    it(`keeps the child of the higher nonces when both ends rekey at once (seed ${seed})`, () => {
      const { world, branch, controller } = up({}, seed);
      // { N(REKEY_SA), ... } -->  <-- { N(REKEY_SA), ... }  crossing each other
      world.input(branch, { kind: 'rekey-child', child: children(branch)[0]! });
      world.input(controller, { kind: 'rekey-child', child: children(controller)[0]! });
      world.run(5000);
      equal(branch.logged('rekey collided with the peer').length + controller.logged('rekey collided with the peer').length, 2);
      assertMirrored(world, branch, controller, 1);
    });
  }

  for (let seed = 1; seed <= 30; seed++) {
    it(`settles a collision under loss and delay (seed ${seed})`, () => {
      const { world, branch, controller } = up({}, seed, PATIENT);
      const dice = world.random.fork('dice');
      world.fate = () => (dice.uint32() % 4 === 0 ? [] : [LATENCY_MS + (dice.uint32() % 1500)]);
      world.input(branch, { kind: 'rekey-child', child: children(branch)[0]! });
      world.run(dice.uint32() % 300);
      const [mine] = children(controller);
      if (mine !== undefined) world.input(controller, { kind: 'rekey-child', child: mine });
      world.run(40_000);
      world.fate = () => [LATENCY_MS];
      world.run(60_000);
      assertMirrored(world, branch, controller, 1);
    });
  }
});

describe('ike: rekeys that collide, without additional key exchanges', () => {
  for (let seed = 1; seed <= 4; seed++) {
    for (const what of ['rekey-child', 'rekey-ike'] as const) {
      it(`${what} at both ends at once (seed ${seed})`, () => {
        const { world, branch, controller } = up(CLASSIC, seed);
        for (const node of [branch, controller]) world.input(node, what === 'rekey-child' ? { kind: what, child: children(node)[0]! } : { kind: what, ikeSa: node.of('ike-up')[0]!.ikeSa });
        world.run(100_000);
        assertMirrored(world, branch, controller, 1);
        for (const node of [branch, controller]) equal(node.logged('rekey collided with the peer').length, 1);
      });
    }
  }
});

describe('ike: rekey of the IKE SA', () => {
  it('goes on under new SPIs and keys, with its children and its number', () => {
    const { world, branch, controller } = up();
    const [before] = branch.endpoint.snapshot().ikeSas;
    // CREATE_CHILD_SA { SA, Ni, KE } -->   <-- { SA, Nr, KE }   INFORMATIONAL { D(IKE) } -->   <-- { }
    world.input(branch, { kind: 'rekey-ike', ikeSa: before!.ikeSa });
    world.run(1000);
    const [after] = branch.endpoint.snapshot().ikeSas.filter((sa) => sa.state === 'established');
    notEqual(after!.spis, before!.spis);
    equal(after!.ikeSa, before!.ikeSa);
    deepStrictEqual(after!.children, before!.children);
    equal(branch.of('ike-rekeyed')[0]?.spis, after!.spis);
    equal(controller.of('ike-rekeyed')[0]?.spis, after!.spis);
    const story = (node: Node): unknown[] =>
      node.of('history').flatMap(({ entry }) => (/^IKE (Rekeyed|Replaced)$/.test(entry.event) ? [[entry.spis, entry.cause, entry.replaces, entry.replacedBy]] : []));
    deepStrictEqual(story(branch), [[after!.spis, 'ordered on this box', before!.spis, undefined], [before!.spis, 'ordered on this box', undefined, after!.spis]]);
    deepStrictEqual(story(controller), [[after!.spis, 'the peer rekeyed it', before!.spis, undefined], [before!.spis, 'the peer rekeyed it', undefined, after!.spis]]);
    assertMirrored(world, branch, controller, 1);
    // The new SA works in both directions.
    world.input(controller, { kind: 'rekey-child', child: children(controller)[0]! });
    world.run(1000);
    assertMirrored(world, branch, controller, 1);
    world.run(120_000);
    equal(branch.endpoint.snapshot().ikeSas.length, 1);
    equal(controller.endpoint.snapshot().ikeSas.length, 1);
  });

  it('can be begun by the original responder, again and again', () => {
    const { world, branch, controller } = up();
    for (let i = 0; i < 4; i++) {
      const node = i % 2 === 0 ? controller : branch;
      world.input(node, { kind: 'rekey-ike', ikeSa: node.of('ike-up')[0]!.ikeSa });
      world.run(1000);
      assertMirrored(world, branch, controller, 1);
    }
    equal(branch.of('ike-rekeyed').length, 4);
  });

  it('leaves the connection that of its initiator, whoever rekeys', () => {
    const { world, branch, controller } = up();
    world.input(controller, { kind: 'rekey-ike', ikeSa: controller.of('ike-up')[0]!.ikeSa });
    world.run(1000);
    deepStrictEqual([branch, controller].map((node) => node.endpoint.snapshot().ikeSas.find((sa) => sa.state === 'established')!.role), ['initiator', 'responder']);
    world.initiate(branch, controller, 'to-controller');
    equal(branch.of('connect-failed')[0]?.cause, 'the profile is already connecting or connected to this peer');
  });

  it('happens by itself before the lifetime ends', () => {
    const { world, branch, controller } = up({ ikeLifetimeMs: 600_000, childLifetimeMs: 100_000_000 });
    world.run(430_000);
    ok(branch.of('ike-rekeyed').length > 0);
    world.run(2_000_000);
    assertMirrored(world, branch, controller, 1);
  });

  for (let seed = 1; seed <= 8; seed++) {
    it(`keeps one IKE SA when both ends rekey at once (seed ${seed})`, () => {
      const { world, branch, controller } = up({}, seed);
      world.input(branch, { kind: 'rekey-ike', ikeSa: branch.of('ike-up')[0]!.ikeSa });
      world.input(controller, { kind: 'rekey-ike', ikeSa: controller.of('ike-up')[0]!.ikeSa });
      world.run(100_000);
      assertMirrored(world, branch, controller, 1);
      equal(branch.endpoint.snapshot().ikeSas.length, 1, world.story());
      equal(controller.endpoint.snapshot().ikeSas.length, 1);
      equal(branch.endpoint.snapshot().ikeSas[0]!.spis, controller.endpoint.snapshot().ikeSas[0]!.spis);
    });
  }

  it('postpones a child rekey that meets an IKE rekey, and does it later', () => {
    const { world, branch, controller } = up();
    // { N(REKEY_SA), ... } -->  <-- { SA(IKE), ... }   both: { N(TEMPORARY_FAILURE) }
    world.input(branch, { kind: 'rekey-child', child: children(branch)[0]! });
    world.input(controller, { kind: 'rekey-ike', ikeSa: controller.of('ike-up')[0]!.ikeSa });
    world.run(1000);
    equal(branch.logged('rekey postponed').length, 1, world.story());
    equal(controller.logged('rekey postponed').length, 1);
    world.run(40_000);
    equal(branch.of('ike-rekeyed').length > 0 && branch.of('child-up').length > 1, true);
    assertMirrored(world, branch, controller, 1);
  });

  for (let seed = 1; seed <= 40; seed++) {
    it(`settles any mixture of rekeys under loss and delay (seed ${seed})`, () => {
      const { world, branch, controller } = up({}, seed, PATIENT);
      const dice = world.random.fork('dice');
      world.fate = () => (dice.uint32() % 5 === 0 ? [] : [LATENCY_MS + (dice.uint32() % 800)]);
      for (let i = 0; i < 6; i++) {
        const node = dice.uint32() % 2 === 0 ? branch : controller;
        const [child] = children(node);
        if (dice.uint32() % 2 === 0) world.input(node, { kind: 'rekey-ike', ikeSa: node.of('ike-up')[0]!.ikeSa });
        else if (child !== undefined) world.input(node, { kind: 'rekey-child', child });
        world.run(dice.uint32() % 1000);
      }
      world.run(60_000);
      world.fate = () => [LATENCY_MS];
      world.run(120_000);
      assertMirrored(world, branch, controller, 1);
      equal(branch.endpoint.snapshot().ikeSas.length, 1, world.story());
      equal(controller.endpoint.snapshot().ikeSas.length, 1);
    });
  }

  for (let seed = 1; seed <= 24; seed++) {
    it(`ends the successor too when the connection is ended while it is being made (seed ${seed})`, () => {
      const { world, branch, controller } = up({}, seed, PATIENT);
      const dice = world.random.fork('dice');
      if (seed > 4) world.fate = () => (dice.uint32() % 4 === 0 ? [] : [LATENCY_MS + (dice.uint32() % 400)]);
      // CREATE_CHILD_SA { SA(IKE), Ni, KE } -->   <-- { SA, Nr, KE }   INFORMATIONAL { D(IKE) } --> on the old SA and on the new one
      const [ikeSa, theirs] = [branch, controller].map((node) => node.of('ike-up')[0]!.ikeSa);
      world.input(branch, { kind: 'rekey-ike', ikeSa: ikeSa! });
      if (seed % 2 === 0) world.input(controller, { kind: 'rekey-ike', ikeSa: theirs! });
      world.run(seed % 4 < 2 ? 0 : dice.uint32() % 600);
      world.input(branch, { kind: 'terminate', ikeSa: ikeSa!, reason: 'the operator asked' });
      world.run(40_000);
      world.fate = () => [LATENCY_MS];
      world.run(150_000);
      for (const node of [branch, controller]) {
        deepStrictEqual(node.endpoint.snapshot().ikeSas, [], world.story());
        equal(node.of('ike-down').length, 1);
        equal(node.of('child-up').length, node.of('child-down').length);
      }
    });
  }
});
