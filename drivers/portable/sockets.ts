// The control plane's sockets on node:dgram and node:net. They open by themselves in the process's own namespace;
// for a virtual router an opener (the addon's) makes the descriptor and Node takes it over.
import { createSocket, type Socket as DgramSocket } from 'node:dgram';
import { createServer, isIPv6, Socket, type SocketConstructorOpts } from 'node:net';
import { OperationalError } from '../../platform/errors.ts';
import type {
  ConnectOptions,
  DatagramOptions,
  DatagramSocket,
  Listener,
  ListenOptions,
  Network,
  SocketAddress,
  StreamHandlers,
  StreamSocket,
} from '../port.ts';

/** Makes sockets inside virtual routers; throws OperationalError. Whoever gets a descriptor owns it. */
export interface NamespaceOpener {
  datagram(vr: string, local: SocketAddress): number;
  listener(vr: string, local: SocketAddress): number;
  stream(vr: string, localAddress: string | undefined, remote: SocketAddress): number;
  /** Closes a descriptor that Node did not take over. */
  discard(fd: number): void;
}

/** Octets that may wait for a peer that does not read; then the stream is closed. */
export const STREAM_QUEUE_BYTES = 16 * 1024 * 1024;

type Lookup = (hostname: string, family: number, done: (error: Error | null, address: string, family: number) => void) => void;

/** Addresses are literals, so looking them up is the identity: bind and send then work at once. */
const literal: Lookup = (hostname, family, done) => done(null, hostname, family);

function operational(what: string, error: Error): OperationalError {
  if (error instanceof OperationalError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
  return new OperationalError(code, `${what}: ${error.message}`, 'check the address and who else uses it', error);
}

/** A plain dgram socket whose bind has happened, or has thrown, when this returns. */
export function boundDgram(local: SocketAddress, fd?: number): DgramSocket {
  // Node's types want the asynchronous look-up's full signature.
  const lookup = literal as unknown as typeof import('node:dns').lookup;
  const socket = createSocket({ type: isIPv6(local.address) ? 'udp6' : 'udp4', ipv6Only: isIPv6(local.address), lookup });
  let failure: Error | undefined;
  const failed = (error: Error): void => void (failure = error);
  socket.on('error', failed);
  socket.bind(fd === undefined ? { address: local.address, port: local.port } : { fd });
  socket.off('error', failed);
  if (failure === undefined) return socket;
  // Node's handle has made a descriptor before it tried to bind.
  socket.close();
  throw operational(`cannot open UDP socket ${local.address} port ${local.port}`, failure);
}

class NodeDatagram implements DatagramSocket {
  readonly local: SocketAddress;
  readonly #socket: DgramSocket;
  readonly #onError: (error: Error) => void;
  #closed = false;

  constructor(socket: DgramSocket, options: DatagramOptions) {
    this.#socket = socket;
    this.#onError = options.onError;
    this.local = { address: options.local.address, port: socket.address().port };
    socket.on('message', (message, remote) => {
      // A plain view: Buffer's slice would share memory where callers expect a copy.
      const bytes = new Uint8Array(message.buffer, message.byteOffset, message.length);
      if (!this.#closed) options.onDatagram(bytes, { address: remote.address, port: remote.port });
    });
    socket.on('error', (error) => this.#report(error));
  }

  send(bytes: Uint8Array, remote: SocketAddress): void {
    if (this.#closed) return;
    try {
      this.#socket.send(bytes, remote.port, remote.address, (error) => {
        if (error) this.#report(error);
      });
    } catch (error) {
      this.#report(error as Error);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  #report(error: Error): void {
    if (!this.#closed) this.#onError(operational(`UDP socket ${this.local.address} port ${this.local.port}`, error));
  }
}

/** `onClosed` comes exactly once, also after close(); writes after either end are ignored. */
class NodeStream implements StreamSocket {
  readonly remote: SocketAddress;
  handlers: StreamHandlers | undefined;
  readonly #socket: Socket;
  #local: SocketAddress | undefined;
  #failure: Error | undefined;
  #closing = false;

  constructor(socket: Socket, remote: SocketAddress, handlers: StreamHandlers | undefined) {
    this.#socket = socket;
    this.remote = remote;
    this.handlers = handlers;
    this.#learnLocal();
    socket.setNoDelay(true);
    socket.on('connect', () => {
      this.#learnLocal();
      if (!this.#closing) this.handlers?.onConnected();
    });
    socket.on('data', (chunk) => {
      if (!this.#closing) this.handlers?.onData(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
    });
    socket.on('error', (error) => {
      this.#failure ??= operational(`TCP connection with ${remote.address} port ${remote.port}`, error);
    });
    socket.on('close', () => {
      this.#closing = true;
      const last = this.handlers;
      this.handlers = undefined;
      last?.onClosed(this.#failure);
    });
  }

  get local(): SocketAddress | undefined {
    return this.#local;
  }

  write(bytes: Uint8Array): void {
    if (this.#closing || !this.#socket.writable) return;
    // The caller may reuse its octets; Node keeps a reference until they are sent.
    this.#socket.write(bytes.slice());
    if (this.#socket.writableLength <= STREAM_QUEUE_BYTES) return;
    const text = `the peer at ${this.remote.address} port ${this.remote.port} does not read`;
    this.#socket.destroy(new OperationalError('ENOBUFS', text, 'check the peer and the path to it'));
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#socket.connecting) this.#socket.destroy();
    else this.#socket.destroySoon();
  }

  #learnLocal(): void {
    const { localAddress, localPort } = this.#socket;
    if (localAddress !== undefined && localPort !== undefined) this.#local = { address: localAddress, port: localPort };
  }
}

/** The Network of a host. Without an opener only `vr: undefined` works. */
export class NodeNetwork implements Network {
  readonly #opener: NamespaceOpener | undefined;

  constructor(opener?: NamespaceOpener) {
    this.#opener = opener;
  }

  /** Throws OperationalError with errno's name as code when the address cannot be bound. */
  openDatagram(options: DatagramOptions): DatagramSocket {
    const fd = this.#fd(options.vr, (opener, vr) => opener.datagram(vr, options.local));
    return new NodeDatagram(this.#adopt(fd, () => boundDgram(options.local, fd)), options);
  }

  /** Whatever goes wrong is told by `onClosed`, later. */
  connectStream(options: ConnectOptions): StreamSocket {
    const { remote, localAddress, handlers, vr } = options;
    let socket: Socket;
    try {
      const fd = this.#fd(vr, (opener, router) => opener.stream(router, localAddress, remote));
      // manualStart: a descriptor that is not connected yet must not be read.
      socket = fd === undefined ? new Socket() : this.#adopt(fd, () => new Socket({ fd, manualStart: true, readable: true, writable: true } as SocketConstructorOpts));
    } catch (error) {
      socket = new Socket();
      const stream = new NodeStream(socket, remote, handlers);
      socket.destroy(error as Error);
      return stream;
    }
    const stream = new NodeStream(socket, remote, handlers);
    const source = vr === undefined && localAddress !== undefined ? { localAddress } : {};
    try {
      socket.connect({ host: remote.address, port: remote.port, ...source });
    } catch (error) {
      socket.destroy(error as Error);
    }
    return stream;
  }

  /** A failure of a virtual router's listener is thrown, one of the process's own namespace is told by `onError`. */
  listenStream(options: ListenOptions): Listener {
    const fd = this.#fd(options.vr, (opener, vr) => opener.listener(vr, options.local));
    let closed = false;
    const server = createServer((socket) => {
      const remote = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
      options.onStream(new NodeStream(socket, remote, undefined));
    });
    const what = `TCP listener ${options.local.address} port ${options.local.port}`;
    server.on('error', (error) => {
      if (!closed) options.onError(operational(what, error));
    });
    const local = { host: options.local.address, port: options.local.port, ipv6Only: isIPv6(options.local.address) };
    this.#adopt(fd, () => server.listen(fd === undefined ? local : { fd }));
    return {
      close: () => {
        if (closed) return;
        closed = true;
        server.close();
      },
    };
  }

  #fd(vr: string | undefined, open: (opener: NamespaceOpener, vr: string) => number): number | undefined {
    if (vr === undefined) return undefined;
    if (this.#opener !== undefined) return open(this.#opener, vr);
    throw new OperationalError('NO_ADDON', `sockets in ${vr} need the native addon`, 'run: npm run setup');
  }

  #adopt<T>(fd: number | undefined, take: () => T): T {
    try {
      return take();
    } catch (error) {
      if (fd !== undefined) this.#opener?.discard(fd);
      throw error;
    }
  }
}
