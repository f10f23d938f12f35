import assert from 'node:assert/strict';
import { makeRoute, makeRouteTargetMembership } from '../../firmware/bgp/route.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import type { BgpPeerConfig } from '../../firmware/bgp/speaker.ts';
import { encapsulationCommunity, routeTarget } from '../../firmware/wire/bgp/community.ts';
import { RTC, SDWAN4, VPN4, VPN6 } from '../../firmware/wire/bgp/family.ts';
import type { Family } from '../../firmware/wire/bgp/family.ts';
import { BgpNetwork, peer } from './network.ts';
import type { Node } from './network.ts';

const FAMILIES: readonly Family[] = [VPN4, VPN6, SDWAN4];

function vpnRoute(prefix: string, nextHop: string, target = '65000:2', label = 1024): BgpRoute {
  const family = prefix.includes(':') ? VPN6 : VPN4;
  return makeRoute(family, { kind: 'vpn', rd: '65000:2', prefix, label }, nextHop, {
    extendedCommunities: [routeTarget(target), encapsulationCommunity(25)],
  });
}

function keyRoute(site: number, target = '65000:2'): BgpRoute {
  return makeRoute(SDWAN4, { kind: 'sdwan', routeType: 0xff01, value: Uint8Array.of(0, 0, 0, site) }, `10.255.0.${site}`, {
    extendedCommunities: [routeTarget(target)],
    tunnelEncapsulation: Uint8Array.of(0, 25, 0, 2, 0xaa, site),
  });
}

interface Shape {
  readonly families?: readonly Family[];
  readonly branches: number;
  readonly client?: Partial<BgpPeerConfig>;
  readonly accept?: (peerId: string, route: BgpRoute) => string | undefined;
}

/** One Controller 10.0.0.1 that reflects between branches 10.0.0.11, 10.0.0.12 ... */
function star(seed: string, { branches, families = FAMILIES, client = {}, accept }: Shape): { network: BgpNetwork; controller: Node; edges: Node[] } {
  const network = new BgpNetwork(seed);
  const names = Array.from({ length: branches }, (_, i) => ({ id: `branch-${i + 1}`, address: `10.0.0.${11 + i}` }));
  const controller = network.add('controller', '10.0.0.1', {
    reflector: true,
    peers: names.map((name) => peer(name, '10.0.0.1', { families, role: 'client', passive: true, ...client })),
    ...(accept ? { acceptPolicy: accept } : {}),
  });
  const edges = names.map(({ id, address }) =>
    network.add(id, address, { peers: [peer({ id: 'controller', address: '10.0.0.1' }, address, { families })] }),
  );
  network.run(1);
  return { network, controller, edges };
}

describe('route reflection', () => {
  it('carries VPN and SAFI 74 routes between branches, with next hop, label and attributes as they were', () => {
    const { network, edges } = star('reflect', { branches: 3 });
    for (const route of [vpnRoute('10.1.0.0/24', '10.255.0.11'), vpnRoute('2001:db8:1::/48', '10.255.0.11', '65000:2', 1025), keyRoute(11)]) {
      network.push(edges[0]!, { kind: 'originate', route });
    }
    network.settle();
    const expected = ['ipv4-sdwan ff010020' + '0000000b < controller', 'ipv4-vpn 65000:2|10.1.0.0/24 < controller', 'ipv6-vpn 65000:2|2001:db8:1::/48 < controller'];
    assert.deepEqual(network.heard(edges[1]!), expected);
    assert.deepEqual(network.heard(edges[2]!), expected);
    assert.deepEqual(network.heard(edges[0]!), [], 'a route never goes back to where it came from');
    const sent = vpnRoute('2001:db8:1::/48', '10.255.0.11', '65000:2', 1025);
    assert.deepEqual(network.route(edges[2]!, VPN6, sent.key), { ...sent, originatorId: '10.0.0.11', clusterList: ['10.0.0.1'] });
    const key = network.route(edges[1]!, SDWAN4, keyRoute(11).key)!;
    assert.deepEqual(key.tunnelEncapsulation, keyRoute(11).tunnelEncapsulation);
  });

  it('passes a changed label on, and a withdrawal', () => {
    const { network, edges } = star('label', { branches: 2 });
    const route = vpnRoute('10.1.0.0/24', '10.255.0.11');
    network.push(edges[0]!, { kind: 'originate', route });
    network.settle();
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.1.0.0/24', '10.255.0.11', '65000:2', 2000) });
    network.settle();
    const nlri = network.route(edges[1]!, VPN4, route.key)!.nlri;
    assert.equal(nlri.kind === 'vpn' && nlri.label, 2000);
    network.push(edges[0]!, { kind: 'withdraw', family: VPN4, key: route.key });
    network.settle();
    assert.deepEqual(network.heard(edges[1]!), []);
    const last = edges[1]!.outputs.filter((output) => output.kind === 'route').at(-1);
    assert.deepEqual(last, { kind: 'route', peer: 'controller', family: VPN4, key: route.key, route: undefined });
  });

  it('tells a branch that comes later everything, then ends the table', () => {
    const { network, edges, controller } = star('late', { branches: 2 });
    for (let i = 0; i < 500; i++) network.push(edges[0]!, { kind: 'originate', route: vpnRoute(`10.${i >> 8}.${i & 255}.0/24`, '10.255.0.11') });
    network.settle();
    const late = network.restart.bind(network);
    late(edges[1]!, { peers: [peer({ id: 'controller', address: '10.0.0.1' }, '10.0.0.12', { families: FAMILIES })] });
    network.run(5_000);
    assert.equal(network.heard(edges[1]!).length, 500);
    assert.equal(network.neighbor(controller, 'branch-2').families[0]!.sent, 500);
  });

  it('packs routes with the same attributes into few messages', () => {
    const { network, edges } = star('packing', { branches: 2 });
    network.push(edges[0]!, { kind: 'stop', peer: 'controller', reason: 'maintenance' });
    network.run(10);
    for (let i = 0; i < 2000; i++) network.push(edges[0]!, { kind: 'originate', route: vpnRoute(`10.${i >> 8}.${i & 255}.0/24`, '10.255.0.11') });
    network.octets = 0;
    network.push(edges[0]!, { kind: 'start', peer: 'controller' });
    network.run(5_000);
    assert.equal(network.heard(edges[1]!).length, 2000);
    // 2000 NLRI of 15 octets, twice on their way; each UPDATE costs about 80 octets more.
    assert.ok(network.octets < 2 * 2000 * 15 + 8_000, `${network.octets} octets`);
  });

  it('sends nothing for an announcement that changes nothing', () => {
    const { network, edges } = star('same', { branches: 2 });
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(11) });
    network.settle();
    const before = network.octets;
    edges[1]!.clear();
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(11) });
    network.settle();
    assert.equal(network.octets, before);
    assert.equal(edges[1]!.count('route'), 0);
  });

  it('gives a branch the key routes of both Controllers, so that it can choose by rekey counter', () => {
    const network = new BgpNetwork('two controllers');
    const c = [{ id: 'c1', address: '10.0.0.1' }, { id: 'c2', address: '10.0.0.2' }];
    const b = [{ id: 'b1', address: '10.0.0.11' }, { id: 'b2', address: '10.0.0.12' }];
    for (const [i, own] of c.entries()) {
      network.add(own.id, own.address, {
        reflector: true,
        peers: [
          ...b.map((branch) => peer(branch, own.address, { families: FAMILIES, role: 'client', passive: true })),
          peer(c[1 - i]!, own.address, { families: FAMILIES, role: 'non-client' }),
        ],
      });
    }
    const edges = b.map((own) => network.add(own.id, own.address, { peers: c.map((controller) => peer(controller, own.address, { families: FAMILIES })) }));
    network.run(10_000);
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(11) });
    network.settle();
    const key = keyRoute(11).key;
    assert.deepEqual(network.heard(edges[1]!), [`ipv4-sdwan ${key} < c1`, `ipv4-sdwan ${key} < c2`]);
    // b1's own route must not come back to it, neither from c1 nor by way of c2.
    assert.deepEqual(network.heard(edges[0]!), []);
    // Between the Controllers the route is the same one, and their cluster ids differ: each keeps the other's copy as second path.
    assert.deepEqual(network.heard(network.nodes.get('10.0.0.1')!), [`ipv4-sdwan ${key} < b1`, `ipv4-sdwan ${key} < c2`]);
    network.push(edges[0]!, { kind: 'withdraw', family: SDWAN4, key });
    network.settle();
    for (const node of network.nodes.values()) assert.deepEqual(network.heard(node), [], node.name);
  });

  it('does not reflect between non-clients, nor at all when it is no reflector', () => {
    for (const [reflector, role] of [[true, 'non-client'], [false, 'client']] as const) {
      const network = new BgpNetwork(`no reflection ${role}`);
      const names = [{ id: 'a', address: '10.0.0.11' }, { id: 'b', address: '10.0.0.12' }];
      network.add('middle', '10.0.0.1', { reflector, peers: names.map((name) => peer(name, '10.0.0.1', { families: FAMILIES, role, passive: true })) });
      const [a, b] = names.map((name) => network.add(name.id, name.address, { peers: [peer({ id: 'middle', address: '10.0.0.1' }, name.address, { families: FAMILIES })] }));
      network.run(1);
      network.push(a!, { kind: 'originate', route: keyRoute(11) });
      network.settle();
      assert.equal(network.heard(network.nodes.get('10.0.0.1')!).length, 1);
      assert.deepEqual(network.heard(b!), []);
    }
  });

  it('counts and drops a route with its own cluster id or router id', () => {
    const { network, controller, edges } = star('loop', { branches: 2 });
    network.push(edges[0]!, { kind: 'originate', route: { ...keyRoute(11), clusterList: ['10.0.0.9', '10.0.0.1'] } });
    network.push(edges[0]!, { kind: 'originate', route: { ...keyRoute(12), originatorId: '10.0.0.1' } });
    network.push(edges[0]!, { kind: 'originate', route: { ...keyRoute(13), clusterList: ['10.0.0.9'], originatorId: '10.0.0.77' } });
    network.settle();
    assert.deepEqual(network.heard(controller), [`ipv4-sdwan ${keyRoute(13).key} < branch-1`]);
    assert.equal(network.neighbor(controller, 'branch-1').counters.routesLooped, 2);
    assert.deepEqual(network.route(edges[1]!, SDWAN4, keyRoute(13).key)!.clusterList, ['10.0.0.1', '10.0.0.9']);
    assert.equal(network.route(edges[1]!, SDWAN4, keyRoute(13).key)!.originatorId, '10.0.0.77');
  });
});

describe('the acceptance policy', () => {
  it('treats a refused route as withdrawn, logs the cause, counts it and passes nothing on', () => {
    let allowed = true;
    const { network, controller, edges } = star('refuse', { branches: 2, accept: (id, route) => (allowed || route.nlri.kind !== 'sdwan' ? undefined : `${id} is not this node`) });
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(11) });
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.1.0.0/24', '10.255.0.11') });
    network.settle();
    assert.equal(network.heard(edges[1]!).length, 2);
    allowed = false;
    network.push(edges[0]!, { kind: 'originate', route: { ...keyRoute(11), med: 5 } });
    network.settle();
    assert.deepEqual(network.heard(edges[1]!), ['ipv4-vpn 65000:2|10.1.0.0/24 < controller']);
    assert.equal(network.neighbor(controller, 'branch-1').counters.routesRefused, 1);
    assert.equal(controller.logs('BGP route refused')[0]!.fields['cause'], 'branch-1 is not this node');
  });

  it('sees every route again after a refresh', () => {
    let allowed = false;
    const { network, controller, edges } = star('refresh', { branches: 2, accept: () => (allowed ? undefined : 'not yet') });
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(11) });
    network.settle();
    assert.deepEqual(network.heard(edges[1]!), []);
    allowed = true;
    network.push(controller, { kind: 'refresh', peer: 'branch-1' });
    network.settle();
    assert.equal(network.heard(edges[1]!).length, 1);
  });

  it('logs at most ten refusals of a peer per minute', () => {
    const { network, controller, edges } = star('storm', { branches: 1, accept: () => 'no' });
    for (let i = 0; i < 100; i++) network.push(edges[0]!, { kind: 'originate', route: keyRoute(i) });
    network.settle();
    assert.equal(controller.logs('BGP route refused').length, 10);
    assert.equal(network.neighbor(controller, 'branch-1').counters.routesRefused, 100);
    network.run(61_000);
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(200) });
    network.settle();
    assert.equal(controller.logs('BGP route refused').length, 11);
  });
});

describe('route targets', () => {
  it('sends a peer only routes with a target configured for it', () => {
    const { network, controller, edges } = star('configured', { branches: 2, client: { routeTargets: ['65000:2'] } });
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.1.0.0/24', '10.255.0.11', '65000:2') });
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.2.0.0/24', '10.255.0.11', '65000:3') });
    network.push(edges[0]!, { kind: 'originate', route: keyRoute(11, '65000:3') });
    network.settle();
    assert.deepEqual(network.heard(edges[1]!), ['ipv4-vpn 65000:2|10.1.0.0/24 < controller']);
    // A live change of the targets needs no new session.
    const peers = ['branch-1', 'branch-2'].map((id, i) =>
      peer({ id, address: `10.0.0.${11 + i}` }, '10.0.0.1', { families: FAMILIES, role: 'client', passive: true, routeTargets: ['65000:3'] }),
    );
    network.push(controller, { kind: 'peers', peers });
    network.settle();
    assert.deepEqual(network.heard(edges[1]!), [`ipv4-sdwan ${keyRoute(11).key} < controller`, 'ipv4-vpn 65000:2|10.2.0.0/24 < controller']);
    assert.equal(network.neighbor(controller, 'branch-2').counters.lost, 0);
  });

  it('sends by the membership that the peer announces, and takes back when it is withdrawn', () => {
    const families = [VPN4, SDWAN4, RTC];
    const { network, edges } = star('membership', { branches: 3, families });
    const member = (target: string, i: number): BgpRoute => makeRouteTargetMembership(65000, `10.0.0.${11 + i}`, target);
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.1.0.0/24', '10.255.0.11', '65000:2') });
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.2.0.0/24', '10.255.0.11', '65000:3') });
    network.settle();
    assert.deepEqual(network.heard(edges[1]!), [], 'nobody asked for anything');
    for (const i of [0, 1]) network.push(edges[i]!, { kind: 'originate', route: member('65000:2', i) });
    network.push(edges[2]!, { kind: 'originate', route: member('65000:3', 2) });
    network.settle();
    const vpn = (node: Node): string[] => network.heard(node).filter((line) => line.startsWith('ipv4-vpn'));
    assert.deepEqual(vpn(edges[1]!), ['ipv4-vpn 65000:2|10.1.0.0/24 < controller']);
    assert.deepEqual(vpn(edges[2]!), ['ipv4-vpn 65000:2|10.2.0.0/24 < controller']);
    network.push(edges[2]!, { kind: 'withdraw', family: RTC, key: member('65000:3', 2).key });
    network.settle();
    assert.deepEqual(vpn(edges[2]!), []);
  });

  it('asks a client for a target although that client announced the best membership itself', () => {
    const { network, controller, edges } = star('own membership', { branches: 2, families: [VPN4, RTC] });
    for (const i of [0, 1]) network.push(edges[i]!, { kind: 'originate', route: makeRouteTargetMembership(65000, `10.0.0.${11 + i}`, '65000:2') });
    network.settle();
    for (const i of [0, 1]) network.push(edges[i]!, { kind: 'originate', route: vpnRoute(`10.${i}.0.0/24`, `10.255.0.${11 + i}`) });
    network.settle();
    assert.ok(network.heard(edges[0]!).includes('ipv4-vpn 65000:2|10.1.0.0/24 < controller'));
    assert.ok(network.heard(edges[1]!).includes('ipv4-vpn 65000:2|10.0.0.0/24 < controller'));
    assert.equal(network.neighbor(controller, 'branch-1').counters.routesLooped, 0);
  });

  it('takes a default membership as a wish for everything', () => {
    const { network, edges } = star('default membership', { branches: 2, families: [VPN4, RTC] });
    network.push(edges[1]!, { kind: 'originate', route: makeRouteTargetMembership(65000, '10.0.0.12') });
    network.push(edges[0]!, { kind: 'originate', route: vpnRoute('10.1.0.0/24', '10.255.0.11', '65000:77') });
    network.settle();
    assert.ok(network.heard(edges[1]!).includes('ipv4-vpn 65000:2|10.1.0.0/24 < controller'));
  });
});
