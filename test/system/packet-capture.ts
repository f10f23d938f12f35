// Captures for tshark, built octet by octet so that they share nothing with the product's codecs.
import { createCipheriv } from 'node:crypto';

const PCAP_MAGIC = 0xa1b2c3d4;
const LINKTYPE_RAW_IP = 101;
const SNAPLEN_BYTES = 65_535;

/** A classic pcap file of raw IP packets, one second apart. */
export function pcapOf(packets: readonly Uint8Array[]): Uint8Array {
  const header = Buffer.alloc(24);
  header.writeUInt32BE(PCAP_MAGIC, 0);
  header.writeUInt16BE(2, 4);
  header.writeUInt16BE(4, 6);
  header.writeUInt32BE(SNAPLEN_BYTES, 16);
  header.writeUInt32BE(LINKTYPE_RAW_IP, 20);
  const records = packets.flatMap((packet, index) => {
    const record = Buffer.alloc(16);
    record.writeUInt32BE(index, 0);
    record.writeUInt32BE(packet.length, 8);
    record.writeUInt32BE(packet.length, 12);
    return [record, packet];
  });
  return Buffer.concat([header, ...records]);
}

/** IPv4 without options; the checksum stays zero, which tshark does not judge by default. */
export function ipv4Packet(protocol: number, source: string, destination: string, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[8] = 64;
  header[9] = protocol;
  header.set(source.split('.').map(Number), 12);
  header.set(destination.split('.').map(Number), 16);
  return Buffer.concat([header, payload]);
}

export function udpDatagram(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(sourcePort, 0);
  header.writeUInt16BE(destinationPort, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  return Buffer.concat([header, payload]);
}

export interface EspKey {
  readonly spi: number;
  /** 32 octets, then the 4 octets of salt (RFC 4106 section 8.1). */
  readonly keyAndSalt: Uint8Array;
}

/** ESP with AES-256-GCM and a 16-octet ICV; a 64-bit sequence number enters the ICV only (RFC 4106 section 5). */
export function espPacket(key: EspKey, sequence: bigint, extended: boolean, nextHeader: number, plain: Uint8Array): Uint8Array {
  const padLength = (4 - ((plain.length + 2) % 4)) % 4;
  const padding = Array.from({ length: padLength }, (_, index) => index + 1);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(key.spi, 0);
  header.writeUInt32BE(Number(sequence & 0xffffffffn), 4);
  const iv = Buffer.alloc(8);
  iv.writeBigUInt64BE(sequence, 0);
  const aad = Buffer.alloc(extended ? 12 : 8);
  aad.writeUInt32BE(key.spi, 0);
  if (extended) aad.writeBigUInt64BE(sequence, 4);
  else header.copy(aad, 4, 4);
  const cipher = createCipheriv('aes-256-gcm', key.keyAndSalt.subarray(0, 32), Buffer.concat([key.keyAndSalt.subarray(32), iv]));
  cipher.setAAD(aad);
  const sealed = Buffer.concat([cipher.update(plain), cipher.update(Buffer.from([...padding, padLength, nextHeader])), cipher.final()]);
  return Buffer.concat([header, iv, sealed, cipher.getAuthTag()]);
}
