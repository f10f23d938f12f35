// LLDP data units (IEEE 802.1AB-2016) without their Ethernet header: what a box says about itself on a LAN port, and
// what it hears. TLV: type 7 | length 9 | value. Not here: organizationally specific TLVs (skipped on receipt) and the
// management address's object identifier (sent empty).
import { Reader, Writer, fromUtf8, utf8 } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';

/** Nearest bridge: where frames of ethertype 0x88cc are sent. */
export const LLDP_DESTINATION = Uint8Array.of(0x01, 0x80, 0xc2, 0, 0, 0x0e);
export const LLDP_ETHERTYPE = 0x88cc;

const TLV_END = 0;
const TLV_CHASSIS = 1;
const TLV_PORT = 2;
const TLV_TTL = 3;
const TLV_PORT_DESCRIPTION = 4;
const TLV_SYSTEM_NAME = 5;
const TLV_SYSTEM_DESCRIPTION = 6;
const TLV_MANAGEMENT_ADDRESS = 8;

const CHASSIS_MAC_ADDRESS = 4;
const PORT_INTERFACE_NAME = 5;
const LONGEST_VALUE_BYTES = 511;
const LONGEST_STRING_BYTES = 255;
const MAX_TLVS = 64;
const MAC_BYTES = 6;
/** IANA address family numbers. */
const FAMILY_OF_LENGTH: Readonly<Record<number, number>> = { 4: 1, 16: 2 };
const INTERFACE_NUMBERING_UNKNOWN = 1;

export interface LldpUnit {
  /** MAC address of the chassis; undefined when the neighbour names it another way. */
  readonly chassis: Uint8Array | undefined;
  /** Interface name; the octets of other port ids as text. */
  readonly port: string;
  readonly ttlSeconds: number;
  readonly portDescription: string | undefined;
  readonly systemName: string | undefined;
  readonly systemDescription: string | undefined;
  /** 4 or 16 octets. */
  readonly managementAddress: Uint8Array | undefined;
}

/** Strings are cut at 255 octets. `chassis` is required: a neighbour needs it. */
export function encodeLldp(unit: LldpUnit & { readonly chassis: Uint8Array }): Uint8Array<ArrayBuffer> {
  const writer = new Writer(128);
  putTlv(writer, TLV_CHASSIS, Uint8Array.of(CHASSIS_MAC_ADDRESS, ...unit.chassis));
  putTlv(writer, TLV_PORT, Uint8Array.of(PORT_INTERFACE_NAME, ...text(unit.port)));
  putTlv(writer, TLV_TTL, Uint8Array.of(unit.ttlSeconds >>> 8, unit.ttlSeconds & 0xff));
  if (unit.portDescription !== undefined) putTlv(writer, TLV_PORT_DESCRIPTION, text(unit.portDescription));
  if (unit.systemName !== undefined) putTlv(writer, TLV_SYSTEM_NAME, text(unit.systemName));
  if (unit.systemDescription !== undefined) putTlv(writer, TLV_SYSTEM_DESCRIPTION, text(unit.systemDescription));
  const address = unit.managementAddress;
  if (address !== undefined) {
    const value = [address.length + 1, FAMILY_OF_LENGTH[address.length] ?? 0, ...address, INTERFACE_NUMBERING_UNKNOWN, 0, 0, 0, 0, 0];
    putTlv(writer, TLV_MANAGEMENT_ADDRESS, Uint8Array.from(value));
  }
  putTlv(writer, TLV_END, new Uint8Array());
  return writer.finish();
}

function text(value: string): Uint8Array {
  return utf8(value).subarray(0, LONGEST_STRING_BYTES - 1);
}

function putTlv(writer: Writer, type: number, value: Uint8Array): void {
  if (value.length > LONGEST_VALUE_BYTES) throw new WireError(`LLDP TLV ${type} of ${value.length} octets, ${LONGEST_VALUE_BYTES} fit`);
  writer.u16((type << 9) | value.length).put(value);
}

/** Throws WireError: the first three TLVs must be chassis, port and TTL in this order (802.1AB 8.2), and an end must follow. */
export function decodeLldp(bytes: Uint8Array): LldpUnit {
  const reader = new Reader(bytes, 'LLDP data unit');
  const chassis = mandatory(reader, TLV_CHASSIS);
  const port = mandatory(reader, TLV_PORT);
  const ttlSeconds = mandatory(reader, TLV_TTL).u16();
  const found = optionalTlvs(reader);
  const macAddress = chassis.u8() === CHASSIS_MAC_ADDRESS && chassis.remaining === MAC_BYTES ? chassis.rest() : undefined;
  port.skip(1);
  const string = (type: number): string | undefined => {
    const value = found.get(type);
    return value === undefined ? undefined : fromUtf8(value.rest());
  };
  return {
    chassis: macAddress,
    port: fromUtf8(port.rest()),
    ttlSeconds,
    portDescription: string(TLV_PORT_DESCRIPTION),
    systemName: string(TLV_SYSTEM_NAME),
    systemDescription: string(TLV_SYSTEM_DESCRIPTION),
    managementAddress: managementAddress(found.get(TLV_MANAGEMENT_ADDRESS)),
  };
}

function nextTlv(reader: Reader): { type: number; value: Reader } {
  const head = reader.u16();
  return { type: head >>> 9, value: reader.sub(head & 0x1ff, `LLDP TLV ${head >>> 9}`) };
}

function mandatory(reader: Reader, type: number): Reader {
  const tlv = nextTlv(reader);
  if (tlv.type !== type) throw new WireError(`LLDP TLV ${tlv.type} stands where ${type} must`);
  return tlv.value;
}

function optionalTlvs(reader: Reader): Map<number, Reader> {
  const found = new Map<number, Reader>();
  for (let count = 0; count < MAX_TLVS; count++) {
    const { type, value } = nextTlv(reader);
    if (type === TLV_END) return found;
    if (!found.has(type)) found.set(type, value);
  }
  throw new WireError(`LLDP data unit has more than ${MAX_TLVS} TLVs`);
}

function managementAddress(value: Reader | undefined): Uint8Array | undefined {
  if (value === undefined) return undefined;
  const length = value.u8() - 1;
  const family = value.u8();
  return length > 0 && FAMILY_OF_LENGTH[length] === family ? value.take(length) : undefined;
}
