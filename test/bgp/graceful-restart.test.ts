// What happens to routes when a session, a peer or a whole Controller goes and comes back.
import assert from 'node:assert/strict';
import { makeRoute } from '../../firmware/bgp/route.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import type { BgpPeerConfig } from '../../firmware/bgp/speaker.ts';
import { routeTarget } from '../../firmware/wire/bgp/community.ts';
import { SDWAN4, VPN4 } from '../../firmware/wire/bgp/family.ts';
import { BgpNetwork, peer } from './network.ts';
import type { Node } from './network.ts';

const FAMILIES = [VPN4, SDWAN4];
const CONTROLLER = { id: 'controller', address: '10.0.0.1' };
const BRANCHES = [{ id: 'b1', address: '10.0.0.11' }, { id: 'b2', address: '10.0.0.12' }];

function keyRoute(site: number, med?: number): BgpRoute {
  return makeRoute(SDWAN4, { kind: 'sdwan', routeType: 0xff01, value: Uint8Array.of(site) }, `10.255.0.${site}`, { extendedCommunities: [routeTarget('65000:2')], med });
}

const controllerPeers = (more: Partial<BgpPeerConfig> = {}): BgpPeerConfig[] =>
  BRANCHES.map((branch) => peer(branch, CONTROLLER.address, { families: FAMILIES, role: 'client', passive: true, ...more }));
const branchPeers = (address: string): BgpPeerConfig[] => [peer(CONTROLLER, address, { families: FAMILIES })];

function lab(seed: string, more: Partial<BgpPeerConfig> = {}): { network: BgpNetwork; controller: Node; b1: Node; b2: Node } {
  const network = new BgpNetwork(seed);
  const controller = network.add(CONTROLLER.id, CONTROLLER.address, { reflector: true, peers: controllerPeers(more) });
  const [b1, b2] = BRANCHES.map(({ id, address }) => network.add(id, address, { peers: branchPeers(address) }));
  network.run(10);
  network.push(b1!, { kind: 'originate', route: keyRoute(11) });
  network.push(b1!, { kind: 'originate', route: keyRoute(13) });
  network.push(b2!, { kind: 'originate', route: keyRoute(12) });
  network.run(10);
  return { network, controller, b1: b1!, b2: b2! };
}

const line = (site: number, from = 'controller', stale = ''): string => `ipv4-sdwan ${keyRoute(site).key} < ${from}${stale}`;
const routeChanges = (node: Node): unknown[] => node.outputs.filter((output) => output.kind === 'route' || output.kind === 'best');

describe('graceful restart', () => {
  it('hides a restart of the Controller from the branches', () => {
    const { network, controller, b1, b2 } = lab('controller restarts');
    for (const node of [b1, b2]) node.clear();
    network.restart(controller, { reflector: true, peers: controllerPeers() });
    network.settle();
    assert.deepEqual(network.heard(b2), [line(11, 'controller', ' (stale)'), line(13, 'controller', ' (stale)')]);
    network.run(20_000);
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
    assert.deepEqual(network.heard(b1), [line(12)]);
    for (const node of [b1, b2]) assert.deepEqual(routeChanges(node), [], `${node.name} saw routes change`);
  });

  it('hides a Controller that vanished without a word and was noticed by the hold timer', () => {
    const { network, controller, b1, b2 } = lab('controller dies');
    for (const node of [b1, b2]) node.clear();
    controller.listening = false;
    network.restart(controller, { reflector: true, peers: controllerPeers() }, true);
    network.run(95_000);
    assert.equal(b2.count('peer-down'), 1);
    assert.deepEqual(network.heard(b2), [line(11, 'controller', ' (stale)'), line(13, 'controller', ' (stale)')]);
    controller.listening = true;
    network.run(70_000);
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
    assert.deepEqual(routeChanges(b2), []);
  });

  it('drops what the peer no longer has once it ended its table, and not before', () => {
    const { network, controller, b1, b2 } = lab('less after restart');
    b1.listening = false;
    network.restart(b1, { peers: [] });
    network.restart(controller, { reflector: true, peers: controllerPeers() });
    network.run(30_000);
    // b1 is away, so the Controller may still learn its routes and does not end its table yet.
    assert.deepEqual(network.heard(b2), [line(11, 'controller', ' (stale)'), line(13, 'controller', ' (stale)')]);
    network.run(45_000);
    assert.deepEqual(network.heard(b2), []);
  });

  it('lets routes of a peer that does not return expire after 120 s', () => {
    const { network, controller, b1, b2 } = lab('never returns');
    network.restart(b1, { peers: [] });
    network.settle();
    assert.deepEqual(network.heard(controller).filter((text) => text.includes('b1')), [line(11, 'b1', ' (stale)'), line(13, 'b1', ' (stale)')]);
    network.run(119_000);
    assert.deepEqual(network.heard(b2), [line(11), line(13)], 'still reflected');
    network.run(2_000);
    assert.deepEqual(network.heard(b2), []);
    assert.equal(network.neighbor(controller, 'b1').counters.staleExpired, 2);
    assert.equal(controller.logs('BGP routes of a lost session expired').length, 1);
  });

  it('replaces a stale route by the changed one', () => {
    const { network, b1, b2 } = lab('changed');
    network.restart(b1, { peers: branchPeers('10.0.0.11') });
    network.push(b1, { kind: 'originate', route: keyRoute(11, 7) });
    network.run(5_000);
    assert.equal(network.route(b2, SDWAN4, keyRoute(11).key)!.med, 7);
    assert.deepEqual(network.heard(b2), [line(11)], 'the other one went with End-of-RIB');
  });

  it('drops routes that were stale already when the session is lost again', () => {
    const { network, controller, b1, b2 } = lab('twice');
    network.cut.add('b1>controller');
    network.run(91_000);
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
    network.cut.clear();
    // It returns with one route, whose End-of-RIB is lost with the second session.
    network.restart(b1, { peers: branchPeers('10.0.0.11') });
    network.push(b1, { kind: 'originate', route: keyRoute(11) });
    network.tap = (from, bytes) => (from === b1 ? withoutEndOfRib(bytes) : bytes);
    network.run(3_000);
    network.tap = undefined;
    assert.deepEqual(network.heard(controller).filter((text) => text.includes('b1')), [line(11, 'b1'), line(13, 'b1', ' (stale)')]);
    network.restart(b1, { peers: [] });
    network.settle();
    assert.deepEqual(network.heard(controller).filter((text) => text.includes('b1')), [line(11, 'b1', ' (stale)')]);
  });

  it('drops everything at once after a stop', () => {
    const { network, b1, b2, controller } = lab('stop');
    network.push(b1, { kind: 'stop', peer: 'controller', reason: 'decommissioned' });
    network.settle();
    assert.deepEqual(network.heard(b2), []);
    assert.match(network.neighbor(controller, 'b1').lastError, /hard reset.*decommissioned/);
  });
});

/** Keeps whole messages except UPDATEs that are no longer than an End-of-RIB marker. */
function withoutEndOfRib(bytes: Uint8Array): Uint8Array {
  const kept: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at + 16]! * 256 + bytes[at + 17]!;
    if (bytes[at + 18] !== 2 || length > 30) kept.push(...bytes.subarray(at, at + length));
    at += length;
  }
  return Uint8Array.from(kept);
}

describe('limits and configuration', () => {
  it('stops a peer that announces more routes than it may, for a minute', () => {
    const { network, controller, b1, b2 } = lab('limit', { maxPrefixes: 5 });
    for (let site = 20; site < 30; site++) network.push(b1, { kind: 'originate', route: keyRoute(site) });
    network.settle();
    assert.equal(network.neighbor(controller, 'b1').state, 'Idle');
    assert.deepEqual(network.heard(b2), [], 'its routes went with it');
    assert.match(network.neighbor(b1, 'controller').lastError, /maximum number of prefixes/);
    assert.equal(controller.logs('BGP peer announced too many routes; its session is stopped for a while').length, 1);
    for (let site = 20; site < 30; site++) network.push(b1, { kind: 'withdraw', family: SDWAN4, key: keyRoute(site).key });
    network.run(59_000);
    assert.equal(network.neighbor(controller, 'b1').state, 'Idle');
    network.run(65_000);
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
  });

  it('adds and removes peers without touching the others', () => {
    const { network, controller, b1, b2 } = lab('live');
    const third = { id: 'b3', address: '10.0.0.13' };
    const b3 = network.add(third.id, third.address, { peers: branchPeers(third.address) });
    network.run(100);
    assert.equal(network.neighbor(b3, 'controller').state, 'Active', 'refused while unknown');
    const all = [...controllerPeers(), peer(third, CONTROLLER.address, { families: FAMILIES, role: 'client', passive: true })];
    network.push(controller, { kind: 'peers', peers: all.slice(1) });
    network.run(3_000);
    assert.deepEqual(network.heard(b3), [line(12)], 'b1 is gone');
    assert.ok(b1.outputs.some((output) => output.kind === 'peer-down' && output.cause.includes('peer de-configured')));
    assert.equal(network.neighbor(b2, 'controller').counters.lost, 0);
    network.push(controller, { kind: 'peers', peers: all });
    network.run(70_000);
    assert.deepEqual(network.heard(b3), [line(11), line(12), line(13)]);
  });

  it('resets a session whose configuration changed', () => {
    const { network, controller, b1, b2 } = lab('changed configuration');
    network.push(controller, { kind: 'peers', peers: controllerPeers().map((config) => (config.id === 'b1' ? { ...config, holdSeconds: 30 } : config)) });
    network.run(5_000);
    assert.equal(network.neighbor(b1, 'controller').holdSeconds, 30);
    assert.equal(network.neighbor(b1, 'controller').counters.lost, 1);
    assert.equal(network.neighbor(b2, 'controller').counters.lost, 0);
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
  });

  it('writes only the newest state to a peer that could not be written to', () => {
    const { network, controller, b1, b2 } = lab('slow reader');
    const stream = [...controller.ends.values()].find((end) => end.other?.node === b2)!.stream;
    network.push(controller, { kind: 'stream-writable', stream, writable: false });
    for (let med = 1; med <= 50; med++) network.push(b1, { kind: 'originate', route: keyRoute(11, med) });
    network.push(b1, { kind: 'withdraw', family: SDWAN4, key: keyRoute(13).key });
    network.settle();
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
    b2.clear();
    network.push(controller, { kind: 'stream-writable', stream, writable: true });
    network.settle();
    assert.equal(network.route(b2, SDWAN4, keyRoute(11).key)!.med, 50);
    assert.deepEqual(network.heard(b2), [line(11)]);
    assert.equal(b2.count('route'), 2);
  });

  it('serves a storm of route refreshes once a second', () => {
    const { network, controller, b1 } = lab('refresh storm');
    for (let i = 0; i < 200; i++) network.push(b1, { kind: 'refresh', peer: 'controller' });
    network.settle();
    assert.equal(network.neighbor(controller, 'b1').counters.refreshesServed, 2, 'one per family');
    network.run(10_000);
    assert.equal(network.neighbor(controller, 'b1').counters.refreshesServed, 4);
    assert.deepEqual(network.heard(b1), [line(12)]);
  });

  it('ends in the same state after any storm of malformed octets on one session', () => {
    const { network, controller, b1, b2 } = lab('malformed storm');
    for (let round = 0; round < 30; round++) {
      const left = { flips: 1 + (network.random.uint32() % 3) };
      network.tap = (from, bytes) => {
        if (from !== b1 || left.flips-- <= 0) return bytes;
        const out = bytes.slice();
        const at = network.random.uint32() % out.length;
        out[at] = out[at]! ^ (1 << (network.random.uint32() % 8));
        return out;
      };
      network.push(b1, { kind: 'originate', route: keyRoute(11, round) });
      network.run(3_000);
    }
    network.tap = undefined;
    network.run(300_000);
    network.push(controller, { kind: 'refresh', peer: 'b1' });
    network.run(1_000);
    assert.deepEqual(network.heard(b2), [line(11), line(13)]);
    assert.equal(network.route(b2, SDWAN4, keyRoute(11).key)!.med, 29);
    assert.equal(network.neighbor(controller, 'b2').counters.lost, 0, "the other branch's session never suffered");
  });
});
