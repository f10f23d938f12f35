import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { nextBootCount } from '../../firmware/services/boot.ts';
import { nextTenantStart, saveTenantStart } from '../../firmware/services/rekey-state.ts';
import { MemoryStore } from '../../platform/store.ts';

describe('services/rekey-state', () => {
  it('counts boots, durably', () => {
    const store = new MemoryStore();
    strictEqual(nextBootCount(store, 7_900), 7);
    strictEqual(nextBootCount(store, 7_900), 8);
    strictEqual(nextBootCount(store, 0), 9);
    strictEqual(nextBootCount(store, 60_000), 60);
  });

  it('counts higher than before on a box that has forgotten its count', () => {
    const before = new MemoryStore();
    nextBootCount(before, 1_000_000);
    const last = nextBootCount(before, 1_000_500);
    ok(nextBootCount(new MemoryStore(), 1_010_000) > last);
  });

  it('stays within the 32 bits that the wire has', () => strictEqual(nextBootCount(new MemoryStore(), 2 ** 53), 2 ** 32 - 1));

  it('goes on with the counter within a boot, from 0 after one, and never forgets epochs', () => {
    const store = new MemoryStore();
    deepStrictEqual(nextTenantStart(store, 2, 1), { bootCount: 1, counter: 0, epochs: {} });
    saveTenantStart(store, 2, { bootCount: 1, counter: 5, epochs: { '10.0.0.2': 3 } });
    deepStrictEqual(nextTenantStart(store, 2, 1), { bootCount: 1, counter: 5, epochs: { '10.0.0.2': 3 } });
    deepStrictEqual(nextTenantStart(store, 2, 2), { bootCount: 2, counter: 0, epochs: { '10.0.0.2': 3 } });
    deepStrictEqual(nextTenantStart(store, 3, 2), { bootCount: 2, counter: 0, epochs: {} });
  });
});
