// Whatever an operator's week can bring, in the order of the seed: reboots, outages of circuits, partitions, restarting
// NAT boxes, bad links and ordered rekeys. After each, the network must come back to what the model says.
import { randomBelow } from '../../platform/random.ts';
import { GOOD_LINK } from './netem.ts';
import type { Scenario } from './scenario.ts';
import { ORGANIZATIONS, SdwanModel } from './sdwan-model.ts';
import type { World } from './world.ts';

const ROUNDS = 12;
const CONNECT_MS = 400_000;

interface Action {
  readonly name: string;
  /** Changes the network, waits, and changes it back where that belongs to it. */
  run(world: World, network: SdwanModel, branch: string, other: string): Promise<void>;
}

const ACTIONS: readonly Action[] = [
  {
    name: 'reboot',
    async run(world, network, branch) {
      world.node(branch).powerOff();
      await world.runFor(5_000);
      world.node(branch).powerOn();
      await network.sdwan.boot(branch);
    },
  },
  {
    name: 'long power cut',
    async run(world, network, branch) {
      world.node(branch).powerOff();
      await world.runFor(200_000);
      world.node(branch).powerOn();
      await network.sdwan.boot(branch);
    },
  },
  {
    name: 'circuit outage',
    async run(world, _network, branch) {
      world.node(branch).setQuality('eth0', { up: false });
      await world.runFor(40_000);
      world.node(branch).setQuality('eth0', { up: true });
    },
  },
  {
    name: 'partition',
    async run(world, network, branch, other) {
      const [a, b] = [network.outsideOf(branch), network.outsideOf(other)];
      world.internet.partition(a, b);
      await world.runFor(60_000);
      world.internet.heal(a, b);
    },
  },
  {
    name: 'NAT restart',
    async run(world, network) {
      for (const nat of network.nats) nat.forgetMappings();
      await world.runFor(1_000);
    },
  },
  {
    name: 'bad links',
    async run(world, network) {
      for (const name of network.sdwan.branches) world.node(name).setQuality('eth0', { loss: 0.2, reorder: 0.1, duplicate: 0.1, jitterMs: 30 });
      await world.runFor(60_000);
      for (const name of network.sdwan.branches) world.node(name).setQuality('eth0', GOOD_LINK);
    },
  },
  {
    name: 'ordered rekey',
    async run(world, network) {
      for (const i of ORGANIZATIONS.keys()) network.sdwan.controller('c2').orderRekey(i + 2, { reason: 5, spreadSeconds: 3, deadlineSeconds: 60 });
      await world.runFor(15_000);
    },
  },
  {
    name: 'Controller reboot',
    async run(world, network) {
      world.node('c1').powerOff();
      await world.runFor(20_000);
      world.node('c1').powerOn();
      await network.sdwan.boot('c1');
    },
  },
];

export const CHAOS_SCENARIO: Scenario = {
  name: 'chaos',
  about: `${ROUNDS} misfortunes in the order of the seed, each followed by a comparison with the model`,
  async run(world, { nodes }) {
    const network = new SdwanModel(world, nodes);
    const random = world.random.fork('chaos');
    const { sdwan } = network;
    await sdwan.start();
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'a connection of every branch');
    const broken = [...(await network.compare('after onboarding'))];
    for (let round = 1; round <= ROUNDS && broken.length === 0; round++) {
      const action = ACTIONS[randomBelow(random, ACTIONS.length)]!;
      const [branch, other] = [0, 1].map(() => sdwan.branches[randomBelow(random, sdwan.branches.length)]!) as [string, string];
      const what = `after round ${round}, ${action.name} (${branch}, ${other})`;
      world.flow.note(world.now, branch, what);
      await action.run(world, network, branch, other);
      await world.settle(() => sdwan.isConnected(), CONNECT_MS, `a connection of every branch ${what}`);
      broken.push(...(await network.compare(what)));
    }
    return broken;
  },
};
