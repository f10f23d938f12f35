import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { originOf } from '../../firmware/ike/half-open.ts';
import { InitRate } from '../../firmware/ike/init-rate.ts';
import type { InitRates } from '../../firmware/ike/init-rate.ts';
import { RationedLog } from '../../firmware/ike/rationed-log.ts';
import type { Fields } from '../../platform/log.ts';
import { instant } from '../../platform/time.ts';

const RATES: InitRates = { perSource: { perSecond: 1, burst: 3 }, perNetwork: { perSecond: 2, burst: 5 }, total: { perSecond: 10, burst: 10 } };

/** How many of `count` requests of an address pass at one moment. */
function passes(rate: InitRate, address: string, count: number, atMs = 0): number {
  return Array.from({ length: count }, () => rate.take(originOf(address, false), instant(atMs))).filter(Boolean).length;
}

describe('ike/init-rate', () => {
  it('gives every source its burst and then its rate', () => {
    const rate = new InitRate(RATES);
    strictEqual(passes(rate, '192.0.2.1', 10), 3);
    strictEqual(passes(rate, '192.0.2.1', 10, 2_000), 2);
    strictEqual(passes(rate, '192.0.2.1', 10, 60_000), 3);
  });

  it('bounds a network as a whole, and leaves others alone', () => {
    const rate = new InitRate(RATES);
    deepStrictEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3', '198.51.100.1'].map((address) => passes(rate, address, 10)), [3, 2, 0, 3]);
  });

  it('counts the addresses of one IPv6 /64 together', () => {
    const rate = new InitRate(RATES);
    deepStrictEqual(['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1'].map((address) => passes(rate, address, 10)), [3, 0, 2]);
  });

  it('turns to cookies when half of what there is in all is spent, and to silence when it is gone', () => {
    const rate = new InitRate(RATES);
    const seen: string[] = [];
    for (let i = 0; i < 11; i++) {
      seen.push(rate.judge(instant(0)));
      rate.spendTotal(instant(0));
    }
    deepStrictEqual(seen, [...Array.from({ length: 5 }, () => 'admit'), ...Array.from({ length: 5 }, () => 'cookie'), 'full']);
    strictEqual(rate.judge(instant(1_000)), 'admit');
  });

  it('remembers a bounded number of sources', () => {
    const rate = new InitRate({ ...RATES, perNetwork: { perSecond: 1e6, burst: 1e6 } });
    strictEqual(passes(rate, '10.0.0.1', 3), 3);
    for (let i = 0; i < 4_096; i++) passes(rate, `172.16.${i >> 8}.${i & 255}`, 1);
    // It was forgotten, so it has its burst again.
    strictEqual(passes(rate, '10.0.0.1', 3), 3);
  });
});

describe('ike/rationed-log', () => {
  it('writes some lines at once, then one every two seconds that says what was left out', () => {
    const lines: Fields[] = [];
    const log = new RationedLog({ log: (_level, _sentence, fields) => void lines.push(fields) });
    for (let i = 0; i < 500; i++) log.write('warning', 'IKE half-open limit reached', { remote: `${i}` }, instant(i * 20));
    strictEqual(lines.length, 24);
    deepStrictEqual(lines[20], { remote: '100', leftOut: 80 });
    log.write('warning', 'IKE_SA_INIT rate limit reached', { remote: 'other' }, instant(0));
    deepStrictEqual(lines.at(-1), { remote: 'other' });
  });
});
