// Loads the addon and checks that both sides agree on the burst's layout. What the addon does: syscalls and AEAD.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../../platform/errors.ts';
import { AREA_BYTES, AREAS, BURST_MEMORY_BYTES, BURST_PACKETS, createBurst, HEADROOM, LARGEST_READ, Next, OUTPUT_BYTES, SLOT_BYTES } from '../burst.ts';

/** What `openSocket` opens; the numbers of src/sockets.c. */
export const SocketKind = { portUdp: 0, portEsp: 1, controlUdp: 2, controlListener: 3, controlStream: 4, portUdpMember: 5 } as const;

/** The kinds of burst ports of src/datagrams.c. */
export const PortKind = { udp: 0, esp: 1 } as const;

/**
 * The addon's functions. Opening ones throw an Error with `code` (`EADDRINUSE`), `errno` and `syscall`; a wrong argument
 * throws a TypeError or RangeError. `namespace` is a path such as /run/netns/NAME; undefined = the process's own.
 */
export interface NativeAddon {
  layout(): NativeLayout;
  openTun(namespace: string | undefined, device: string, mtu: number, multiQueue: boolean): number;
  isTunAttached(fd: number): boolean;
  readTun(fd: number, memory: ArrayBuffer, count: number): number;
  writeTun(fd: number, memory: ArrayBuffer, count: number, select: number): number;
  openSocket(namespace: string | undefined, kind: number, address: string, port: number, bind: boolean): number;
  localPort(fd: number): number;
  steer(fd: number, program: Uint8Array): void;
  readDatagrams(fd: number, kind: number, family: number, memory: ArrayBuffer, count: number): number;
  writeDatagrams(fd: number, kind: number, family: number, memory: ArrayBuffer, count: number, select: number): number;
  wait(memory: ArrayBuffer, count: number, timeoutMs: number, spinUs: number): number;
  createWakeup(): number;
  wake(fd: number): void;
  drain(fd: number): void;
  close(fd: number): void;
  duplicate(fd: number): number;
  notify(path: string, state: string): void;
  startProgram(path: string, args: readonly string[], environment: readonly string[], ended: (code: number, signal: number) => void): NativeProgram;
  signalProgram(handle: number, signal: number): void;
  aeadInstall(suite: number, key: Uint8Array, salt: Uint8Array, esn: boolean, vaes: boolean): number;
  aeadHasVaes(): boolean;
  aeadRemove(handle: number): void;
  aeadSeal(memory: ArrayBuffer, count: number, select: number, then: number, failReason: number): void;
  aeadOpen(memory: ArrayBuffer, count: number, select: number, then: number, failReason: number): void;
}

/** Descriptors that the caller closes. */
export interface NativeProgram {
  readonly handle: number;
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;
}

export interface NativeLayout {
  readonly packets: number;
  readonly slotBytes: number;
  readonly headroom: number;
  readonly largestRead: number;
  readonly areas: number;
  readonly areaBytes: number;
  readonly outputBytes: number;
  readonly nextDrop: number;
  readonly nextDone: number;
  readonly memoryBytes: number;
  /** Offset in `memory` of every column, of the addresses and of the arena. */
  readonly columns: Readonly<Record<string, number>>;
}

/** The same numbers from drivers/burst.ts. */
function ownLayout(): NativeLayout {
  const burst = createBurst();
  const columns: Record<string, number> = {};
  // `words` and `view` are other views of the same memory.
  for (const [name, value] of Object.entries(burst)) if (ArrayBuffer.isView(value) && name !== 'words' && name !== 'view') columns[name] = value.byteOffset;
  return {
    packets: BURST_PACKETS,
    slotBytes: SLOT_BYTES,
    headroom: HEADROOM,
    largestRead: LARGEST_READ,
    areas: AREAS,
    areaBytes: AREA_BYTES,
    outputBytes: OUTPUT_BYTES,
    nextDrop: Next.drop,
    nextDone: Next.done,
    memoryBytes: BURST_MEMORY_BYTES,
    columns,
  };
}

/** The first number that differs, as `name: addon's, ours`; undefined when the layouts agree. */
export function layoutDifference(theirs: NativeLayout, ours: NativeLayout = ownLayout()): string | undefined {
  const flat = (layout: NativeLayout): Map<string, unknown> =>
    new Map(Object.entries({ ...layout, ...layout.columns, columns: Object.keys(layout.columns).length }));
  const [a, b] = [flat(theirs), flat(ours)];
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    if (a.get(name) !== b.get(name)) return `${name}: ${a.get(name)}, ${b.get(name)}`;
  }
  return undefined;
}

type Loaded = { readonly addon: NativeAddon; readonly error: undefined } | { readonly addon: undefined; readonly error: string };

/** A thread loads the addon once: neither the file nor the layout changes under a running process. */
const memo: { addon?: NativeAddon } = {};

function load(): Loaded {
  if (memo.addon !== undefined) return { addon: memo.addon, error: undefined };
  // Another build of the same source, for `npm run sanitize`.
  const file = process.env['SELVAGE_ADDON'] ?? fileURLToPath(new URL('./build/selvage.node', import.meta.url));
  try {
    const addon = createRequire(import.meta.url)(file) as NativeAddon;
    const difference = layoutDifference(addon.layout());
    if (difference === undefined) return { addon: (memo.addon = addon), error: undefined };
    return { addon: undefined, error: `${file} was built for another burst layout (${difference})` };
  } catch (error) {
    return { addon: undefined, error: (error as Error).message.split('\n')[0]! };
  }
}

/** The addon of this thread, or undefined; nativeLoadError() then says why. */
export function loadNative(): NativeAddon | undefined {
  return load().addon;
}

export function nativeLoadError(): string | undefined {
  return load().error;
}

/** The addon, or an OperationalError that says why there is none. */
export function requireNative(): NativeAddon {
  const { addon, error } = load();
  if (addon !== undefined) return addon;
  throw new OperationalError('NO_ADDON', `the native addon does not load: ${error}`, 'run: npm run setup');
}

const NEXT_STEPS: Readonly<Record<string, string>> = {
  ENOENT: 'create the virtual router first; for a TUN device also check that /dev/net/tun exists',
  EPERM: 'run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN',
  EACCES: 'run as root, or give the service CAP_NET_BIND_SERVICE',
  EADDRINUSE: 'stop the other program that uses this address and port',
  EADDRNOTAVAIL: 'give the address to a device of this virtual router first',
  EBUSY: 'stop the other program that uses this device',
  EMFILE: 'raise LimitNOFILE of the service',
};

/** Runs an opening call of the addon; its failure becomes an OperationalError with errno's name as code. */
export function opening<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const { code = 'UNKNOWN', errno, message } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const step = NEXT_STEPS[code] ?? 'see the kernel log for this device or address';
    throw new OperationalError(code, `cannot open ${what}: ${message}`, step, error);
  }
}
