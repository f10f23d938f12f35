// @hot  What a packet read from an inside may be. Clear TVIs carry IKE of the box itself and nothing else.
import { Next, type Burst } from '../../drivers/burst.ts';
import {
  AddressFault, addressFault, ipDestinationAt, ipIsFragment, ipPayloadOffset, ipProtocol, ipSourceAt, ipTotalBytes, ipVersion, isIpv4, isIpv6,
  PROTOCOL_UDP,
} from '../wire/ip.ts';
import { isUdp, udpDestinationPort, PORT_IKE } from '../wire/udp.ts';
import { Reason } from './counters.ts';
import { INSIDE_CLEAR, type InsideTable } from './insides.ts';

/** 0 = legal; else the drop reason for an address that is not routed unicast. */
export function reasonOfFault(fault: number): number {
  if (fault === AddressFault.none) return 0;
  if (fault === AddressFault.multicast) return Reason.multicast;
  if (fault === AddressFault.broadcast) return Reason.broadcast;
  return fault === AddressFault.linkLocal ? Reason['link-local'] : Reason['unusable-address'];
}

export function isIp(bytes: Uint8Array, at: number, length: number): boolean {
  return isIpv4(bytes, at, length) || isIpv6(bytes, at, length);
}

/** An unfragmented UDP packet to the IKE port; `isIp` must hold. */
export function isIke(bytes: Uint8Array, at: number): boolean {
  if (ipProtocol(bytes, at) !== PROTOCOL_UDP || ipIsFragment(bytes, at)) return false;
  const header = ipPayloadOffset(bytes, at);
  const udp = at + header;
  return isUdp(bytes, udp, ipTotalBytes(bytes, at) - header) && udpDestinationPort(bytes, udp) === PORT_IKE;
}

/** Sets next = route, or drop with a reason, for every packet read from the inside `row`. */
export function classify(burst: Burst, insides: InsideTable, row: number): void {
  const clear = insides.kind[row] === INSIDE_CLEAR;
  const { bytes, offset, length, next, reason } = burst;
  for (let i = 0; i < burst.count; i++) {
    const at = offset[i]!;
    const whole = isIp(bytes, at, length[i]!) && (burst.segment[i] === 0 || ipTotalBytes(bytes, at) === length[i]);
    const fault = whole ? faultOf(bytes, at, insides, row, clear) : Reason['malformed-ip'];
    reason[i] = fault;
    next[i] = fault === 0 ? Next.route : Next.drop;
  }
}

function faultOf(bytes: Uint8Array, at: number, insides: InsideTable, row: number, clear: boolean): number {
  const version = ipVersion(bytes, at);
  const fault = reasonOfFault(addressFault(bytes, ipDestinationAt(bytes, at), version));
  if (fault !== 0 || !clear) return fault;
  if (!isIke(bytes, at)) return Reason['clear-not-ike'];
  return insides.isOwn(row, version, bytes, ipSourceAt(bytes, at)) ? 0 : Reason['clear-foreign-source'];
}
