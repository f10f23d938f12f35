import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { nextBootCount } from '../../firmware/services/boot.ts';
import { nextTenantStart, saveTenantStart } from '../../firmware/services/rekey-state.ts';
import { MemoryStore } from '../../platform/store.ts';

describe('services/rekey-state', () => {
  it('counts boots, durably', () => {
    const store = new MemoryStore();
    strictEqual(nextBootCount(store), 1);
    strictEqual(nextBootCount(store), 2);
  });

  it('goes on with the counter within a boot, from 0 after one, and never forgets epochs', () => {
    const store = new MemoryStore();
    deepStrictEqual(nextTenantStart(store, 2, 1), { bootCount: 1, counter: 0, epochs: {} });
    saveTenantStart(store, 2, { bootCount: 1, counter: 5, epochs: { '10.0.0.2': 3 } });
    deepStrictEqual(nextTenantStart(store, 2, 1), { bootCount: 1, counter: 5, epochs: { '10.0.0.2': 3 } });
    deepStrictEqual(nextTenantStart(store, 2, 2), { bootCount: 2, counter: 0, epochs: { '10.0.0.2': 3 } });
    deepStrictEqual(nextTenantStart(store, 3, 2), { bootCount: 2, counter: 0, epochs: {} });
  });
});
