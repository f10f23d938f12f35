// Route distinguishers (RFC 4364 4.2), extended communities (RFC 4360, 5668, 9012) and their text.
// Text is `administrator:number`; a 4-octet AS number that would fit two octets is written with an L (`65000L:2`), so
// that every value has one text and every text one value. Types without such a form are `0x` and 16 hex digits.
import { UsageError } from '../../../platform/errors.ts';
import { Reader, Writer, fromHex, toHex } from '../../../platform/bytes.ts';
import { addressBytes, addressText, isAddress } from '../address.ts';

export const EXTENDED_COMMUNITY_BYTES = 8;

const SUBTYPE_ROUTE_TARGET = 0x02;
const TYPE_OPAQUE = 0x03;
const SUBTYPE_COLOR = 0x0b;
const SUBTYPE_ENCAPSULATION = 0x0c;
/** Bit 6 of the type octet: not passed on to another AS (RFC 4360 2). */
const NON_TRANSITIVE = 0x40;

const ADMINISTRATOR_TEXT = /^(\d{1,10})(L?):(\d{1,10})$/;
const ADDRESS_TEXT = /^([\d.]+):(\d{1,5})$/;
const HEX_TEXT = /^0x([0-9a-f]{16})$/;

/** The administrator and number of types 0 (AS2:4), 1 (IPv4:2) and 2 (AS4:2), which both kinds share. */
function parseAdministrator(text: string): { type: number; value: Uint8Array } | undefined {
  const byAddress = ADDRESS_TEXT.exec(text);
  if (byAddress && isAddress(byAddress[1]!) && Number(byAddress[2]) <= 0xffff) {
    return { type: 1, value: new Writer(6).put(addressBytes(byAddress[1]!)).u16(Number(byAddress[2])).finish() };
  }
  const byAs = ADMINISTRATOR_TEXT.exec(text);
  if (!byAs) return undefined;
  const asNumber = Number(byAs[1]);
  const number = Number(byAs[3]);
  const wide = byAs[2] === 'L' || asNumber > 0xffff;
  if (asNumber > 0xffff_ffff || number > (wide ? 0xffff : 0xffff_ffff)) return undefined;
  const writer = new Writer(6);
  if (wide) writer.u32(asNumber).u16(number);
  else writer.u16(asNumber).u32(number);
  return { type: wide ? 2 : 0, value: writer.finish() };
}

function administratorText(type: number, reader: Reader): string | undefined {
  if (type === 0) return `${reader.u16()}:${reader.u32()}`;
  if (type === 1) return `${addressText(reader.take(4))}:${reader.u16()}`;
  if (type !== 2) return undefined;
  const asNumber = reader.u32();
  return `${asNumber}${asNumber <= 0xffff ? 'L' : ''}:${reader.u16()}`;
}

/** The 8 octets of `65000:2`, `192.0.2.1:7`, `4200000001:2` or `0x...`. Throws UsageError when the text is none of these. */
export function routeDistinguisher(text: string): Uint8Array<ArrayBuffer> {
  const hex = HEX_TEXT.exec(text);
  if (hex) return fromHex(hex[1]!);
  const parsed = parseAdministrator(text);
  if (!parsed) throw new UsageError(`"${text}" is not a route distinguisher; write 65000:2 or 192.0.2.1:2`);
  return new Writer(8).u16(parsed.type).put(parsed.value).finish();
}

/** Text of the 8 octets of a route distinguisher. */
export function formatRouteDistinguisher(bytes: Uint8Array): string {
  const reader = new Reader(bytes, 'route distinguisher');
  return administratorText(reader.u16(), reader) ?? `0x${toHex(bytes)}`;
}

/** The 8 octets of the route target `65000:2` (also `192.0.2.1:2`, `4200000001:2`). Throws UsageError on other text. */
export function routeTarget(text: string): Uint8Array<ArrayBuffer> {
  const parsed = parseAdministrator(text);
  if (!parsed) throw new UsageError(`"${text}" is not a route target; write 65000:2 or 192.0.2.1:2`);
  return new Writer(8).u8(parsed.type).u8(SUBTYPE_ROUTE_TARGET).put(parsed.value).finish();
}

export function isRouteTarget(community: Uint8Array): boolean {
  return community.length === EXTENDED_COMMUNITY_BYTES && community[0]! <= 2 && community[1] === SUBTYPE_ROUTE_TARGET;
}

/** Text of a route target; anything else becomes `0x` and its hex digits. */
export function formatRouteTarget(community: Uint8Array): string {
  if (!isRouteTarget(community)) return `0x${toHex(community)}`;
  return administratorText(community[0]!, new Reader(community, 'route target', 2))!;
}

/** Color extended community with no flags (RFC 9012 4.3). */
export function colorCommunity(color: number): Uint8Array<ArrayBuffer> {
  return new Writer(8).u8(TYPE_OPAQUE).u8(SUBTYPE_COLOR).u16(0).u32(color).finish();
}

/** The color, or undefined when the community is another one. */
export function colorOf(community: Uint8Array): number | undefined {
  if (community.length !== EXTENDED_COMMUNITY_BYTES || community[0] !== TYPE_OPAQUE || community[1] !== SUBTYPE_COLOR) return undefined;
  return new Reader(community, 'color', 4).u32();
}

/** Encapsulation extended community (RFC 9012 4.1); 25 is SDWAN-Hybrid. */
export function encapsulationCommunity(tunnelType: number): Uint8Array<ArrayBuffer> {
  return new Writer(8).u8(TYPE_OPAQUE).u8(SUBTYPE_ENCAPSULATION).u32(0).u16(tunnelType).finish();
}

export function isTransitiveCommunity(community: Uint8Array): boolean {
  return (community[0]! & NON_TRANSITIVE) === 0;
}
