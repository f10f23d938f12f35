// The Tunnel Encapsulation attribute (type 23, RFC 9012) with the one tunnel type the overlay uses, 25 SDWAN-Hybrid.
//
//   | Tunnel Type 2 = 25 | Length 2 | sub-TLVs |      sub-TLV: | Type 1 | Length 1 (type < 128) or 2 | value |
//
// Sub-TLVs 4, 6 and 8 are RFC 9012's, 65 and 66 those of draft-ietf-idr-sdwan-edge-discovery, 194 to 196 are in
// tunnel-encap-keys.ts, 253 in tunnel-encap-container.ts. Other tunnel types and sub-TLVs are skipped. A WireError
// means treat-as-withdraw (RFC 7606); a TLV with two Tunnel Egress Endpoints is ignored (RFC 9012 13).
// Deviation: of several TLVs of type 25 the first counts; others are alternatives that this overlay never makes.
import { Reader, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { CONTAINER_SIGNATURE, decodeContainers, encodeContainers } from './tunnel-encap-container.ts';
import type { Containers } from './tunnel-encap-container.ts';
import {
  decodeDeviceInformation, decodeKeyExchange, decodeSaProposal, encodeDeviceInformation, encodeKeyExchange, encodeSaProposal,
} from './tunnel-encap-keys.ts';
import type { DeviceInformation, KeyExchange, SaProposal } from './tunnel-encap-keys.ts';

export const TUNNEL_TYPE_SDWAN_HYBRID = 25;
/** One public value per group, and more proposals than there are ciphers. */
const KEY_EXCHANGES_MAX = 8;
const PROPOSALS_MAX = 16;

const COLOR = 4;
const EGRESS_ENDPOINT = 6;
const UDP_PORT = 8;
const EXTENDED_PORT = 65;
const UNDERLAY = 66;
const DEVICE_INFORMATION = 194;
const KEY_EXCHANGE = 195;
const SA_PROPOSAL = 196;
const CONTAINER = 253;
const COLOR_COMMUNITY = 0x030b;
const INNER_IPV6 = 0x80;
const OUTER_IPV6 = 0x40;

/** NAT: 0 none, 1 static, 2 full cone, 3 restricted, 4 port-restricted, 5 symmetric, 6 unknown. Addresses: 4 or 16 octets. */
export interface ExtendedPort {
  readonly natType: number;
  readonly encapsulationType: number;
  readonly transportNetworkId: number;
  readonly rdId: number;
  readonly localAddress: Uint8Array;
  readonly localPort: number;
  readonly publicAddress: Uint8Array;
  readonly publicPort: number;
}

/** Connection: 1 wired, 2 Wi-Fi, 3 LTE, 4 5G. Port: 1 Ethernet, 2 fibre, 3 coax, 4 cellular. */
export interface Underlay {
  readonly flags: number;
  readonly connectionType: number;
  readonly portType: number;
  readonly speedGbps: number;
}

export interface TunnelEncapsulation extends Containers {
  /** 4 or 16 octets; empty: the route's next hop is the endpoint. */
  readonly egressEndpoint?: Uint8Array | undefined;
  readonly color?: number | undefined;
  readonly udpPort?: number | undefined;
  readonly extendedPort?: ExtendedPort | undefined;
  readonly underlay?: Underlay | undefined;
  readonly deviceInformation?: DeviceInformation | undefined;
  /** In order of preference. */
  readonly keyExchanges: readonly KeyExchange[];
  readonly proposals: readonly SaProposal[];
}

/** The attribute's value; undefined when it holds no usable TLV of type 25. Throws WireError when malformed. */
export function decodeTunnelEncapsulation(value: Uint8Array): TunnelEncapsulation | undefined {
  let found: TunnelEncapsulation | undefined;
  const r = new Reader(value, 'TUNNEL_ENCAP');
  while (r.remaining > 0) {
    const type = r.u16();
    const tlv = r.sub(r.u16(), `tunnel TLV ${type}`);
    if (type === TUNNEL_TYPE_SDWAN_HYBRID) found ??= decodeTlv(tlv);
  }
  return found;
}

function decodeTlv(r: Reader): TunnelEncapsulation | undefined {
  const fields: Record<string, unknown> = {};
  const keyExchanges: KeyExchange[] = [];
  const proposals: SaProposal[] = [];
  let endpoints = 0;
  while (r.remaining > 0) {
    const { type, value } = subTlv(r);
    switch (type) {
      case EGRESS_ENDPOINT:
        endpoints++;
        fields['egressEndpoint'] = decodeEgressEndpoint(value);
        break;
      case COLOR:
        fields['color'] ??= decodeColor(value);
        break;
      case UDP_PORT:
        fields['udpPort'] ??= only(value, value.u16());
        break;
      case EXTENDED_PORT:
        fields['extendedPort'] ??= decodeExtendedPort(value);
        break;
      case UNDERLAY:
        fields['underlay'] ??= decodeUnderlay(value);
        break;
      case DEVICE_INFORMATION:
        if (fields['deviceInformation'] !== undefined) throw new WireError('TUNNEL_ENCAP has two DIM sub-TLVs');
        fields['deviceInformation'] = decodeDeviceInformation(value);
        break;
      case KEY_EXCHANGE:
        addKeyExchange(keyExchanges, decodeKeyExchange(value));
        break;
      case SA_PROPOSAL:
        if (proposals.push(decodeSaProposal(value)) > PROPOSALS_MAX) throw new WireError(`more than ${PROPOSALS_MAX} SA proposals`);
        break;
      case CONTAINER:
        decodeContainers(value, fields);
        break;
    }
  }
  return endpoints > 1 ? undefined : { ...fields, keyExchanges, proposals };
}

function subTlv(r: Reader): { type: number; value: Reader } {
  const type = r.u8();
  return { type, value: r.sub(type < 128 ? r.u8() : r.u16(), `sub-TLV ${type}`) };
}

function addKeyExchange(list: KeyExchange[], ke: KeyExchange): void {
  if (list.some((other) => other.group === ke.group)) throw new WireError(`group ${ke.group} has two public values`);
  if (list.push(ke) > KEY_EXCHANGES_MAX) throw new WireError(`more than ${KEY_EXCHANGES_MAX} public values`);
}

function only<T>(r: Reader, value: T): T {
  r.expectEnd();
  return value;
}

function decodeEgressEndpoint(r: Reader): Uint8Array {
  r.skip(4);
  const family = r.u16();
  const length = family === 0 ? 0 : family === 1 ? 4 : family === 2 ? 16 : undefined;
  if (length !== r.remaining) throw new WireError(`egress endpoint of address family ${family} has ${r.remaining} octets`);
  return r.rest();
}

function decodeColor(r: Reader): number {
  const community = r.u16();
  r.skip(2);
  if (community !== COLOR_COMMUNITY) throw new WireError(`color sub-TLV holds community 0x${community.toString(16)}`);
  return only(r, r.u32());
}

function decodeExtendedPort(r: Reader): ExtendedPort {
  const flags = r.u8();
  return only(r, {
    natType: r.u8(),
    encapsulationType: r.u8(),
    transportNetworkId: r.u8(),
    rdId: r.u8(),
    localAddress: r.take(flags & INNER_IPV6 ? 16 : 4),
    localPort: port32(r),
    publicAddress: r.take(flags & OUTER_IPV6 ? 16 : 4),
    publicPort: port32(r),
  });
}

/** The draft draws ports as 32-bit rows. */
function port32(r: Reader): number {
  const port = r.u32();
  if (port > 0xffff) throw new WireError(`port ${port} is above 65535`);
  return port;
}

function decodeUnderlay(r: Reader): Underlay {
  const flags = r.u8();
  r.skip(1);
  return only(r, { flags, connectionType: r.u8(), portType: r.u8(), speedGbps: r.u16() });
}

/** The attribute's value: one TLV of type 25, sub-TLVs in the order of docs/WIRE.md. */
export function encodeTunnelEncapsulation(t: TunnelEncapsulation): Uint8Array<ArrayBuffer> {
  const w = new Writer(512);
  w.u16(TUNNEL_TYPE_SDWAN_HYBRID).u16(0);
  put(w, EGRESS_ENDPOINT, t.egressEndpoint, (e) => w.u32(0).u16(e.length === 0 ? 0 : e.length === 4 ? 1 : 2).put(e));
  put(w, COLOR, t.color, (color) => w.u16(COLOR_COMMUNITY).u16(0).u32(color));
  put(w, UDP_PORT, t.udpPort, (port) => w.u16(port));
  put(w, EXTENDED_PORT, t.extendedPort, (p) => encodeExtendedPort(w, p));
  put(w, UNDERLAY, t.underlay, (u) => w.u8(u.flags).u8(0).u8(u.connectionType).u8(u.portType).u16(u.speedGbps));
  put(w, DEVICE_INFORMATION, t.deviceInformation, (dim) => encodeDeviceInformation(w, dim));
  for (const ke of t.keyExchanges) put(w, KEY_EXCHANGE, ke, () => encodeKeyExchange(w, ke));
  for (const proposal of t.proposals) put(w, SA_PROPOSAL, proposal, () => encodeSaProposal(w, proposal));
  const containers = new Writer();
  encodeContainers(containers, t);
  put(w, CONTAINER, containers.length > 0 ? containers.finish() : undefined, (bytes) => w.put(bytes));
  w.patch16(2, w.length - 4);
  return w.finish();
}

function put<T>(w: Writer, type: number, value: T | undefined, encode: (value: T) => void): void {
  if (value === undefined) return;
  w.u8(type);
  if (type < 128) w.u8(0);
  else w.u16(0);
  const start = w.length;
  encode(value);
  if (type < 128) w.patch8(start - 1, w.length - start);
  else w.patch16(start - 2, w.length - start);
}

function encodeExtendedPort(w: Writer, p: ExtendedPort): void {
  w.u8((p.localAddress.length === 16 ? INNER_IPV6 : 0) | (p.publicAddress.length === 16 ? OUTER_IPV6 : 0));
  w.u8(p.natType).u8(p.encapsulationType).u8(p.transportNetworkId).u8(p.rdId);
  w.put(p.localAddress).u32(p.localPort).put(p.publicAddress).u32(p.publicPort);
}

/**
 * The value as signatures cover it: container 253/3 removed, the lengths around it reduced, a sub-TLV 253 that holds
 * nothing more left out. Everything else keeps its octets and order. Throws WireError when malformed.
 */
export function tunnelEncapsulationWithoutSignature(value: Uint8Array): Uint8Array<ArrayBuffer> {
  const w = new Writer(value.length);
  const r = new Reader(value, 'TUNNEL_ENCAP');
  while (r.remaining > 0) {
    const tunnelType = r.u16();
    const tlv = r.sub(r.u16(), `tunnel TLV ${tunnelType}`);
    w.u16(tunnelType).u16(0);
    const start = w.length;
    while (tlv.remaining > 0) {
      const { type, value: sub } = subTlv(tlv);
      const kept = type === CONTAINER ? containersWithoutSignature(sub) : sub.rest();
      if (type !== CONTAINER || kept.length > 0) put(w, type, kept, (bytes) => w.put(bytes));
    }
    w.patch16(start - 2, w.length - start);
  }
  return w.finish();
}

function containersWithoutSignature(r: Reader): Uint8Array {
  const w = new Writer(r.remaining);
  while (r.remaining > 0) {
    const type = r.u8();
    const value = r.take(r.u16());
    if (type !== CONTAINER_SIGNATURE) w.u8(type).u16(value.length).put(value);
  }
  return w.finish();
}
