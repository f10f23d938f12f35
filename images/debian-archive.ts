// Where this machine's apt takes Debian from: the one source of everything that is built here.
import { readFileSync } from 'node:fs';
import { OperationalError } from '../platform/errors.ts';
import { hostCommand } from '../provisioning/lab/host-command.ts';

/** The URI that this machine's apt takes Debian's main archive from. Throws OperationalError when it has none. */
export function archiveUri(): string {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const lines = hostCommand('apt-get', ['indextargets', '--format', '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)', 'Created-By: Packages']).split('\n');
  const uri = lines.map((line) => line.split(' ')).find(([origin, codename, component]) => origin === 'Debian' && codename === release && component === 'main')?.[3];
  if (uri === undefined) throw new OperationalError('no-archive', 'apt knows no Debian archive with component main', 'Run apt-get update as root and look at its sources');
  return uri;
}
