// SD-WAN NLRI (AFI 1 or 2, SAFI 74): circuit routes of draft-ietf-idr-sdwan-edge-discovery and two private route
// types, the key route and the rekey directive (docs/WIRE.md). BGP's own framing is not here.
//
//   | Route Type 2 | Length 2, in BITS | value |
//   circuit   0x0001   Port-Local-ID 4 | SD-WAN-Color 4 | SD-WAN-Node-ID 4 or 16
//   key       0xFF01   RD 8            | SD-WAN-Color 4 | SD-WAN-Node-ID 4 or 16
//   directive 0xFF02   RD 8            | Node-ID of the Controller 4 or 16
import { Reader, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { formatRouteDistinguisher, routeDistinguisher } from './community.ts';

export const ROUTE_TYPE_CIRCUIT = 1;
export const ROUTE_TYPE_KEY = 0xff01;
export const ROUTE_TYPE_DIRECTIVE = 0xff02;

/** `color` is the site id, `nodeId` the 4 or 16 octets of the clear TVI's address. */
export interface CircuitNlri {
  readonly kind: 'circuit';
  readonly portLocalId: number;
  readonly color: number;
  readonly nodeId: Uint8Array;
}

/** `rd` in text form (`65000:2`), see community.ts. */
export interface KeyNlri {
  readonly kind: 'key';
  readonly rd: string;
  readonly color: number;
  readonly nodeId: Uint8Array;
}

export interface DirectiveNlri {
  readonly kind: 'directive';
  readonly rd: string;
  readonly nodeId: Uint8Array;
}

/** Kept and reflected as it is. */
export interface UnknownNlri {
  readonly kind: 'unknown';
  readonly routeType: number;
  readonly value: Uint8Array;
}

export type SdwanNlri = CircuitNlri | KeyNlri | DirectiveNlri | UnknownNlri;

/** Decodes the value of one SAFI 74 item; throws WireError when a known route type has a wrong length. */
export function decodeSdwanNlri(routeType: number, value: Uint8Array): SdwanNlri {
  const r = new Reader(value, `SD-WAN route type ${routeType}`);
  switch (routeType) {
    case ROUTE_TYPE_CIRCUIT:
      return { kind: 'circuit', portLocalId: r.u32(), color: r.u32(), nodeId: nodeIdOf(r) };
    case ROUTE_TYPE_KEY:
      return { kind: 'key', rd: formatRouteDistinguisher(r.take(8)), color: r.u32(), nodeId: nodeIdOf(r) };
    case ROUTE_TYPE_DIRECTIVE:
      return { kind: 'directive', rd: formatRouteDistinguisher(r.take(8)), nodeId: nodeIdOf(r) };
    default:
      return { kind: 'unknown', routeType, value: r.rest() };
  }
}

function nodeIdOf(r: Reader): Uint8Array {
  if (r.remaining !== 4 && r.remaining !== 16) throw new WireError(`${r.what} leaves ${r.remaining} octets for the Node-ID, 4 or 16 are legal`);
  return r.rest();
}

export function encodeSdwanNlri(nlri: SdwanNlri): { readonly routeType: number; readonly value: Uint8Array } {
  const w = new Writer(32);
  switch (nlri.kind) {
    case 'circuit':
      return { routeType: ROUTE_TYPE_CIRCUIT, value: w.u32(nlri.portLocalId).u32(nlri.color).put(nlri.nodeId).finish() };
    case 'key':
      return { routeType: ROUTE_TYPE_KEY, value: w.put(routeDistinguisher(nlri.rd)).u32(nlri.color).put(nlri.nodeId).finish() };
    case 'directive':
      return { routeType: ROUTE_TYPE_DIRECTIVE, value: w.put(routeDistinguisher(nlri.rd)).put(nlri.nodeId).finish() };
    case 'unknown':
      return { routeType: nlri.routeType, value: nlri.value };
  }
}

/** One whole item as it stands in MP_REACH_NLRI: type, length in bits, value. This is what signatures cover. */
export function encodeSdwanItem(nlri: SdwanNlri): Uint8Array<ArrayBuffer> {
  const { routeType, value } = encodeSdwanNlri(nlri);
  return new Writer(4 + value.length).u16(routeType).u16(value.length * 8).put(value).finish();
}

/** Decodes exactly one whole item; throws WireError. */
export function decodeSdwanItem(item: Uint8Array): SdwanNlri {
  const r = new Reader(item, 'SD-WAN NLRI');
  const routeType = r.u16();
  const bits = r.u16();
  if (bits !== r.remaining * 8) throw new WireError(`SD-WAN NLRI claims ${bits} bits, ${r.remaining * 8} follow`);
  return decodeSdwanNlri(routeType, r.rest());
}
