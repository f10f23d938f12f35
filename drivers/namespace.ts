// How the namespace of a virtual router comes and goes. A process with a mount table of its own cannot make one that the
// operator's `ip netns exec` finds, so there it leaves a request for systemd/make-namespaces, which runs outside.
import { statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperationalError } from '../platform/errors.ts';
import { sleep } from '../platform/time.ts';
import { run } from './iproute.ts';
import { checkVrName, namespacePath } from './vr-name.ts';

/** statfs(2)'s type of what is mounted on a namespace's name; a plain file stands there until it is. */
const NSFS_MAGIC = 0x6e736673;
const POLL_MS = 20;
const REQUEST_TIMEOUT_MS = 20_000;

function exists(vr: string): boolean {
  try {
    return statfsSync(namespacePath(vr)).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

/** How namespaces come and go; both do nothing when there is nothing to do, and reject with an OperationalError. */
export interface NamespaceKeeper {
  make(vr: string): Promise<void>;
  remove(vr: string): Promise<void>;
}

/** By this process itself. */
export const OWN_NAMESPACES: NamespaceKeeper = {
  async make(vr) {
    if (!exists(vr)) await run('ip', ['netns', 'add', vr]);
  },
  async remove(vr) {
    if (exists(vr)) await run('ip', ['netns', 'delete', vr]);
  },
};

/** Asked for by empty files in `directory`: of a namespace's name to make it, of that name and `,remove` to remove it. */
export function requestedNamespaces(directory: string): NamespaceKeeper {
  return {
    make: (vr) => request(directory, vr, '', true),
    remove: (vr) => request(directory, vr, ',remove', false),
  };
}

async function request(directory: string, vr: string, suffix: string, wanted: boolean): Promise<void> {
  if (exists(vr) === wanted) return;
  const file = join(directory, checkVrName(vr) + suffix);
  try {
    writeFileSync(file, '');
  } catch (error) {
    const { code = 'UNKNOWN', message } = error as NodeJS.ErrnoException;
    throw new OperationalError(code, `cannot ask by ${file} for virtual router ${vr}: ${message}`, 'run: systemd-tmpfiles --create', error);
  }
  for (let waitedMs = 0; exists(vr) !== wanted; waitedMs += POLL_MS) {
    if (waitedMs >= REQUEST_TIMEOUT_MS) {
      const what = wanted ? 'made' : 'removed';
      throw new OperationalError('VR_REQUEST', `nobody ${what} the virtual router ${vr} as ${file} asks`, 'see: systemctl status selvage-namespaces.path selvage-namespaces.service');
    }
    await sleep(POLL_MS);
  }
}
