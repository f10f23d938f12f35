// Puts the partitions together: a raw disk, as it is written to a disk or stick, and the same as qcow2 for virtual machines.
import { closeSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixedUuid, runCommand } from './build.ts';
import type { Build } from './build.ts';
import { MARGIN_MIB, PARTITIONS, placedPartitions } from './partitions.ts';
import { BLOCK_BYTES, copyInto } from './slot-image.ts';

const MIB = 1 << 20;
const BYTES_PER_INODE = 32_768;

export interface DiskParts {
  readonly esp: string;
  readonly slot: string;
}

/** Slot A and the boot partition are filled; slot B is empty, the data partition an empty file system. */
export async function makeDiskImage(build: Build, parts: DiskParts, file: string): Promise<void> {
  build.print('disk: partitions');
  const rows = placedPartitions();
  rmSync(file, { force: true });
  writeFileSync(file, '');
  truncateSync(file, (rows.at(-1)!.startMiB + rows.at(-1)!.partition.sizeMiB + MARGIN_MIB) * MIB);
  const table = rows.map(({ partition: { name, uuid, type, sizeMiB }, startMiB }) => `start=${startMiB}MiB, size=${sizeMiB}MiB, type=${type}, uuid=${uuid}, name=${name}`);
  await runCommand(build, 'sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', file], { input: ['label: gpt', `label-id: ${fixedUuid('disk')}`, ...table, ''].join('\n') });
  const data = join(build.work, 'data.img');
  await makeData(build, data);
  const content: Partial<Record<string, string>> = { [PARTITIONS.esp.name]: parts.esp, [PARTITIONS.slotA.name]: parts.slot, [PARTITIONS.data.name]: data };
  const out = openSync(file, 'r+');
  try {
    for (const { partition, startMiB } of rows) {
      const from = content[partition.name];
      if (from !== undefined) copyInto(from, out, startMiB * MIB);
    }
  } finally {
    closeSync(out);
  }
  rmSync(data);
}

/** Empty: the boot script makes the directories, so that a data partition made anew is as good as this one. */
async function makeData(build: Build, file: string): Promise<void> {
  writeFileSync(file, '');
  truncateSync(file, PARTITIONS.data.sizeMiB * MIB);
  const uuid = fixedUuid('data file system');
  // As for a large disk, which it becomes; few inodes, because the first boot writes their tables for the whole disk.
  const shape = ['-b', String(BLOCK_BYTES), '-i', String(BYTES_PER_INODE)];
  const options = ['-q', '-F', '-t', 'ext4', ...shape, '-L', 'selvage-data', '-U', uuid, '-E', `hash_seed=${uuid},lazy_itable_init=0,lazy_journal_init=0`];
  await runCommand(build, 'mke2fs', [...options, file], { env: { E2FSPROGS_FAKE_TIME: String(build.buildTime) } });
}

/** The same disk for virtual machines; compressed. */
export async function makeQcow2(build: Build, raw: string, file: string): Promise<void> {
  build.print('disk: qcow2');
  rmSync(file, { force: true });
  await runCommand(build, 'qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, file]);
}
