// @hot  TUN devices: IP packets without link header, read and written in bursts.
import type { Burst } from '../burst.ts';
import type { Link } from '../port.ts';
import type { NativeAddon } from './addon.ts';

export class NativeTun implements Link {
  readonly kind = 'tun';
  readonly name: string;
  readonly fd: number;
  readonly #addon: NativeAddon;
  #closed = false;

  /** Owns `fd` from now on. */
  constructor(addon: NativeAddon, name: string, fd: number) {
    this.#addon = addon;
    this.name = name;
    this.fd = fd;
  }

  read(burst: Burst): number {
    if (this.#closed) return 0;
    const added = this.#addon.readTun(this.fd, burst.memory, burst.count);
    burst.count += added;
    return added;
  }

  write(burst: Burst, select: number): number {
    // A descriptor's number may belong to someone else after close; -1 is refused by the kernel with EBADF.
    return this.#addon.writeTun(this.#closed ? -1 : this.fd, burst.memory, burst.count, select);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.close(this.fd);
  }
}
