// The type data of EAP-TLS (RFC 5216 3):
//   flags 1 (L length included, M more fragments, S start) | length of the whole message 4, with L | TLS data
import { Reader, Writer } from '../../platform/bytes.ts';

const Flag = { length: 0x80, more: 0x40, start: 0x20 } as const;
const HEADER_BYTES = 5;

export interface EapTls {
  readonly start: boolean;
  /** More fragments follow. */
  readonly more: boolean;
  /** Octets of the whole TLS message. */
  readonly length: number | undefined;
  readonly data: Uint8Array;
}

const NOTHING = new Uint8Array(0);
export const EAP_TLS_START: EapTls = { start: true, more: false, length: undefined, data: NOTHING };
/** Asks for the next fragment, or has nothing to say. */
export const EAP_TLS_EMPTY: EapTls = { start: false, more: false, length: undefined, data: NOTHING };

export function encodeEapTls({ start, more, length, data }: EapTls): Uint8Array<ArrayBuffer> {
  const flags = (length === undefined ? 0 : Flag.length) | (more ? Flag.more : 0) | (start ? Flag.start : 0);
  const writer = new Writer(HEADER_BYTES + data.length).u8(flags);
  if (length !== undefined) writer.u32(length);
  return writer.put(data).finish();
}

/** Throws WireError. Reserved flags are ignored. */
export function decodeEapTls(bytes: Uint8Array): EapTls {
  const reader = new Reader(bytes, 'EAP-TLS');
  const flags = reader.u8();
  const length = (flags & Flag.length) === 0 ? undefined : reader.u32();
  return { start: (flags & Flag.start) !== 0, more: (flags & Flag.more) !== 0, length, data: reader.rest() };
}
