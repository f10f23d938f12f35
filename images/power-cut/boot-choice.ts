// What GRUB would start from a disk: its variables, read from the boot partition, and the choice that
// images/grub/select-slot.cfg makes from them.
import { spawnSync } from 'node:child_process';
import { OperationalError } from '../../platform/errors.ts';
import { MARGIN_MIB } from '../partitions.ts';
import { GRUB_ENVIRONMENT } from '../root-tree.ts';

export type Slot = 'A' | 'B';

const HEADER = '# GRUB Environment Block\n';
const MOST_BYTES = 1 << 26;

/** A file of the boot partition of a disk image. Throws OperationalError when the file system does not give it. */
export function bootFile(disk: string, path: string): Buffer {
  const { status, stdout, stderr } = spawnSync('mcopy', ['-n', '-i', `${disk}@@${MARGIN_MIB}M`, `::/${path}`, '-'], { maxBuffer: MOST_BYTES });
  if (status !== 0) throw new OperationalError('boot-partition', `${path} cannot be read from the boot partition: ${stderr.toString().trim()}`, 'look at the disk that was left');
  return stdout;
}

/** GRUB's variables. Throws OperationalError when the block is none. */
export function bootVariables(disk: string): Readonly<Record<string, string>> {
  const block = bootFile(disk, GRUB_ENVIRONMENT).toString('latin1');
  if (!block.startsWith(HEADER)) throw new OperationalError('boot-variables', 'the variables of GRUB are torn: the block has no header', 'look at the disk that was left');
  const lines = block.slice(HEADER.length).replace(/#+$/, '').split('\n');
  return Object.fromEntries(lines.filter((line) => line.includes('=')).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

/** The first of ORDER that is good and was not tried in vain; else the first that is good. */
export function chosenSlot(variables: Readonly<Record<string, string>>): Slot {
  const of = (slot: Slot, what: 'OK' | 'TRY'): string | undefined => variables[`${slot}_${what}`] ?? { A_OK: '1', A_TRY: '0', B_OK: '0', B_TRY: '0' }[`${slot}_${what}`];
  const order = (variables['ORDER'] ?? 'A B').split(' ').filter((slot): slot is Slot => slot === 'A' || slot === 'B');
  const untried = order.find((slot) => of(slot, 'OK') === '1' && of(slot, 'TRY') !== '1');
  return untried ?? [...order, 'A' as const, 'B' as const].find((slot) => of(slot, 'OK') === '1') ?? 'A';
}
