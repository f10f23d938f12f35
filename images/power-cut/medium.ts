// The medium as a power cut left it: everything up to the last flush, and of what came after it only what the disk happened
// to have on its medium. Where, and what is lost, follows from a seed.
import { readSync, writeSync } from 'node:fs';
import { randomBelow, type Random } from '../../platform/random.ts';
import { SECTOR_BYTES, type LogEntry, type LoggedWrite } from './write-log.ts';

/** Of what was not flushed, the part that is lost: all, half, little. */
const LOSSES_PERCENT = [100, 50, 10];
/** Of the lost writes of several sectors, those of which a part is there. */
const TORN_PERCENT = 40;

export interface Region {
  readonly name: string;
  readonly firstSector: number;
  readonly sectors: number;
}

export interface PowerCut {
  /** From 1. */
  readonly number: number;
  /** Entries of the log before the power went. */
  readonly entries: number;
  /** The first entry that no flush follows. */
  readonly volatileFrom: number;
  /** Part of the disk that was written last. */
  readonly region: string;
  readonly lost: readonly LostWrite[];
}

export interface LostWrite {
  readonly entry: number;
  /** In the order of the disk; all sectors of the write or some of them. */
  readonly sectors: readonly number[];
  readonly of: number;
}

export function isWithin(entry: LogEntry, { firstSector, sectors }: Region): entry is LoggedWrite {
  return entry.kind === 'write' && entry.sector >= firstSector && entry.sector < firstSector + sectors;
}

/**
 * Chooses `count` cuts among the entries from `from` to before `to`: each after a write, in turn to one region and the next,
 * so that the few writes to boot variables come to their right beside the many of a slot.
 */
export function choosePowerCuts(entries: readonly LogEntry[], from: number, to: number, regions: readonly Region[], count: number, random: Random): PowerCut[] {
  const candidates = regions
    .map((region) => ({ region, after: entries.flatMap((entry, index) => (index >= from && index < to && isWithin(entry, region) ? [index] : [])) }))
    .filter(({ after }) => after.length > 0);
  return Array.from({ length: candidates.length === 0 ? 0 : count }, (_, index) => {
    const { region, after } = candidates[index % candidates.length]!;
    const last = after[randomBelow(random, after.length)]!;
    return cutAfter(entries, last, { number: index + 1, region: region.name }, random);
  });
}

function cutAfter(entries: readonly LogEntry[], last: number, names: Pick<PowerCut, 'number' | 'region'>, random: Random): PowerCut {
  let volatileFrom = last;
  while (volatileFrom > 0 && entries[volatileFrom - 1]!.kind !== 'flush') volatileFrom--;
  const percent = LOSSES_PERCENT[randomBelow(random, LOSSES_PERCENT.length)]!;
  const lost: LostWrite[] = [];
  for (let entry = volatileFrom; entry <= last; entry++) {
    const write = entries[entry]!;
    if (write.kind !== 'write' || write.durable || randomBelow(random, 100) >= percent) continue;
    const isTorn = write.sectors > 1 && randomBelow(random, 100) < TORN_PERCENT;
    const sectors = Array.from({ length: write.sectors }, (_, index) => index).filter(() => !isTorn || randomBelow(random, 2) === 0);
    if (sectors.length > 0) lost.push({ entry, sectors, of: write.sectors });
  }
  return { ...names, entries: last + 1, volatileFrom, lost };
}

/** One line that says where the power went and what was lost. */
export function describeCut({ number, entries, volatileFrom, region, lost }: PowerCut, shown = 8): string {
  const whole = lost.filter((write) => write.sectors.length === write.of);
  const torn = lost.filter((write) => write.sectors.length < write.of);
  const list = (writes: readonly LostWrite[]): string => `${writes.slice(0, shown).map((write) => write.entry).join(' ')}${writes.length > shown ? ' ...' : ''}`;
  const what = [whole.length > 0 ? `${whole.length} lost (${list(whole)})` : '', torn.length > 0 ? `${torn.length} torn (${list(torn)})` : ''].filter((part) => part !== '').join(', ');
  return `cut ${number}: after entry ${entries - 1}, a write to ${region}; of ${entries - volatileFrom} since the last flush ${what === '' ? 'none lost' : what}`;
}

/** Open files: a log of writes, and the disk image that they are written to. */
export interface Medium {
  readonly log: number;
  readonly entries: readonly LogEntry[];
  readonly disk: number;
}

/** Writes entries from `from` to before `to`, without what is lost; a discard changes nothing, for a disk may ignore it. */
export function applyWrites({ log, entries, disk }: Medium, from: number, to: number, lost: readonly LostWrite[] = []): void {
  const missing = new Map(lost.map(({ entry, sectors }) => [entry, new Set(sectors)]));
  for (let index = from; index < to; index++) {
    const entry = entries[index]!;
    if (entry.kind !== 'write') continue;
    const data = Buffer.alloc(entry.sectors * SECTOR_BYTES);
    readSync(log, data, 0, data.length, entry.dataAt);
    const without = missing.get(index);
    for (const [first, count] of without === undefined ? [[0, entry.sectors] as const] : runsWithout(entry.sectors, without)) {
      writeSync(disk, data, first * SECTOR_BYTES, count * SECTOR_BYTES, (entry.sector + first) * SECTOR_BYTES);
    }
  }
}

/** Runs of sectors that are not missing, as first and count. */
function runsWithout(sectors: number, missing: ReadonlySet<number>): (readonly [first: number, count: number])[] {
  const runs: [number, number][] = [];
  for (let sector = 0; sector < sectors; sector++) {
    if (missing.has(sector)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === sector) last[1]++;
    else runs.push([sector, 1]);
  }
  return runs;
}
