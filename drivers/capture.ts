// Shows a port's packets to a pcapng writer: what was read, and what was really sent. Datagram ports get the IP and UDP
// headers that the kernel keeps to itself, so that Wireshark dissects the payload.
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { OperationalError } from '../platform/errors.ts';
import { addressOctets } from './address.ts';
import { BURST_PACKETS, datagramsAt, Next, type Burst } from './burst.ts';
import { Direction, type CaptureSink, type PcapngWriter } from './pcapng.ts';
import type { BurstPort, DatagramPort, Link } from './port.ts';
import { innerPacketsAt } from './super-packet.ts';

const PROTOCOL_UDP = 17;
const PROTOCOL_ESP = 50;
const UDP_BYTES = 8;
const HOP_LIMIT = 64;

/** A file that must not exist yet, readable by its owner only: captures hold users' traffic. */
export function captureFile(path: string): CaptureSink {
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
    throw new OperationalError(code, `cannot create the capture ${path}: ${(error as Error).message}`, 'choose a file that does not exist in a folder that does', error);
  }
  return { write: (bytes) => void writeSync(fd, bytes), close: () => closeSync(fd) };
}

function sum16(bytes: Uint8Array, start: number): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  return sum;
}

/** The Internet checksum (RFC 1071) from a sum of 16-bit words. */
function folded(sum: number): number {
  let rest = sum;
  while (rest > 0xffff) rest = (rest % 0x10000) + Math.floor(rest / 0x10000);
  return ~rest & 0xffff;
}

export interface OuterHeader {
  readonly protocol: 'udp' | 'esp';
  /** 4 or 16 octets each. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly trafficClass: number;
}

/** The IP header, and for UDP its header too, as they stood in front of `payload`. */
export function outerHeader(header: OuterHeader, payload: Uint8Array): Uint8Array {
  const v4 = header.source.length === 4;
  const udp = header.protocol === 'udp';
  const ipBytes = v4 ? 20 : 40;
  const inner = (udp ? UDP_BYTES : 0) + payload.length;
  const bytes = new Uint8Array(ipBytes + (udp ? UDP_BYTES : 0));
  const view = new DataView(bytes.buffer);
  const protocol = udp ? PROTOCOL_UDP : PROTOCOL_ESP;
  if (v4) {
    bytes.set([0x45, header.trafficClass], 0);
    view.setUint16(2, ipBytes + inner);
    view.setUint16(6, 0x4000);
    bytes.set([HOP_LIMIT, protocol], 8);
    bytes.set(header.source, 12);
    bytes.set(header.destination, 16);
    view.setUint16(10, folded(sum16(bytes.subarray(0, ipBytes), 0)));
  } else {
    view.setUint32(0, (6 << 28) | (header.trafficClass << 20));
    view.setUint16(4, inner);
    bytes.set([protocol, HOP_LIMIT], 6);
    bytes.set(header.source, 8);
    bytes.set(header.destination, 24);
  }
  if (!udp) return bytes;
  view.setUint16(ipBytes, header.sourcePort);
  view.setUint16(ipBytes + 2, header.destinationPort);
  view.setUint16(ipBytes + 4, inner);
  // The pseudo header (RFC 768, RFC 8200 8.1) adds addresses, protocol and length to what the UDP header counts.
  const addresses = sum16(header.destination, sum16(header.source, 0));
  const sum = folded(sum16(payload, sum16(bytes.subarray(ipBytes), addresses + PROTOCOL_UDP + inner)));
  view.setUint16(ipBytes + 6, sum === 0 ? 0xffff : sum);
  return bytes;
}

/** What both decorators share: which packets of a burst to show. */
abstract class Capturing<Port extends BurstPort> implements BurstPort {
  readonly name: string;
  readonly fd: number;
  protected readonly port: Port;
  readonly #writer: PcapngWriter;
  readonly #interfaceId: number;
  readonly #selected = new Uint8Array(BURST_PACKETS);

  constructor(port: Port, writer: PcapngWriter) {
    this.port = port;
    this.name = port.name;
    this.fd = port.fd;
    this.#writer = writer;
    this.#interfaceId = writer.addInterface(port.name);
  }

  /** What row i stands for on the wire. */
  protected abstract packets(burst: Burst, i: number): readonly Uint8Array[];

  /** The headers in front of a packet of row i. */
  protected abstract headers(burst: Burst, i: number, payload: Uint8Array, direction: Direction): readonly Uint8Array[];

  read(burst: Burst): number {
    const before = burst.count;
    const added = this.port.read(burst);
    for (let i = before; i < burst.count; i++) this.#show(burst, i, Direction.inbound);
    return added;
  }

  write(burst: Burst, select: number): number {
    for (let i = 0; i < burst.count; i++) this.#selected[i] = burst.next[i] === select ? 1 : 0;
    const sent = this.port.write(burst, select);
    for (let i = 0; i < burst.count; i++) {
      if (this.#selected[i] === 1 && burst.next[i] === Next.done) this.#show(burst, i, Direction.outbound);
    }
    return sent;
  }

  /** Closes the port; the writer may serve others and stays open. */
  close(): void {
    this.port.close();
  }

  #show(burst: Burst, i: number, direction: Direction): void {
    for (const payload of this.packets(burst, i)) this.#writer.packet(this.#interfaceId, direction, [...this.headers(burst, i, payload, direction), payload]);
  }
}

class CapturingLink extends Capturing<Link> implements Link {
  readonly kind = 'tun';

  protected override packets(burst: Burst, i: number): readonly Uint8Array[] {
    return innerPacketsAt(burst, i);
  }

  protected override headers(): readonly Uint8Array[] {
    return [];
  }
}

class CapturingDatagrams extends Capturing<DatagramPort> implements DatagramPort {
  readonly kind: DatagramPort['kind'];
  readonly local: DatagramPort['local'];
  readonly #own: Uint8Array;

  constructor(port: DatagramPort, writer: PcapngWriter) {
    super(port, writer);
    this.kind = port.kind;
    this.local = port.local;
    this.#own = addressOctets(port.local.address) ?? new Uint8Array(4);
  }

  protected override packets(burst: Burst, i: number): readonly Uint8Array[] {
    return datagramsAt(burst, i);
  }

  protected override headers(burst: Burst, i: number, payload: Uint8Array, direction: Direction): readonly Uint8Array[] {
    const remote = burst.address.subarray(i * 16, i * 16 + this.#own.length);
    const inbound = direction === Direction.inbound;
    const header: OuterHeader = {
      protocol: this.kind,
      source: inbound ? remote : this.#own,
      destination: inbound ? this.#own : remote,
      sourcePort: inbound ? burst.port[i]! : this.local.port,
      destinationPort: inbound ? this.local.port : burst.port[i]!,
      trafficClass: burst.mark[i]! & 0xff,
    };
    return [outerHeader(header, payload)];
  }
}

/** The same device, shown to `writer`. */
export function captureLink(port: Link, writer: PcapngWriter): Link {
  return new CapturingLink(port, writer);
}

/** The same datagram port, shown to `writer` with outer headers. */
export function captureDatagrams(port: DatagramPort, writer: PcapngWriter): DatagramPort {
  return new CapturingDatagrams(port, writer);
}
