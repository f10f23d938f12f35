// Whether a box comes through a power cut, judged by its disk alone: GRUB chooses a slot that is whole, the data partition
// needs nobody's help, every document is the one of before or the one of after, and the box knows what it was doing.
import { fromUtf8 } from '../../platform/bytes.ts';
import { OperationalError } from '../../platform/errors.ts';
import { SlotStore } from '../../platform/store-slot.ts';
import { MemoryStore } from '../../platform/store.ts';
import { bootFile, bootVariables, chosenSlot, type Slot } from './boot-choice.ts';
import { holdsFile, readStored, type Place, type Stored } from './stored.ts';

/** GRUB's own files on the boot partition: nothing may change them. */
const BOOT_FILES = ['EFI/BOOT/grub.cfg', 'EFI/BOOT/arguments.cfg'];
const PENDING = 'upgrade-pending';
const FLOOR = 'upgrade-floor';
/** What makes the box the one it is, read as the software of the slot reads it. */
const IDENTITY = ['ztp-device-key', 'ztp-device-certificate', 'ztp-trust-anchor', 'ztp-bundle', 'ztp-onboarded'];

export interface Expected {
  /** The image of each slot; of B what the bundle brought. */
  readonly slotFiles: Readonly<Record<Slot, string>>;
  readonly slotPlaces: Readonly<Record<Slot, Place>>;
  readonly dataPlace: Place;
  /** By path on the boot partition. */
  readonly bootFiles: ReadonlyMap<string, Buffer>;
  /** The data partition when the upgrade was ordered, and when the new system was good. */
  readonly before: Stored;
  readonly after: Stored;
}

/** What had happened when the power went, from the log of writes. */
export interface Progress {
  /** The other slot is not what it was any more. */
  readonly otherTouched: boolean;
  /** GRUB has noted a try of the other slot. */
  readonly otherTried: boolean;
}

export interface Verdict {
  readonly slot: Slot;
  /** Empty: the box comes up in that slot, whole, as the one it was. */
  readonly faults: readonly string[];
}

export function readBootFiles(disk: string): ReadonlyMap<string, Buffer> {
  return new Map(BOOT_FILES.map((path) => [path, bootFile(disk, path)]));
}

/** Judges a disk image, which stays as it is; `scratch` is a directory for this alone. */
export function judgeDisk(disk: string, expected: Expected, progress: Progress, scratch: string): Verdict {
  const faults: string[] = [];
  let variables: Readonly<Record<string, string>> = {};
  try {
    variables = bootVariables(disk);
    for (const [path, octets] of expected.bootFiles) if (!bootFile(disk, path).equals(octets)) faults.push(`${path} is another than before`);
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    faults.push(error.message);
  }
  const slot = chosenSlot(variables);
  if (!holdsFile(disk, expected.slotPlaces[slot].startBytes, expected.slotFiles[slot])) faults.push(`GRUB starts slot ${slot}, which is not whole`);
  const stored = readStored(disk, expected.dataPlace, scratch);
  return { slot, faults: [...faults, ...judgeStored(stored, expected, slot), ...judgeTrial(stored, slot, progress)] };
}

function asStore({ documents }: Stored, slot: Slot): SlotStore {
  const base = new MemoryStore();
  for (const [name, bytes] of documents) base.write(name, bytes);
  return new SlotStore(base, slot);
}

function judgeStored(stored: Stored, { before, after }: Expected, slot: Slot): string[] {
  const faults = stored.damage === '' ? [] : [`the data partition needs help: ${stored.damage}`];
  const now = asStore(stored, slot);
  const known = [asStore(before, 'A'), asStore(after, 'B')];
  const same = (one: Uint8Array | undefined, other: Uint8Array | undefined): boolean => one !== undefined && other !== undefined && Buffer.from(one).equals(other);
  for (const name of IDENTITY) {
    const bytes = now.read(name);
    if (!known.some((store) => same(store.read(name), bytes))) faults.push(`document ${name} is ${bytes === undefined ? 'missing' : 'neither the old nor the new one'}`);
  }
  if (stored.configuration !== before.configuration) faults.push("the box's own configuration file is another than before");
  return faults;
}

function judgeTrial(stored: Stored, slot: Slot, { otherTouched, otherTried }: Progress): string[] {
  const faults: string[] = [];
  const pending = stored.documents.get(PENDING);
  if (pending !== undefined && !isPendingTrialOf(pending, 'B')) faults.push('the pending trial is torn');
  if (pending === undefined && slot === 'B' && !otherTried) faults.push('the new system would not know that it is on trial');
  if (pending === undefined && slot === 'A' && otherTouched) faults.push('the former system would not know that it is back');
  const floor = stored.documents.get(FLOOR);
  if (floor !== undefined && !/^\d+\.\d+\.\d+/.test(fromUtf8(floor))) faults.push('the version floor is torn');
  return faults;
}

function isPendingTrialOf(bytes: Uint8Array, slot: Slot): boolean {
  try {
    return (JSON.parse(fromUtf8(bytes)) as { to?: unknown }).to === slot;
  } catch {
    return false;
  }
}
