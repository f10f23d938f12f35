// Opens devices and sockets inside virtual routers; implements ParallelDevices and what portable/sockets.ts needs for namespaces.
import { UsageError } from '../../platform/errors.ts';
import { LARGEST_READ } from '../burst.ts';
import type { DatagramPort, Link, ParallelDevices, SocketAddress } from '../port.ts';
import { namespacePath } from '../vr-name.ts';
import type { NativeAddon } from './addon.ts';
import { opening, SocketKind } from './addon.ts';
import { NativeDatagramPort } from './datagram.ts';
import { NativeTun } from './tun.ts';

const DEVICE_NAME = /^[A-Za-z0-9._-]{1,15}$/;
/** Smallest MTU of IPv4 (RFC 791). */
const SMALLEST_MTU = 68;

const path = (vr: string | undefined): string | undefined => (vr === undefined ? undefined : namespacePath(vr));
const where = (vr: string | undefined): string => (vr === undefined ? '' : ` in ${vr}`);
const shown = ({ address, port }: SocketAddress): string => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);

/** TUN devices, UDP and raw ESP ports of the addon. Failures are OperationalErrors with errno's name as code. */
export class NativeDevices implements ParallelDevices {
  readonly kind = 'native';
  readonly #addon: NativeAddon;

  constructor(addon: NativeAddon) {
    this.#addon = addon;
  }

  openTun(vr: string, device: string, mtu: number): Link {
    return this.#openTun(vr, device, mtu, false);
  }

  openTunQueues(vr: string, device: string, mtu: number, count: number): readonly Link[] {
    return openAll(count, () => this.#openTun(vr, device, mtu, true));
  }

  #openTun(vr: string, device: string, mtu: number, multiQueue: boolean): Link {
    if (!DEVICE_NAME.test(device)) throw new UsageError(`device ${JSON.stringify(device)}: 1 to 15 letters, digits, dots, underscores or dashes`);
    if (mtu < SMALLEST_MTU || mtu > LARGEST_READ) throw new UsageError(`MTU ${mtu} of ${device}: ${SMALLEST_MTU} to ${LARGEST_READ}`);
    const fd = opening(`TUN device ${device}${where(vr)}`, () => this.#addon.openTun(path(vr), device, mtu, multiQueue));
    return new NativeTun(this.#addon, device, fd);
  }

  isAttached(link: Link): boolean {
    return this.#addon.isTunAttached(link.fd);
  }

  openUdp(vr: string, local: SocketAddress): DatagramPort {
    return this.#openPort(vr, SocketKind.portUdp, local);
  }

  openUdpGroup(vr: string, local: SocketAddress, count: number): readonly DatagramPort[] {
    return openAll(count, (first) => this.#openPort(vr, SocketKind.portUdpMember, first === undefined ? local : first.local));
  }

  steer(port: DatagramPort, program: Uint8Array): void {
    opening(`steering of ${port.name}`, () => this.#addon.steer(port.fd, program));
  }

  openEsp(vr: string, address: string): DatagramPort {
    return this.#openPort(vr, SocketKind.portEsp, { address, port: 0 });
  }

  #openPort(vr: string, socketKind: number, local: SocketAddress): DatagramPort {
    const kind = socketKind === SocketKind.portEsp ? 'esp' : 'udp';
    const what = kind === 'udp' ? `UDP port ${shown(local)}` : `ESP socket on ${local.address}`;
    const fd = opening(what + where(vr), () => this.#addon.openSocket(path(vr), socketKind, local.address, local.port, true));
    const bound = kind === 'udp' ? { address: local.address, port: this.#addon.localPort(fd) } : local;
    return new NativeDatagramPort(this.#addon, kind, kind === 'udp' ? `udp ${shown(bound)}` : `esp ${local.address}`, fd, bound);
  }
}

/** All of them or none; each is told the first. */
function openAll<P extends { close(): void }>(count: number, open: (first: P | undefined) => P): readonly P[] {
  const opened: P[] = [];
  try {
    while (opened.length < count) opened.push(open(opened[0]));
    return opened;
  } catch (error) {
    for (const port of opened) port.close();
    throw error;
  }
}

/** Descriptors inside virtual routers for node:dgram and node:net (portable/sockets.ts, `NamespaceOpener`). */
export class NativeOpener {
  readonly #addon: NativeAddon;

  constructor(addon: NativeAddon) {
    this.#addon = addon;
  }

  datagram(vr: string, local: SocketAddress): number {
    return this.#open(vr, 'UDP socket', SocketKind.controlUdp, local, true);
  }

  listener(vr: string, local: SocketAddress): number {
    return this.#open(vr, 'TCP listener', SocketKind.controlListener, local, true);
  }

  /** An unconnected TCP socket of the remote's family, bound when a source address is given. */
  stream(vr: string, localAddress: string | undefined, remote: SocketAddress): number {
    const local = { address: localAddress ?? remote.address, port: 0 };
    return this.#open(vr, 'TCP socket', SocketKind.controlStream, local, localAddress !== undefined);
  }

  /** For a descriptor that Node did not take over. */
  discard(fd: number): void {
    this.#addon.close(fd);
  }

  #open(vr: string, what: string, kind: number, local: SocketAddress, bind: boolean): number {
    return opening(`${what} ${shown(local)}${where(vr)}`, () =>
      this.#addon.openSocket(path(vr), kind, local.address, local.port, bind),
    );
  }
}
