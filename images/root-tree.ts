// The root file system of a slot: Debian's packages below, and over them what makes a box of it.
import { chmodSync, cpSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostCommand } from '../provisioning/lab/host-command.ts';
import { CHECKOUT, runCommand } from './build.ts';
import type { Build } from './build.ts';
import { ensureForeignBinaries } from './foreign-binaries.ts';
import { imagePlatform } from './image-platform.ts';
import { PARTITIONS } from './partitions.ts';
import { layOutPayload } from './payload.ts';

const FILES = fileURLToPath(new URL('files', import.meta.url));
const INITRAMFS = fileURLToPath(new URL('initramfs', import.meta.url));

/** Where the disk's own partition with GRUB is mounted; RAUC changes the slots' variables there. */
const ESP_MOUNT = '/boot/efi';
export const GRUB_ENVIRONMENT = 'EFI/BOOT/grubenv';

export interface RootOptions {
  /** PEM of the authority that signs update bundles; only its bundles are installed. */
  readonly updateCa: string;
}

/** Files that differ with every run of Debian's tools, or that a box makes for itself. */
const CLEANED = [
  ...['var/log', 'var/cache', 'var/lib/apt/lists', 'var/lib/initramfs-tools', 'tmp', 'run'],
  ...['var/lib/systemd/catalog', 'var/lib/dbus', 'etc/hostname', 'etc/resolv.conf', 'usr/lib/grub', 'vmlinuz', 'vmlinuz.old', 'initrd.img', 'initrd.img.old', 'etc/.pwd.lock'],
];

/** Empty directories that the read-only root must have. */
const DIRECTORIES = ['data', 'boot/efi', 'var/log/journal', 'var/cache', 'var/lib/apt/lists', 'run', 'tmp', 'etc/selvage'];

const ENABLED = ['selvage.service', 'selvage-namespaces.path', 'selvage-first-boot.service', 'selvage-trial-end.timer'];
/** Debian's care for systems whose packages change. */
const MASKED = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'e2scrub_all.timer', 'e2scrub_reap.service'];

/**
 * Completes the root on `base` (which stays as it is) and resolves with the mounted directory. To be called in a mount
 * namespace that ends with the build.
 */
export async function rootTree(build: Build, base: string, options: RootOptions): Promise<string> {
  const part = (name: string): string => join(build.work, name);
  for (const name of ['upper', 'overlay-work', 'root']) mkdirSync(part(name), { recursive: true });
  hostCommand('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${base},upperdir=${part('upper')},workdir=${part('overlay-work')}`, part('root')]);
  const root = part('root');
  build.print('product: code, npm packages, Node and addon');
  layOutPayload({ checkout: CHECKOUT, root, architecture: build.architecture });
  installFiles(build, root, options);
  ensureForeignBinaries(build.architecture);
  await inRoot(build, root, ['systemd-sysusers']);
  await installBoot(build, root);
  return root;
}

async function inRoot(build: Build, root: string, command: readonly string[]): Promise<void> {
  hostCommand('mount', ['-t', 'proc', 'proc', join(root, 'proc')]);
  try {
    await runCommand(build, 'chroot', [root, ...command], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/' } });
  } finally {
    hostCommand('umount', [join(root, 'proc')]);
  }
}

function installFiles(build: Build, root: string, options: RootOptions): void {
  const at = (path: string): string => join(root, path);
  const put = (path: string, text: string): void => {
    mkdirSync(join(at(path), '..'), { recursive: true });
    writeFileSync(at(path), text);
    chmodSync(at(path), 0o644);
  };
  cpSync(FILES, root, { recursive: true });
  put('etc/issue', `Selvage ${build.version} (\\m) \\n on \\l\n\n`);
  put('etc/hosts', '127.0.0.1 localhost selvage\n::1 localhost\n');
  put('etc/fstab', `PARTUUID=${PARTITIONS.esp.uuid} ${ESP_MOUNT} vfat rw,noatime,umask=0077,nofail 0 0\n`);
  put('etc/rauc/system.conf', raucConfiguration(build));
  put('etc/rauc/keyring.pem', readFileSync(options.updateCa, 'utf8'));
  // systemd takes the time of this file as the earliest possible time.
  put('usr/lib/clock-epoch', '');
  // The console is the box's own: who stands before it may as well change the disk. No service takes a login from a network.
  put('etc/shadow', readFileSync(at('etc/shadow'), 'utf8').replace(/^root:[^:]*:/m, 'root::'));
  chmodSync(at('etc/shadow'), 0o640);
  const wants = at('etc/systemd/system/multi-user.target.wants');
  mkdirSync(wants, { recursive: true });
  for (const unit of MASKED) symlinkSync('/dev/null', at(`etc/systemd/system/${unit}`));
  for (const unit of ENABLED) symlinkSync(`/usr/lib/systemd/system/${unit}`, join(wants, unit));
}

function raucConfiguration(build: Build): string {
  const slot = (index: number, bootName: string, uuid: string): string => `[slot.rootfs.${index}]
device=/dev/disk/by-partuuid/${uuid}
type=raw
bootname=${bootName}
`;
  return `[system]
compatible=selvage-${build.architecture.machine}
bootloader=grub
grubenv=${ESP_MOUNT}/${GRUB_ENVIRONMENT}
data-directory=/data/rauc
bundle-formats=-plain

[keyring]
path=/etc/rauc/keyring.pem
check-purpose=codesign

${slot(0, 'A', PARTITIONS.slotA.uuid)}
${slot(1, 'B', PARTITIONS.slotB.uuid)}`;
}

/** Kernel and initial file system under fixed names, and the file by which GRUB starts them. */
async function installBoot(build: Build, root: string): Promise<void> {
  const boot = join(root, 'boot');
  const kernel = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))!;
  const version = kernel.slice('vmlinuz-'.length);
  build.print(`initial file system for Linux ${version}`);
  cpSync(INITRAMFS, join(root, 'etc/initramfs-tools'), { recursive: true });
  writeFileSync(join(root, 'etc/initramfs-tools/conf.d/selvage'), 'MODULES=list\nBUSYBOX=y\nCOMPRESS=gzip\nRESUME=none\n');
  await inRoot(build, root, ['mkinitramfs', '-o', '/boot/initrd.img', version]);
  renameSync(join(boot, kernel), join(boot, 'vmlinuz'));
  for (const name of readdirSync(boot)) if (/^(?:config|System\.map)-/.test(name)) rmSync(join(boot, name));
  writeFileSync(join(boot, 'selvage.cfg'), bootConfiguration(build));
}

function bootConfiguration(build: Build): string {
  const { slotA, slotB, data } = PARTITIONS;
  // Huge pages only on request: without it, small boxes pay for them with memory that nothing uses.
  const fixed = `boot=selvage ro transparent_hugepage=madvise selvage.data=${data.uuid} panic=30 systemd.gpt_auto=no systemd.firstboot=no console=tty0 console=${imagePlatform(build.architecture).console}`;
  return `# Read by GRUB, which has set $slot and $arguments.
if [ "$slot" = A ]; then set part=${slotA.uuid}; else set part=${slotB.uuid}; fi
linux /boot/vmlinuz rauc.slot=$slot selvage.root=$part ${fixed} $arguments
initrd /boot/initrd.img
`;
}

/** To be called when nothing is taken from the root any more: leaves what goes into the slot. */
export function cleanRoot(root: string): void {
  for (const path of CLEANED) rmSync(join(root, path), { recursive: true, force: true });
  for (const path of DIRECTORIES) mkdirSync(join(root, path), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(join(root, 'etc/hostname'), 'selvage\n');
  // Empty, not missing: a box makes its own, and systemd asks nobody for settings of a first boot.
  writeFileSync(join(root, 'etc/machine-id'), '');
  // What systemd makes anew when /usr is newer than these (systemd-update-done.service(8)) was made when the image was.
  for (const part of ['etc', 'var']) writeFileSync(join(root, part, '.updated'), '');
}
