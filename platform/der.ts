// DER (X.690), as far as keys and certificates need it: definite, minimal lengths and one-octet tags. Reading is
// bounded by the length of the input; what is not such DER is a WireError.
import { concat, Reader } from './bytes.ts';
import { InternalError, WireError } from './errors.ts';
import { unixMsFromUtc } from './time.ts';

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

export interface DerElement {
  readonly tag: number;
  /** Content octets, without tag and length. */
  readonly content: Reader;
  /** Tag, length and content; a copy. */
  readonly encoded: Uint8Array<ArrayBuffer>;
}

/** Reads one element; `what` names it in errors. */
export function readElement(reader: Reader, what: string): DerElement {
  const start = reader.position;
  const tag = reader.u8();
  if ((tag & 0x1f) === 0x1f) throw new WireError(`${what} has a tag of several octets`);
  let length = reader.u8();
  if (length > 0x7f) {
    const octets = length & 0x7f;
    if (octets === 0 || octets > 3) throw new WireError(`${what} has a length of ${octets} octets`);
    length = 0;
    for (let i = 0; i < octets; i++) length = length * 256 + reader.u8();
    if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw new WireError(`${what} has a length that is not minimal`);
  }
  const content = reader.sub(length, what);
  return { tag, content, encoded: reader.bytes.slice(start, reader.position) as Uint8Array<ArrayBuffer> };
}

/** Reads one element that must have this tag. */
export function expectElement(reader: Reader, tag: number, what: string): DerElement {
  const element = readElement(reader, what);
  if (element.tag !== tag) throw new WireError(`${what} has tag ${element.tag}, expected ${tag}`);
  return element;
}

/** The next element's tag, or undefined at the end. */
export function peekTag(reader: Reader): number | undefined {
  return reader.remaining === 0 ? undefined : reader.bytes[reader.position];
}

/** Dotted text of an OBJECT IDENTIFIER's content. */
export function oidText(content: Reader): string {
  const arcs: number[] = [];
  while (content.remaining > 0) {
    let arc = 0;
    for (let more = true; more; ) {
      const octet = content.u8();
      arc = arc * 128 + (octet & 0x7f);
      if (arc > Number.MAX_SAFE_INTEGER / 128) throw new WireError(`${content.what} has an arc that is too large`);
      more = (octet & 0x80) !== 0;
    }
    arcs.push(arc);
  }
  const first = arcs[0];
  if (first === undefined) throw new WireError(`${content.what} is empty`);
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - 40 * root, ...arcs.slice(1)].join('.');
}

/** A BIT STRING's octets; unused bits are left as they came. */
export function bitStringOctets(content: Reader): Uint8Array<ArrayBuffer> {
  if (content.u8() > 7) throw new WireError(`${content.what} claims more than 7 unused bits`);
  return content.rest();
}

/** A small non-negative INTEGER. */
export function smallInteger(content: Reader): number {
  if (content.remaining === 0 || content.remaining > 4) throw new WireError(`${content.what} is an integer of ${content.remaining} octets`);
  let value = content.u8();
  if (value > 0x7f) throw new WireError(`${content.what} is negative`);
  while (content.remaining > 0) value = value * 256 + content.u8();
  return value;
}

/** UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 allows them, in Unix milliseconds. */
export function timeUnixMs(element: DerElement): number {
  const text = String.fromCharCode(...element.content.rest());
  const match = element.tag === Tag.utcTime ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text) : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) throw new WireError(`${element.content.what} is not a time in UTC`);
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number];
  const century = element.tag !== Tag.utcTime ? 0 : year < 50 ? 2000 : 1900;
  const unixMs = unixMsFromUtc(century + year, month, day, hour, minute, second);
  if (unixMs === undefined) throw new WireError(`${element.content.what} names a time that does not exist`);
  return unixMs;
}

/** Encodes one element around the concatenation of `parts`. */
export function encodeElement(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = concat(...parts);
  const length = content.length;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff];
  if (length > 0xffff) throw new InternalError(`an element of ${length} octets was asked for, at most 65535 are written`);
  return concat(Uint8Array.of(tag, ...head), content);
}

/** An INTEGER from unsigned big-endian octets. */
export function encodeUnsigned(octets: Uint8Array): Uint8Array<ArrayBuffer> {
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0) start++;
  const minimal = octets.subarray(start);
  return encodeElement(Tag.integer, (minimal[0] ?? 0) > 0x7f || minimal.length === 0 ? Uint8Array.of(0) : new Uint8Array(0), minimal);
}
