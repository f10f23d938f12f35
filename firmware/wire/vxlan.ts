// @hot  VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe-12) with the VOS flags and extension header, in place.
//
//   octet 0   R R Ver(2) I P B O
//         1   VOS: V4 0x01, V6 0x02, trace 0x04, CRC 0x08, entropy 0x40, SD-WAN 0x80
//         2   VOS: work queue of the receiver
//         3   next protocol
//         4   VNI 24 | window 2, traffic class 2, reserved 4
//   shim      type 8 | length 8 (4-octet words beyond the first) | reserved 8 | next protocol 8 | words
//
// Deviation: 0x05 and 0xfb to 0xfe are values of VOS, not of the draft. A header that is not VXLAN-GPE, an unknown
// version or a chain of more than MAX_SHIMS shims is refused.
import { read32, write32 } from './ip.ts';

const VXLAN_HEADER_BYTES = 8;
/** VXLAN header and the 8-octet extension that we write. */
export const VXLAN_PREFIX_BYTES = 16;

export const VXLAN_NEXT_IPV4 = 0x01;
export const VXLAN_NEXT_IPV6 = 0x02;
export const VXLAN_NEXT_ETHERNET = 0x03;
export const VXLAN_NEXT_MPLS = 0x05;
export const VXLAN_NEXT_EXTENSION = 0xfb;
export const VXLAN_NEXT_ESP = 0xfc;
export const VXLAN_NEXT_GRE = 0xfd;
/** MPLS without GRE, as 0x05. */
export const VXLAN_NEXT_VMLH = 0xfe;

const VERSION_MASK = 0x30;
const FLAG_VNI = 0x08;
const FLAG_NEXT = 0x04;
const VOS_IPV4 = 0x01;
const VOS_IPV6 = 0x02;
const VOS_SDWAN = 0x80;
const FIRST_SHIM = 0x80;
const MAX_SHIMS = 4;

/** Version 0, VNI and next protocol present. */
export function isVxlan(bytes: Uint8Array, at: number, length: number): boolean {
  return length >= VXLAN_HEADER_BYTES && (bytes[at]! & (VERSION_MASK | FLAG_VNI | FLAG_NEXT)) === (FLAG_VNI | FLAG_NEXT);
}

export function vxlanVni(bytes: Uint8Array, at: number): number {
  return read32(bytes, at + 3) & 0xff_ffff;
}

export function vxlanNextProtocol(bytes: Uint8Array, at: number): number {
  return bytes[at + 3]!;
}

/**
 * Walks the extension and unknown shims by their lengths. Returns octets up to the payload in bits 8 and up and the
 * payload's protocol in the low 8 bits, so that nothing is allocated; -1 when the chain does not fit.
 */
export function vxlanPayload(bytes: Uint8Array, at: number, length: number): number {
  let next = bytes[at + 3]!;
  let offset = VXLAN_HEADER_BYTES;
  for (let shims = 0; isShim(next); shims++) {
    if (shims === MAX_SHIMS || offset + 4 > length) return -1;
    const shimBytes = 4 + bytes[at + offset + 1]! * 4;
    next = bytes[at + offset + 3]!;
    offset += shimBytes;
    if (offset > length) return -1;
  }
  return (offset << 8) | next;
}

/** Whether two headers with one extension each (VXLAN_PREFIX_BYTES) say the same; what the extension carries does not matter. */
export function isSameVxlanPrefix(view: DataView, a: number, b: number): boolean {
  return view.getInt32(a) === view.getInt32(b) && view.getInt32(a + 4) === view.getInt32(b + 4) && view.getInt32(a + 8) === view.getInt32(b + 8);
}

/** Protocols from 0x80 up are shims that can be skipped, except those that VOS uses for payloads. */
function isShim(next: number): boolean {
  return next >= FIRST_SHIM && next !== VXLAN_NEXT_ESP && next !== VXLAN_NEXT_GRE && next !== VXLAN_NEXT_VMLH;
}

/** VXLAN header and 8-octet extension: VXLAN_PREFIX_BYTES. `innerVersion` 4 or 6 chooses the VOS family flag. */
export function writeVxlanPrefix(bytes: Uint8Array, at: number, vni: number, next: number, innerVersion: number): void {
  const family = innerVersion === 6 ? VOS_IPV6 : VOS_IPV4;
  write32(bytes, at, ((FLAG_VNI | FLAG_NEXT) << 24) | ((VOS_SDWAN | family) << 16) | VXLAN_NEXT_EXTENSION);
  write32(bytes, at + 4, vni << 8);
  write32(bytes, at + 8, 0x0001_0000 | next);
  write32(bytes, at + 12, 0);
}
