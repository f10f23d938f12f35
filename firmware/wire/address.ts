// IP addresses and prefixes between text and octets. IPv6 text is written as RFC 5952 says; any RFC 4291 2.2 form is
// read. Zone identifiers and IPv4 octets with leading zeros are refused: neither has one meaning everywhere.
import { UsageError } from '../../platform/errors.ts';

const DECIMAL_LENGTH = /^(?:0|[1-9]\d{0,2})$/;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const DOT = 0x2e;
const HEX_GROUP = /^[0-9a-fA-F]{1,4}$/;
const GROUPS = 8;

/** Digit by digit: this runs several times per IKE message and per route. */
function ipv4Octets(text: string): number[] | undefined {
  const octets: number[] = [];
  let value = -1;
  for (let i = 0; i <= text.length; i++) {
    const code = i === text.length ? DOT : text.charCodeAt(i);
    if (code === DOT) {
      if (value < 0) return undefined;
      octets.push(value);
      value = -1;
    } else if (code >= DIGIT_0 && code <= DIGIT_9 && value !== 0) {
      value = (value < 0 ? 0 : value * 10) + code - DIGIT_0;
      if (value > 255) return undefined;
    } else {
      return undefined;
    }
  }
  return octets.length === 4 ? octets : undefined;
}

/** The 16-bit groups of one side of `::`, with a dotted quad allowed as its last two. */
function groupsOf(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (part.includes('.')) {
      const octets = mayEndInIpv4 && i === parts.length - 1 ? ipv4Octets(part) : undefined;
      if (octets === undefined) return undefined;
      groups.push(octets[0]! * 256 + octets[1]!, octets[2]! * 256 + octets[3]!);
    } else if (HEX_GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

function ipv6Octets(text: string): number[] | undefined {
  const sides = text.split('::');
  if (sides.length > 2) return undefined;
  const compressed = sides.length === 2;
  const left = groupsOf(sides[0]!, !compressed);
  const right = compressed ? groupsOf(sides[1]!, true) : [];
  if (left === undefined || right === undefined) return undefined;
  const missing = GROUPS - left.length - right.length;
  if (compressed ? missing < 1 : missing !== 0) return undefined;
  return [...left, ...new Array<number>(missing).fill(0), ...right].flatMap((group) => [group >>> 8, group & 0xff]);
}

function octetsOf(text: string): number[] | undefined {
  return text.includes(':') ? ipv6Octets(text) : ipv4Octets(text);
}

/** Whether `text` is an IPv4 or IPv6 address, without prefix length or zone. */
export function isAddress(text: string): boolean {
  return octetsOf(text) !== undefined;
}

/** The 4 or 16 octets of an address. Throws UsageError when the text is not one. */
export function addressBytes(text: string): Uint8Array<ArrayBuffer> {
  const octets = octetsOf(text);
  if (octets === undefined) throw new UsageError(`"${text}" is not an IP address; write 192.0.2.1 or 2001:db8::1`);
  return Uint8Array.from(octets);
}

/** First index and length of the longest run of zero groups that is worth `::` (RFC 5952 4.2). */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: -1, length: 1 };
  let start = -1;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) {
      if (start < 0) start = i;
    } else {
      if (start >= 0 && i - start > best.length) best = { start, length: i - start };
      start = -1;
    }
  }
  return best;
}

/** Canonical text of 4 or 16 octets. Throws UsageError for any other length. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new UsageError(`an IP address has 4 or 16 octets, not ${bytes.length}`);
  // RFC 5952 5: IPv4-mapped addresses keep their dotted quad.
  if (bytes.subarray(0, 10).every((octet) => octet === 0) && bytes[10] === 0xff && bytes[11] === 0xff) {
    return `::ffff:${bytes.subarray(12).join('.')}`;
  }
  const groups = Array.from({ length: GROUPS }, (_, i) => bytes[2 * i]! * 256 + bytes[2 * i + 1]!);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  const run = longestZeroRun(groups);
  if (run.start < 0) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

/** A copy of `bytes` with everything after the first `length` bits cleared. */
function masked(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = Uint8Array.from(bytes);
  for (let i = 0; i < out.length; i++) {
    const bits = Math.min(8, Math.max(0, length - 8 * i));
    out[i] = out[i]! & ((0xff00 >>> bits) & 0xff);
  }
  return out;
}

/**
 * `10.1.0.0/16` as octets (host bits cleared) and length in bits; an address alone is a host prefix.
 * Throws UsageError when the text is not a prefix.
 */
export function parsePrefix(text: string): { bytes: Uint8Array<ArrayBuffer>; length: number } {
  const slash = text.indexOf('/');
  const octets = octetsOf(slash < 0 ? text : text.slice(0, slash));
  const most = (octets?.length ?? 0) * 8;
  const lengthText = slash < 0 ? String(most) : text.slice(slash + 1);
  const length = DECIMAL_LENGTH.test(lengthText) ? Number(lengthText) : -1;
  if (octets === undefined || length < 0 || length > most) {
    throw new UsageError(`"${text}" is not a prefix; write 192.0.2.0/24 or 2001:db8::/32`);
  }
  return { bytes: masked(Uint8Array.from(octets), length), length };
}

/** Canonical text of a prefix: 4 or 16 octets, of which `length` bits count. Host bits are cleared. */
export function prefixText(bytes: Uint8Array, length: number): string {
  return `${addressText(masked(bytes, length))}/${length}`;
}

/** Whether `address` lies in `prefix` (both as text). Different families never match. Throws UsageError on malformed text. */
export function prefixContains(prefix: string, address: string): boolean {
  const outer = parsePrefix(prefix);
  const inner = addressBytes(address);
  if (inner.length !== outer.bytes.length) return false;
  return masked(inner, outer.length).every((octet, i) => octet === outer.bytes[i]);
}
