// Chooses the drivers of a real host: the only file that imports native and portable both.
import { OperationalError } from '../platform/errors.ts';
import type { AeadEngine } from './aead.ts';
import { IprouteKernel } from './kernel.ts';
import { OWN_NAMESPACES, requestedNamespaces } from './namespace.ts';
import { NativeAead } from './native/aead.ts';
import { requireNative } from './native/addon.ts';
import { NativeDatagramPort } from './native/datagram.ts';
import { NativeDevices, NativeOpener } from './native/sockets.ts';
import { NativeTun } from './native/tun.ts';
import type { DatagramPort, Kernel, Link, Network, ParallelDevices, PortDescription } from './port.ts';
import { NodeNetwork } from './portable/sockets.ts';

export interface Drivers {
  readonly devices: ParallelDevices;
  readonly network: Network;
  readonly kernel: Kernel;
  /** A new engine on this thread. */
  aead(): AeadEngine;
  /** For the log and for `show system`. */
  readonly description: string;
}

export interface DriverOptions {
  /** Directory in which virtual routers are asked for (NamespaceRequests); undefined = this process makes them. */
  readonly namespaceRequests: string | undefined;
}

/** The host's drivers. Throws an OperationalError when the addon does not load: the appliance does not run without. */
export function openDrivers({ namespaceRequests }: DriverOptions = { namespaceRequests: undefined }): Drivers {
  const addon = requireNative();
  return {
    devices: new NativeDevices(addon),
    network: new NodeNetwork(new NativeOpener(addon)),
    kernel: new IprouteKernel(namespaceRequests === undefined ? OWN_NAMESPACES : requestedNamespaces(namespaceRequests)),
    aead: () => new NativeAead(addon),
    description: `native addon, AES-GCM by ${new NativeAead(addon).name}, OpenSSL ${process.versions.openssl}`,
  };
}

/** An engine for a worker thread. */
export function nativeAead(): AeadEngine {
  return new NativeAead(requireNative());
}

/** What another thread needs to take part in a port. The port must stay open until that thread has adopted it. */
export function describePort(port: Link | DatagramPort): PortDescription {
  return { kind: port.kind, name: port.name, fd: port.fd, local: port.kind === 'tun' ? undefined : port.local };
}

/**
 * The same device or socket under a descriptor of its own: both ports are closed independently, and the device or
 * socket ends with the last of them. Throws OperationalError when the described port is closed already.
 */
export function adoptPort(description: PortDescription): Link | DatagramPort {
  const { kind, name, local } = description;
  const addon = requireNative();
  let fd: number;
  try {
    fd = addon.duplicate(description.fd);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
    throw new OperationalError(code, `cannot adopt port ${name}: ${(error as Error).message}`, 'keep the port open until it is adopted', error);
  }
  if (kind === 'tun') return new NativeTun(addon, name, fd);
  return new NativeDatagramPort(addon, kind, name, fd, local ?? { address: '0.0.0.0', port: 0 });
}

/** Most descriptors of one wait. */
export const WAIT_LIMIT = 1024;

/**
 * Waits until one of the first `count` (at most WAIT_LIMIT) descriptors can be read, or for `timeoutMs` (negative: for
 * ever); looks without letting the processor go for the first `spinUs`. Sets ready[i] to 1 for each fds[i] that can be
 * read, is broken or closed, else to 0, and returns how many those are; 0 after the timeout or a signal. Negative
 * descriptors are ignored.
 */
export function waitFds(fds: Int32Array, count: number, timeoutMs: number, ready = new Uint8Array(count), spinUs = 0): number {
  return requireNative().waitFds(fds, count, timeoutMs, ready, spinUs);
}

export interface Wakeup {
  /** Readable from wake() until drain(). */
  readonly fd: number;
  wake(): void;
  drain(): void;
  close(): void;
}

/** Something to wait on beside ports. */
export function createWakeup(): Wakeup {
  return wakeup(requireNative().createWakeup());
}

/** The wakeup of another thread by its descriptor; only its creator closes it. */
export function adoptWakeup(fd: number): Omit<Wakeup, 'close'> {
  const { close: _close, ...rest } = wakeup(fd);
  return rest;
}

function wakeup(fd: number): Wakeup {
  const addon = requireNative();
  return { fd, wake: () => addon.wake(fd), drain: () => addon.drain(fd), close: () => addon.close(fd) };
}

/** Tells systemd (`READY=1`, `STATUS=...`, `WATCHDOG=1`); does nothing when it did not start this process. */
export function notifySystemd(state: string): void {
  const path = process.env['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return;
  requireNative().notify(path, state);
}
