// Reads a classic pcap file record by record, so that a capture larger than memory can be judged.
//
//   file    magic a1b2c3d4 (in the byte order of the writer) | version 2, 4 | zone, accuracy | snaplen | link type
//   record  seconds 4 | microseconds 4 | captured length 4 | original length 4 | octets
import { closeSync, openSync, readSync } from 'node:fs';
import { OperationalError } from '../../platform/errors.ts';

export const LINKTYPE_ETHERNET = 1;

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC_BIG_ENDIAN = 0xa1b2c3d4;
const MAGIC_LITTLE_ENDIAN = 0xd4c3b2a1;
const CHUNK_BYTES = 4 << 20;
/** tcpdump's own limit; a longer record is a broken file. */
const LARGEST_FRAME_BYTES = 262_144;

export interface PcapRecord {
  /** Only valid until the next record is asked for. */
  readonly bytes: Uint8Array;
  readonly originalLength: number;
}

function broken(file: string, what: string): OperationalError {
  return new OperationalError('capture', `${file} is no whole capture: ${what}`, 'Read the messages of tcpdump beside it');
}

/** Throws OperationalError for a file that is not classic pcap with Ethernet frames, or that ends in a record. */
export function* pcapRecords(file: string): Generator<PcapRecord> {
  const fd = openSync(file, 'r');
  try {
    let held = Buffer.alloc(0);
    const fill = (bytes: number): boolean => {
      while (held.length < bytes) {
        const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
        const read = readSync(fd, chunk);
        if (read === 0) return false;
        held = Buffer.concat([held, chunk.subarray(0, read)]);
      }
      return true;
    };
    if (!fill(FILE_HEADER_BYTES)) throw broken(file, `${held.length} octets of file header, ${FILE_HEADER_BYTES} expected`);
    const magic = held.readUInt32BE(0);
    if (magic !== MAGIC_BIG_ENDIAN && magic !== MAGIC_LITTLE_ENDIAN) throw broken(file, `magic ${magic.toString(16)}`);
    const u32 = (at: number): number => (magic === MAGIC_BIG_ENDIAN ? held.readUInt32BE(at) : held.readUInt32LE(at));
    if (u32(20) !== LINKTYPE_ETHERNET) throw broken(file, `link type ${u32(20)}, Ethernet expected`);
    held = held.subarray(FILE_HEADER_BYTES);
    while (fill(RECORD_HEADER_BYTES)) {
      const length = u32(8);
      const originalLength = u32(12);
      if (length > LARGEST_FRAME_BYTES) throw broken(file, `a record of ${length} octets`);
      if (!fill(RECORD_HEADER_BYTES + length)) throw broken(file, `the last record has ${held.length - RECORD_HEADER_BYTES} of ${length} octets`);
      yield { bytes: held.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + length), originalLength };
      held = held.subarray(RECORD_HEADER_BYTES + length);
    }
    if (held.length > 0) throw broken(file, `${held.length} octets of a record header`);
  } finally {
    closeSync(fd);
  }
}
