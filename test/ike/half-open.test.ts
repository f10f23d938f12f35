import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { DEFAULT_HALF_OPEN_LIMITS } from '../../firmware/ike/endpoint.ts';
import { HalfOpenTable, originOf } from '../../firmware/ike/half-open.ts';

const { perSource = 0, perNetwork } = DEFAULT_HALF_OPEN_LIMITS;

describe('ike/half-open', () => {
  it('counts WAN peers by address or /64, and by the network around it', () => {
    deepStrictEqual(originOf('192.0.2.77', false), { source: '192.0.2.77', network: '192.0.2.0/24' });
    deepStrictEqual(originOf('2001:db8:1:2::5', false), { source: '2001:db8:1:2::/64', network: '2001:db8:1::/48' });
    const table = new HalfOpenTable(DEFAULT_HALF_OPEN_LIMITS);
    for (let i = 0; i < perSource; i++) table.add(originOf('192.0.2.1', false));
    strictEqual(table.judge(originOf('192.0.2.1', false)), 'full');
    strictEqual(table.judge(originOf('192.0.2.99', false)), 'admit');
    for (let i = perSource; i < perNetwork; i++) table.add(originOf(`192.0.2.${1 + i}`, false));
    strictEqual(table.judge(originOf('192.0.2.99', false)), 'full');
    strictEqual(table.judge(originOf('192.0.3.99', false)), 'admit');
  });

  it('counts overlay peers one by one, so that a whole pool may come back at once', () => {
    const table = new HalfOpenTable(DEFAULT_HALF_OPEN_LIMITS);
    for (let i = 1; i <= 60; i++) {
      strictEqual(table.judge(originOf(`10.202.0.${i}`, true)), 'admit');
      table.add(originOf(`10.202.0.${i}`, true));
    }
  });

  it('admits again what was full when half-open SAs end', () => {
    const table = new HalfOpenTable({ cookieThreshold: 100, total: 2, perNetwork: 10 });
    const [a, b, c] = ['192.0.2.1', '198.51.100.1', '203.0.113.1'].map((address) => originOf(address, false));
    table.add(a!);
    table.add(b!);
    strictEqual(table.judge(c!), 'full');
    table.remove(a!);
    strictEqual(table.judge(c!), 'admit');
  });
});
