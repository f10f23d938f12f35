// The hot path makes nothing for the garbage collector: a scavenge in the middle of a burst is a latency that users see.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

describe('garbage collection', () => {
  it('does not happen while a million packets pass each way', function () {
    this.timeout(60_000);
    const script = fileURLToPath(new URL('million.ts', import.meta.url));
    const said = execFileSync(process.execPath, ['--expose-gc', '--disable-warning=ExperimentalWarning', script], { encoding: 'utf8' });
    const { received, ...collections } = JSON.parse(said) as Record<string, number>;
    assert.ok(received! >= 1_000_000, `${received} packets were good`);
    assert.deepEqual(collections, { out: 0, superOut: 0, into: 0, handed: 0, superHanded: 0 });
  });
});
