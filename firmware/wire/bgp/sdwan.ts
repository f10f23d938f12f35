// SD-WAN NLRI (AFI 1 or 2, SAFI 74): circuit routes of draft-ietf-idr-sdwan-edge-discovery and two private route
// types, the key route and the rekey directive (docs/WIRE.md). BGP's own framing is not here.
//
//   | Route Type 2 | Length 2, in BITS | value |
//   circuit   0x0001   Port-Local-ID 4 | SD-WAN-Color 4 | SD-WAN-Node-ID 4 or 16
//   key       0xFF01   RD 8            | SD-WAN-Color 4 | SD-WAN-Node-ID 4 or 16
//   directive 0xFF02   RD 8            | Node-ID of the Controller 4 or 16
import { Reader, Writer, fromHex, toHex } from '../../../platform/bytes.ts';
import { UsageError, WireError } from '../../../platform/errors.ts';

export const SAFI_SDWAN = 74;
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

/** `rd` in text form, see `rdText`. */
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
      return { kind: 'key', rd: rdText(r.take(8)), color: r.u32(), nodeId: nodeIdOf(r) };
    case ROUTE_TYPE_DIRECTIVE:
      return { kind: 'directive', rd: rdText(r.take(8)), nodeId: nodeIdOf(r) };
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
      return { routeType: ROUTE_TYPE_KEY, value: w.put(rdBytes(nlri.rd)).u32(nlri.color).put(nlri.nodeId).finish() };
    case 'directive':
      return { routeType: ROUTE_TYPE_DIRECTIVE, value: w.put(rdBytes(nlri.rd)).put(nlri.nodeId).finish() };
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

/**
 * Route distinguisher as text (RFC 4364 4.2): `65000:2` for type 0 and for type 2 with an AS above 65535,
 * `192.0.2.1:7` for type 1, `65000L:2` for type 2 with a small AS, else `0x` and 16 digits.
 */
export function rdText(rd: Uint8Array): string {
  const r = new Reader(rd, 'route distinguisher');
  const type = r.u16();
  if (type === 0) return `${r.u16()}:${r.u32()}`;
  if (type === 1) return `${r.u8()}.${r.u8()}.${r.u8()}.${r.u8()}:${r.u16()}`;
  if (type !== 2) return `0x${toHex(rd)}`;
  const as = r.u32();
  return `${as}${as > 0xffff ? '' : 'L'}:${r.u16()}`;
}

/** The inverse of `rdText`; throws UsageError for text that is no route distinguisher. */
export function rdBytes(text: string): Uint8Array<ArrayBuffer> {
  const w = new Writer(8);
  if (/^0x[0-9a-f]{16}$/.test(text)) return fromHex(text.slice(2));
  const address = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}):(\d{1,5})$/.exec(text);
  if (address) {
    const [a, b, c, d, number] = address.slice(1).map(Number) as [number, number, number, number, number];
    if (Math.max(a, b, c, d) <= 255 && number <= 0xffff) return w.u16(1).u8(a).u8(b).u8(c).u8(d).u16(number).finish();
  }
  const plain = /^(\d{1,10})(L?):(\d{1,10})$/.exec(text);
  if (plain) {
    const as = Number(plain[1]);
    const number = Number(plain[3]);
    const wide = plain[2] === 'L' || as > 0xffff;
    if (!wide && number <= 0xffff_ffff) return w.u16(0).u16(as).u32(number).finish();
    if (wide && as <= 0xffff_ffff && number <= 0xffff) return w.u16(2).u32(as).u16(number).finish();
  }
  throw new UsageError(`${text} is no route distinguisher; write AS:number, for example 65000:2`);
}
