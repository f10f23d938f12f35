// The portable twin of the native UDP port: node:dgram fills a queue, read() drains it. For tests and comparison;
// it cannot set DF, has no descriptor to wait on and needs the event loop between sending and receiving.
import { constants } from 'node:os';
import type { Socket } from 'node:dgram';
import { addressOctets, octetsText } from '../address.ts';
import { appendPacket, BURST_PACKETS, datagramsAt, LARGEST_READ, Next, type Burst } from '../burst.ts';
import type { DatagramPort, SocketAddress } from '../port.ts';
import { boundDgram } from './sockets.ts';

/** Datagrams that wait for read(); more are dropped, as a full socket buffer does. */
const QUEUE_PACKETS = 4096;
/** IPv4's largest total length less its header and UDP's (RFC 791, RFC 768). */
const LARGEST_PAYLOAD = { 4: 65_507, 6: 65_527 } as const;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly address: Uint8Array;
  readonly port: number;
}

/** Stands for a datagram that no slot holds. */
const NOTHING = new Uint8Array(0);

export class PortableUdp implements DatagramPort {
  readonly kind = 'udp';
  readonly fd = -1;
  readonly name: string;
  readonly local: SocketAddress;
  readonly #socket: Socket;
  readonly #family: 4 | 6;
  readonly #queue: Waiting[] = [];
  #closed = false;

  /** Throws OperationalError with errno's name as code when the address cannot be bound. */
  constructor(local: SocketAddress) {
    this.#socket = boundDgram(local);
    this.#family = local.address.includes(':') ? 6 : 4;
    this.local = { address: local.address, port: this.#socket.address().port };
    this.name = `udp ${this.local.address} ${this.local.port}`;
    this.#socket.on('message', (message, remote) => {
      const address = addressOctets(remote.address);
      if (address === undefined || this.#queue.length >= QUEUE_PACKETS) return;
      this.#queue.push({ bytes: message.length > LARGEST_READ ? NOTHING : message, address, port: remote.port });
    });
    // What the host refuses later has no packet to be reported on any more.
    this.#socket.on('error', () => undefined);
  }

  read(burst: Burst): number {
    const before = burst.count;
    while (!this.#closed && burst.count < BURST_PACKETS && this.#queue.length > 0) {
      const { bytes, address, port } = this.#queue.shift()!;
      const i = appendPacket(burst, bytes);
      burst.family[i] = this.#family;
      burst.port[i] = port;
      burst.address.set(address, i * 16);
    }
    return burst.count - before;
  }

  write(burst: Burst, select: number): number {
    let sent = 0;
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      const errno = this.#send(burst, i);
      burst.next[i] = errno === 0 ? Next.done : Next.drop;
      if (errno === 0) sent++;
      else burst.reason[i] = -errno;
    }
    return sent;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#socket.close();
  }

  #send(burst: Burst, i: number): number {
    if (this.#closed) return constants.errno.EBADF;
    if (burst.family[i] !== this.#family) return constants.errno.EAFNOSUPPORT;
    if ((burst.segment[i]! || burst.length[i]!) > LARGEST_PAYLOAD[this.#family]) return constants.errno.EMSGSIZE;
    try {
      const address = octetsText(burst.address, i * 16, this.#family);
      for (const bytes of datagramsAt(burst, i)) this.#socket.send(bytes, burst.port[i]!, address, () => undefined);
      return 0;
    } catch {
      return constants.errno.EINVAL;
    }
  }
}
