import { deepStrictEqual, equal } from 'node:assert/strict';
import { overlayForwarding, overlayMtu } from '../../firmware/sdwan/overlay.ts';
import type { OverlayInput } from '../../firmware/sdwan/overlay.ts';
import { buildCircuitRoute } from '../../firmware/sdwan/circuit-route.ts';
import type { LocalCircuit } from '../../firmware/sdwan/circuit-route.ts';
import { fakeCrl } from '../../platform/crypto-fake.ts';
import { PeerCircuits } from '../../firmware/sdwan/peer-circuits.ts';
import { Box, settle } from './box.ts';
import { TENANT, UNIX_MS, fakeCredentials, nodeIdentity } from './credentials.ts';

const { trust, signers } = fakeCredentials([101, 102, 103]);

function circuit(id: number, transport: string, address: string, more: Partial<LocalCircuit> = {}): LocalCircuit {
  return { id, transport, interfaceName: `vni-0/${id - 1}`, local: { address, port: 4790 }, observed: undefined, secondFamily: false, ...more };
}

function route(siteId: number, of: LocalCircuit, nodeSite = siteId): { from: string; nlri: Uint8Array; tunnelEncapsulation: Uint8Array } {
  return { from: 'c1', ...buildCircuitRoute(trust.suite, signers.get(siteId)!, { ...nodeIdentity(siteId), nodeId: nodeIdentity(nodeSite).nodeId }, of) };
}

function revocationOf(siteId: number): Uint8Array {
  const checked = trust.suite.checkChain({ chain: [signers.get(siteId)!.certificate], anchors: trust.anchors, unixMs: UNIX_MS });
  return fakeCrl({ revokedSerialNumbers: checked.ok ? [checked.serialNumber] : [], revokedUnixMs: UNIX_MS, nextUpdateUnixMs: UNIX_MS + 1 });
}

function table(): PeerCircuits {
  return new PeerCircuits({ trust, tenant: TENANT, unixMs: () => UNIX_MS });
}

function input(change: Partial<OverlayInput> = {}): OverlayInput {
  const a = new Box(101, signers.get(101)!, trust).start();
  const b = new Box(102, signers.get(102)!, trust).start();
  settle(a, b);
  const circuits = table();
  circuits.update(route(102, circuit(1, 'INTERNET', '192.168.1.2', { observed: { address: '198.51.100.2', port: 61000 } })));
  circuits.update(route(102, circuit(2, 'MPLS', '172.16.0.2')));
  circuits.update(route(102, circuit(1, 'INTERNET', '2001:db8::2', { secondFamily: true })));
  return {
    tenant: TENANT, encryptedInside: 7, lanInside: 8, associations: a.peers, peerCircuits: circuits.all(),
    circuits: [
      { outside: 20, transport: 'MPLS', addresses: ['172.16.0.1'] },
      { outside: 21, transport: 'INTERNET', addresses: ['192.0.2.1', '2001:db8::1'] },
    ],
    vpnRoutes: [
      { prefix: '10.2.0.0/16', nextHop: '10.255.0.2', label: 1024 },
      { prefix: '10.3.0.0/16', nextHop: '10.255.0.3', label: 1024 },
      { prefix: '10.254.0.2/32', nextHop: '10.255.0.2', label: 0 },
    ],
    tunnelId: (nodeId) => Number(nodeId.split('.').at(-1)) + 500,
    ...change,
  };
}

describe('sdwan/overlay', () => {
  it('makes one tunnel per peer with every path, those within one transport first', () => {
    const given = input();
    const { tunnels } = overlayForwarding(given);
    equal(tunnels.length, 1);
    const { tx, rx, paths, ...tunnel } = tunnels[0]!;
    deepStrictEqual(tunnel, { id: 502, tenant: 2, peer: 'b102', kind: 'vxlan-esp', inside: 7, mtu: 1394, probesMtu: true, idleDummyMs: 2000 });
    equal(tx, given.associations[0]!.tx);
    deepStrictEqual(rx, given.associations[0]!.associations.map((pair) => pair.rx));
    deepStrictEqual(paths, [
      { outside: 20, remote: { address: '172.16.0.2', port: 4790 } },
      { outside: 21, remote: { address: '198.51.100.2', port: 61000 } },
      { outside: 21, remote: { address: '2001:db8::2', port: 4790 } },
      { outside: 20, remote: { address: '198.51.100.2', port: 61000 } },
      { outside: 21, remote: { address: '172.16.0.2', port: 4790 } },
    ]);
  });

  it('routes LAN prefixes by VPN label and the Node-ID by explicit null, and nothing to unknown peers', () => {
    deepStrictEqual(overlayForwarding(input()).routes, [
      { inside: 7, prefix: '10.255.0.2/32', tunnel: 502, label: 0 },
      { inside: 8, prefix: '10.2.0.0/16', tunnel: 502, label: 1024 },
      { inside: 7, prefix: '10.254.0.2/32', tunnel: 502, label: 0 },
    ]);
  });

  it('gives a peer without a sending SA no route', () => {
    const given = input();
    const { tunnels, routes } = overlayForwarding({ ...given, associations: given.associations.map((peer) => ({ ...peer, tx: undefined })) });
    equal(tunnels[0]!.tx, undefined);
    deepStrictEqual(routes, []);
    deepStrictEqual(overlayForwarding({ ...given, associations: given.associations.map((peer) => ({ ...peer, associations: [] })) }), { tunnels: [], routes: [] });
  });

  it('keeps LAN routes out of a tenant without LAN', () => {
    deepStrictEqual(overlayForwarding(input({ lanInside: undefined })).routes.map((r) => r.inside), [7, 7]);
  });

  it('computes the MTU from the real header', () => {
    deepStrictEqual([overlayMtu(1500, false), overlayMtu(1500, true), overlayMtu(1501, false), overlayMtu(1504, false)], [1414, 1394, 1414, 1418]);
    equal(overlayForwarding(input({ outerBytes: () => 1400 })).tunnels[0]!.mtu, overlayMtu(1400, true));
  });
});

describe('sdwan/peer-circuits', () => {
  it('keeps a circuit until no Controller shows it', () => {
    const circuits = table();
    const shown = route(102, circuit(1, 'INTERNET', '192.0.2.2'));
    equal(circuits.update(shown), undefined);
    equal(circuits.update({ ...shown, from: 'c2' }), undefined);
    circuits.update({ ...shown, tunnelEncapsulation: undefined });
    equal(circuits.all().length, 1);
    circuits.update({ ...shown, from: 'c2', tunnelEncapsulation: undefined });
    deepStrictEqual(circuits.all(), []);
  });

  it('takes the newest endpoint of a circuit', () => {
    const circuits = table();
    circuits.update(route(102, circuit(1, 'INTERNET', '192.0.2.2')));
    circuits.update(route(102, circuit(1, 'INTERNET', '192.0.2.2', { observed: { address: '203.0.113.9', port: 40000 } })));
    deepStrictEqual(circuits.all(), [{
      nodeId: '10.255.0.2', siteId: 102, name: 'b102', circuitId: 1, portLocalId: 1, transport: 'INTERNET', interfaceName: 'vni-0/0',
      endpoint: { address: '203.0.113.9', port: 40000 }, local: { address: '192.0.2.2', port: 4790 }, natType: 6,
    }]);
  });

  it('tells both families of one circuit apart', () => {
    const circuits = table();
    circuits.update(route(102, circuit(3, 'INTERNET', '192.0.2.2')));
    circuits.update(route(102, circuit(3, 'INTERNET', '2001:db8::2', { secondFamily: true })));
    deepStrictEqual(circuits.all().map((c) => [c.circuitId, c.portLocalId]), [[3, 3], [3, 0x103]]);
  });

  it('refuses changed routes and foreign nodes by cause, and keeps what another Controller shows', () => {
    const circuits = table();
    const shown = route(102, circuit(1, 'INTERNET', '192.0.2.2'));
    circuits.update({ ...shown, from: 'c2' });
    const tampered = shown.tunnelEncapsulation.slice();
    tampered[16] = tampered[16]! ^ 1;
    equal(circuits.update({ ...shown, tunnelEncapsulation: tampered }), 'its signature does not fit its content');
    equal(circuits.update(route(103, circuit(1, 'INTERNET', '192.0.2.3'), 102)), 'its Node-ID belongs to site 102');
    equal(circuits.refused, 2);
    deepStrictEqual(circuits.all().map((c) => c.endpoint.address), ['192.0.2.2']);
  });

  it('forgets what a certificate has signed that is revoked now, and nothing else', () => {
    const crls: Uint8Array[] = [];
    const circuits = new PeerCircuits({ trust: { ...trust, revocation: () => ({ crls, policy: 'soft' }) }, tenant: TENANT, unixMs: () => UNIX_MS });
    for (const site of [102, 103]) circuits.update(route(site, circuit(1, 'INTERNET', `192.0.2.${site}`)));
    const good = route(102, circuit(1, 'INTERNET', '192.0.2.102'));
    circuits.update({ ...good, from: 'c2' });
    circuits.dropRevoked();
    equal(circuits.all().length, 2);
    crls.push(revocationOf(102));
    circuits.dropRevoked();
    deepStrictEqual(circuits.all().map((c) => c.siteId), [103]);
    equal(circuits.update(route(102, circuit(1, 'INTERNET', '192.0.2.102')))?.startsWith('its certificate is not trusted: certificate was revoked on'), true);
  });

  it('limits the circuits of one node', () => {
    const circuits = table();
    const causes = Array.from({ length: 33 }, (_, i) => circuits.update(route(102, circuit(i + 1, 'INTERNET', '192.0.2.2'))));
    deepStrictEqual(causes.filter((cause) => cause !== undefined), ['32 circuits of the node are known already']);
  });
});
