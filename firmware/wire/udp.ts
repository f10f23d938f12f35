// @hot  UDP header in place (RFC 768):  source port 16 | destination port 16 | length 16 | checksum 16
import { checksumAdd, checksumFinish, pseudoHeaderSum, read16, write16, PROTOCOL_UDP } from './ip.ts';

export const UDP_HEADER_BYTES = 8;

export const PORT_IKE = 500;
/** IKE behind the non-ESP marker and ESP in UDP (RFC 3948). */
export const PORT_NATT = 4500;
export const PORT_VXLAN_GPE = 4790;

/** A whole UDP header whose length lies in `length` octets. */
export function isUdp(bytes: Uint8Array, at: number, length: number): boolean {
  if (length < UDP_HEADER_BYTES) return false;
  const udp = read16(bytes, at + 4);
  return udp >= UDP_HEADER_BYTES && udp <= length;
}

export function udpSourcePort(bytes: Uint8Array, at: number): number {
  return read16(bytes, at);
}

export function udpDestinationPort(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + 2);
}

/** Header and payload. */
export function udpLength(bytes: Uint8Array, at: number): number {
  return read16(bytes, at + 4);
}

/** Header with checksum 0, which means "none" over IPv4. */
export function writeUdp(bytes: Uint8Array, at: number, source: number, destination: number, lengthBytes: number): void {
  write16(bytes, at, source);
  write16(bytes, at + 2, destination);
  write16(bytes, at + 4, lengthBytes);
  write16(bytes, at + 6, 0);
}

/** Over the IP header at `ip`, the UDP header at `at` and its payload. Zero is sent as all ones (RFC 768). */
export function writeUdpChecksum(bytes: Uint8Array, ip: number, at: number): void {
  const length = udpLength(bytes, at);
  write16(bytes, at + 6, 0);
  const sum = checksumFinish(checksumAdd(bytes, at, length, pseudoHeaderSum(bytes, ip, PROTOCOL_UDP, length)));
  write16(bytes, at + 6, sum === 0 ? 0xffff : sum);
}
