// How the namespace of a virtual router comes to be. A process with a mount table of its own cannot make one that the
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

/** Makes the namespace unless it is there. Rejects with an OperationalError. */
export async function makeNamespace(vr: string): Promise<void> {
  if (!exists(vr)) await run('ip', ['netns', 'add', vr]);
}

/** Asks for the namespace by an empty file of its name in `directory`, and waits for it. Rejects with an OperationalError. */
export async function requestNamespace(directory: string, vr: string): Promise<void> {
  if (exists(vr)) return;
  const request = join(directory, checkVrName(vr));
  try {
    writeFileSync(request, '');
  } catch (error) {
    const { code = 'UNKNOWN', message } = error as NodeJS.ErrnoException;
    throw new OperationalError(code, `cannot ask for virtual router ${vr}: ${message}`, 'run: systemd-tmpfiles --create', error);
  }
  for (let waitedMs = 0; !exists(vr); waitedMs += POLL_MS) {
    if (waitedMs >= REQUEST_TIMEOUT_MS) {
      throw new OperationalError('VR_NOT_MADE', `nobody made the virtual router ${vr} that ${request} asks for`, 'see: systemctl status selvage-namespaces.path selvage-namespaces.service');
    }
    await sleep(POLL_MS);
  }
}
