// What threads need of the native drivers to share ports and to wake each other, and nothing else: a forwarder's thread
// that is started again has no time to load more.
import { OperationalError } from '../platform/errors.ts';
import type { AeadEngine } from './aead.ts';
import { NativeAead } from './native/aead.ts';
import { requireNative } from './native/addon.ts';
import { NativeDatagramPort } from './native/datagram.ts';
import { NativeTun } from './native/tun.ts';
import { Waiter } from './native/waiter.ts';
import type { DatagramPort, Link, PortDescription } from './port.ts';

/** An engine for a worker thread. */
export function nativeAead(): AeadEngine {
  return new NativeAead(requireNative());
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

/** For a thread that waits on descriptors. */
export function createWaiter(fds: readonly number[] = []): Waiter {
  return new Waiter(requireNative(), fds);
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
