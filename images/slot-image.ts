// The image of one slot: squashfs, then one block with the root hash of its verity tree, then the tree (superblock
// first). Written to a partition as it is; the boot script in images/initramfs reads it.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { OperationalError } from '../platform/errors.ts';
import { fixedUuid, runCommand } from './build.ts';
import type { Build } from './build.ts';
import { SLOT_BYTES_LIMIT } from './partitions.ts';

export const BLOCK_BYTES = 4096;
const COPY_BYTES = 1 << 20;

/** Packs `root` into `file`; equal roots become equal files. */
export async function makeSlotImage(build: Build, root: string, file: string): Promise<void> {
  build.print('slot: packing');
  rmSync(file, { force: true });
  // gzip, because GRUB reads it too and because it is unpacked fast; what is packed already stays as it is.
  const packed = ['-action', 'uncompressed@(name(vmlinuz)||name(initrd.img))'];
  const fixed = ['-noappend', '-no-progress', '-quiet', '-all-time', String(build.buildTime), '-mkfs-time', String(build.buildTime), '-reproducible'];
  // mksquashfs takes its times from options or from the environment, not from both.
  await runCommand(build, 'env', ['-u', 'SOURCE_DATE_EPOCH', 'mksquashfs', root, file, '-comp', 'gzip', '-Xcompression-level', '6', '-b', '256K', ...fixed, ...packed]);
  await appendVerity(build, file);
  const { size } = statSync(file);
  if (size > SLOT_BYTES_LIMIT) throw new OperationalError('slot-size', `the slot image has ${size} bytes, a slot ${SLOT_BYTES_LIMIT}`, 'leave packages out, or make the slots larger in images/partitions.ts');
}

/** Appends header and hash tree. The salt is the content's hash: fixed for equal content, unknown before it. */
async function appendVerity(build: Build, file: string): Promise<void> {
  const dataBytes = Math.ceil(statSync(file).size / BLOCK_BYTES) * BLOCK_BYTES;
  truncateSync(file, dataBytes);
  const salt = createHash('sha256').update(readFileSync(file)).digest('hex');
  const tree = `${file}.verity`;
  const said = await runCommand(build, 'veritysetup', ['format', file, tree, `--salt=${salt}`, `--uuid=${fixedUuid(`verity ${salt}`)}`, '--hash=sha256', `--data-blocks=${dataBytes / BLOCK_BYTES}`]);
  const rootHash = /^Root hash:\s*([0-9a-f]{64})$/m.exec(said)?.[1];
  if (rootHash === undefined) throw new OperationalError('verity', 'veritysetup told no root hash', 'look at the output of veritysetup format on this machine');
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(`selvage slot 1\nroot-hash=${rootHash}\n`);
  const out = openSync(file, 'r+');
  try {
    writeSync(out, header, 0, BLOCK_BYTES, dataBytes);
    copyInto(tree, out, dataBytes + BLOCK_BYTES);
  } finally {
    closeSync(out);
  }
  rmSync(tree);
}

/** Copies a file to a place in an open one; blocks of zeros stay holes. */
export function copyInto(from: string, out: number, offset: number): void {
  const source = openSync(from, 'r');
  const buffer = Buffer.alloc(COPY_BYTES);
  const zeros = Buffer.alloc(COPY_BYTES);
  try {
    for (let at = 0; ; ) {
      const count = readSync(source, buffer, 0, COPY_BYTES, at);
      if (count === 0) return;
      if (!buffer.subarray(0, count).equals(zeros.subarray(0, count))) writeSync(out, buffer, 0, count, offset + at);
      at += count;
    }
  } finally {
    closeSync(source);
  }
}
