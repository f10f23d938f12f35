import { equal } from 'node:assert/strict';
import { encodeSdwanItem } from '../../firmware/wire/bgp/sdwan.ts';
import type { SdwanNlri } from '../../firmware/wire/bgp/sdwan.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { acceptSdwanRoute, acceptVpnRoute } from '../../firmware/sdwan/route-policy.ts';

const BRANCH = { siteId: 101, nodeId: '10.255.0.1', routeDistinguisher: '65000:2', routeTarget: '65000:2' };
const KEY: SdwanNlri = { kind: 'key', rd: '65000:2', color: 101, nodeId: addressBytes('10.255.0.1') };
const CIRCUIT: SdwanNlri = { kind: 'circuit', portLocalId: 1, color: 101, nodeId: addressBytes('10.255.0.1') };

function verdict(nlri: SdwanNlri, routeTargets: readonly string[] = ['65000:2']): string | undefined {
  return acceptSdwanRoute(BRANCH, { item: encodeSdwanItem(nlri), routeTargets });
}

describe('sdwan/route-policy', () => {
  it("takes a branch's own key and circuit routes", () => {
    equal(verdict(KEY), undefined);
    equal(verdict(CIRCUIT), undefined);
  });

  it('binds Node-ID, site, route distinguisher and route target to the session', () => {
    equal(verdict({ ...KEY, nodeId: addressBytes('10.255.0.2') }), "its Node-ID is 10.255.0.2, the session's is 10.255.0.1");
    equal(verdict({ ...CIRCUIT, color: 102 }), "its site is 102, the session's is 101");
    equal(verdict({ ...KEY, rd: '65000:3' }), "its route distinguisher is 65000:3, the session's is 65000:2");
    equal(verdict(KEY, ['65000:2', '65000:3']), "its route target 65000:3 is not the tenant's 65000:2");
    equal(verdict(KEY, []), 'it has no route target');
  });

  it('takes directives and unknown route types from no branch', () => {
    equal(verdict({ kind: 'directive', rd: '65000:2', nodeId: addressBytes('10.255.0.1') }), 'only Controllers order rekeys');
    equal(verdict({ kind: 'unknown', routeType: 9, value: new Uint8Array(4) }), 'route type 9 names no node that could be checked');
  });

  it('refuses a malformed item by its cause', () => {
    equal(acceptSdwanRoute(BRANCH, { item: Uint8Array.of(0, 1, 0, 8), routeTargets: ['65000:2'] }), 'malformed: SD-WAN NLRI claims 8 bits, 0 follow');
  });

  it('holds VPN routes to the Node-ID as next hop and to the tenant', () => {
    const route = { routeDistinguisher: '65000:2', nextHop: '10.255.0.1', routeTargets: ['65000:2'] };
    equal(acceptVpnRoute(BRANCH, route), undefined);
    equal(acceptVpnRoute(BRANCH, { ...route, nextHop: '10.255.0.2' }), "its next hop is 10.255.0.2, the session's Node-ID is 10.255.0.1");
    equal(acceptVpnRoute(BRANCH, { ...route, routeDistinguisher: '65000:3' }), "its route distinguisher is 65000:3, the session's is 65000:2");
    equal(acceptVpnRoute(BRANCH, { ...route, routeTargets: ['65000:9'] }), "its route target 65000:9 is not the tenant's 65000:2");
  });
});
