// Super-packets in JavaScript: one inner packet of TCP or UDP cut into the packets that a device would make of it, with
// headers and checksums of their own (RFC 9293 3.1, RFC 768). Twin of native/src/segments.c; also for the rare
// super-packet whose parts must be looked at one by one.
import { HEADROOM, LARGEST_READ, packetAt, type Burst } from './burst.ts';

const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
/** ESP header and IV. */
const ESP_PAYLOAD_OFFSET = 16;
const IPV4_CHECKSUM = 10;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const FIN_AND_PSH = 0x09;
const CWR = 0x80;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;

/** Whether the columns of row `i`, ready for sealing, describe a super-packet that lies in the arena. */
export function isSealable(burst: Burst, i: number): boolean {
  const [start, esp, inner] = [burst.offset[i]!, burst.esp[i]!, burst.inner[i]!];
  const end = start + burst.length[i]!;
  const [transport, headers, segment] = [burst.transport[i]!, burst.headers[i]!, burst.segment[i]!];
  if (start < 0 || end > burst.bytes.length || esp < start || inner < esp + ESP_PAYLOAD_OFFSET || inner - start > HEADROOM) return false;
  if (segment <= 0 || headers < transport + UDP_HEADER_BYTES || headers + segment > LARGEST_READ || inner + headers >= end) return false;
  if (transport < (burst.bytes[inner]! >>> 4 === 6 ? IPV6_HEADER_BYTES : IPV4_HEADER_BYTES)) return false;
  return headers === transport + UDP_HEADER_BYTES || headers >= transport + TCP_HEADER_BYTES;
}

/** Parts of the super-packet in row `i`, whose IP header is at `at`. */
export function partsOf(burst: Burst, i: number, at: number): number {
  return Math.ceil((burst.offset[i]! + burst.length[i]! - at - burst.headers[i]!) / burst.segment[i]!);
}

/** Writes inner packet `part` of the super-packet in row `i`, whose IP header is at `at`, to `to` of `into`; returns its octets. */
export function writePart(burst: Burst, i: number, at: number, part: number, into: Uint8Array, to: number): number {
  const { bytes } = burst;
  const headers = burst.headers[i]!;
  const segment = burst.segment[i]!;
  const from = at + headers + part * segment;
  const payload = Math.min(segment, burst.offset[i]! + burst.length[i]! - from);
  const length = headers + payload;
  const transport = to + burst.transport[i]!;
  const last = part === partsOf(burst, i, at) - 1;
  into.set(bytes.subarray(at, at + headers), to);
  into.set(bytes.subarray(from, from + payload), to + headers);
  const view = new DataView(into.buffer, into.byteOffset);
  const v4 = into[to]! >>> 4 === 4;
  view.setUint16(to + (v4 ? 2 : 4), v4 ? length : length - IPV6_HEADER_BYTES);
  if (v4) {
    view.setUint16(to + 4, view.getUint16(to + 4) + part);
    view.setUint16(to + IPV4_CHECKSUM, 0);
    view.setUint16(to + IPV4_CHECKSUM, finish(sum(view, to, transport - to, 0)));
  }
  const udp = headers === burst.transport[i]! + UDP_HEADER_BYTES;
  if (udp) view.setUint16(transport + 4, to + length - transport);
  else {
    view.setUint32(transport + 4, view.getUint32(transport + 4) + part * segment);
    if (!last) into[transport + TCP_FLAGS]! &= ~FIN_AND_PSH;
    if (part > 0) into[transport + TCP_FLAGS]! &= ~CWR;
  }
  writeChecksum(view, to, transport, to + length, udp, v4);
  return length;
}

function writeChecksum(view: DataView, ip: number, transport: number, end: number, udp: boolean, v4: boolean): void {
  const field = transport + (udp ? UDP_CHECKSUM : TCP_CHECKSUM);
  view.setUint16(field, 0);
  const pseudo = (udp ? PROTOCOL_UDP : PROTOCOL_TCP) + (end - transport);
  const total = finish(sum(view, transport, end - transport, sum(view, ip + (v4 ? 12 : 8), v4 ? 8 : 32, pseudo)));
  // Zero would mean "none" in UDP.
  view.setUint16(field, udp && total === 0 ? 0xffff : total);
}

/** One's complement sum of 16-bit words (RFC 1071), continued from `start`; an odd last octet counts as the high one. */
function sum(view: DataView, at: number, length: number, start: number): number {
  let total = start;
  for (let i = 0; i + 1 < length; i += 2) total += view.getUint16(at + i);
  return (length & 1) === 0 ? total : total + (view.getUint8(at + length - 1) << 8);
}

function finish(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** Copies of the inner packets that row `i`, as a link gave it, stands for. Not for the hot path. */
export function innerPacketsAt(burst: Burst, i: number): Uint8Array[] {
  if (burst.segment[i] === 0) return [packetAt(burst, i)];
  const at = burst.offset[i]!;
  const packet = new Uint8Array(LARGEST_READ);
  return Array.from({ length: partsOf(burst, i, at) }, (_, part) => packet.slice(0, writePart(burst, i, at, part, packet, 0)));
}
