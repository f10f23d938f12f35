// @hot  MPLS label stack in place (RFC 3032, RFC 5462):  label 20 | traffic class 3 | bottom of stack 1 | TTL 8
import { read32, write32 } from './ip.ts';

export const MPLS_ENTRY_BYTES = 4;
export const MPLS_EXPLICIT_NULL_IPV4 = 0;
export const MPLS_EXPLICIT_NULL_IPV6 = 2;
/** VOS: anywhere in the stack it says that the payload is an Ethernet frame. Never allocated by us. */
const MPLS_INNER_ETHERNET = 17;
/** Deepest stack that is read. */
const MPLS_MAX_ENTRIES = 4;

const TTL = 64;

export function mplsLabel(bytes: Uint8Array, at: number): number {
  return read32(bytes, at) >>> 12;
}

export function mplsIsBottom(bytes: Uint8Array, at: number): boolean {
  return (bytes[at + 2]! & 1) !== 0;
}

/** Octets of the whole stack, or 0 when it has no bottom within `length` octets or MPLS_MAX_ENTRIES entries. */
export function mplsStackBytes(bytes: Uint8Array, at: number, length: number): number {
  for (let entry = 1; entry <= MPLS_MAX_ENTRIES && entry * MPLS_ENTRY_BYTES <= length; entry++) {
    if (mplsIsBottom(bytes, at + (entry - 1) * MPLS_ENTRY_BYTES)) return entry * MPLS_ENTRY_BYTES;
  }
  return 0;
}

/** Whether a stack of `stackBytes` octets holds the label that announces an Ethernet frame. */
export function mplsCarriesEthernet(bytes: Uint8Array, at: number, stackBytes: number): boolean {
  for (let entry = at; entry < at + stackBytes; entry += MPLS_ENTRY_BYTES) {
    if (mplsLabel(bytes, entry) === MPLS_INNER_ETHERNET) return true;
  }
  return false;
}

/** One entry, bottom of stack, TTL 64; `trafficClass` 0 to 7. */
export function writeMpls(bytes: Uint8Array, at: number, label: number, trafficClass: number): void {
  write32(bytes, at, (label << 12) | (trafficClass << 9) | 0x100 | TTL);
}
