// Puts the partitions together: a raw disk, as it is written to a disk or stick, and the same as qcow2 for virtual machines.
import { closeSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixedUuid, runCommand } from './build.ts';
import type { Build } from './build.ts';
import { MARGIN_MIB, PARTITIONS } from './partitions.ts';
import type { Partition } from './partitions.ts';
import { copyInto } from './slot-image.ts';

const MIB = 1 << 20;

export interface DiskParts {
  readonly esp: string;
  readonly slot: string;
}

/** Start of each partition in MiB, in the order of the disk. */
function placed(): { readonly partition: Partition; readonly startMiB: number }[] {
  let startMiB = MARGIN_MIB;
  return Object.values(PARTITIONS).map((partition) => {
    const row = { partition, startMiB };
    startMiB += partition.sizeMiB;
    return row;
  });
}

/** Slot A and the boot partition are filled; slot B is empty, the data partition an empty file system. */
export async function makeDiskImage(build: Build, parts: DiskParts, file: string): Promise<void> {
  build.print('disk: partitions');
  const rows = placed();
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
  const options = ['-q', '-F', '-t', 'ext4', '-L', 'selvage-data', '-U', uuid, '-E', `hash_seed=${uuid},lazy_itable_init=0,lazy_journal_init=0`];
  await runCommand(build, 'mke2fs', [...options, file], { env: { E2FSPROGS_FAKE_TIME: String(build.buildTime) } });
}

/** The same disk for virtual machines; compressed. */
export async function makeQcow2(build: Build, raw: string, file: string): Promise<void> {
  build.print('disk: qcow2');
  rmSync(file, { force: true });
  await runCommand(build, 'qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, file]);
}
