// A TlsEngine on node:tls over a stream in memory. Node works on what it is given within a few turns of the event loop,
// so a step is over when nothing has happened for some turns. Never resumes a session.
import { constants } from 'node:crypto';
import { Duplex } from 'node:stream';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import type { PeerCertificate, SecureContext } from 'node:tls';
import { concat } from './bytes.ts';
import { LONGEST_CHAIN } from './chain.ts';
import { encodePem } from './pem.ts';
import type { TlsEngine, TlsOptions, TlsSession, TlsStep, TlsVersion } from './tls-engine.ts';

/** A write of Node takes effect one turn later, and may bring about another one. */
const QUIET_TURNS = 3;
const NOTHING = new Uint8Array(0);

class Wire extends Duplex {
  written: Uint8Array[] = [];

  override _read(): void {
    // Records are pushed as they come.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(new Uint8Array(chunk));
    done();
  }
}

/** Nobody renegotiates here, so neither need a server of TLS 1.2 know RFC 5746, as strongSwan does not. */
const LIMITS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_LEGACY_SERVER_CONNECT;

function contextOf({ role, chain, privateKey, anchors, newestVersion = '1.3' }: TlsOptions): SecureContext {
  return createSecureContext({
    cert: chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    key: encodePem('PRIVATE KEY', privateKey),
    // A client's would go to the server with its chain.
    ca: (role === 'client' ? [] : anchors).map((der) => encodePem('CERTIFICATE', der)),
    minVersion: 'TLSv1.2',
    maxVersion: `TLSv${newestVersion}`,
    secureOptions: LIMITS,
  });
}

/** OpenSSL's own words where there are any. */
function causeOf(error: Error): string {
  const { reason } = error as { reason?: string };
  return `TLS fails: ${reason ?? error.message}`;
}

class NodeTls implements TlsEngine {
  readonly #options: TlsOptions;
  readonly #wire = new Wire();
  #socket: TLSSocket | undefined;
  #received: Uint8Array[] = [];
  #session: TlsSession | undefined;
  #failure: string | undefined;
  #events = 0;
  #closed = false;

  constructor(options: TlsOptions) {
    this.#options = options;
    try {
      this.#socket = this.#open(contextOf(options));
    } catch (error) {
      this.#failure = causeOf(error as Error);
    }
  }

  #open(secureContext: SecureContext): TLSSocket {
    // Certificates are judged by whoever reads the session.
    const common = { secureContext, rejectUnauthorized: false };
    const client = this.#options.role === 'client';
    const socket = client ? connect({ socket: this.#wire, ...common }) : new TLSSocket(this.#wire, { isServer: true, requestCert: true, ...common });
    const note = (act: () => void) => (): void => {
      this.#events++;
      act();
    };
    socket.on(client ? 'secureConnect' : 'secure', note(() => this.#established(socket)));
    socket.on('data', (data: Buffer) => note(() => void this.#received.push(new Uint8Array(data)))());
    socket.on('error', (error) => note(() => void (this.#failure ??= causeOf(error)))());
    socket.on('end', note(() => void (this.#failure ??= 'the peer ends TLS')));
    return socket;
  }

  #established(socket: TLSSocket): void {
    const version: TlsVersion = socket.getProtocol() === 'TLSv1.3' ? '1.3' : '1.2';
    const { exporters, exportedBytes, role, greeting } = this.#options;
    const { label, context } = exporters[version];
    // Node tells "no context" by undefined, which its types do not know.
    const exported = socket.exportKeyingMaterial(exportedBytes, label, (context === undefined ? undefined : Buffer.from(context)) as Buffer);
    this.#session = { version, peerChain: chainOf(socket), exported: new Uint8Array(exported) };
    exported.fill(0);
    if (role === 'server' && version === '1.3') socket.write(greeting);
  }

  step(bytes: Uint8Array, done: (step: TlsStep) => void): void {
    if (bytes.length > 0 && this.#socket?.destroyed === false) this.#wire.push(bytes);
    this.#settle(QUIET_TURNS, this.#activity, done);
  }

  get #activity(): number {
    return this.#events + this.#wire.written.length;
  }

  #settle(turns: number, activity: number, done: (step: TlsStep) => void): void {
    setImmediate(() => {
      if (this.#closed) return;
      const quiet = this.#activity === activity;
      if (!quiet) this.#settle(QUIET_TURNS, this.#activity, done);
      else if (turns > 1) this.#settle(turns - 1, activity, done);
      else done(this.#take());
    });
  }

  #take(): TlsStep {
    const step = { bytes: concat(...this.#wire.written), received: concat(NOTHING, ...this.#received), session: this.#session, failure: this.#failure };
    this.#wire.written = [];
    this.#received = [];
    this.#session = undefined;
    return step;
  }

  close(): void {
    this.#closed = true;
    this.#session?.exported.fill(0);
    this.#socket?.destroy();
    this.#wire.destroy();
  }
}

/** What the peer showed, and perhaps authorities of our own above it. */
function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: PeerCertificate | undefined = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined && chain.length < LONGEST_CHAIN) {
    chain.push(new Uint8Array(certificate.raw));
    const { issuerCertificate }: { issuerCertificate?: PeerCertificate } = certificate as { issuerCertificate?: PeerCertificate };
    certificate = issuerCertificate === certificate ? undefined : issuerCertificate;
  }
  return chain;
}

export function openNodeTls(options: TlsOptions): TlsEngine {
  return new NodeTls(options);
}
