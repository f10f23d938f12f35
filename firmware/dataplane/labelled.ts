// @hot  What stands between a tunnel's own header and the inner IP packet: GRE and a label stack, or less of it.
import { greProtocol, isGre, GRE_HEADER_BYTES, GRE_IPV4, GRE_IPV6, GRE_MPLS } from '../wire/gre.ts';
import { mplsCarriesEthernet, mplsLabel, mplsStackBytes, MPLS_ENTRY_BYTES, MPLS_EXPLICIT_NULL_IPV4, MPLS_EXPLICIT_NULL_IPV6 } from '../wire/mpls.ts';
import { VXLAN_NEXT_ETHERNET, VXLAN_NEXT_GRE, VXLAN_NEXT_IPV4, VXLAN_NEXT_IPV6, VXLAN_NEXT_MPLS, VXLAN_NEXT_VMLH } from '../wire/vxlan.ts';
import { Reason } from './counters.ts';

/** Reasons come back negative from the functions here; looked up once. */
const MALFORMED_GRE = -Reason['malformed-gre'];
const MALFORMED_MPLS = -Reason['malformed-mpls'];
const INNER_ETHERNET = -Reason['inner-ethernet'];
const UNKNOWN_NEXT = -Reason['unknown-next-protocol'];

/**
 * Follows `next` (a VXLAN next protocol) from `at` over `length` octets. Returns label << 8 | octets up to the inner IP
 * packet, or a negative drop reason. Without label it is the explicit null, as if the stack had said so.
 */
export function innerPacket(bytes: Uint8Array, at: number, length: number, next: number): number {
  switch (next) {
    case VXLAN_NEXT_GRE:
      return throughGre(bytes, at, length);
    case VXLAN_NEXT_MPLS:
    case VXLAN_NEXT_VMLH:
      return throughMpls(bytes, at, length, 0);
    case VXLAN_NEXT_IPV4:
    case VXLAN_NEXT_IPV6:
      return 0;
    case VXLAN_NEXT_ETHERNET:
      return INNER_ETHERNET;
    default:
      return UNKNOWN_NEXT;
  }
}

/** The same from a GRE header on. */
export function throughGre(bytes: Uint8Array, at: number, length: number): number {
  if (!isGre(bytes, at, length)) return MALFORMED_GRE;
  const protocol = greProtocol(bytes, at);
  if (protocol === GRE_MPLS) return throughMpls(bytes, at, length, GRE_HEADER_BYTES);
  return protocol === GRE_IPV4 || protocol === GRE_IPV6 ? GRE_HEADER_BYTES : MALFORMED_GRE;
}

function throughMpls(bytes: Uint8Array, at: number, length: number, skip: number): number {
  const stack = mplsStackBytes(bytes, at + skip, length - skip);
  if (stack === 0) return MALFORMED_MPLS;
  if (mplsCarriesEthernet(bytes, at + skip, stack)) return INNER_ETHERNET;
  // The bottom label is the VPN's; an explicit null may stand above it.
  return (mplsLabel(bytes, at + skip + stack - MPLS_ENTRY_BYTES) << 8) | (skip + stack);
}

export function isExplicitNull(label: number): boolean {
  return label === MPLS_EXPLICIT_NULL_IPV4 || label === MPLS_EXPLICIT_NULL_IPV6;
}
