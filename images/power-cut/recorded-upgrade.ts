// One upgrade as the disk saw it: a log of writes from the flash to the end, and disk images made from it.
import { closeSync, fstatSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hostCommand } from '../../provisioning/lab/host-command.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Random } from '../../platform/random.ts';
import { flash } from '../image-lab.ts';
import { PARTITIONS, placedPartitions, type Partition } from '../partitions.ts';
import { applyWrites, choosePowerCuts, isWithin, type PowerCut, type Region } from './medium.ts';
import { readStored, type Place } from './stored.ts';
import { judgeDisk, readBootFiles, type Expected, type Verdict } from './verdict.ts';
import { entryFrom, readWriteLog, SECTOR_BYTES, type LogEntry, type LoggedWrite } from './write-log.ts';

const MIB = 1 << 20;
const TRY_OF_OTHER = /# GRUB Environment Block\n[^#]*\bB_TRY=1\n/;

export interface Recording {
  /** Log of all writes since the disk was flashed. */
  readonly writes: string;
  /** The log's length when the upgrade was ordered, and when the new system was good. */
  readonly fromBytes: number;
  readonly toBytes: number;
}

export interface RecordedOptions {
  readonly recording: Recording;
  /** Raw image that was flashed. */
  readonly image: string;
  /** Image of the slot, in that disk and in the bundle. */
  readonly slotFile: string;
  /** For disk images, which are large. */
  readonly directory: string;
}

function placeOf(partition: Partition): Place {
  const { startMiB } = placedPartitions().find((row) => row.partition === partition)!;
  return { startBytes: startMiB * MIB, bytes: partition.sizeMiB * MIB };
}

/** The data partition took the rest of the disk at the first boot. */
function dataPlaceOf(disk: string): Place {
  const { partitiontable } = JSON.parse(hostCommand('sfdisk', ['--json', disk])) as { partitiontable: { partitions: { name: string; start: number; size: number }[] } };
  const { start, size } = partitiontable.partitions.find(({ name }) => name === PARTITIONS.data.name)!;
  return { startBytes: start * SECTOR_BYTES, bytes: size * SECTOR_BYTES };
}

function regionOf(name: string, { startBytes, bytes }: Place): Region {
  return { name, firstSector: startBytes / SECTOR_BYTES, sectors: bytes / SECTOR_BYTES };
}

export class RecordedUpgrade {
  readonly #directory: string;
  readonly #log: number;
  readonly #entries: readonly LogEntry[];
  readonly #from: number;
  readonly #to: number;
  /** A disk to which the entries before `#applied` are written. */
  readonly #base: string;
  #applied: number;
  readonly #expected: Expected;
  readonly #regions: readonly Region[];
  /** Entries by which the other slot is changed, and its try noted. */
  readonly #otherFrom: number;
  readonly #triedFrom: number;

  /** Throws OperationalError when the log is not one of a whole upgrade. */
  constructor({ recording, image, slotFile, directory }: RecordedOptions) {
    this.#directory = directory;
    this.#log = openSync(recording.writes, 'r');
    this.#entries = readWriteLog(this.#log);
    [this.#from, this.#to] = [entryFrom(this.#entries, recording.fromBytes), entryFrom(this.#entries, recording.toBytes)];
    if (fstatSync(this.#log).size < recording.toBytes || this.#to <= this.#from) throw new OperationalError('write-log', 'the log does not reach from the order of an upgrade to its end', 'record it anew');
    this.#base = join(directory, 'base.img');
    flash(image, this.#base);
    this.#applied = 0;
    this.#advance(this.#from);
    const dataPlace = dataPlaceOf(this.#base);
    const slotPlaces = { A: placeOf(PARTITIONS.slotA), B: placeOf(PARTITIONS.slotB) };
    const before = readStored(this.#base, dataPlace, this.#scratch);
    const end = join(directory, 'end.img');
    this.#copyBase(end);
    this.#write(end, this.#from, this.#to);
    this.#expected = { slotFiles: { A: slotFile, B: slotFile }, slotPlaces, dataPlace, bootFiles: readBootFiles(end), before, after: readStored(end, dataPlace, this.#scratch) };
    rmSync(end);
    const [boot, other] = [regionOf('the boot partition', placeOf(PARTITIONS.esp)), regionOf('slot B', slotPlaces.B)];
    this.#regions = [boot, other, regionOf('the data partition', dataPlace)];
    this.#otherFrom = this.#first((entry) => isWithin(entry, other));
    this.#triedFrom = this.#first((entry) => isWithin(entry, boot) && TRY_OF_OTHER.test(this.#octets(entry).toString('latin1')));
    if (this.#otherFrom < 0 || this.#triedFrom < 0) throw new OperationalError('write-log', 'the log shows no write to slot B, or no try of it', 'record it anew');
  }

  /** Numbers of entries: where the order begins, the other slot is touched and tried, and the new system is good. */
  get milestones(): Readonly<Record<'from' | 'otherTouched' | 'otherTried' | 'to', number>> {
    return { from: this.#from, otherTouched: this.#otherFrom, otherTried: this.#triedFrom, to: this.#to };
  }

  /** In the order of the log, so that disks are made without going back. */
  choose(count: number, random: Random): PowerCut[] {
    return choosePowerCuts(this.#entries, this.#from, this.#to, this.#regions, count, random).toSorted((a, b) => a.volatileFrom - b.volatileFrom);
  }

  /** Writes the disk as the cut leaves it to a file. Cuts come in the order of `choose`. */
  makeDisk(cut: PowerCut, file: string): void {
    this.#advance(cut.volatileFrom);
    this.#copyBase(file);
    this.#write(file, cut.volatileFrom, cut.entries, cut.lost);
  }

  judge(disk: string, cut: PowerCut): Verdict {
    return judgeDisk(disk, this.#expected, { otherTouched: cut.entries > this.#otherFrom, otherTried: cut.entries > this.#triedFrom }, this.#scratch);
  }

  /** Removes the images that are not asked for any more. */
  close(): void {
    closeSync(this.#log);
    for (const path of [this.#base, this.#scratch]) rmSync(path, { recursive: true, force: true });
  }

  get #scratch(): string {
    return join(this.#directory, 'stored');
  }

  #advance(to: number): void {
    if (to < this.#applied) throw new Error(`a disk at entry ${this.#applied} does not go back to ${to}`);
    this.#write(this.#base, this.#applied, to);
    this.#applied = to;
  }

  #write(file: string, from: number, to: number, lost: PowerCut['lost'] = []): void {
    const disk = openSync(file, 'r+');
    try {
      applyWrites({ log: this.#log, entries: this.#entries, disk }, from, to, lost);
    } finally {
      closeSync(disk);
    }
  }

  #copyBase(to: string): void {
    hostCommand('cp', ['--sparse=always', this.#base, to]);
  }

  #first(holds: (entry: LoggedWrite) => boolean): number {
    return this.#entries.findIndex((entry, index) => index >= this.#from && entry.kind === 'write' && holds(entry));
  }

  #octets({ dataAt, sectors }: LoggedWrite): Buffer {
    const octets = Buffer.alloc(sectors * SECTOR_BYTES);
    readSync(this.#log, octets, 0, octets.length, dataAt);
    return octets;
  }
}
