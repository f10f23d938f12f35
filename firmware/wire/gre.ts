// @hot  GRE header in place (RFC 2784):  C 1 | reserved 12 | version 3 | protocol type 16
// Deviation: only the 4-octet form without checksum, key and sequence number, which is all that VOS sends.
import { read16, write32 } from './ip.ts';

export const GRE_HEADER_BYTES = 4;
/** MPLS unicast (RFC 4023). */
export const GRE_MPLS = 0x8847;
export const GRE_IPV4 = 0x0800;
export const GRE_IPV6 = 0x86dd;

export function isGre(bytes: Uint8Array, at: number, length: number): boolean {
  return length >= GRE_HEADER_BYTES && bytes[at] === 0 && bytes[at + 1] === 0;
}

export function greProtocol(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + 2);
}

export function writeGre(bytes: Uint8Array, at: number, protocol: number): void {
  write32(bytes, at, protocol);
}
