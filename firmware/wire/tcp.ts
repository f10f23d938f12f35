// @hot  The one thing the data plane does to TCP (RFC 9293): clamp the MSS option of SYN segments in place.
import { checksumReplace16, ipIsFragment, ipPayloadOffset, ipProtocol, ipTotalBytes, read16, write16, PROTOCOL_TCP } from './ip.ts';

const TCP_HEADER_BYTES = 20;
const FLAG_SYN = 0x02;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;

/**
 * Lowers the MSS option of a TCP SYN to `mss` and corrects the checksum. `at` is the IP header, which `isIpv4` or
 * `isIpv6` has accepted. Returns whether the packet changed.
 */
export function clampMss(bytes: Uint8Array, at: number, mss: number): boolean {
  if (ipProtocol(bytes, at) !== PROTOCOL_TCP || ipIsFragment(bytes, at)) return false;
  const tcp = at + ipPayloadOffset(bytes, at);
  const end = at + ipTotalBytes(bytes, at);
  if (end - tcp < TCP_HEADER_BYTES || (bytes[tcp + 13]! & FLAG_SYN) === 0) return false;
  const optionsEnd = tcp + ((bytes[tcp + 12]! >>> 4) << 2);
  if (optionsEnd > end) return false;
  let option = tcp + TCP_HEADER_BYTES;
  while (option < optionsEnd) {
    const kind = bytes[option]!;
    if (kind === OPTION_END) return false;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    if (option + 2 > optionsEnd) return false;
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > optionsEnd) return false;
    if (kind === OPTION_MSS) return length === 4 && lowerMss(bytes, tcp, option + 2, mss);
    option += length;
  }
  return false;
}

function lowerMss(bytes: Uint8Array, tcp: number, field: number, mss: number): boolean {
  const before = read16(bytes, field);
  if (before <= mss) return false;
  write16(bytes, field, mss);
  const checksum = read16(bytes, tcp + 16);
  // An option at an odd place straddles two words of the sum; both orders give the same value once octets are swapped.
  const odd = ((field - tcp) & 1) !== 0;
  const was = odd ? swap16(before) : before;
  const is = odd ? swap16(mss) : mss;
  write16(bytes, tcp + 16, checksumReplace16(checksum, was, is));
  return true;
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
