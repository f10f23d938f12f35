// Files of a Debian release beside this machine's own, from the machine's own package source.
import { spawnSync } from 'node:child_process';
import { OperationalError } from '../platform/errors.ts';
import { SystemClock } from '../platform/time.ts';
import { beginBuilding, cachePath, endBuilding, isCached, keepBuilt } from './cache.ts';
import { archiveUri } from './debian-archive.ts';

const BUILD_TIMEOUT_MS = 600_000;

/**
 * Path of the root of this release (`trixie`, `sid`), built by mmdebstrap with these options where the cache has none of that
 * name. Throws OperationalError when the archive does not carry the release.
 */
export function keptRoot(name: string, release: string, choice: readonly string[]): string {
  if (isCached(name)) return cachePath(name);
  const building = beginBuilding(name, new SystemClock().unixMs());
  try {
    const args = ['--mode=root', '--quiet', ...choice, '--aptopt=Acquire::Check-Valid-Until "false"'];
    const result = spawnSync('mmdebstrap', [...args, release, building, archiveUri()], { encoding: 'utf8', timeout: BUILD_TIMEOUT_MS });
    if (result.status !== 0) {
      throw new OperationalError('mmdebstrap', `mmdebstrap ${release}: ${result.error?.message ?? result.stderr.slice(-2000)}`, 'Check that the package source of this machine carries this release');
    }
    keepBuilt(building, name);
  } finally {
    endBuilding(building);
  }
  return cachePath(name);
}
