import { deepStrictEqual, match, ok, strictEqual } from 'node:assert/strict';
import type { KeyingPolicy } from '../../firmware/configuration.ts';
import { CHAOS_SCENARIO } from './chaos-scenario.ts';
import { HOME_NAT } from './nat.ts';
import type { NatBox } from './nat.ts';
import { GOOD_LINK } from './netem.ts';
import { Sdwan } from './sdwan.ts';
import type { PlannedSite } from './sdwan-plan.ts';
import { planSdwan } from './sdwan-plan.ts';
import type { World } from './world.ts';
import { createWorld } from './world.ts';

const CONNECT_MS = 60_000;

const CONTROLLERS: readonly PlannedSite[] = [1, 2].map((i) => ({
  name: `c${i}`,
  role: 'controller',
  circuits: [{ transport: 'INTERNET', addresses: [`192.0.2.${i}/24`, `2001:db8::${i}/64`] }],
  organizations: [],
}));

/** `nat` puts it behind a box of its own, `ipv6` gives it a second, IPv6-only circuit. */
function branch(index: number, organizations: readonly string[], kind: 'plain' | 'nat' | 'ipv6' = 'plain'): PlannedSite {
  const first = { transport: 'INTERNET', addresses: [kind === 'nat' ? '192.168.1.2/24' : `203.0.113.${index}/24`] };
  const second = { transport: 'INTERNET', addresses: [`2001:db8:b::${index}/64`] };
  return { name: `b${index}`, role: 'branch', circuits: kind === 'ipv6' ? [first, second] : [first], organizations };
}

interface Options {
  readonly seed?: number;
  readonly branches: readonly PlannedSite[];
  readonly controllers?: readonly PlannedSite[];
  readonly staged?: boolean;
  readonly keying?: Partial<KeyingPolicy>;
}

interface Network {
  readonly world: World;
  readonly sdwan: Sdwan;
  readonly nats: ReadonlyMap<string, NatBox>;
}

async function bringUp(options: Options): Promise<Network> {
  const { branches, controllers = CONTROLLERS.slice(0, 1), staged = false, keying } = options;
  const world = createWorld(options.seed ?? 1);
  const plan = planSdwan({ organizations: ['Acme', 'Globex'], sites: [...controllers, ...branches], ...(keying === undefined ? {} : { keying }) }, world.random);
  const nats = new Map<string, NatBox>();
  const behindNat = (name: string): NatBox => {
    const nat = world.addNat(`nat-${name}`, `198.51.100.${nats.size + 1}`, HOME_NAT);
    nats.set(name, nat);
    return nat;
  };
  const isNatted = (name: string): boolean => branches.some((each) => each.name === name && each.circuits[0]!.addresses[0]!.startsWith('192.168.'));
  const sdwan = new Sdwan(world, plan, { staged, wireOf: (site) => (isNatted(site.name) ? behindNat(site.name) : world.internet) });
  await sdwan.start();
  return { world, sdwan, nats };
}

async function connected({ world, sdwan }: Network): Promise<void> {
  await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'a connection of every branch');
}

function sentences(world: World, node: string, pattern: RegExp): readonly string[] {
  return world.node(node).log.records.map(({ sentence }) => sentence).filter((sentence) => pattern.test(sentence));
}

/** Where `from` would send Acme's packets for `to`: the endpoints that it has been told. */
function endpointsOf(sdwan: Sdwan, from: string, to: string): readonly string[] {
  const tunnel = sdwan.forwarder(from).state.tunnels.find((each) => each.tenant === 2 && each.peer === to);
  return tunnel?.paths.map(({ remote }) => `${remote.address} ${remote.port}`) ?? [];
}

describe('sim/sdwan', () => {
  it('takes factory-fresh branches, some behind NAT or with IPv6, to a full mesh of each organisation', async () => {
    const branches = [branch(1, ['Acme']), branch(2, ['Acme', 'Globex'], 'nat'), branch(3, ['Globex'], 'ipv6'), branch(4, ['Acme'], 'ipv6'), branch(5, ['Globex'])];
    const network = await bringUp({ branches, controllers: CONTROLLERS, staged: true });
    await connected(network);
    const { sdwan } = network;
    deepStrictEqual(sdwan.connected.map(({ serial }) => serial).sort(), ['S-b1', 'S-b2', 'S-b3', 'S-b4', 'S-b5']);
    strictEqual(sdwan.connected.find(({ serial }) => serial === 'S-b2')!.observedEndpoint.address, '198.51.100.1');
    deepStrictEqual([await sdwan.unreached('Acme'), await sdwan.unreached('Globex')], [[], []]);
  });

  it('keeps organisations apart', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme', 'Globex']), branch(2, ['Acme', 'Globex'])] });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual([await sdwan.unreached('Acme'), await sdwan.unreached('Globex')], [[], []]);
    for (const from of ['b1', 'b2']) {
      for (const to of ['b1', 'b2']) strictEqual(await world.whoAnswers(sdwan.host(from, 'Acme'), sdwan.host(to, 'Globex').addresses[0]!), undefined);
    }
  });

  it('does the same thing twice for one seed', async () => {
    const trace = async (): Promise<string> => {
      const network = await bringUp({ seed: 12, branches: [branch(1, ['Acme']), branch(2, ['Acme'], 'nat'), branch(3, ['Acme'])], staged: true });
      for (const name of ['b1', 'b3']) network.world.node(name).setQuality('eth0', { loss: 0.05, jitterMs: 4 });
      await connected(network);
      await network.sdwan.unreached('Acme');
      return network.world.traceHash();
    };
    strictEqual(await trace(), await trace());
  });

  it('connects over links that lose, double and reorder', async () => {
    const network = await bringUp({ seed: 3, branches: [branch(1, ['Acme']), branch(2, ['Acme'], 'nat'), branch(3, ['Acme'])], staged: true });
    for (const name of ['c1', 'b1', 'b2', 'b3']) network.world.node(name).setQuality('eth0', { ...GOOD_LINK, loss: 0.1, reorder: 0.05, duplicate: 0.05, jitterMs: 20 });
    await network.world.settle(() => network.sdwan.isConnected(), 180_000, 'a connection of every branch');
    deepStrictEqual(await network.sdwan.unreached('Acme', 20_000), []);
  });

  it('refuses a branch whose pre-shared key is wrong, and says which', async () => {
    const { world, sdwan } = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme'])], staged: true });
    const { sites } = sdwan.plan.directory;
    const wrong = sites.map((site) => (site.device === 'b1' ? { ...site, staging: { ...site.staging!, psk: Buffer.alloc(32, 7).toString('base64') } } : site));
    await sdwan.controller('c1').applyDirectory({ generation: 2, sites: wrong });
    await world.runFor(20_000);
    deepStrictEqual(sdwan.connected.map(({ serial }) => serial), ['S-b2']);
    ok(sdwan.failed.length > 0);
    match(sdwan.failed[0]!.identity ?? '', /S-b1@staging\.example/);
  });

  it('carries user traffic on while every Controller restarts for five minutes, and meets them again', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme'])], controllers: CONTROLLERS });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    for (const name of ['c1', 'c2']) world.node(name).powerOff();
    await world.runFor(300_000);
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    for (const name of ['c1', 'c2']) {
      world.node(name).powerOn();
      await sdwan.boot(name);
    }
    await world.runFor(1_000);
    await world.settle(() => sdwan.isConnected(), 200_000, 'the return of the Controllers');
    deepStrictEqual(await sdwan.unreached('Acme'), []);
  });

  it('loses one branch and takes it back after its reboot', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme']), branch(3, ['Acme'])] });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    world.node('b2').powerOff();
    await world.runFor(5_000);
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    world.node('b2').powerOn();
    await sdwan.boot('b2');
    await world.settle(() => sdwan.isConnected(), 200_000, 'the return of b2');
    deepStrictEqual(await sdwan.unreached('Acme', 30_000), []);
  });

  it('follows a branch whose NAT has restarted', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme'], 'nat')] });
    await connected(network);
    const { world, sdwan, nats } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    nats.get('b2')!.forgetMappings();
    await world.runFor(10_000);
    deepStrictEqual(await sdwan.unreached('Acme', 10_000), []);
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'a connection of every branch');
  });

  it('keeps sessions and keys when a WAN address changes, and its traffic goes on', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme'])] });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    const keys = sentences(world, 'b2', /^peer key accepted/).length;
    const { configuration, identity } = sdwan.site('b1');
    const circuits = configuration.circuits.map((circuit) => ({ ...circuit, addresses: ['203.0.113.77/24'] }));
    await sdwan.branch('b1').applyConfiguration({ ...configuration, generation: 2, circuits }, identity);
    deepStrictEqual(await sdwan.unreached('Acme', 4_000), []);
    await world.runFor(30_000);
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    for (const node of ['b1', 'b2', 'c1']) deepStrictEqual(sentences(world, node, /^(?:BGP session lost|IKE SA deleted|child SA deleted)/), [], node);
    strictEqual(sentences(world, 'b2', /^peer key accepted/).length, keys);
    deepStrictEqual(endpointsOf(sdwan, 'b2', 'b1'), ['203.0.113.77 4790']);
  });

  it('withdraws the route of a circuit that is gone, and publishes that of a new one', async () => {
    const second: PlannedSite = { ...branch(2, ['Acme']), circuits: [{ transport: 'INTERNET', addresses: ['203.0.113.2/24'] }, { transport: 'INTERNET', addresses: ['203.0.113.22/24'] }] };
    const network = await bringUp({ branches: [branch(1, ['Acme']), second] });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    deepStrictEqual(endpointsOf(sdwan, 'b1', 'b2'), ['203.0.113.2 4790', '203.0.113.22 4790']);
    const { configuration, identity } = sdwan.site('b2');
    await sdwan.branch('b2').applyConfiguration({ ...configuration, generation: 2, circuits: configuration.circuits.slice(1) }, identity);
    deepStrictEqual(await sdwan.unreached('Acme', 4_000), []);
    deepStrictEqual(endpointsOf(sdwan, 'b1', 'b2'), ['203.0.113.22 4790']);
    await sdwan.branch('b2').applyConfiguration({ ...configuration, generation: 3 }, identity);
    await world.runFor(10_000);
    deepStrictEqual(endpointsOf(sdwan, 'b1', 'b2'), ['203.0.113.2 4790', '203.0.113.22 4790']);
    deepStrictEqual(await sdwan.unreached('Acme'), []);
  });

  it('publishes what a Controller sees with the circuit that it sees, and no other', async () => {
    const circuits = ['192.168.1.2/24', '192.168.2.2/24'].map((address) => ({ transport: 'INTERNET', addresses: [address] }));
    const network = await bringUp({ branches: [{ ...branch(1, ['Acme'], 'nat'), circuits }, branch(2, ['Acme'])] });
    await connected(network);
    await network.world.runFor(5_000);
    deepStrictEqual(endpointsOf(network.sdwan, 'b2', 'b1').map((endpoint) => endpoint.split(' ')[0]), ['198.51.100.1', '192.168.2.2']);
  });

  it('leaves nothing of a tenant that is removed, and takes it back', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme', 'Globex']), branch(2, ['Acme', 'Globex'])] });
    await connected(network);
    const { world, sdwan } = network;
    const { configuration, identity } = sdwan.site('b1');
    const vrs = world.node('b1').host.vrs;
    const removed = sdwan.branch('b1').applyConfiguration({ ...configuration, generation: 2, tenants: configuration.tenants.filter(({ organization }) => organization !== 'Acme') }, identity);
    await world.runFor(1_000);
    await removed;
    deepStrictEqual(vrs.filter((vr) => !world.node('b1').host.vrs.includes(vr)), ['Acme-Control-VR', 'Acme-LAN-VR']);
    strictEqual(sentences(world, 'c1', /^BGP session lost/).length, 1);
    deepStrictEqual(await sdwan.unreached('Globex'), []);
    await sdwan.branch('b1').applyConfiguration({ ...configuration, generation: 3 }, identity);
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'a connection of every branch');
    deepStrictEqual(await sdwan.unreached('Acme', 10_000), []);
  });

  it('loses no packet while keys are replaced by the clock', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme'])], keying: { lifetimeSeconds: 900, rekeyPercent: 70 } });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    const [from, to] = [sdwan.host('b1', 'Acme'), sdwan.host('b2', 'Acme')];
    let lost = 0;
    for (let second = 0; second < 1_800; second++) {
      from.ask(to.addresses[0]!);
      await world.runFor(1_000);
      if (from.answerOf(to.addresses[0]!) !== to.name) lost++;
    }
    strictEqual(lost, 0);
    ok(sentences(world, 'b1', /^peer key accepted/).length >= 4, 'keys were not replaced');
  });

  it('replaces every key at once when ordered to, without loss', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme']), branch(3, ['Acme'])] });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    // Orders count in whole seconds: a key of the same second is as new as the order.
    await world.runFor(1_000);
    const before = sentences(world, 'b1', /^peer key accepted/).length;
    ok(sdwan.controller('c1').orderRekey(2, { reason: 5, spreadSeconds: 2, deadlineSeconds: 60, notBeforeUnixSeconds: 0 }));
    for (let second = 0; second < 60; second++) {
      deepStrictEqual(await sdwan.unreached('Acme', 900), [], `in second ${second}`);
      await world.runFor(500);
    }
    strictEqual(sentences(world, 'b1', /^peer key accepted/).length, before + 2);
  });

  it('cuts a revoked branch off from everybody', async () => {
    const network = await bringUp({ branches: [branch(1, ['Acme']), branch(2, ['Acme']), branch(3, ['Acme'])] });
    await connected(network);
    const { world, sdwan } = network;
    deepStrictEqual(await sdwan.unreached('Acme'), []);
    const sites = sdwan.plan.directory.sites.map((site) => (site.device === 'b3' ? { ...site, state: 'revoked' as const } : site));
    await sdwan.controller('c1').applyDirectory({ generation: 2, sites });
    await world.runFor(10_000);
    deepStrictEqual([...(await sdwan.unreached('Acme'))].sort(), ['b1-Acme > b3-Acme', 'b2-Acme > b3-Acme', 'b3-Acme > b1-Acme', 'b3-Acme > b2-Acme']);
  });

  it('ends the staging tunnel of a branch that is revoked meanwhile', async () => {
    const { world, sdwan } = await bringUp({ staged: true, branches: [branch(1, ['Acme'])] });
    const controller = sdwan.controller('c1');
    const tunnels = (): number => controller.ike.liveIkeSas().filter((ike) => ike.profile.endsWith('/staging')).length;
    await world.settle(() => tunnels() > 0, 10_000, 'a staging tunnel');
    const sites = sdwan.plan.directory.sites.map((site) => ({ ...site, staging: undefined, state: 'revoked' as const }));
    await controller.applyDirectory({ generation: 2, sites });
    strictEqual(tunnels(), 0);
  });

  for (const seed of [1, 2, 3]) {
    it(`comes back to what the model says after every misfortune of seed ${seed}`, async () => {
      deepStrictEqual(await CHAOS_SCENARIO.run(createWorld(seed), { nodes: 4 }), []);
    });
  }
});
