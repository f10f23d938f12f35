// Every write and flush of a virtual disk in their order, as QEMU's blklogwrites notes them in the format of Linux's
// dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).
//
//   sector 0:  magic u64 | version u64 | number of entries u64 | sector size u32
//   then each: sector u64 | sectors u64 | flags u64, filled to a sector; the data of a write
//
// All numbers are little-endian; sectors are those of the log, here 512 octets like the disk's.
import { fstatSync, readSync } from 'node:fs';
import { OperationalError } from '../../platform/errors.ts';

export const SECTOR_BYTES = 512;

const MAGIC = 0x6a73_6677_7368_72n;
const VERSION = 1n;
const FLAGS = { flush: 1n, fua: 2n, discard: 4n } as const;

export interface LoggedWrite {
  readonly kind: 'write' | 'discard';
  /** Where the entry begins in the log. */
  readonly at: number;
  readonly sector: number;
  readonly sectors: number;
  /** On the medium when it returned (force unit access). */
  readonly durable: boolean;
  /** Where the log has its octets; nothing there for a discard. */
  readonly dataAt: number;
}

/** What was written and answered before it is on the medium. */
export type LogEntry = LoggedWrite | { readonly kind: 'flush'; readonly at: number };

/** All entries of a log, also of a QEMU that was killed: the first that is not whole ends it. */
export function readWriteLog(fd: number): LogEntry[] {
  const end = fstatSync(fd).size;
  const sector = Buffer.alloc(SECTOR_BYTES);
  if (readSync(fd, sector, 0, SECTOR_BYTES, 0) < SECTOR_BYTES || sector.readBigUInt64LE(0) !== MAGIC) throw badLog('it does not begin with the mark of such a log');
  if (sector.readBigUInt64LE(8) !== VERSION || sector.readUInt32LE(24) !== SECTOR_BYTES) throw badLog('its version or its sector size is another one');
  const entries: LogEntry[] = [];
  for (let at = SECTOR_BYTES; at + SECTOR_BYTES <= end; ) {
    readSync(fd, sector, 0, SECTOR_BYTES, at);
    at += SECTOR_BYTES;
    const [first, sectors, flags] = [0, 8, 16].map((place) => sector.readBigUInt64LE(place)) as [bigint, bigint, bigint];
    const has = (flag: bigint): boolean => (flags & flag) !== 0n;
    if (sectors === 0n && flags === 0n) break;
    if (has(FLAGS.flush)) entries.push({ kind: 'flush', at: at - SECTOR_BYTES });
    if (sectors === 0n) continue;
    const length = has(FLAGS.discard) ? 0 : Number(sectors) * SECTOR_BYTES;
    if (at + length > end) break;
    entries.push({ kind: has(FLAGS.discard) ? 'discard' : 'write', at: at - SECTOR_BYTES, sector: Number(first), sectors: Number(sectors), durable: has(FLAGS.fua), dataAt: at });
    at += length;
  }
  return entries;
}

/** Number of the first entry that begins at or behind an octet of the log; that behind the last when all begin before it. */
export function entryFrom(entries: readonly LogEntry[], bytes: number): number {
  const found = entries.findIndex((entry) => entry.at >= bytes);
  return found < 0 ? entries.length : found;
}

function badLog(what: string): OperationalError {
  return new OperationalError('write-log', `the log of the disk's writes cannot be used: ${what}`, 'record it anew, with log-sector-size=512');
}
