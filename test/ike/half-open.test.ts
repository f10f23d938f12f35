import { strictEqual } from 'node:assert/strict';
import { DEFAULT_HALF_OPEN_LIMITS, HalfOpenTable, originOf } from '../../firmware/ike/half-open.ts';

describe('ike/half-open', () => {
  it('counts WAN peers by their network', () => {
    strictEqual(originOf('192.0.2.77', false), '192.0.2.0/24');
    strictEqual(originOf('2001:db8::5', false), '2001:db8::/64');
    const table = new HalfOpenTable(DEFAULT_HALF_OPEN_LIMITS);
    for (let i = 1; i <= DEFAULT_HALF_OPEN_LIMITS.perNetwork; i++) table.add(originOf(`192.0.2.${i}`, false));
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
    table.add('a');
    table.add('b');
    strictEqual(table.judge('c'), 'full');
    table.remove('a');
    strictEqual(table.judge('c'), 'admit');
  });
});
