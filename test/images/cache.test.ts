import assert from 'node:assert/strict';
import { existsSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beginBuilding, cachePath, endBuilding, isCached, keepBuilt } from '../../images/cache.ts';
import { SystemClock } from '../../platform/time.ts';

describe('the cache of what is built once', () => {
  const name = `test-${process.pid}`;
  const now = new SystemClock().unixMs();
  const marked = (building: string): string => join(building, 'mark');

  afterEach(() => endBuilding(cachePath(name)));

  it('has nothing of a builder that did not come to its end', () => {
    endBuilding(beginBuilding(name, now));
    assert.equal(isCached(name), false);
  });

  it('keeps what the first of two builders made, and nothing of the other', () => {
    const [first, second] = [beginBuilding(name, now), beginBuilding(name, now)];
    writeFileSync(marked(first), '');
    for (const building of [first, second]) {
      keepBuilt(building, name);
      endBuilding(building);
    }
    assert.ok(existsSync(marked(cachePath(name))));
    assert.equal(existsSync(second), false);
  });

  it('takes the newer one where that was asked for', () => {
    keepBuilt(beginBuilding(name, now), name);
    const fresh = beginBuilding(name, now);
    writeFileSync(marked(fresh), '');
    keepBuilt(fresh, name, true);
    assert.ok(existsSync(marked(cachePath(name))));
  });

  it('loses the remains of a builder that was killed, and not the work of one that is busy', () => {
    const [dead, busy] = [beginBuilding(name, now - 7_200_000), beginBuilding(name, now)];
    // As when the first package of a root is unpacked.
    utimesSync(busy, new Date(0), new Date(0));
    endBuilding(beginBuilding(name, now));
    assert.deepEqual([existsSync(dead), existsSync(busy)], [false, true]);
    endBuilding(busy);
  });
});
