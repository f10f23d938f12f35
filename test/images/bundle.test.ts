// Update bundles as `npm run bundle` makes them: two of the same slot differ in their signature only.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { architectureOf } from '../../images/architecture.ts';
import { makeBundle } from '../../images/bundle.ts';
import { updateAuthority } from '../../images/update-authority.ts';
import { SeededRandom } from '../../platform/random.ts';
import { hostCommand } from '../../provisioning/lab/host-command.ts';

interface Info {
  readonly compatible: string;
  readonly version: string;
  readonly images: readonly Readonly<Record<string, { readonly checksum: string; readonly size: number }>>[];
}

describe('update bundles', function () {
  this.timeout(60_000);
  const scratch = mkdtempSync(join(tmpdir(), 'selvage-bundles-'));
  const slot = join(scratch, 'slot');
  const bundles = ['first.raucb', 'second.raucb'].map((name) => join(scratch, name));

  before(() => {
    writeFileSync(slot, new SeededRandom(5).bytes(3_000_000));
    const signer = updateAuthority(join(scratch, 'authority'));
    for (const bundle of bundles) makeBundle({ architecture: architectureOf('aarch64'), version: '1.2.3', slot, signer }, bundle);
  });

  after(() => rmSync(scratch, { recursive: true, force: true }));

  it('of two builds are identical in payload: the octets of the slot, and what their manifests say of them', () => {
    const [first, second] = bundles.map((bundle) => JSON.parse(hostCommand('rauc', ['info', '--no-verify', '--output-format=json', bundle])) as Info);
    assert.deepEqual(second, first);
    assert.deepEqual([first!.compatible, first!.version], ['selvage-aarch64', '1.2.3']);
    for (const bundle of bundles) {
      const { stdout } = spawnSync('unsquashfs', ['-cat', bundle, 'rootfs.img'], { maxBuffer: 1 << 26 });
      assert.ok(stdout.equals(readFileSync(slot)));
    }
  });
});
