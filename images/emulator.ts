// QEMU of Debian 13, beside this machine's own release: under QEMU 7.2 of Debian 12 the kernel of a virtual machine now and
// then found its memory damaged while much went through its disk and its network card.
import { join } from 'node:path';
import { isCached } from './cache.ts';
import { keptRoot } from './debian-root.ts';

const RELEASE = 'trixie';
const REVISION = 1;
/** Of this machine, by the name that Node has for it: the dynamic loader, and where the libraries are. */
const HOSTS: Readonly<Partial<Record<NodeJS.Architecture, { readonly loader: string; readonly libraries: string }>>> = {
  x64: { loader: 'usr/lib64/ld-linux-x86-64.so.2', libraries: 'usr/lib/x86_64-linux-gnu' },
  arm64: { loader: 'usr/lib/ld-linux-aarch64.so.1', libraries: 'usr/lib/aarch64-linux-gnu' },
};
const PACKAGES = ['qemu-system-x86', 'qemu-system-arm'];
const NAME = `${RELEASE}-${process.arch}-${PACKAGES.join('-')}-${REVISION}`;

/** Fetches the emulators where the machine has none yet; `say` tells before that. Takes less than a minute. */
export function prepareEmulators(say: (line: string) => void): void {
  if (!isCached(NAME)) say(`QEMU of Debian ${RELEASE} is fetched`);
  root();
}

/** How a program of QEMU is started, e.g. `qemu-system-x86_64`: its own loader with its own libraries, then the program. */
export function emulatorCommand(program: string): string[] {
  const { loader, libraries } = HOSTS[process.arch]!;
  return [join(root(), loader), '--library-path', join(root(), libraries), join(root(), 'usr/bin', program), '-L', join(root(), 'usr/share/qemu')];
}

function root(): string {
  return keptRoot(NAME, RELEASE, ['--variant=extract', `--include=${PACKAGES.join(',')}`]);
}
