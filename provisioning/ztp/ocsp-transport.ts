// HTTP to an OCSP responder (RFC 6960 A.1): one small POST per connection, out of a virtual router. Names are not resolved:
// a box has no resolver that its peers could not influence. What comes back is signed, so the way need not be.
import { request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import { isIP } from 'node:net';
import type { Site } from '../../firmware/services/service.ts';
import { OperationalError } from '../../platform/errors.ts';
import { LARGEST_OCSP_BYTES } from '../../platform/ocsp.ts';
import { after } from '../../platform/time.ts';
import { connectDuplex } from './stream-duplex.ts';

const TIMEOUT_MS = 10_000;
const HTTP_PORT = 80;

interface Responder {
  readonly address: string;
  readonly port: number;
  readonly path: string;
}

/** @throws OperationalError for what is not `http://<address>[:port]/...` */
export function readResponder(url: string): Responder {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const address = parsed?.hostname.replace(/^\[(.*)\]$/, '$1') ?? '';
  if (parsed?.protocol !== 'http:' || isIP(address) === 0) {
    throw new OperationalError('ocsp-responder', `the responder ${url} is not http:// with an address`, 'name the responder by address in certificates.ocspResponder of the configuration file');
  }
  return { address, port: parsed.port === '' ? HTTP_PORT : Number(parsed.port), path: `${parsed.pathname}${parsed.search}` };
}

/** Posts one request; rejects without an answer of status 200 in time. */
export async function askResponder(site: Pick<Site, 'network' | 'clock'>, vr: string | undefined, url: string, request: Uint8Array): Promise<Uint8Array> {
  const { address, port, path } = readResponder(url);
  let mine: Duplex | undefined;
  const cancel = site.clock.at(after(site.clock.now(), TIMEOUT_MS), () => mine?.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  try {
    const duplex = await connectDuplex(site.network, { vr, localAddress: undefined, remote: { address, port } }, (opened) => (mine = opened));
    return await post(duplex, address, path, request);
  } catch (error) {
    throw new OperationalError('ocsp-unreachable', `the responder ${url}: ${(error as Error).message}`, 'check the route to the responder and that it runs', error);
  } finally {
    cancel();
    mine?.destroy();
  }
}

function post(duplex: Duplex, address: string, path: string, body: Uint8Array): Promise<Uint8Array> {
  const headers = { host: address.includes(':') ? `[${address}]` : address, 'content-type': 'application/ocsp-request', 'content-length': body.length };
  return new Promise((resolve, reject) => {
    const request = httpRequest({ method: 'POST', path, headers, createConnection: () => duplex }, (response) => {
      const parts: Buffer[] = [];
      let length = 0;
      if (response.statusCode !== 200) response.destroy(new Error(`it answers HTTP ${response.statusCode}`));
      response.on('data', (part: Buffer) => {
        length += part.length;
        if (length > LARGEST_OCSP_BYTES) response.destroy(new Error(`the answer is longer than ${LARGEST_OCSP_BYTES} octets`));
        else parts.push(part);
      });
      response.on('end', () => resolve(new Uint8Array(Buffer.concat(parts))));
      response.on('error', reject);
      response.on('close', () => reject(new Error('the answer ended early')));
    });
    request.on('error', reject);
    request.end(body);
  });
}
