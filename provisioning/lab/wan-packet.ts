// What a packet on the WAN is, read without any of the product's own codecs: a judge that shared them would be blind
// where they are. Whatever is not one of the kinds below is `unexpected`, with a cause; ESP and the sealed part of IKE
// are opaque, everything around and inside clear encapsulation is looked into.

export type WanKind = 'arp' | 'icmp' | 'dhcp' | 'ike' | 'ike-natt' | 'keepalive' | 'esp' | 'esp-in-udp' | 'overlay-esp' | 'overlay-ike' | 'lldp' | 'unexpected';

export interface WanPacket {
  readonly kind: WanKind;
  /** Outermost IP addresses; empty when there is no IP. IPv6 as eight groups of lower-case hex without leading zeros. */
  readonly source: string;
  readonly destination: string;
  /** Every address that stands in clear, also in ARP and in what an ICMP error quotes. */
  readonly addresses: readonly string[];
  /** Of ESP in any encapsulation. */
  readonly spi: number | undefined;
  /** Why it is unexpected; else empty. */
  readonly cause: string;
}

const IKE_PORT = 500;
const NATT_PORT = 4500;
const OVERLAY_PORT = 4790;
/** Server and client, RFC 2131 4.1 and RFC 8415 7.2. */
const DHCP_PORTS = [[67, 68], [547, 546]] as const;
const ETHERNET_BYTES = 14;
/** SPI, sequence number, IV and ICV of AES-GCM. */
const LEAST_ESP_BYTES = 32;
const IKE_HEADER_BYTES = 28;
const RESERVED_SPIS = 256;
/** Encapsulation deeper than this is no packet of anybody's. */
const DEEPEST = 6;

/** ICMP messages that quote the packet they are about (RFC 792, RFC 4443 section 3). */
const QUOTING_ICMP = new Set([3, 4, 5, 11, 12]);
const QUOTING_ICMP6 = new Set([1, 2, 3, 4]);

class Reader {
  kind: WanKind = 'unexpected';
  cause = '';
  spi: number | undefined;
  readonly addresses: string[] = [];
  #quoted = false;

  #is(kind: WanKind): void {
    if (!this.#quoted) this.kind = kind;
  }

  #refuse(cause: string): void {
    // A quotation may be cut anywhere; what is read of it counts, what is missing does not.
    if (!this.#quoted) this.cause = cause;
  }

  ethernet(bytes: Buffer, depth: number): void {
    if (bytes.length < ETHERNET_BYTES) return this.#refuse(`${bytes.length} octets are no Ethernet frame`);
    const type = bytes.readUInt16BE(12);
    const payload = bytes.subarray(ETHERNET_BYTES);
    if (type === 0x0806) return this.#arp(payload, depth);
    if (type === 0x88cc && depth === 0) return this.#is('lldp');
    if (type === 0x0800 || type === 0x86dd) return this.#ip(payload, depth);
    this.#refuse(`Ethernet type 0x${type.toString(16)}`);
  }

  #arp(bytes: Buffer, depth: number): void {
    if (bytes.length < 28) return this.#refuse('a short ARP packet');
    this.addresses.push(ipv4Text(bytes, 14), ipv4Text(bytes, 24));
    if (depth > 0) return this.#refuse('ARP in clear inside the overlay');
    this.#is('arp');
  }

  #ip(bytes: Buffer, depth: number): void {
    if (depth > DEEPEST) return this.#refuse('too many encapsulations');
    const version = bytes.length > 0 ? bytes[0]! >> 4 : 0;
    if (version === 4) return this.#ipv4(bytes, depth);
    if (version === 6) return this.#ipv6(bytes, depth);
    this.#refuse(`neither IPv4 nor IPv6 but version ${version}`);
  }

  #ipv4(bytes: Buffer, depth: number): void {
    const headerBytes = (bytes[0]! & 15) * 4;
    if (headerBytes < 20 || bytes.length < headerBytes) return this.#refuse('a short IPv4 header');
    this.addresses.push(ipv4Text(bytes, 12), ipv4Text(bytes, 16));
    if ((bytes.readUInt16BE(6) & 0x3fff) !== 0) return this.#refuse('an IPv4 fragment, which cannot be looked into');
    const totalBytes = Math.max(headerBytes, Math.min(bytes.length, bytes.readUInt16BE(2)));
    this.#transport(bytes[9]!, bytes.subarray(headerBytes, totalBytes), depth);
  }

  #ipv6(bytes: Buffer, depth: number): void {
    if (bytes.length < 40) return this.#refuse('a short IPv6 header');
    this.addresses.push(ipv6Text(bytes, 8), ipv6Text(bytes, 24));
    let next = bytes[6]!;
    let rest = bytes.subarray(40, Math.min(bytes.length, 40 + bytes.readUInt16BE(4)));
    // Hop-by-hop options (0) and destination options (60) have a length; a routing header has no business here.
    while ((next === 0 || next === 60) && rest.length >= 8) {
      next = rest[0]!;
      rest = rest.subarray(8 + rest[1]! * 8);
    }
    if (next === 44) return this.#refuse('an IPv6 fragment, which cannot be looked into');
    this.#transport(next, rest, depth);
  }

  #transport(protocol: number, bytes: Buffer, depth: number): void {
    if (protocol === 17) return this.#udp(bytes, depth);
    if (depth > 0) return this.#refuse(`IP protocol ${protocol} in clear inside the overlay`);
    if (protocol === 50) return this.#esp(bytes, 'esp');
    if (protocol === 1) return this.#icmp(bytes, QUOTING_ICMP);
    if (protocol === 58) return this.#icmp(bytes, QUOTING_ICMP6);
    this.#refuse(`IP protocol ${protocol} in clear`);
  }

  #icmp(bytes: Buffer, quoting: ReadonlySet<number>): void {
    this.#is('icmp');
    if (bytes.length < 8 || !quoting.has(bytes[0]!)) return;
    this.#quoted = true;
    this.#ip(bytes.subarray(8), 0);
    this.#quoted = false;
  }

  #udp(bytes: Buffer, depth: number): void {
    if (bytes.length < 8) return this.#refuse('a short UDP header');
    const ports = [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
    const payload = bytes.subarray(8);
    if (ports.includes(IKE_PORT)) return this.#ike(payload, depth > 0 ? 'overlay-ike' : 'ike');
    if (ports.includes(NATT_PORT)) return this.#natt(payload, depth);
    if (depth === 0 && ports.includes(OVERLAY_PORT)) return this.#vxlan(payload);
    if (depth === 0 && DHCP_PORTS.some(([server, client]) => ports.includes(server) && ports.includes(client))) return this.#is('dhcp');
    this.#refuse(`UDP from port ${ports[0]} to ${ports[1]} in clear${depth > 0 ? ' inside the overlay' : ''}`);
  }

  #natt(bytes: Buffer, depth: number): void {
    if (bytes.length === 1 && bytes[0] === 0xff) return this.#is('keepalive');
    if (bytes.length >= 4 && bytes.readUInt32BE(0) === 0) return this.#ike(bytes.subarray(4), depth > 0 ? 'overlay-ike' : 'ike-natt');
    if (depth > 0) return this.#refuse('ESP in UDP inside the overlay');
    this.#esp(bytes, 'esp-in-udp');
  }

  #ike(bytes: Buffer, kind: WanKind): void {
    if (bytes.length < IKE_HEADER_BYTES) return this.#refuse(`${bytes.length} octets on an IKE port`);
    if (bytes[17] !== 0x20) return this.#refuse(`version 0x${bytes[17]!.toString(16)} on an IKE port`);
    this.#is(kind);
  }

  #esp(bytes: Buffer, kind: WanKind): void {
    if (bytes.length < LEAST_ESP_BYTES) return this.#refuse(`${bytes.length} octets where ESP should be`);
    const spi = bytes.readUInt32BE(0);
    if (spi < RESERVED_SPIS) return this.#refuse(`the reserved SPI ${spi}`);
    if (!this.#quoted) this.spi = spi;
    this.#is(kind);
  }

  #vxlan(bytes: Buffer): void {
    if (bytes.length < 8) return this.#refuse('a short VXLAN header');
    let next = (bytes[0]! & 0x04) === 0 ? 0x03 : bytes[3]!;
    let rest = bytes.subarray(8);
    for (let shims = 0; next === 0xfb && shims < DEEPEST; shims++) {
      if (rest.length < 4) return this.#refuse('a short extension');
      next = rest[3]!;
      rest = rest.subarray(4 + rest[1]! * 4);
    }
    if (next === 0xfc) return this.#esp(rest, 'overlay-esp');
    if (next === 0xfd) return this.#gre(rest);
    if (next === 0x05 || next === 0xfe) return this.#mpls(rest);
    if (next === 0x01 || next === 0x02) return this.#ip(rest, 1);
    if (next === 0x03) return this.ethernet(rest, 1);
    this.#refuse(`VXLAN next protocol 0x${next.toString(16)}`);
  }

  #gre(bytes: Buffer): void {
    if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0) return this.#refuse('a GRE header with options');
    const type = bytes.readUInt16BE(2);
    if (type === 0x8847) return this.#mpls(bytes.subarray(4));
    if (type === 0x0800 || type === 0x86dd) return this.#ip(bytes.subarray(4), 1);
    this.#refuse(`GRE protocol 0x${type.toString(16)}`);
  }

  #mpls(bytes: Buffer): void {
    let isEthernet = false;
    for (let at = 0; at + 4 <= bytes.length; at += 4) {
      const entry = bytes.readUInt32BE(at);
      isEthernet ||= entry >>> 12 === 17;
      if ((entry & 0x100) === 0) continue;
      const payload = bytes.subarray(at + 4);
      return isEthernet ? this.ethernet(payload, 1) : this.#ip(payload, 1);
    }
    this.#refuse('an MPLS stack without end');
  }
}

function ipv4Text(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

function ipv6Text(bytes: Buffer, at: number): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(at + i).toString(16));
  return groups.join(':');
}

/** Never throws, whatever the octets. */
export function readWanPacket(frame: Uint8Array): WanPacket {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const reader = new Reader();
  reader.ethernet(bytes, 0);
  const isIp = bytes.length > ETHERNET_BYTES && bytes.readUInt16BE(12) !== 0x0806;
  const { addresses, spi } = reader;
  const kind = reader.cause === '' ? reader.kind : 'unexpected';
  return { kind, source: (isIp && addresses[0]) || '', destination: (isIp && addresses[1]) || '', addresses, spi, cause: reader.cause };
}
