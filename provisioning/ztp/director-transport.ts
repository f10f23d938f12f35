// HTTPS to Director over connections of the network port: TCP inside a virtual router, TLS on top with the provider's
// anchor as the only root. One connection per request: requests are rare, and routes change under a box.
import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import type { ConnectionOptions, DetailedPeerCertificate, TLSSocket } from 'node:tls';
import type { Site } from '../../firmware/services/service.ts';
import { OperationalError } from '../../platform/errors.ts';
import { after } from '../../platform/time.ts';
import { raiseTimeFloor } from './device-credential.ts';
import { directorTls } from './director-tls.ts';
import type { DeviceIdentity, DirectorTls } from './director-tls.ts';
import { connectDuplex } from './stream-duplex.ts';
import type { StreamTarget } from './stream-duplex.ts';

export interface DirectorTrust {
  /** The provider's trust anchor, DER. */
  readonly anchor: Uint8Array;
  /** Undefined on a Controller's first contact: whoever the anchor names. */
  readonly provider: string | undefined;
  readonly identity: DeviceIdentity | undefined;
}

export interface DirectorCall {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly timeoutMs: number;
  /** A longer answer is given up. Default: 64 MiB. */
  readonly mostBytes?: number;
  /** Octets of the resource, RFC 9110 14.2. */
  readonly range?: { readonly first: number; readonly last: number };
}

export interface DirectorReply {
  readonly status: number;
  readonly body: Uint8Array;
  /** Which part the body is, as Director says (`bytes 0-99/1000`). */
  readonly contentRange?: string | undefined;
}

/** How agents reach Director; tests and the simulator may bring their own. */
export interface DirectorTransport {
  /** First contact: the certificate of the server's chain that has this SHA-256 (lower-case hex). Nothing is sent to the server. */
  fetchAnchor(target: StreamTarget, sha256: string, timeoutMs: number): Promise<Uint8Array>;
  /** One request; any HTTP status is a reply. Rejects when there is no connection, no trust or no answer in time. */
  request(target: StreamTarget, trust: DirectorTrust, call: DirectorCall): Promise<DirectorReply>;
  /** Ends what is under way. */
  close(): void;
}

const LARGEST_REPLY_BYTES = 64 * 1024 * 1024;
const LONGEST_CHAIN = 8;

function secured(duplex: Duplex, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ ...options, socket: duplex });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('close', () => reject(new Error('the server ended the connection during the TLS handshake')));
    // Stays: a late error of a connection that is given up must not end the process.
    socket.on('error', reject);
    duplex.on('error', (error) => socket.destroy(error));
  });
}

/** What the server has shown, DER, leaf first. */
function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  for (let depth = 0; certificate?.raw && depth < LONGEST_CHAIN; depth++) {
    chain.push(new Uint8Array(certificate.raw));
    if (certificate.issuerCertificate === certificate) break;
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

function exchange(socket: TLSSocket, target: StreamTarget, call: DirectorCall): Promise<DirectorReply> {
  const text = call.body === undefined ? undefined : JSON.stringify(call.body);
  const { address } = target.remote;
  const { mostBytes = LARGEST_REPLY_BYTES } = call;
  const headers = {
    host: address.includes(':') ? `[${address}]` : address,
    ...(call.range === undefined ? {} : { range: `bytes=${call.range.first}-${call.range.last}` }),
    ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest({ method: call.method, path: call.path, headers, createConnection: () => socket }, (response) => {
      const parts: Buffer[] = [];
      let length = 0;
      response.on('data', (part: Buffer) => {
        length += part.length;
        if (length > mostBytes) response.destroy(new Error(`the answer is longer than ${mostBytes} octets`));
        else parts.push(part);
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts), contentRange: response.headers['content-range'] }));
      response.on('error', reject);
      response.on('close', () => reject(new Error('the answer ended early')));
    });
    request.on('error', reject);
    request.end(text);
  });
}

/** Verified by us with the time that is known, because OpenSSL goes by the host's clock, which is wrong. */
function expectDirector(socket: TLSSocket, site: TransportSite, { anchor }: DirectorTrust, tls: DirectorTls): void {
  const chain = chainOf(socket);
  const checked = site.suite.checkChain({ chain, anchors: [anchor], unixMs: site.clock.unixMs() });
  if (!checked.ok) throw new Error(`the server's ${checked.cause}`);
  const problem = tls.checkServerIdentity('', socket.getPeerCertificate());
  if (problem !== undefined) throw problem;
  raiseTimeFloor(site.timeFloor, undefined, chain);
}

type TransportSite = Pick<Site, 'network' | 'clock' | 'timeFloor' | 'suite'>;

export function networkTransport(site: TransportSite): DirectorTransport {
  const open = new Set<Duplex>();

  /** Runs one conversation on a fresh connection, which always ends with it. */
  async function within<Result>(target: StreamTarget, timeoutMs: number, talk: (duplex: Duplex) => Promise<Result>): Promise<Result> {
    const { address, port } = target.remote;
    let mine: Duplex | undefined;
    let late = false;
    const cancel = site.clock.at(after(site.clock.now(), timeoutMs), () => {
      late = true;
      mine?.destroy(new Error(`no answer within ${Math.round(timeoutMs / 1000)} s`));
    });
    try {
      return await talk(await connectDuplex(site.network, target, (duplex) => open.add((mine = duplex))));
    } catch (error) {
      const cause = late ? `no answer within ${Math.round(timeoutMs / 1000)} s` : error instanceof Error ? error.message : String(error);
      throw new OperationalError('director-unreachable', `Director at ${address} port ${port}: ${cause}`, 'check the tunnel, the route to Director and that Director runs', error);
    } finally {
      cancel();
      if (mine) {
        open.delete(mine);
        mine.destroy();
      }
    }
  }

  return {
    fetchAnchor: (target, sha256, timeoutMs) =>
      within(target, timeoutMs, async (duplex) => {
        // The chain is only looked at: the pinned digest decides, and every request afterwards is fully verified.
        const socket = await secured(duplex, { rejectUnauthorized: false, minVersion: 'TLSv1.2' });
        const anchor = chainOf(socket).find((der) => createHash('sha256').update(der).digest('hex') === sha256);
        socket.destroy();
        if (!anchor) throw new Error("the server's certificate chain does not contain the trust anchor of the prestaging record");
        return anchor;
      }),
    request: (target, trust, call) =>
      within(target, call.timeoutMs, async (duplex) => {
        const tls = directorTls(trust.anchor, trust.provider, trust.identity);
        const isBehind = (site.timeFloor?.behindMs ?? 0) > 0;
        const socket = await secured(duplex, isBehind ? { ...tls, rejectUnauthorized: false } : tls);
        if (isBehind) expectDirector(socket, site, trust, tls);
        return exchange(socket, target, call);
      }),
    close() {
      for (const duplex of [...open]) duplex.destroy(new Error('the agent stops'));
    },
  };
}
