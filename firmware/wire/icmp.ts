// @hot  ICMP errors about packets that do not fit, written in front of the packet that they are about
// (RFC 792 with RFC 1191: type 3, code 4, next-hop MTU; RFC 4443 3.2: type 2).
import {
  checksumAdd, checksumFinish, ipDestinationAt, ipProtocol, ipSourceAt, ipTotalBytes, ipVersion, ipv4FragmentOffset, ipPayloadOffset,
  pseudoHeaderSum, write16, write32, writeIpv4, writeIpv4Checksum, writeIpv6,
  IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, PROTOCOL_ICMP, PROTOCOL_ICMPV6,
} from './ip.ts';

const ICMP_HEADER_BYTES = 8;
const UNREACHABLE = 3;
const FRAGMENTATION_NEEDED = 4;
const PACKET_TOO_BIG = 2;
const TTL = 64;
/** The whole error is at most this long (RFC 1812 4.3.2.3, RFC 4443 2.4). */
const LONGEST_ICMP_BYTES = 576;
const LONGEST_ICMPV6_BYTES = 1280;

const ICMP_ECHO_REPLY = 0;
const ICMP_ECHO = 8;
const ICMPV6_FIRST_INFORMATIONAL = 128;

/** Octets that `writeTooBig` puts in front of the packet. */
export function tooBigPrefixBytes(version: number): number {
  return (version === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + ICMP_HEADER_BYTES;
}

/** No error about an error, nor about a fragment that is not the first (RFC 1122 3.2.2, RFC 4443 2.4 e). */
export function mayAnswerWithIcmp(bytes: Uint8Array, at: number): boolean {
  const protocol = ipProtocol(bytes, at);
  const type = bytes[at + ipPayloadOffset(bytes, at)]!;
  if (ipVersion(bytes, at) === 6) return protocol !== PROTOCOL_ICMPV6 || type >= ICMPV6_FIRST_INFORMATIONAL;
  if (ipv4FragmentOffset(bytes, at) !== 0) return false;
  return protocol !== PROTOCOL_ICMP || type === ICMP_ECHO || type === ICMP_ECHO_REPLY;
}

/**
 * Turns the packet at `at` into the body of a "too big" error whose header is written in front of it. The error comes
 * from the packet's own destination: the host drops packets whose source is one of its own addresses.
 * Returns the error's length; it starts at `at - tooBigPrefixBytes(version)`.
 */
export function writeTooBig(bytes: Uint8Array, at: number, mtu: number): number {
  return ipVersion(bytes, at) === 4 ? writeFragmentationNeeded(bytes, at, mtu) : writePacketTooBig(bytes, at, mtu);
}

function writeFragmentationNeeded(bytes: Uint8Array, at: number, mtu: number): number {
  const total = Math.min(LONGEST_ICMP_BYTES, ipTotalBytes(bytes, at) + IPV4_HEADER_BYTES + ICMP_HEADER_BYTES);
  const start = at - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES;
  const icmp = at - ICMP_HEADER_BYTES;
  writeIpv4(bytes, start, total, PROTOCOL_ICMP, TTL, 0);
  copy(bytes, ipDestinationAt(bytes, at), ipSourceAt(bytes, start), 4);
  copy(bytes, ipSourceAt(bytes, at), ipDestinationAt(bytes, start), 4);
  writeIpv4Checksum(bytes, start);
  write32(bytes, icmp, (UNREACHABLE << 24) | (FRAGMENTATION_NEEDED << 16));
  write32(bytes, icmp + 4, mtu);
  write16(bytes, icmp + 2, checksumFinish(checksumAdd(bytes, icmp, total - IPV4_HEADER_BYTES, 0)));
  return total;
}

function writePacketTooBig(bytes: Uint8Array, at: number, mtu: number): number {
  const total = Math.min(LONGEST_ICMPV6_BYTES, ipTotalBytes(bytes, at) + IPV6_HEADER_BYTES + ICMP_HEADER_BYTES);
  const start = at - IPV6_HEADER_BYTES - ICMP_HEADER_BYTES;
  const icmp = at - ICMP_HEADER_BYTES;
  const icmpBytes = total - IPV6_HEADER_BYTES;
  writeIpv6(bytes, start, icmpBytes, PROTOCOL_ICMPV6, TTL, 0);
  copy(bytes, ipDestinationAt(bytes, at), ipSourceAt(bytes, start), 16);
  copy(bytes, ipSourceAt(bytes, at), ipDestinationAt(bytes, start), 16);
  write32(bytes, icmp, PACKET_TOO_BIG << 24);
  write32(bytes, icmp + 4, mtu);
  const sum = pseudoHeaderSum(bytes, start, PROTOCOL_ICMPV6, icmpBytes);
  write16(bytes, icmp + 2, checksumFinish(checksumAdd(bytes, icmp, icmpBytes, sum)));
  return total;
}

function copy(bytes: Uint8Array, from: number, to: number, length: number): void {
  for (let i = 0; i < length; i++) bytes[to + i] = bytes[from + i]!;
}
