// Power cuts in one recorded upgrade: for each the disk is made as the cut left it and judged, and some are booted, which
// must come to what was judged.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fewAtOnce } from '../../provisioning/lab/reachability.ts';
import { UsageError } from '../../platform/errors.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { MachineOptions } from '../virtual-machine.ts';
import { bootCutDisk } from './cut-boot.ts';
import { describeCut } from './medium.ts';
import { RecordedUpgrade, type Recording, type RecordedOptions } from './recorded-upgrade.ts';

/** An emulated machine keeps one processor busy. */
const BOOTED_AT_ONCE = 2;
/** Name of a log of writes in a directory with a recording. */
export const WRITES = 'disk.writes';
const MARKS = 'disk.marks.json';

export interface CutOptions extends Omit<RecordedOptions, 'recording'>, Pick<MachineOptions, 'architecture' | 'diskBus'> {
  readonly recording: Recording;
  readonly count: number;
  readonly seed: string;
  /** How many of the cuts are booted; all are judged. */
  readonly boots: number;
  readonly print: (line: string) => void;
}

export interface CutResult {
  /** Where the power went and what was lost. */
  readonly cut: string;
  readonly slot: string;
  readonly booted: boolean;
  /** Empty when the box comes through. */
  readonly faults: readonly string[];
}

/** Keeps with a log of writes where the upgrade lies in it, so that the cuts can be made again. */
export function keepMarks(directory: string, marks: Omit<Recording, 'writes'>): void {
  writeFileSync(join(directory, MARKS), JSON.stringify(marks));
}

/** Moves a recording out of a directory that will be removed, in place of the one that was kept before; false when there is none. */
export function keepRecording(from: string, to: string): boolean {
  if (!existsSync(join(from, MARKS))) return false;
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const name of [WRITES, MARKS]) renameSync(join(from, name), join(to, name));
  return true;
}

/** Throws UsageError when there is none in the directory. */
export function recordingIn(directory: string): Recording {
  const [writes, marks] = [join(directory, WRITES), join(directory, MARKS)];
  if (!existsSync(writes) || !existsSync(marks)) throw new UsageError(`${directory} holds no recorded upgrade (${WRITES}, ${MARKS})`);
  return { writes, ...(JSON.parse(readFileSync(marks, 'utf8')) as Omit<Recording, 'writes'>) };
}

/** Disks of cuts with faults stay in the directory. Rejects with OperationalError when the recording is none. */
export async function tryPowerCuts(options: CutOptions): Promise<CutResult[]> {
  const { directory, print, seed } = options;
  mkdirSync(directory, { recursive: true });
  const upgrade = new RecordedUpgrade(options);
  const { from, otherTouched, otherTried, to } = upgrade.milestones;
  print(`power cuts: seed ${seed}, entries ${from} to ${to} of the log; slot B is touched at ${otherTouched} and tried at ${otherTried}`);
  try {
    const cuts = upgrade.choose(options.count, new SeededRandom(seed));
    // Those that are booted are the first that were chosen: one of each part of the disk.
    return await fewAtOnce(cuts, BOOTED_AT_ONCE, async (cut): Promise<CutResult> => {
      const disk = join(directory, `cut-${cut.number}.img`);
      upgrade.makeDisk(cut, disk);
      const { slot, faults: judged } = upgrade.judge(disk, cut);
      const booted = cut.number <= options.boots;
      // A disk is a disk: every second boot shows that an image starts from USB as well.
      const faults = [...judged, ...(booted ? await bootCutDisk({ ...options, diskBus: cut.number % 2 === 0 ? 'usb' : options.diskBus, disk, slot, directory: join(directory, `boot-${cut.number}`) }) : [])];
      print(`${describeCut(cut)}: slot ${slot}${booted ? ', booted' : ''}${faults.length === 0 ? '' : `, FAILED, its disk is ${disk}`}`);
      if (faults.length === 0) rmSync(disk);
      return { cut: describeCut(cut), slot, booted, faults };
    });
  } finally {
    upgrade.close();
  }
}
