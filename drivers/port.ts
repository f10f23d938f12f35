// The product's ports to the network. Two families: burst ports for the forwarder's thread, and sockets for the
// control plane's event loop. Implementations: native (addon), portable (Node's own sockets), memory.
import type { Burst } from './burst.ts';

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

// ------------------------------------------------------------------------------------------ burst ports

export interface BurstPort {
  readonly name: string;
  /** File descriptor to wait on; -1 for ports in memory. */
  readonly fd: number;
  /**
   * Reads what is there without waiting, behind the packets that the burst has, as far as it has room; a port may keep
   * rows free for what the kernel hands over joined. Sets offset, length, segment, mark and, on datagram ports, the
   * remote's address, port and family. Links give super-packets as one row (segment > 0, with headers and transport), what
   * makes no sense as an empty packet, and leave HEADROOM and TAILROOM around each packet; datagrams are a row each, empty when
   * no slot would hold them. Returns how many rows were added.
   */
  read(burst: Burst): number;
  /**
   * Sends every packet with next[i] === select and sets its next to `done`; on datagram ports a row may be a run of
   * datagrams of segment[i] octets. What the kernel refuses, also in part, gets next = drop and reason = a negative errno
   * (-EMSGSIZE, -ENOBUFS ...); the rest of the burst goes on. Returns how many rows were sent.
   */
  write(burst: Burst, select: number): number;
  close(): void;
}

/** A device that carries IP packets without link header: TUN. */
export interface Link extends BurstPort {
  readonly kind: 'tun';
}

/** Datagrams with a remote address per packet: UDP, or raw IP protocol 50 (the payload then starts with the SPI). */
export interface DatagramPort extends BurstPort {
  readonly kind: 'udp' | 'esp';
  readonly local: SocketAddress;
}

// ------------------------------------------------------------------------------- control-plane sockets

export interface DatagramSocket {
  readonly local: SocketAddress;
  /** Never throws; a send that the host refuses is reported through onError of the open call. */
  send(bytes: Uint8Array, remote: SocketAddress): void;
  close(): void;
}

export interface DatagramOptions {
  /** Virtual router (network namespace) to open the socket in; undefined = the process's own. */
  readonly vr: string | undefined;
  readonly local: SocketAddress;
  onDatagram(bytes: Uint8Array, remote: SocketAddress): void;
  onError(error: Error): void;
}

export interface StreamHandlers {
  onConnected(): void;
  /** The octets belong to the receiver. */
  onData(bytes: Uint8Array): void;
  /** Exactly once, also after close(), and then nothing else is called; undefined = either end closed in order. */
  onClosed(error: Error | undefined): void;
}

export interface StreamSocket {
  readonly local: SocketAddress | undefined;
  readonly remote: SocketAddress;
  /** To be set at once by whoever accepts a stream; connectStream sets it from its options. */
  handlers: StreamHandlers | undefined;
  write(bytes: Uint8Array): void;
  close(): void;
}

export interface ConnectOptions {
  readonly vr: string | undefined;
  /** Source address; undefined = the kernel chooses. */
  readonly localAddress: string | undefined;
  readonly remote: SocketAddress;
  readonly handlers: StreamHandlers;
}

export interface ListenOptions {
  readonly vr: string | undefined;
  readonly local: SocketAddress;
  onStream(stream: StreamSocket): void;
  onError(error: Error): void;
}

export interface Listener {
  close(): void;
}

/** What the control plane can open. The simulator has its own implementation. */
export interface Network {
  openDatagram(options: DatagramOptions): DatagramSocket;
  connectStream(options: ConnectOptions): StreamSocket;
  listenStream(options: ListenOptions): Listener;
}

// --------------------------------------------------------------------------------------------- kernel

export interface DevicePlan {
  /** Device name (`tvi-0_2`). */
  readonly device: string;
  /** `10.0.0.1/32`, `2001:db8::1/128`. */
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** Families whose addresses come from the network (AddressClients): apply leaves them alone. */
  readonly automatic?: readonly AddressFamily[];
}

export interface KernelRoute {
  /** `default`, `10.0.0.0/8`, `2001:db8::/32`. */
  readonly prefix: string;
  readonly device: string;
  readonly via?: string;
  /** Preferred source address. */
  readonly source?: string;
}

/** One virtual router: a network namespace with its devices, addresses and routes. */
export interface VrPlan {
  readonly vr: string;
  readonly devices: readonly DevicePlan[];
  readonly routes: readonly KernelRoute[];
  /** IPv4 and IPv6 forwarding between the VR's devices. */
  readonly forwarding: boolean;
  /** What enters by such a device is forwarded to these prefixes only; the VR's own addresses stay reachable. */
  readonly confined?: readonly { readonly device: string; readonly to: readonly string[] }[];
}

/** Brings the host's namespaces, addresses and routes to a plan; idempotent, and removes what a former plan of ours had. */
export interface Kernel {
  ensureVr(vr: string): Promise<void>;
  /** Moves an existing device of the process's own namespace into a VR under a new name. */
  adoptDevice(vr: string, device: string, as: string): Promise<void>;
  /** Moves an adopted device back to the process's own namespace under its former name; nothing when it is not there. */
  releaseDevice(vr: string, as: string, device: string): Promise<void>;
  apply(plan: VrPlan): Promise<void>;
  /** Nothing when there is none. */
  removeVr(vr: string): Promise<void>;
}

// ------------------------------------------------------------------------------- addresses from the network

export type AddressFamily = 4 | 6;

/** An address as the kernel has it on a port. */
export interface GivenAddress {
  /** With prefix length. */
  readonly address: string;
  /** Not to be used for anything new (RFC 4862 5.5.4). */
  readonly deprecated: boolean;
  /** Until it ends unless it is renewed; undefined: it does not end. */
  readonly validSeconds: number | undefined;
}

/** What a port has of the families that were asked for: addresses that can be used, and next hops of the default routes. */
export interface GivenAddresses {
  /** False: there is no cable, or nothing at its other end. */
  readonly carrier: boolean;
  readonly addresses: readonly GivenAddress[];
  readonly gateways: readonly string[];
}

export interface AddressClientOptions {
  readonly vr: string;
  /** Device name inside the VR. */
  readonly device: string;
  readonly families: readonly AddressFamily[];
  /** Whenever it may have changed, and after `look`. */
  onGiven(given: GivenAddresses): void;
  /** The client has ended without being told, or could not be started; nothing is called afterwards. */
  onEnded(cause: string, nextStep: string): void;
}

export interface AddressClient {
  /** Reads what the kernel has. */
  look(): void;
  /** Gives addresses and routes up. Nothing is called afterwards. */
  close(): Promise<void>;
}

/** Clients that ask a port's network for addresses, and set them. */
export interface AddressClients {
  open(options: AddressClientOptions): AddressClient;
}

// ------------------------------------------------------------------------------------ forwarder's devices

/** How a worker thread takes over a port that the main thread opened. */
export interface PortDescription {
  readonly kind: 'tun' | 'udp' | 'esp';
  readonly name: string;
  readonly fd: number;
  readonly local: SocketAddress | undefined;
}

/** What another thread needs to take part in a port. The port must stay open until that thread has adopted it. */
export function describePort(port: Link | DatagramPort): PortDescription {
  return { kind: port.kind, name: port.name, fd: port.fd, local: port.kind === 'tun' ? undefined : port.local };
}

/** Opens the forwarder's ports inside virtual routers. The simulator has its own implementation. */
export interface Devices {
  /** `nativeWait` and descriptions work only for real file descriptors. */
  readonly kind: 'native' | 'memory';
  /** Creates (or re-attaches to) the TUN device `device` inside `vr`, up, with this MTU. */
  openTun(vr: string, device: string, mtu: number): Link;
  openUdp(vr: string, local: SocketAddress): DatagramPort;
  /** Raw IP protocol 50 on `address`. */
  openEsp(vr: string, address: string): DatagramPort;
}

/** Devices and sockets that several threads use side by side, each through a port of its own. */
export interface ParallelDevices extends Devices {
  /** One TUN device with `count` queues. The kernel keeps a flow on one queue: the one that its packets were last written to. */
  openTunQueues(vr: string, device: string, mtu: number, count: number): readonly Link[];
  /** `count` sockets on one address and port; without a program the kernel deals flows out among them. */
  openUdpGroup(vr: string, local: SocketAddress, count: number): readonly DatagramPort[];
  /** Whether the device of a link is still there: somebody may have removed it. */
  isAttached(link: Link): boolean;
  /** Has a classic BPF program choose a socket of the group that `port` is in, by its number. Throws OperationalError when the kernel refuses it. */
  steer(port: DatagramPort, program: Uint8Array): void;
}
