// The partition that the firmware starts from: GRUB under the removable-media path, how it chooses the slot, and its
// variables.
import { copyFileSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fixedUuid, runCommand } from './build.ts';
import type { Build } from './build.ts';
import { imagePlatform } from './image-platform.ts';
import { PARTITIONS } from './partitions.ts';
import { GRUB_ENVIRONMENT } from './root-tree.ts';

const SELECT_SLOT = fileURLToPath(new URL('grub/select-slot.cfg', import.meta.url));
const MODULES = ['part_gpt', 'fat', 'squash4', 'gzio', 'normal', 'configfile', 'linux', 'loadenv', 'test', 'regexp', 'echo', 'serial', 'terminal', 'sleep', 'reboot'];

const ENVIRONMENT_BYTES = 1024;
const ENVIRONMENT = { ORDER: 'A B', A_OK: '1', A_TRY: '0', B_OK: '0', B_TRY: '0' };

/** GRUB's environment block: fixed size, filled with #. */
function environmentBlock(): string {
  const lines = Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}\n`);
  return `# GRUB Environment Block\n${lines.join('')}`.padEnd(ENVIRONMENT_BYTES, '#');
}

/** Makes the file system in `file`, with the GRUB of the root's own packages. */
export async function makeEsp(build: Build, root: string, file: string): Promise<void> {
  build.print('boot partition: GRUB');
  const { bootFile, grubFormat } = imagePlatform(build.architecture);
  const tree = join(build.work, 'esp');
  const folder = join(tree, 'EFI/BOOT');
  mkdirSync(folder, { recursive: true });
  // Without a prefix GRUB takes the folder that it was loaded from, so a second disk with an image does no harm.
  const mkimage = ['grub-mkimage', '--format', grubFormat, '--prefix', '', '--output', '/grub.efi', ...MODULES];
  await runCommand(build, 'chroot', [root, ...mkimage], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  copyFileSync(join(root, 'grub.efi'), join(folder, bootFile));
  rmSync(join(root, 'grub.efi'));
  copyFileSync(SELECT_SLOT, join(folder, 'grub.cfg'));
  writeFileSync(join(tree, GRUB_ENVIRONMENT), environmentBlock());
  await makeFat(build, tree, [`EFI/BOOT/${bootFile}`, 'EFI/BOOT/grub.cfg', GRUB_ENVIRONMENT], file);
}

async function makeFat(build: Build, tree: string, files: readonly string[], image: string): Promise<void> {
  rmSync(image, { force: true });
  const serial = fixedUuid('esp file system').slice(0, 8);
  const kilobytes = PARTITIONS.esp.sizeMiB * 1024;
  await runCommand(build, 'mformat', ['-C', '-i', image, '-F', '-c', '1', '-T', String(kilobytes * 2), '-h', '16', '-s', '63', '-N', serial, '-v', 'SELVAGE', '::']);
  const folders = [...new Set(files.flatMap((path) => parentsOf(path)))];
  for (const folder of folders) await runCommand(build, 'mmd', ['-i', image, `::${folder}`]);
  for (const path of files) {
    utimesSync(join(tree, path), build.buildTime, build.buildTime);
    await runCommand(build, 'mcopy', ['-m', '-i', image, join(tree, path), `::${path}`]);
  }
}

/** `a/b/c` -> `a`, `a/b` */
function parentsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === '.' ? [] : [...parentsOf(parent), parent];
}
