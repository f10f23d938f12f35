// The disk: a partition for firmware and GRUB, two slots, and the data partition, which is last because it grows.
import { fixedUuid } from './build.ts';

export interface Partition {
  readonly name: string;
  readonly uuid: string;
  /** GPT type: name that sfdisk knows. */
  readonly type: 'uefi' | 'linux';
  readonly sizeMiB: number;
}

const ESP: Partition = { name: 'esp', uuid: fixedUuid('esp'), type: 'uefi', sizeMiB: 64 };
const SLOT_A: Partition = { name: 'slot-a', uuid: fixedUuid('slot-a'), type: 'linux', sizeMiB: 640 };
const SLOT_B: Partition = { name: 'slot-b', uuid: fixedUuid('slot-b'), type: 'linux', sizeMiB: 640 };
/** As flashed; takes the rest of the disk at the first boot. */
const DATA: Partition = { name: 'data', uuid: fixedUuid('data'), type: 'linux', sizeMiB: 256 };

export const PARTITIONS = { esp: ESP, slotA: SLOT_A, slotB: SLOT_B, data: DATA } as const;

export const SLOT_BYTES_LIMIT = SLOT_A.sizeMiB * 1024 * 1024;
/** Before the first and after the last partition: table, alignment, backup of the table. */
export const MARGIN_MIB = 1;

/** Where each partition lies, in the order of the disk. */
export function placedPartitions(): readonly { readonly partition: Partition; readonly startMiB: number }[] {
  let startMiB = MARGIN_MIB;
  return Object.values(PARTITIONS).map((partition) => {
    const row = { partition, startMiB };
    startMiB += partition.sizeMiB;
    return row;
  });
}
