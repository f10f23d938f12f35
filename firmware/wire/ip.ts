// @hot  IPv4 and IPv6 headers in place (RFC 791, RFC 8200). `at` is the first octet of the header.
//
//   IPv4: version 4 | IHL 4 | DSCP/ECN 8 | total length 16 | identification 16 | flags 3, offset 13 | TTL 8 | protocol 8
//         | checksum 16 | source 32 | destination 32 | options
//   IPv6: version 4 | class 8 | flow label 20 | payload length 16 | next header 8 | hop limit 8 | source 128 | destination 128
//
// Not here: IPv6 extension headers beyond the fragment header. What needs the transport header treats a packet with
// others as "not TCP or UDP", which every caller may.

export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPV4 = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_IPV6 = 41;
const PROTOCOL_FRAGMENT = 44;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ESP = 50;
export const PROTOCOL_ICMPV6 = 58;
/** No next header: a dummy packet inside ESP (RFC 4303 2.6). */
export const PROTOCOL_NONE = 59;

const FLAG_DF = 0x4000;
const FLAG_MF = 0x2000;
const OFFSET_MASK = 0x1fff;

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** As a signed 32-bit integer: callers compare bit patterns, or use `>>> 0`. */
export function read32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** 4, 6 or whatever else the first nibble says. */
export function ipVersion(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4;
}

/** A whole IPv4 header whose total length fits into `length` octets (more may follow: padding). */
export function isIpv4(bytes: Uint8Array, at: number, length: number): boolean {
  if (length < IPV4_HEADER_BYTES || bytes[at]! >>> 4 !== 4) return false;
  const header = ipv4HeaderBytes(bytes, at);
  const total = read16(bytes, at + 2);
  return header >= IPV4_HEADER_BYTES && total >= header && total <= length;
}

export function isIpv6(bytes: Uint8Array, at: number, length: number): boolean {
  if (length < IPV6_HEADER_BYTES || bytes[at]! >>> 4 !== 6) return false;
  return IPV6_HEADER_BYTES + read16(bytes, at + 4) <= length;
}

export function ipv4HeaderBytes(bytes: Uint8Array, at: number): number {
  return (bytes[at]! & 0x0f) << 2;
}

/** Octets of the whole packet by its own header; call `isIpv4` or `isIpv6` first. */
export function ipTotalBytes(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? read16(bytes, at + 2) : IPV6_HEADER_BYTES + read16(bytes, at + 4);
}

/** DSCP and ECN as one octet. */
export function ipTrafficClass(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? bytes[at + 1]! : ((bytes[at]! & 0x0f) << 4) | (bytes[at + 1]! >>> 4);
}

/** Not ECN-capable, ECT(1), ECT(0), congestion experienced (RFC 3168): the low two bits of the traffic class. */
export const ECN_NOT_CAPABLE = 0;
export const ECN_ECT_1 = 1;
export const ECN_ECT_0 = 2;
export const ECN_CONGESTION = 3;
export const ECN_MASK = 3;

/** Replaces the ECN bits, and corrects the IPv4 checksum. */
export function setEcn(bytes: Uint8Array, at: number, ecn: number): void {
  if (bytes[at]! >>> 4 === 4) {
    const before = read16(bytes, at);
    bytes[at + 1] = (bytes[at + 1]! & ~ECN_MASK) | ecn;
    write16(bytes, at + 10, checksumReplace16(read16(bytes, at + 10), before, read16(bytes, at)));
  } else {
    bytes[at + 1] = (bytes[at + 1]! & ~(ECN_MASK << 4)) | (ecn << 4);
  }
}

export function ipTtl(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? bytes[at + 8]! : bytes[at + 7]!;
}

export function ipProtocol(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? bytes[at + 9]! : bytes[at + 6]!;
}

export function ipSourceAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? at + 12 : at + 8;
}

export function ipDestinationAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? at + 16 : at + 24;
}

/** Whether two headers agree in version, header length, traffic class and both addresses (IPv6: in the flow label, too). */
export function isSameIpPair(view: DataView, a: number, b: number): boolean {
  if (view.getInt16(a) !== view.getInt16(b)) return false;
  if (view.getUint8(a) >>> 4 === 4) return view.getInt32(a + 12) === view.getInt32(b + 12) && view.getInt32(a + 16) === view.getInt32(b + 16);
  for (let octet = 8; octet < IPV6_HEADER_BYTES; octet += 4) if (view.getInt32(a + octet) !== view.getInt32(b + octet)) return false;
  return view.getInt16(a + 2) === view.getInt16(b + 2);
}

/** First octet of the transport header, counted from the first of the packet; without extension headers. */
export function ipPayloadOffset(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4 === 4 ? ipv4HeaderBytes(bytes, at) : IPV6_HEADER_BYTES;
}

export function ipv4DontFragment(bytes: Uint8Array, at: number): boolean {
  return (read16(bytes, at + 6) & FLAG_DF) !== 0;
}

/** A fragment of a larger packet, first or later. */
export function ipIsFragment(bytes: Uint8Array, at: number): boolean {
  if (bytes[at]! >>> 4 === 4) return (read16(bytes, at + 6) & (FLAG_MF | OFFSET_MASK)) !== 0;
  return bytes[at + 6] === PROTOCOL_FRAGMENT;
}

export function ipv4MoreFragments(bytes: Uint8Array, at: number): boolean {
  return (read16(bytes, at + 6) & FLAG_MF) !== 0;
}

/** In octets. */
export function ipv4FragmentOffset(bytes: Uint8Array, at: number): number {
  return (read16(bytes, at + 6) & OFFSET_MASK) << 3;
}

/** Makes the header one of a fragment: keeps DF as it is; `offsetBytes` must be a multiple of 8. Writes the checksum. */
export function writeIpv4Fragment(bytes: Uint8Array, at: number, totalBytes: number, offsetBytes: number, more: boolean): void {
  write16(bytes, at + 2, totalBytes);
  write16(bytes, at + 6, (read16(bytes, at + 6) & FLAG_DF) | (more ? FLAG_MF : 0) | (offsetBytes >>> 3));
  writeIpv4Checksum(bytes, at);
}

/** A header without options, DF set, addresses left as they are; the checksum is written by `writeIpv4Checksum`. */
export function writeIpv4(bytes: Uint8Array, at: number, totalBytes: number, protocol: number, ttl: number, trafficClass: number): void {
  bytes[at] = 0x45;
  bytes[at + 1] = trafficClass;
  write16(bytes, at + 2, totalBytes);
  write32(bytes, at + 4, FLAG_DF);
  bytes[at + 8] = ttl;
  bytes[at + 9] = protocol;
}

export function writeIpv4Checksum(bytes: Uint8Array, at: number): void {
  write16(bytes, at + 10, 0);
  write16(bytes, at + 10, checksumFinish(checksumAdd(bytes, at, ipv4HeaderBytes(bytes, at), 0)));
}

export function ipv4ChecksumGood(bytes: Uint8Array, at: number): boolean {
  return checksumFinish(checksumAdd(bytes, at, ipv4HeaderBytes(bytes, at), 0)) === 0;
}

/** Addresses are left as they are. */
export function writeIpv6(bytes: Uint8Array, at: number, payloadBytes: number, protocol: number, hopLimit: number, trafficClass: number): void {
  write32(bytes, at, 0x6000_0000 | (trafficClass << 20));
  write16(bytes, at + 4, payloadBytes);
  bytes[at + 6] = protocol;
  bytes[at + 7] = hopLimit;
}

/** Adds octets to a running one's complement sum (RFC 1071); an odd last octet is padded with zero. */
export function checksumAdd(bytes: Uint8Array, at: number, length: number, sum: number): number {
  const even = at + (length & ~1);
  let total = sum;
  for (let i = at; i < even; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if ((length & 1) !== 0) total += bytes[even]! << 8;
  return total;
}

/** Folds the sum and complements it: the value of a checksum field. */
export function checksumFinish(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** Running sum of the pseudo header of TCP, UDP or ICMPv6 over the packet at `at`. */
export function pseudoHeaderSum(bytes: Uint8Array, at: number, protocol: number, transportBytes: number): number {
  const addressBytes = bytes[at]! >>> 4 === 4 ? 8 : 32;
  return checksumAdd(bytes, ipSourceAt(bytes, at), addressBytes, protocol + transportBytes);
}

/** The checksum field after one 16-bit word that it covers changed (RFC 1624, equation 3). */
export function checksumReplace16(checksum: number, before: number, after: number): number {
  let sum = (~checksum & 0xffff) + (~before & 0xffff) + after;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Why an address cannot be a destination or source of routed unicast traffic; 0 = it can. */
export const AddressFault = { none: 0, multicast: 1, broadcast: 2, linkLocal: 3, unusable: 4 } as const;

/** Looks at an address of `version` 4 or 6 at `at`. "Unusable": unspecified, 0/8, loopback, 240/4, IPv4-mapped. */
export function addressFault(bytes: Uint8Array, at: number, version: number): number {
  const first = bytes[at]!;
  if (version === 4) {
    if (first >= 224 && first < 240) return AddressFault.multicast;
    if (read32(bytes, at) === -1) return AddressFault.broadcast;
    if (first === 169 && bytes[at + 1] === 254) return AddressFault.linkLocal;
    return first === 0 || first === 127 || first >= 240 ? AddressFault.unusable : AddressFault.none;
  }
  if (first === 0xff) return AddressFault.multicast;
  if (first === 0xfe && (bytes[at + 1]! & 0xc0) === 0x80) return AddressFault.linkLocal;
  if (read32(bytes, at) !== 0 || read32(bytes, at + 4) !== 0) return AddressFault.none;
  const third = read32(bytes, at + 8);
  const fourth = read32(bytes, at + 12);
  return third === 0xffff || (third === 0 && (fourth === 0 || fourth === 1)) ? AddressFault.unusable : AddressFault.none;
}
