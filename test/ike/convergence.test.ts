// Whatever both ends do, and whatever is lost on the way: when it is over, there is one IKE SA and one child, and both
// ends mean the same ones. Meanwhile packets go both ways through the tunnels that the product would make of the children.
import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { EspTraffic } from './esp-traffic.ts';
import type { Node } from './pair.ts';
import { classicPair, LATENCY_MS, pair } from './pair.ts';

/** By hand for longer: CONVERGENCE_SEEDS=1000 npm test -- test/ike/convergence.test.ts. */
const SEEDS = Number(process.env['CONVERGENCE_SEEDS'] ?? 40);
const STEPS = 12;
const LONGEST_STEP_MS = 20_000;
const RECONNECT_MS = 1_000;
/** Longer than it takes to miss a dead peer and to connect anew. */
const SETTLE_MS = 300_000;

/** Returns how many packets were opened. */
function converge(seed: number): number {
  const { world, branch, controller } = (seed % 2 === 0 ? pair : classicPair)({ seed, branch: { dpdMs: 10_000 }, controller: { dpdMs: 10_000 } });
  const dice = world.random.fork('schedule');
  const below = (limit: number): number => dice.uint32() % limit;
  let address = branch.address;
  world.route = (destination) => {
    const node = destination.address === controller.address ? controller : destination.address === address ? branch : undefined;
    return node === undefined ? undefined : { node, local: destination };
  };
  const connect = (): void => {
    world.input(branch, { kind: 'initiate', profile: 'to-controller', socket: 'wan', nattSocket: 'natt', local: { address, port: 500 }, remote: { address: controller.address, port: 500 } });
  };
  let lossPercent = below(30);
  const traffic = new EspTraffic(world, branch, controller, {
    /** A box that has moved is at its former address no more. */
    reaches: (destination) => destination.address === address || destination.address === controller.address,
    delayMs: () => (below(100) < lossPercent ? undefined : LATENCY_MS + below(400)),
    pauseMs: () => 1 + below(400),
  });
  const run = (ms: number): void => {
    for (let left = ms; left > 0; left -= RECONNECT_MS) {
      traffic.run(Math.min(left, RECONNECT_MS));
      // As the service does: a connection that is gone is wanted again.
      if (branch.endpoint.snapshot().ikeSas.every((sa) => sa.state === 'deleting' || sa.state === 'rekeyed')) connect();
    }
  };
  const live = (node: Node): number | undefined => node.endpoint.snapshot().ikeSas.find((sa) => sa.state === 'established')?.ikeSa;
  const act = (node: Node, what: number): void => {
    const ikeSa = live(node);
    if (ikeSa === undefined) return;
    if (what < 3) world.input(node, { kind: 'rekey-ike', ikeSa });
    else if (what < 6) for (const { child } of node.endpoint.snapshot().ikeSas.flatMap((sa) => sa.children)) world.input(node, { kind: 'rekey-child', child });
    else if (what < 7) world.input(node, { kind: 'terminate', ikeSa, reason: 'the schedule says so' });
    else {
      address = `203.0.113.${1 + below(250)}`;
      const own = live(branch);
      if (own !== undefined) world.input(branch, { kind: 'move', ikeSa: own, socket: 'wan', nattSocket: 'natt', local: { address, port: 500 } });
    }
  };
  connect();
  world.fate = () => (below(100) < lossPercent ? [] : [LATENCY_MS + below(400), ...(below(10) === 0 ? [LATENCY_MS + below(900)] : [])]);
  for (let step = 0; step < STEPS; step++) {
    run(below(LONGEST_STEP_MS));
    act(below(2) === 0 ? branch : controller, below(9));
    if (below(3) === 0) act(below(2) === 0 ? branch : controller, below(9));
  }
  world.fate = () => [LATENCY_MS];
  lossPercent = 0;
  run(SETTLE_MS);
  const seen = (node: Node): { spis: string[]; children: string[] } => {
    const sas = node.endpoint.snapshot().ikeSas;
    const turn = (spis: string): string => (node === branch ? spis : spis.split('/').toReversed().join('/'));
    return { spis: sas.map((sa) => sa.spis), children: sas.flatMap((sa) => sa.children.map((child) => turn(child.spis))) };
  };
  deepStrictEqual(seen(branch), seen(controller), `seed ${seed}\n${world.story()}`);
  deepStrictEqual([seen(branch).spis.length, seen(branch).children.length], [1, 1], `seed ${seed}\n${world.story()}`);
  for (const node of [branch, controller]) equal(node.of('child-up').length - node.of('child-down').length, 1, `seed ${seed}`);
  deepStrictEqual(traffic.lost, [], `seed ${seed}\n${world.story()}`);
  return traffic.opened;
}

describe('ike: convergence', function () {
  this.timeout(60_000 + 1_000 * SEEDS);

  it('random schedules of rekey, delete, loss and address change on both sides always converge to exactly one live IKE SA and one live child SA each way, with no packet lost that the network did not lose', () => {
    for (let seed = 1; seed <= SEEDS; seed++) ok(converge(seed) > 500);
  });
});
