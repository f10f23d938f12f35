// Chooses the drivers of a real host: the only file that imports native and portable both.
import type { AeadEngine } from './aead.ts';
import { IprouteKernel } from './kernel.ts';
import { OWN_NAMESPACES, requestedNamespaces } from './namespace.ts';
import { NativeAead } from './native/aead.ts';
import { requireNative } from './native/addon.ts';
import { NativeDevices, NativeOpener } from './native/sockets.ts';
import type { Kernel, Network, ParallelDevices } from './port.ts';
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

/** Tells systemd (`READY=1`, `STATUS=...`, `WATCHDOG=1`); does nothing when it did not start this process. */
export function notifySystemd(state: string): void {
  const path = process.env['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return;
  requireNative().notify(path, state);
}
