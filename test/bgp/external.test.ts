// Peers of another AS, next hops and sizes: what is left out towards a peer, and in which form the rest goes.
import assert from 'node:assert/strict';
import { makeRoute, makeRouteTargetMembership } from '../../firmware/bgp/route.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import type { BgpPeerConfig } from '../../firmware/bgp/speaker.ts';
import { routeTarget } from '../../firmware/wire/bgp/community.ts';
import { RTC, UNICAST4, UNICAST6, VPN4 } from '../../firmware/wire/bgp/family.ts';
import type { Family } from '../../firmware/wire/bgp/family.ts';
import { fromHex } from '../../platform/bytes.ts';
import { BgpNetwork, peer } from './network.ts';
import type { Node } from './network.ts';

function pair(seed: string, families: readonly Family[], otherAs = 65000): { network: BgpNetwork; a: Node; b: Node } {
  const network = new BgpNetwork(seed);
  const config = (id: string, address: string, local: string, remoteAs: number, passive: boolean): BgpPeerConfig =>
    peer({ id, address }, local, { families, remoteAs, passive });
  const a = network.add('a', '10.0.0.1', { peers: [config('b', '10.0.0.2', '10.0.0.1', otherAs, false)] });
  const b = network.add('b', '10.0.0.2', { asNumber: otherAs, peers: [config('a', '10.0.0.1', '10.0.0.2', 65000, true)] });
  network.run(1);
  return { network, a, b };
}

const unicast = (prefix: string, more: Partial<BgpRoute> = {}): BgpRoute =>
  makeRoute(prefix.includes(':') ? UNICAST6 : UNICAST4, { kind: 'unicast', prefix }, '10.0.0.77', more);

describe('a peer of another AS', () => {
  it('gets our AS number and address, and nothing that is internal', () => {
    const { network, a, b } = pair('external', [UNICAST4, UNICAST6], 65001);
    const communities = [routeTarget('65000:2'), fromHex('4002fde800000002')];
    network.push(a, { kind: 'originate', route: unicast('10.5.0.0/16', { med: 5, localPref: 300, extendedCommunities: communities }) });
    network.push(a, { kind: 'originate', route: unicast('2001:db8::/32', { asPath: [{ type: 2, asNumbers: [7] }] }) });
    network.settle();
    const four = network.route(b, UNICAST4, '10.5.0.0/16')!;
    assert.deepEqual(four.asPath, [{ type: 2, asNumbers: [65000] }]);
    assert.equal(four.nextHop, '10.0.0.1');
    assert.equal(four.localPref, 100, 'its own default');
    assert.equal(four.med, undefined);
    assert.deepEqual(four.extendedCommunities, communities.slice(0, 1));
    assert.deepEqual(network.route(b, UNICAST6, '2001:db8::/32')!.asPath, [{ type: 2, asNumbers: [65000, 7] }]);
  });

  it('cannot send us our own AS back', () => {
    const { network, a, b } = pair('as loop', [UNICAST4], 65001);
    network.push(b, { kind: 'originate', route: unicast('10.5.0.0/16', { asPath: [{ type: 2, asNumbers: [65000] }] }) });
    network.push(b, { kind: 'originate', route: unicast('10.6.0.0/16', { asPath: [{ type: 2, asNumbers: [64999] }] }) });
    network.settle();
    assert.deepEqual(network.heard(a), ['ipv4-unicast 10.6.0.0/16 < b']);
    assert.equal(network.neighbor(a, 'b').counters.routesLooped, 1);
  });
});

describe('what does not fit a peer', () => {
  it('is withheld, logged and withdrawn when it has grown too large', () => {
    const { network, a, b } = pair('large', [VPN4]);
    const route = (octets: number): BgpRoute =>
      makeRoute(VPN4, { kind: 'vpn', rd: '1:1', prefix: '10.0.0.0/8', label: 16 }, '10.0.0.1', {
        tunnelEncapsulation: Uint8Array.of(0, 25, octets >>> 8, octets & 255, ...new Uint8Array(octets)),
      });
    network.push(a, { kind: 'originate', route: route(60_000) });
    network.settle();
    assert.equal(network.heard(b).length, 1, 'extended messages carry it');
    network.push(a, { kind: 'originate', route: route(65_500) });
    network.settle();
    assert.deepEqual(network.heard(b), []);
    assert.equal(a.logs('BGP route is too large for the peer and is withheld').length, 1);
    assert.equal(network.neighbor(a, 'b').families[0]!.sent, 0);
    network.push(a, { kind: 'originate', route: route(10) });
    network.settle();
    assert.equal(network.heard(b).length, 1);
  });

  it('reaches a peer with an IPv6 next hop when both can', () => {
    const { network, a, b } = pair('extended next hop', [VPN4]);
    network.push(a, { kind: 'originate', route: makeRoute(VPN4, { kind: 'vpn', rd: '1:1', prefix: '10.0.0.0/8', label: 16 }, 'fd00::1') });
    network.settle();
    assert.equal(network.route(b, VPN4, '1:1|10.0.0.0/8')!.nextHop, 'fd00::1');
  });

  it('waits for the memberships of a peer before it ends the table', () => {
    const { network, a, b } = pair('membership wait', [VPN4, RTC]);
    network.push(a, { kind: 'originate', route: makeRoute(VPN4, { kind: 'vpn', rd: '1:1', prefix: '10.0.0.0/8', label: 16 }, '10.0.0.1', { extendedCommunities: [routeTarget('1:1')] }) });
    network.push(b, { kind: 'originate', route: makeRouteTargetMembership(65000, '10.0.0.2', '1:1') });
    network.settle();
    assert.ok(network.heard(b).includes('ipv4-vpn 1:1|10.0.0.0/8 < a'));
    // A restart of a: b keeps the route until a, which must first learn what b wants, has told it again.
    b.clear();
    network.restart(a, { peers: [peer({ id: 'b', address: '10.0.0.2' }, '10.0.0.1', { families: [VPN4, RTC] })] });
    network.push(a, { kind: 'originate', route: makeRoute(VPN4, { kind: 'vpn', rd: '1:1', prefix: '10.0.0.0/8', label: 16 }, '10.0.0.1', { extendedCommunities: [routeTarget('1:1')] }) });
    network.run(5_000);
    assert.ok(network.heard(b).includes('ipv4-vpn 1:1|10.0.0.0/8 < a'));
    assert.equal(b.count('route'), 0, 'the route never went');
  });

  it('goes by memberships that outlived the session', () => {
    const { network, a, b } = pair('membership survives', [VPN4, RTC]);
    const route = makeRoute(VPN4, { kind: 'vpn', rd: '1:1', prefix: '10.0.0.0/8', label: 16 }, '10.0.0.1', { extendedCommunities: [routeTarget('1:1')] });
    network.push(a, { kind: 'originate', route });
    network.push(b, { kind: 'originate', route: makeRouteTargetMembership(65000, '10.0.0.2', '1:1') });
    network.settle();
    b.clear();
    for (const node of [a, b]) for (const stream of [...node.ends.keys()]) {
      node.ends.delete(stream);
      network.push(node, { kind: 'stream-closed', stream, cause: 'reset' });
    }
    network.run(5_000);
    assert.deepEqual(network.heard(b), ['ipv4-vpn 1:1|10.0.0.0/8 < a']);
    network.push(a, { kind: 'originate', route: { ...route, med: 1 } });
    network.settle();
    assert.equal(network.route(b, VPN4, route.key)!.med, 1);
    assert.equal(b.count('route'), 1);
  });
});
