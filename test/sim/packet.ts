// IP packets of the simulated network: real headers, so that the forwarder sees what it would see on a wire.
import {
  checksumAdd, checksumFinish, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, ipDestinationAt, ipIsFragment, ipPayloadOffset, ipProtocol,
  ipSourceAt, ipTotalBytes, ipTtl, isIpv4, isIpv6, PROTOCOL_ESP, PROTOCOL_TCP, PROTOCOL_UDP, pseudoHeaderSum, read16, write16,
  writeIpv4, writeIpv4Checksum, writeIpv6,
} from '../../firmware/wire/ip.ts';
import { addressBytes, addressText } from '../../firmware/wire/address.ts';
import { isUdp, UDP_HEADER_BYTES, udpLength, writeUdp, writeUdpChecksum } from '../../firmware/wire/udp.ts';
import type { SocketAddress } from '../../drivers/port.ts';

export interface Packet {
  readonly bytes: Uint8Array;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Of the transport header in `bytes`. */
  readonly offset: number;
  /** Undefined unless UDP or TCP. */
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
}

const TTL = 64;
const TCP_CHECKSUM_OFFSET = 16;
const SMALLEST_TCP_BYTES = 20;

/** An IP packet around a transport header and payload; the transport's checksum is written for UDP and TCP. */
export function buildPacket(protocol: number, source: string, destination: string, transport: Uint8Array): Uint8Array<ArrayBuffer> {
  const [from, to] = [addressBytes(source), addressBytes(destination)];
  const header = from.length === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const bytes = new Uint8Array(header + transport.length);
  bytes.set(transport, header);
  if (from.length === 4) writeIpv4(bytes, 0, bytes.length, protocol, TTL, 0);
  else writeIpv6(bytes, 0, transport.length, protocol, TTL, 0);
  bytes.set(from, ipSourceAt(bytes, 0));
  bytes.set(to, ipDestinationAt(bytes, 0));
  if (from.length === 4) writeIpv4Checksum(bytes, 0);
  writeTransportChecksum(bytes, protocol, header);
  return bytes;
}

export function buildUdp(source: SocketAddress, destination: SocketAddress, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const transport = new Uint8Array(UDP_HEADER_BYTES + payload.length);
  writeUdp(transport, 0, source.port, destination.port, transport.length);
  transport.set(payload, UDP_HEADER_BYTES);
  return buildPacket(PROTOCOL_UDP, source.address, destination.address, transport);
}

function writeTransportChecksum(bytes: Uint8Array, protocol: number, at: number): void {
  if (protocol === PROTOCOL_UDP) writeUdpChecksum(bytes, 0, at);
  if (protocol !== PROTOCOL_TCP) return;
  const length = bytes.length - at;
  write16(bytes, at + TCP_CHECKSUM_OFFSET, 0);
  write16(bytes, at + TCP_CHECKSUM_OFFSET, checksumFinish(checksumAdd(bytes, at, length, pseudoHeaderSum(bytes, 0, protocol, length))));
}

/** Undefined for what is not a whole IP packet, and for fragments: the simulated hosts make none. */
export function parsePacket(bytes: Uint8Array): Packet | undefined {
  if (!isIpv4(bytes, 0, bytes.length) && !isIpv6(bytes, 0, bytes.length)) return undefined;
  if (ipIsFragment(bytes, 0)) return undefined;
  const [sourceAt, destinationAt] = [ipSourceAt(bytes, 0), ipDestinationAt(bytes, 0)];
  const width = destinationAt - sourceAt;
  const protocol = ipProtocol(bytes, 0);
  const offset = ipPayloadOffset(bytes, 0);
  const whole = bytes.subarray(0, ipTotalBytes(bytes, 0));
  const hasPorts =
    (protocol === PROTOCOL_UDP && isUdp(whole, offset, whole.length - offset)) || (protocol === PROTOCOL_TCP && whole.length - offset >= SMALLEST_TCP_BYTES);
  return {
    bytes: whole,
    source: addressText(bytes.subarray(sourceAt, destinationAt)),
    destination: addressText(bytes.subarray(destinationAt, destinationAt + width)),
    protocol,
    offset,
    sourcePort: hasPorts ? read16(whole, offset) : undefined,
    destinationPort: hasPorts ? read16(whole, offset + 2) : undefined,
  };
}

/** What a packet carries behind its UDP header, or behind its IP header for other protocols. */
export function payloadOf(packet: Packet): Uint8Array {
  if (packet.protocol !== PROTOCOL_UDP) return packet.bytes.slice(packet.offset);
  return packet.bytes.slice(packet.offset + UDP_HEADER_BYTES, packet.offset + udpLength(packet.bytes, packet.offset));
}

/** The same packet between other endpoints, as a NAT makes it. */
export function readdressed(packet: Packet, source: SocketAddress, destination: SocketAddress): Uint8Array<ArrayBuffer> {
  const transport = packet.bytes.slice(packet.offset);
  write16(transport, 0, source.port);
  write16(transport, 2, destination.port);
  return buildPacket(packet.protocol, source.address, destination.address, transport);
}

/** The packet with its TTL one lower; undefined when that ends it. */
export function hopped(packet: Packet): Uint8Array<ArrayBuffer> | undefined {
  const bytes = new Uint8Array(packet.bytes);
  const ttl = ipTtl(bytes, 0) - 1;
  if (ttl <= 0) return undefined;
  if (bytes[0]! >>> 4 === 4) {
    bytes[8] = ttl;
    writeIpv4Checksum(bytes, 0);
  } else bytes[7] = ttl;
  return bytes;
}

/** `udp 10.0.0.1:500 > 10.0.0.2:500`, for ladders. */
export function describePacket(packet: Packet): string {
  const name = packet.protocol === PROTOCOL_UDP ? 'udp' : packet.protocol === PROTOCOL_ESP ? 'esp' : packet.protocol === PROTOCOL_TCP ? 'tcp' : `protocol ${packet.protocol}`;
  const ports = packet.sourcePort === undefined ? '' : ` ${packet.sourcePort} > ${packet.destinationPort}`;
  return `${name}${ports}, ${packet.bytes.length} octets`;
}
