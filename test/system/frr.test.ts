// Our speaker against FRR's bgpd over real TCP: both must agree on what was said.
import assert from 'node:assert/strict';
import type { BgpPeerConfig } from '../../firmware/bgp/speaker.ts';
import { NO_ATTRIBUTES, encodeAttributes } from '../../firmware/wire/bgp/attributes.ts';
import { colorCommunity, encapsulationCommunity, routeTarget } from '../../firmware/wire/bgp/community.ts';
import { RTC, SDWAN4, VPN4, VPN6 } from '../../firmware/wire/bgp/family.ts';
import { UPDATE, encodeMessage } from '../../firmware/wire/bgp/message.ts';
import { encodeAnnouncements } from '../../firmware/wire/bgp/update.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { FRR_ADDRESS, FrrLab, OUR_ADDRESS } from './frr.ts';

const CONFIGURATION = `
route-map TARGET permit 10
 set extcommunity rt 65000:2
!
router bgp 65000
 bgp router-id ${FRR_ADDRESS}
 no bgp default ipv4-unicast
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 timers bgp 3 9
 neighbor ${OUR_ADDRESS} remote-as 65000
 neighbor ${OUR_ADDRESS} timers connect 1
 address-family ipv4 vpn
  neighbor ${OUR_ADDRESS} activate
  network 10.9.0.0/24 rd 65000:9 label 999 route-map TARGET
 exit-address-family
 address-family ipv6 vpn
  neighbor ${OUR_ADDRESS} activate
  network 2001:db8:9::/48 rd 65000:9 label 998 route-map TARGET
 exit-address-family
!
`;

const PEER: BgpPeerConfig = {
  id: 'frr', remote: FRR_ADDRESS, local: OUR_ADDRESS, remoteAs: 65000, role: 'non-client', passive: false, families: [VPN4, VPN6, SDWAN4, RTC], holdSeconds: 90,
};

const COMMUNITIES = [routeTarget('65000:2'), encapsulationCommunity(25), colorCommunity(101)].map(toHex);
// Tunnel type 25 with an egress endpoint.
const TUNNEL_ENCAPSULATION = '0019000c060a0000000000010aff0005';

describe('beside FRR', function () {
  this.timeout(120_000);
  let lab: FrrLab;

  before(async () => {
    lab = new FrrLab();
    await lab.ask({ kind: 'start', options: { asNumber: 65000, peer: PEER, frr: CONFIGURATION } });
    await lab.until('the session', () => lab.snapshot(), (seen) => seen.neighbors[0]!.state === 'Established');
  });

  after(() => lab.close());

  const neighbor = async () => (await lab.snapshot()).neighbors[0]!;

  it('agrees on the VPN families and leaves out those that FRR does not know', async () => {
    const { families, remoteRouterId, holdSeconds } = await neighbor();
    assert.deepEqual(families.filter((family) => family.negotiated).map((family) => family.name), ['ipv4-vpn', 'ipv6-vpn']);
    assert.equal(remoteRouterId, FRR_ADDRESS);
    assert.equal(holdSeconds, 9, 'the shorter hold time counts');
  });

  it("reads FRR's VPN-IPv4 and VPN-IPv6 routes", async () => {
    const seen = await lab.until('both routes', () => lab.snapshot(), (snapshot) => snapshot.routes.length === 2);
    const rows = seen.routes.map(({ key, route }) => ({ key, nlri: route.nlri, nextHop: route.nextHop }));
    assert.deepEqual(rows, [
      { key: '65000:9|10.9.0.0/24', nlri: { kind: 'vpn', rd: '65000:9', prefix: '10.9.0.0/24', label: 999 }, nextHop: FRR_ADDRESS },
      { key: '65000:9|2001:db8:9::/48', nlri: { kind: 'vpn', rd: '65000:9', prefix: '2001:db8:9::/48', label: 998 }, nextHop: FRR_ADDRESS },
    ]);
    for (const { route } of seen.routes) assert.deepEqual(route.extendedCommunities as unknown, [toHex(routeTarget('65000:2'))]);
  });

  it('is understood by FRR: prefix, RD, label, next hop, communities', async () => {
    const attributes = { extendedCommunities: COMMUNITIES };
    await lab.ask({ kind: 'originate', route: { family: VPN4, nlri: { kind: 'vpn', rd: '65000:2', prefix: '10.1.0.0/20', label: 1024 }, nextHop: '10.255.0.5', attributes } });
    await lab.ask({ kind: 'originate', route: { family: VPN6, nlri: { kind: 'vpn', rd: '65000:2', prefix: '2001:db8:1::/50', label: 1025 }, nextHop: '10.255.0.5', attributes } });
    await lab.ask({ kind: 'originate', route: { family: VPN6, nlri: { kind: 'vpn', rd: '65000:2', prefix: '2001:db8:2::/64', label: 1026 }, nextHop: 'fd00::5', attributes } });
    const four = JSON.stringify(await lab.until('the IPv4 route at FRR', () => lab.show('show bgp ipv4 vpn 10.1.0.0/20'), (seen) => 'paths' in (Object.values(seen)[0] as object ?? {}) || 'paths' in seen));
    assert.match(four, /"remoteLabel":1024/);
    assert.match(four, /"ip":"10\.255\.0\.5"/);
    assert.match(four, /RT:65000:2/);
    assert.match(four, /ET:25/);
    const six = JSON.stringify(await lab.show('show bgp ipv6 vpn 2001:db8:1::/50'));
    assert.match(six, /"remoteLabel":1025/);
    assert.match(six, /"ip":"::ffff:(10\.255\.0\.5|aff:5)"/);
    assert.match(JSON.stringify(await lab.show('show bgp ipv6 vpn 2001:db8:2::/64')), /"ip":"fd00::5"/);
  });

  it("is understood by FRR as a reflector, down to the loop check", async () => {
    const reflected = (prefix: string, originatorId: string): Promise<unknown> => {
      const attributes = { extendedCommunities: COMMUNITIES, originatorId, clusterList: ['10.0.0.8', '10.0.0.7'] };
      return lab.ask({ kind: 'originate', route: { family: VPN4, nlri: { kind: 'vpn', rd: '65000:2', prefix, label: 1030 }, nextHop: '10.255.0.6', attributes } });
    };
    await reflected('10.7.0.0/24', FRR_ADDRESS);
    await reflected('10.8.0.0/24', '10.0.0.9');
    await lab.until('the reflected route', () => lab.ask<string>({ kind: 'show', command: 'show bgp ipv4 vpn' }), (text) => text.includes('10.8.0.0/24'));
    const text = JSON.stringify(await lab.show('show bgp ipv4 vpn 10.8.0.0/24'));
    assert.match(text, /"originatorId":"10\.0\.0\.9"/);
    assert.match(text, /"list":\["10\.0\.0\.8","10\.0\.0\.7"\]/);
    assert.doesNotMatch(await lab.ask<string>({ kind: 'show', command: 'show bgp ipv4 vpn' }), /10\.7\.0\.0/, 'FRR sees its own identifier');
  });

  it('withdraws towards FRR, and FRR towards us', async () => {
    await lab.ask({ kind: 'input', input: { kind: 'withdraw', family: VPN6, key: '65000:2|2001:db8:2::/64' } });
    await lab.until('the withdrawal at FRR', () => lab.ask<string>({ kind: 'show', command: 'show bgp ipv6 vpn' }), (text) => !text.includes('2001:db8:2::/64') && text.includes('2001:db8:1::/50'));
    await lab.configure(['router bgp 65000', 'address-family ipv4 vpn', 'no network 10.9.0.0/24 rd 65000:9 label 999']);
    await lab.until('the withdrawal from FRR', () => lab.snapshot(), (snapshot) => !snapshot.routes.some((row) => row.key === '65000:9|10.9.0.0/24'));
    await lab.configure(['router bgp 65000', 'address-family ipv4 vpn', 'network 10.9.0.0/24 rd 65000:9 label 999 route-map TARGET']);
    await lab.until('the route again', () => lab.snapshot(), (snapshot) => snapshot.routes.some((row) => row.key === '65000:9|10.9.0.0/24'));
    assert.equal((await neighbor()).counters.updatesMalformed, 0);
  });

  it('sends its table again when FRR asks, and gets FRR\'s when it asks itself', async () => {
    const before = await neighbor();
    await lab.ask({ kind: 'show', command: 'clear bgp ipv4 vpn * soft in' });
    await lab.until('a refresh served', neighbor, (seen) => seen.counters.refreshesServed > before.counters.refreshesServed);
    await lab.ask({ kind: 'input', input: { kind: 'refresh', peer: 'frr' } });
    await lab.until('the table again', neighbor, (seen) => seen.counters.updatesIn >= before.counters.updatesIn + 2);
    assert.equal((await lab.snapshot()).routes.filter((row) => row.peer === 'frr').length, 2, 'nothing was swept away');
    assert.equal((await neighbor()).counters.lost, 0);
  });

  it('keeps its SAFI 74 routes to itself while FRR does not speak that family', async () => {
    const route = { family: SDWAN4, nlri: { kind: 'sdwan', routeType: 0xff01, value: '0000fde800000002000000650aff0005' }, nextHop: '10.255.0.5' } as const;
    await lab.ask({ kind: 'originate', route: { ...route, attributes: { extendedCommunities: COMMUNITIES, tunnelEncapsulation: TUNNEL_ENCAPSULATION } } });
    const { families } = await neighbor();
    assert.equal(families.find((family) => family.name === 'ipv4-sdwan')!.sent, 0);
  });

  it('lets FRR keep a route with TUNNEL_ENCAP in a family that both speak', async () => {
    const route = { family: VPN4, nlri: { kind: 'vpn', rd: '65000:2', prefix: '10.3.0.0/24', label: 1027 }, nextHop: '10.255.0.5' } as const;
    await lab.ask({ kind: 'originate', route: { ...route, attributes: { extendedCommunities: COMMUNITIES, tunnelEncapsulation: TUNNEL_ENCAPSULATION } } });
    await lab.until('the route at FRR', () => lab.ask<string>({ kind: 'show', command: 'show bgp ipv4 vpn' }), (text) => text.includes('10.3.0.0/24'));
    assert.equal((await neighbor()).counters.lost, 0, 'the session of the first test still stands');
  });

  // FRR resets a session over an unknown SAFI, so the filter of the test above is what keeps sessions up.
  it('recovers, without a route gone, when FRR was sent SAFI 74 all the same', async () => {
    const update = encodeAnnouncements(
      { family: SDWAN4, nextHop: '10.255.0.5', nlri: [{ kind: 'sdwan', routeType: 0xff01, value: fromHex('0000fde800000002000000650aff0005') }] },
      encodeAttributes({ ...NO_ATTRIBUTES, localPref: 100, tunnelEncapsulation: fromHex(TUNNEL_ENCAPSULATION) }),
      4096,
    );
    lab.outputs.length = 0;
    await lab.ask({ kind: 'raw', hex: toHex(encodeMessage(UPDATE, update.bodies[0]!)) });
    await lab.until('a new session', neighbor, (seen) => seen.counters.lost === 1 && seen.state === 'Established');
    await lab.until('fresh routes', () => lab.snapshot(), (snapshot) => snapshot.routes.filter((row) => row.peer === 'frr' && !row.stale).length === 2);
    assert.deepEqual(lab.outputs.filter((output) => output.kind === 'route'), []);
  });

  it('keeps the routes of a killed FRR as stale and takes them over when it is back', async () => {
    lab.outputs.length = 0;
    await lab.ask({ kind: 'kill-frr' });
    const down = await lab.until('the loss', () => lab.snapshot(), (snapshot) => snapshot.routes.some((row) => row.peer === 'frr' && row.stale));
    assert.equal(down.routes.filter((row) => row.peer === 'frr' && row.stale).length, 2);
    await lab.ask({ kind: 'start-frr', configuration: CONFIGURATION });
    const back = await lab.until('fresh routes', () => lab.snapshot(), (snapshot) => snapshot.routes.filter((row) => row.peer === 'frr' && !row.stale).length === 2);
    assert.equal(back.neighbors[0]!.state, 'Established');
    assert.equal(lab.outputs.filter((output) => output.kind === 'route').length, 0, 'nobody saw a route go or come');
    await lab.until('our routes at FRR', () => lab.ask<string>({ kind: 'show', command: 'show bgp ipv4 vpn' }), (text) => text.includes('10.1.0.0/20'));
  });

  it("reads the operator's words when FRR is shut down", async () => {
    lab.outputs.length = 0;
    await lab.configure(['router bgp 65000', `neighbor ${OUR_ADDRESS} shutdown message back at nine`]);
    await lab.until('the loss', neighbor, (seen) => seen.state !== 'Established');
    const down = lab.outputs.find((output) => output.kind === 'peer-down');
    assert.match(down!.cause, /administrative shutdown.*back at nine/);
    await lab.configure(['router bgp 65000', `no neighbor ${OUR_ADDRESS} shutdown`]);
    await lab.until('the session again', neighbor, (seen) => seen.state === 'Established', 600);
  });

  it("shows FRR the words of our own shutdown", async () => {
    await lab.ask({ kind: 'input', input: { kind: 'stop', peer: 'frr', reason: 'maintenance tonight' } });
    assert.equal((await neighbor()).state, 'Idle');
    await lab.until('the words at FRR', () => lab.ask<string>({ kind: 'show', command: `show bgp neighbors ${OUR_ADDRESS}` }), (text) => /Cease|hard reset|shutdown/i.test(text.slice(text.indexOf('Last reset'))));
  });
});
