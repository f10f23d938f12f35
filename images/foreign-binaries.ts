// Programs of another architecture run under qemu-user: the kernel is told so once (binfmt_misc), as the package
// qemu-user-static has it done at boot.
import { existsSync, writeFileSync } from 'node:fs';
import { hostCommand } from '../provisioning/lab/host-command.ts';
import type { Architecture } from './architecture.ts';

const REGISTRY = '/proc/sys/fs/binfmt_misc';
// ELF, 64 bit, little-endian, EM_AARCH64, executable or shared. F: the interpreter is opened now, so a chroot finds it.
const AARCH64 = String.raw`:qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:OCF`;

/** Makes programs of the architecture start on this machine. */
export function ensureForeignBinaries(architecture: Architecture): void {
  if (architecture.node === process.arch) return;
  if (!existsSync(`${REGISTRY}/register`)) hostCommand('mount', ['-t', 'binfmt_misc', 'binfmt_misc', REGISTRY]);
  if (!existsSync(`${REGISTRY}/qemu-aarch64`)) writeFileSync(`${REGISTRY}/register`, AARCH64);
}
