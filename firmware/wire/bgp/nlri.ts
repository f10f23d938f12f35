// NLRI of the families this product speaks: unicast (RFC 4760), VPN-IPv4/IPv6 (RFC 4364, 4659, label as RFC 8277 2.2),
// route target membership (RFC 4684) and SD-WAN, SAFI 74.
//
// SAFI 74 items stay opaque here, whatever their route type: a reflector passes on types it does not know. A length that is
// no multiple of 8 is rounded up to whole octets.
// +-----------------------------+
// | Route Type (2)              |
// | Length (2), in bits         |
// | value                       |
// +-----------------------------+
import { UsageError, WireError } from '../../../platform/errors.ts';
import type { Reader, Writer } from '../../../platform/bytes.ts';
import { fromHex, toHex } from '../../../platform/bytes.ts';
import { parsePrefix, prefixText } from '../address.ts';
import { formatRouteDistinguisher, formatRouteTarget, routeDistinguisher } from './community.ts';
import { AFI_IPV4, SAFI_ROUTE_TARGET, SAFI_SDWAN, SAFI_UNICAST, SAFI_VPN, familyName } from './family.ts';
import type { Family } from './family.ts';

export interface UnicastNlri {
  readonly kind: 'unicast';
  readonly prefix: string;
}

export interface VpnNlri {
  readonly kind: 'vpn';
  /** `65000:2` */
  readonly rd: string;
  /** `10.1.0.0/24` */
  readonly prefix: string;
  /** 20 bits; without meaning in a withdrawal. */
  readonly label: number;
}

export interface SdwanNlri {
  readonly kind: 'sdwan';
  readonly routeType: number;
  /** The octets after Route Type and Length. */
  readonly value: Uint8Array;
}

/** Length 0 stands for every route target; 96 names one (RFC 4684 4). */
export interface RouteTargetNlri {
  readonly kind: 'route-target';
  readonly lengthBits: number;
  readonly originAs: number;
  /** 8 octets, of which the first lengthBits - 32 bits count. */
  readonly target: Uint8Array;
}

export type ParsedNlri = UnicastNlri | VpnNlri | SdwanNlri | RouteTargetNlri;

const LABEL_BITS = 24;
const RD_BITS = 64;
const ORIGIN_AS_BITS = 32;
const MEMBERSHIP_BITS = 96;
/** Goes where the label would be in a withdrawal (RFC 8277 2.4). */
const WITHDRAW_LABEL = 0x800000;
/** Its length in bits must fit 16 bits. */
const MOST_SDWAN_BYTES = 8191;

function addressLength(family: Family): number {
  return family.afi === AFI_IPV4 ? 4 : 16;
}

/** Octets of `bits` bits, padded with zeros to `size`. */
function takeBits(reader: Reader, bits: number, size: number): Uint8Array {
  const out = new Uint8Array(size);
  out.set(reader.take(Math.ceil(bits / 8)));
  return out;
}

function decodePrefix(reader: Reader, family: Family, bits: number): string {
  const size = addressLength(family);
  if (bits < 0 || bits > size * 8) throw new WireError(`a prefix of ${bits} bits, at most ${size * 8} fit ${familyName(family)}`);
  return prefixText(takeBits(reader, bits, size), bits);
}

function encodePrefix(writer: Writer, prefix: string, before: number, middle: () => void): void {
  const { bytes, length } = parsePrefix(prefix);
  writer.u8(before + length);
  middle();
  writer.put(bytes.subarray(0, Math.ceil(length / 8)));
}

interface NlriCodec {
  readonly safi: number;
  readonly decode: (reader: Reader, family: Family) => ParsedNlri;
}

const CODECS: readonly NlriCodec[] = [
  { safi: SAFI_UNICAST, decode: (reader, family) => ({ kind: 'unicast', prefix: decodePrefix(reader, family, reader.u8()) }) },
  { safi: SAFI_VPN, decode: decodeVpn },
  { safi: SAFI_SDWAN, decode: decodeSdwan },
  { safi: SAFI_ROUTE_TARGET, decode: decodeRouteTarget },
];

function decodeVpn(reader: Reader, family: Family): VpnNlri {
  const bits = reader.u8();
  if (bits < LABEL_BITS + RD_BITS) throw new WireError(`a VPN prefix of ${bits} bits, a label and an RD need ${LABEL_BITS + RD_BITS}`);
  // One label always: more need a capability that we do not send, and the bottom-of-stack bit must be ignored (RFC 8277 2.2).
  const label = reader.u24() >>> 4;
  const rd = formatRouteDistinguisher(reader.take(8));
  return { kind: 'vpn', rd, prefix: decodePrefix(reader, family, bits - LABEL_BITS - RD_BITS), label };
}

function decodeSdwan(reader: Reader): SdwanNlri {
  const routeType = reader.u16();
  const bits = reader.u16();
  return { kind: 'sdwan', routeType, value: reader.take(Math.ceil(bits / 8)) };
}

function decodeRouteTarget(reader: Reader): RouteTargetNlri {
  const lengthBits = reader.u8();
  if (lengthBits === 0) return { kind: 'route-target', lengthBits, originAs: 0, target: new Uint8Array(8) };
  if (lengthBits < ORIGIN_AS_BITS || lengthBits > MEMBERSHIP_BITS) {
    throw new WireError(`route target membership of ${lengthBits} bits, allowed are 0 and ${ORIGIN_AS_BITS} to ${MEMBERSHIP_BITS}`);
  }
  const originAs = reader.u32();
  const target = takeBits(reader, lengthBits - ORIGIN_AS_BITS, 8);
  const partial = (lengthBits - ORIGIN_AS_BITS) % 8;
  const last = Math.ceil((lengthBits - ORIGIN_AS_BITS) / 8) - 1;
  if (partial !== 0) target[last] = target[last]! & (0xff00 >>> partial);
  return { kind: 'route-target', lengthBits, originAs, target };
}

/** All items up to the reader's end. Throws WireError when one is malformed or the family is unknown. */
export function decodeNlri(reader: Reader, family: Family): ParsedNlri[] {
  const codec = CODECS.find((row) => row.safi === family.safi);
  if (!codec) throw new WireError(`no codec for the family ${familyName(family)}`);
  const items: ParsedNlri[] = [];
  while (reader.remaining > 0) items.push(codec.decode(reader, family));
  return items;
}

/** Appends one item; `withdraw` puts the withdraw label where a label belongs. */
export function encodeNlri(writer: Writer, nlri: ParsedNlri, withdraw: boolean): void {
  switch (nlri.kind) {
    case 'unicast':
      return encodePrefix(writer, nlri.prefix, 0, () => {});
    case 'vpn':
      return encodePrefix(writer, nlri.prefix, LABEL_BITS + RD_BITS, () => {
        writer.u24(withdraw ? WITHDRAW_LABEL : (nlri.label << 4) | 1).put(routeDistinguisher(nlri.rd));
      });
    case 'sdwan':
      if (nlri.value.length > MOST_SDWAN_BYTES) {
        throw new UsageError(`a SAFI 74 value of ${nlri.value.length} octets, at most ${MOST_SDWAN_BYTES} have a length in bits`);
      }
      writer.u16(nlri.routeType).u16(nlri.value.length * 8).put(nlri.value);
      return;
    case 'route-target':
      writer.u8(nlri.lengthBits);
      if (nlri.lengthBits === 0) return;
      writer.u32(nlri.originAs).put(nlri.target.subarray(0, Math.ceil((nlri.lengthBits - ORIGIN_AS_BITS) / 8)));
  }
}

/** What makes two announcements the same route: everything but the label. Unique within one family. */
export function nlriKey(nlri: ParsedNlri): string {
  switch (nlri.kind) {
    case 'unicast':
      return nlri.prefix;
    case 'vpn':
      return `${nlri.rd}|${nlri.prefix}`;
    case 'sdwan':
      return `${nlri.routeType.toString(16).padStart(4, '0')}${(nlri.value.length * 8).toString(16).padStart(4, '0')}${toHex(nlri.value)}`;
    case 'route-target':
      if (nlri.lengthBits === 0) return 'default';
      return nlri.lengthBits === MEMBERSHIP_BITS
        ? `${nlri.originAs}|${formatRouteTarget(nlri.target)}`
        : `${nlri.originAs}|0x${toHex(nlri.target)}/${nlri.lengthBits}`;
  }
}

/** Membership in one route target; the default membership (every target) without one. */
export function routeTargetMembership(originAs: number, target?: Uint8Array): RouteTargetNlri {
  if (target === undefined) return { kind: 'route-target', lengthBits: 0, originAs: 0, target: fromHex('0000000000000000') };
  return { kind: 'route-target', lengthBits: MEMBERSHIP_BITS, originAs, target };
}
