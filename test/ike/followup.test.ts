import { deepStrictEqual, equal, match, notDeepStrictEqual, ok } from 'node:assert/strict';
import { CLASSIC_IKE_PROPOSAL, DEFAULT_CHILD_PROPOSAL, DEFAULT_CHILD_PROPOSALS, DEFAULT_IKE_PROPOSALS } from '../../firmware/ike/algorithms.ts';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { decodeMessage } from '../../firmware/wire/ike/message.ts';
import { ExchangeType } from '../../firmware/wire/ike/numbers.ts';
import { FakeSuite } from '../../platform/crypto-fake.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { Node, Packet, World } from './pair.ts';
import { CLASSIC, LATENCY_MS, pair } from './pair.ts';

const HYBRID_SUITE = 'aes-256-gcm-16/prf-sha384/group-31/ml-kem-768';
const CLASSIC_SUITE = 'aes-256-gcm-16/prf-sha384/group-31';
const CHILD_SUITE = 'aes-256-gcm-16/esn/group-31/ml-kem-768';

function up(options: Parameters<typeof pair>[0] = {}): ReturnType<typeof pair> {
  const made = pair(options);
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(1000);
  equal(made.branch.of('ike-up').length, 1, made.world.story());
  return made;
}

function exchangesSince(world: World, from: number): string[] {
  return [...new Set(world.packets.slice(from).map(({ send }) => decodeMessage(send.bytes).header).map(({ exchange, response, messageId }) => `${exchange} ${response ? 'response' : 'request'} ${messageId}`))];
}

function exchangeOf({ send }: Packet): number {
  return decodeMessage(send.bytes).header.exchange;
}

function rekeyIke(world: World, node: Node): void {
  world.input(node, { kind: 'rekey-ike', ikeSa: node.of('ike-up')[0]!.ikeSa });
}

function rekeyChild(world: World, node: Node): void {
  world.input(node, { kind: 'rekey-child', child: node.endpoint.snapshot().ikeSas[0]!.children[0]!.child });
}

function childSuites(node: Node): string[] {
  return node.endpoint.snapshot().ikeSas.flatMap(({ children }) => children.map(({ suite }) => suite));
}

describe('ike: additional key exchange in rekeys', () => {
  it('follows the rekey of an IKE SA, begun by either end', () => {
    for (const suite of [new RealSuite(), new FakeSuite()]) {
      const { world, branch, controller } = up({ suite });
      const before = world.packets.length;
      // CREATE_CHILD_SA { SA, Ni, KE } -->   <-- { SA, Nr, KE, N(ADDITIONAL_KEY_EXCHANGE) }
      // IKE_FOLLOWUP_KE { KE, N(ADDITIONAL_KEY_EXCHANGE) } -->   <-- { KE }   INFORMATIONAL { D } -->   <-- { }
      rekeyIke(world, branch);
      world.run(1000);
      deepStrictEqual(exchangesSince(world, before), ['36 request 3', '36 response 3', '44 request 4', '44 response 4', '37 request 5', '37 response 5']);
      rekeyIke(world, controller);
      world.run(1000);
      deepStrictEqual(branch.of('ike-rekeyed').map((entry) => entry.suite), [HYBRID_SUITE, HYBRID_SUITE]);
      deepStrictEqual(controller.of('ike-rekeyed').map((entry) => entry.spis), branch.of('ike-rekeyed').map((entry) => entry.spis));
    }
  });

  it('follows the rekey of a child, whose keys are the same at both ends and new', () => {
    const { world, branch, controller } = up();
    for (const node of [branch, controller]) {
      rekeyChild(world, node);
      world.run(1000);
      const [mine, theirs] = [branch, controller].map((end) => end.of('child-up').at(-1)!);
      deepStrictEqual(mine!.inbound.key, theirs!.outbound.key);
      deepStrictEqual(mine!.outbound.key, theirs!.inbound.key);
      notDeepStrictEqual(mine!.inbound.key, branch.of('child-up').at(-2)!.inbound.key);
      deepStrictEqual([childSuites(branch), childSuites(controller)], [[CHILD_SUITE], [CHILD_SUITE]], world.story());
    }
  });

  it('keeps the old SAs in use until it is done', () => {
    const { world, branch, controller } = up();
    world.fate = (packet) => (exchangeOf(packet) === ExchangeType.IKE_FOLLOWUP_KE ? [] : [LATENCY_MS]);
    rekeyChild(world, branch);
    world.run(500);
    for (const node of [branch, controller]) equal(node.of('child-up').length, 1);
    world.fate = () => [LATENCY_MS];
    world.run(5000);
    for (const node of [branch, controller]) deepStrictEqual([node.of('child-up').length, node.of('child-down').length], [2, 1], world.story());
  });

  const without: readonly (readonly [string, Partial<IkeProfile>, Partial<IkeProfile>])[] = [
    ['the responder does not want it', {}, { ...CLASSIC, proposals: DEFAULT_IKE_PROPOSALS }],
    ['the initiator does not want it', { ...CLASSIC, proposals: DEFAULT_IKE_PROPOSALS }, {}],
  ];
  for (const [name, branchProfile, controllerProfile] of without) {
    it(`is left out of a child's rekey when ${name}`, () => {
      const { world, branch, controller } = up({ branch: branchProfile, controller: controllerProfile });
      rekeyChild(world, branch);
      world.run(1000);
      deepStrictEqual([childSuites(branch), childSuites(controller)], [['aes-256-gcm-16/esn/group-31'], ['aes-256-gcm-16/esn/group-31']], world.story());
    });
  }

  it("is left out of an IKE SA's rekey when the peer does not want it", () => {
    const { world, branch } = up({ controller: { proposals: [CLASSIC_IKE_PROPOSAL] } });
    rekeyIke(world, branch);
    world.run(1000);
    deepStrictEqual(branch.of('ike-rekeyed').map((entry) => entry.suite), [CLASSIC_SUITE]);
  });

  it('is not left out where only proposals with it are allowed: the rekey is refused with its cause', () => {
    const { world, branch, controller } = up({ branch: { childProposals: [DEFAULT_CHILD_PROPOSAL] }, controller: { childProposals: [DEFAULT_CHILD_PROPOSALS[0]!] } });
    rekeyChild(world, branch);
    world.run(1000);
    equal(branch.of('child-up').length, 1);
    match(String(controller.logged('IKE request refused')[0]?.['cause']), /^no ESP proposal of the peer fits as a whole: .*; allowed: .*ml-kem-768$/);
  });

  it('goes on with the group that the peer wants', () => {
    const groups = (...ids: (31 | 20)[]): Partial<IkeProfile> => ({ childProposals: DEFAULT_CHILD_PROPOSALS.map((proposal) => ({ ...proposal, groups: ids })) });
    const { world, branch, controller } = up({ branch: groups(31, 20), controller: groups(20) });
    rekeyChild(world, branch);
    world.run(1000);
    deepStrictEqual([childSuites(branch), childSuites(controller)], [['aes-256-gcm-16/esn/group-20/ml-kem-768'], ['aes-256-gcm-16/esn/group-20/ml-kem-768']]);
  });

  it('is answered STATE_NOT_FOUND when it comes too late, and the rekey is done later', () => {
    for (const rekey of [rekeyIke, rekeyChild]) {
      const { world, branch, controller } = up({ both: { retransmission: { initialMs: 20_000, factor: 1, longestMs: 20_000, tries: 9, jitter: 0 } } });
      world.fate = (packet) => (exchangeOf(packet) === ExchangeType.IKE_FOLLOWUP_KE && packet.from === branch && world.now < 38_000 ? [] : [LATENCY_MS]);
      rekey(world, branch);
      world.run(45_000);
      equal(controller.logged('IKE request refused').at(-1)?.['answer'], 'STATE_NOT_FOUND', world.story());
      equal(branch.logged('IKE request failed at the peer').at(-1)?.['answer'], 'STATE_NOT_FOUND');
      world.run(30_000);
      deepStrictEqual(branch.logged('rekey postponed').map(({ cause }) => cause), ['STATE_NOT_FOUND']);
      ok(branch.of('ike-rekeyed').length === 1 || childSuites(branch).includes(CHILD_SUITE), world.story());
      for (const node of [branch, controller]) equal(node.endpoint.snapshot().ikeSas.filter(({ state }) => state === 'established').length, 1);
    }
  });

  it('leaves nothing behind when the connection ends before it is done', () => {
    const { world, branch, controller } = up();
    world.fate = (packet) => (exchangeOf(packet) === ExchangeType.IKE_FOLLOWUP_KE ? [] : [LATENCY_MS]);
    rekeyIke(world, branch);
    world.run(500);
    world.input(controller, { kind: 'terminate', ikeSa: controller.of('ike-up')[0]!.ikeSa, reason: 'the operator asked' });
    world.run(120_000);
    for (const node of [branch, controller]) {
      deepStrictEqual(node.endpoint.snapshot().ikeSas, [], world.story());
      equal(node.endpoint.deadline(), undefined);
    }
  });
});
