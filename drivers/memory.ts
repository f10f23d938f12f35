// Ports in memory with the semantics of the kernel's: bounded queues, no waiting, what does not fit is dropped. The
// simulator puts its network between datagram ports through `onDatagram`.
import { addressOctets, octetsText } from './address.ts';
import { appendPacket, BURST_PACKETS, datagramsAt, LARGEST_READ, Next, packetAt, type Burst } from './burst.ts';
import type { DatagramPort, Link, SocketAddress } from './port.ts';
import { InternalError } from '../platform/errors.ts';

/** Packets that wait in front of a port's reader; more are dropped, as a full socket buffer does. */
export const MEMORY_QUEUE_PACKETS = 1024;

const EHOSTUNREACH = 113;
const FIRST_EPHEMERAL_PORT = 49_152;

/** One end of a link: what is written here is read at the other end. */
export class MemoryLink implements Link {
  readonly kind = 'tun';
  readonly fd = -1;
  readonly name: string;
  readonly #queue: Uint8Array[] = [];
  #peer: MemoryLink | undefined;
  /** Packets that found the other end's queue full, or closed. */
  lost = 0;

  constructor(name: string) {
    this.name = name;
  }

  connect(peer: MemoryLink): void {
    this.#peer = peer;
    peer.#peer = this;
  }

  /** Hands one packet to the other end, as the host behind the device does. */
  send(packet: Uint8Array): void {
    const peer = this.#peer;
    if (peer === undefined || peer.#queue.length >= MEMORY_QUEUE_PACKETS) this.lost++;
    else peer.#queue.push(packet.slice());
  }

  /** The oldest packet that waits here, or undefined. */
  take(): Uint8Array | undefined {
    return this.#queue.shift();
  }

  get waiting(): number {
    return this.#queue.length;
  }

  read(burst: Burst): number {
    const before = burst.count;
    while (this.#queue.length > 0 && burst.count < BURST_PACKETS) {
      // A device cannot hand out more than its slot holds; the kernel truncates, which makes the packet malformed.
      appendPacket(burst, truncated(this.#queue.shift()!));
    }
    return burst.count - before;
  }

  write(burst: Burst, select: number): number {
    let sent = 0;
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      this.send(packetAt(burst, i));
      burst.next[i] = Next.done;
      sent++;
    }
    return sent;
  }

  close(): void {
    if (this.#peer !== undefined) this.#peer.#peer = undefined;
    this.#peer = undefined;
    this.#queue.length = 0;
  }
}

export function memoryLinkPair(name: string): [MemoryLink, MemoryLink] {
  const near = new MemoryLink(name);
  const far = new MemoryLink(`${name}-peer`);
  near.connect(far);
  return [near, far];
}

export type DatagramKind = DatagramPort['kind'];

/** One datagram under way. `bytes` belong to the receiver. */
export interface MemoryDatagram {
  readonly kind: DatagramKind;
  readonly bytes: Uint8Array;
  readonly from: SocketAddress;
  readonly to: SocketAddress;
  /** DSCP and ECN of the IP header; absent = 0. */
  readonly mark?: number;
}

/** Connects datagram ports by address. `esp` ports have no port number: theirs is 0. */
export class MemoryDatagramHub {
  readonly #ports = new Map<string, MemoryDatagramPort>();
  /**
   * Sees every datagram that a port sends. Returns true to have it delivered at once; false when it takes the datagram
   * over (delay, loss, NAT) and calls `deliver` later, or never. Undefined: everything is delivered.
   */
  onDatagram: ((datagram: MemoryDatagram) => boolean) | undefined;

  /** Opens a port on a local address, UDP port 0 = any. Throws when it is in use or is not an address: the caller's mistake. */
  open(kind: DatagramKind, local: SocketAddress): MemoryDatagramPort {
    const number = kind === 'esp' ? 0 : local.port === 0 ? this.#freePort(local.address) : local.port;
    const port = new MemoryDatagramPort(this, kind, { address: local.address, port: number });
    const key = keyOf(kind, port.local);
    if (this.#ports.has(key)) throw new InternalError(`${key} is open already`);
    this.#ports.set(key, port);
    return port;
  }

  #freePort(address: string): number {
    let port = FIRST_EPHEMERAL_PORT;
    while (this.#ports.has(keyOf('udp', { address, port }))) port++;
    return port;
  }

  /** Puts a datagram into the queue of the port that listens on `to`. Returns whether there was one with room. */
  deliver(datagram: MemoryDatagram): boolean {
    return this.#ports.get(keyOf(datagram.kind, datagram.to))?.enqueue(datagram) ?? false;
  }

  /** For ports: sends through the hook. */
  transmit(datagram: MemoryDatagram): void {
    if (this.onDatagram === undefined || this.onDatagram(datagram)) this.deliver(datagram);
  }

  /** For ports: ends listening. */
  forget(port: MemoryDatagramPort): void {
    const key = keyOf(port.kind, port.local);
    if (this.#ports.get(key) === port) this.#ports.delete(key);
  }
}

export class MemoryDatagramPort implements DatagramPort {
  readonly kind: DatagramKind;
  readonly fd = -1;
  readonly name: string;
  readonly local: SocketAddress;
  readonly #hub: MemoryDatagramHub;
  readonly #family: number;
  readonly #queue: MemoryDatagram[] = [];

  constructor(hub: MemoryDatagramHub, kind: DatagramKind, local: SocketAddress) {
    const octets = addressOctets(local.address);
    if (octets === undefined) throw new InternalError(`${local.address} is not an address`);
    this.#hub = hub;
    this.kind = kind;
    this.local = local;
    this.name = keyOf(kind, local);
    this.#family = octets.length === 4 ? 4 : 6;
  }

  enqueue(datagram: MemoryDatagram): boolean {
    if (this.#queue.length >= MEMORY_QUEUE_PACKETS) return false;
    this.#queue.push(datagram);
    return true;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  read(burst: Burst): number {
    const before = burst.count;
    while (this.#queue.length > 0 && burst.count < BURST_PACKETS) {
      const datagram = this.#queue.shift()!;
      const remote = addressOctets(datagram.from.address);
      if (remote === undefined) continue;
      const i = appendPacket(burst, truncated(datagram.bytes));
      burst.family[i] = remote.length === 4 ? 4 : 6;
      burst.port[i] = datagram.from.port;
      burst.mark[i] = datagram.mark ?? 0;
      burst.address.set(remote, i * 16);
    }
    return burst.count - before;
  }

  write(burst: Burst, select: number): number {
    let sent = 0;
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      if (burst.family[i] !== this.#family) {
        burst.next[i] = Next.drop;
        burst.reason[i] = -EHOSTUNREACH;
        continue;
      }
      const to = { address: octetsText(burst.address, i * 16, this.#family), port: this.kind === 'esp' ? 0 : burst.port[i]! };
      burst.next[i] = Next.done;
      for (const bytes of datagramsAt(burst, i)) this.#hub.transmit({ kind: this.kind, bytes, from: this.local, to, mark: burst.mark[i]! });
      sent++;
    }
    return sent;
  }

  close(): void {
    this.#hub.forget(this);
    this.#queue.length = 0;
  }
}

function keyOf(kind: DatagramKind, local: SocketAddress): string {
  return `${kind} ${local.address} ${local.port}`;
}

function truncated(bytes: Uint8Array): Uint8Array {
  return bytes.length > LARGEST_READ ? bytes.subarray(0, LARGEST_READ) : bytes;
}
