import { deepStrictEqual } from 'node:assert/strict';
import { addressesGiven } from '../../drivers/given-addresses.ts';
import { planLines } from '../../drivers/kernel-diff.ts';
import type { VrPlan } from '../../drivers/port.ts';

const INFO = [
  { local: '192.0.2.50', prefixlen: 24, scope: 'global', dynamic: true, valid_life_time: 90 },
  { local: 'fe80::1', prefixlen: 64, scope: 'link', valid_life_time: 4294967295 },
  { local: '2001:db8::a', prefixlen: 64, scope: 'global', valid_life_time: 4294967295 },
  { local: '2001:db8::b', prefixlen: 64, scope: 'global', deprecated: true, valid_life_time: 60 },
  { local: '2001:db8::c', prefixlen: 64, scope: 'global', tentative: true },
  { local: '2001:db8::d', prefixlen: 64, scope: 'global', dadfailed: true, tentative: true },
  { local: '2001:db8::e', prefixlen: 64, scope: 'global', temporary: true },
] as const;
const ROUTES = [{ gateway: 'fe80::2', metric: 2002 }, { gateway: '192.0.2.1', metric: 1002 }, { gateway: 'fe80::3', metric: 1002 }, {}];

describe('addresses that a network has given', () => {
  it('are those that can be used, of the families asked for, with next hops by preference', () => {
    const device = { flags: ['UP', 'LOWER_UP'], addr_info: INFO };
    deepStrictEqual(addressesGiven([6], [{}, device], ROUTES), {
      carrier: true,
      addresses: [
        { address: '2001:db8::a/64', deprecated: false, validSeconds: undefined },
        { address: '2001:db8::b/64', deprecated: true, validSeconds: 60 },
      ],
      gateways: ['fe80::3', 'fe80::2'],
    });
    deepStrictEqual(addressesGiven([4], [device], ROUTES), { carrier: true, addresses: [{ address: '192.0.2.50/24', deprecated: false, validSeconds: 90 }], gateways: ['192.0.2.1'] });
  });

  it('are none on a port without carrier, or that is not there', () => {
    deepStrictEqual(addressesGiven([4], [{ flags: ['UP', 'NO-CARRIER'], addr_info: [] }], []), { carrier: false, addresses: [], gateways: [] });
    deepStrictEqual(addressesGiven([4, 6], [], []), { carrier: false, addresses: [], gateways: [] });
  });

  it('stay when the kernel is brought to a plan, though they do not end, and only in the families that the plan leaves alone', () => {
    const device = { ifname: 'vni-0_0', mtu: 1500, flags: ['UP'], addr_info: [{ local: '192.0.2.50', prefixlen: 24, scope: 'global' }, { local: '2001:db8::a', prefixlen: 64, scope: 'global' }] };
    const plan = (automatic: readonly (4 | 6)[]): VrPlan => ({ vr: 'W', devices: [{ device: 'vni-0_0', addresses: [], mtu: 1500, automatic }], routes: [], forwarding: false });
    const lines = (automatic: readonly (4 | 6)[]): string[] => planLines(plan(automatic), undefined, { devices: [device], routes4: [], routes6: [] });
    deepStrictEqual(lines([4, 6]), []);
    deepStrictEqual(lines([4]), ['addr del 2001:db8::a/64 dev vni-0_0']);
  });
});
