// The next hop inside MP_REACH_NLRI. Its length and form depend on the family:
//   VPN families      an 8-octet zero RD before each address (RFC 4364 4.3.2, RFC 4659 3.2.1)
//   IPv6 families     an IPv4 next hop is written IPv4-mapped (RFC 4659 3.2.1.2, RFC 4798 2), read back as IPv4
//   SAFI 74, 132      4 or 16 octets by the address itself
// A second address (the link-local one, RFC 2545 3) is read over: sessions here never run on link-local addresses.
import { WireError } from '../../../platform/errors.ts';
import { concat } from '../../../platform/bytes.ts';
import { addressBytes, addressText } from '../address.ts';
import { AFI_IPV6, SAFI_UNICAST, SAFI_VPN } from './family.ts';
import type { Family } from './family.ts';

const RD_BYTES = 8;
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** Address text of a next hop field. Throws WireError when its length fits no form of the family. */
export function decodeNextHop(family: Family, field: Uint8Array): string {
  const before = family.safi === SAFI_VPN ? RD_BYTES : 0;
  const size = [4, 16].find((length) => field.length === before + length || (length === 16 && field.length === 2 * (before + length)));
  if (size === undefined) throw new WireError(`a next hop of ${field.length} octets, allowed are ${before + 4}, ${before + 16} and ${2 * (before + 16)}`);
  const address = field.slice(before, before + size);
  if (size === 16 && MAPPED.every((octet, i) => octet === address[i])) return addressText(address.subarray(MAPPED.length));
  return addressText(address);
}

/** The next hop field for an address given as text. Throws UsageError on malformed text. */
export function encodeNextHop(family: Family, nextHop: string): Uint8Array<ArrayBuffer> {
  const address = addressBytes(nextHop);
  const mapped = family.afi === AFI_IPV6 && (family.safi === SAFI_VPN || family.safi === SAFI_UNICAST) && address.length === 4;
  return concat(new Uint8Array(family.safi === SAFI_VPN ? RD_BYTES : 0), mapped ? MAPPED : new Uint8Array(0), address);
}

/** Whether this next hop may only be sent to a peer with the extended next hop capability (RFC 8950 4). */
export function needsExtendedNextHop(family: Family, nextHop: string): boolean {
  return family.afi !== AFI_IPV6 && (family.safi === SAFI_VPN || family.safi === SAFI_UNICAST) && nextHop.includes(':');
}
