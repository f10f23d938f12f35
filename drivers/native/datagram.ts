// @hot  UDP and raw ESP ports: bursts through recvmmsg and sendmmsg, equal-sized runs as one segmented send.
// Outer IPv4 carries DF and nothing is fragmented: a packet too large for its path gets reason -EMSGSIZE. The mark
// column is the outer traffic class: set on read, honoured on write.
import type { Burst } from '../burst.ts';
import type { DatagramPort, SocketAddress } from '../port.ts';
import type { NativeAddon } from './addon.ts';
import { PortKind } from './addon.ts';

export class NativeDatagramPort implements DatagramPort {
  readonly kind: 'udp' | 'esp';
  readonly name: string;
  readonly fd: number;
  readonly local: SocketAddress;
  readonly #addon: NativeAddon;
  readonly #kind: number;
  readonly #family: number;
  #closed = false;

  /** Owns `fd` from now on. */
  constructor(addon: NativeAddon, kind: 'udp' | 'esp', name: string, fd: number, local: SocketAddress) {
    this.#addon = addon;
    this.kind = kind;
    this.name = name;
    this.fd = fd;
    this.local = local;
    this.#kind = PortKind[kind];
    this.#family = local.address.includes(':') ? 6 : 4;
  }

  read(burst: Burst): number {
    if (this.#closed) return 0;
    const added = this.#addon.readDatagrams(this.fd, this.#kind, this.#family, burst.memory, burst.count);
    burst.count += added;
    return added;
  }

  write(burst: Burst, select: number): number {
    // A descriptor's number may belong to someone else after close; -1 is refused by the kernel with EBADF.
    const fd = this.#closed ? -1 : this.fd;
    return this.#addon.writeDatagrams(fd, this.#kind, this.#family, burst.memory, burst.count, select);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.close(this.fd);
  }
}
