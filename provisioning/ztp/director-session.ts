// What both agents ask of Director, in terms of the product: replies are checked, refusals become errors with Director's
// own cause. Nothing here decides when to ask.
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import { fromUtf8 } from '../../platform/bytes.ts';
import { LARGEST_CRL_BYTES } from '../../platform/crl.ts';
import type { Suite } from '../../platform/crypto.ts';
import { OperationalError } from '../../platform/errors.ts';
import { openBundle } from './bundle.ts';
import type { OpenedBundle } from './bundle.ts';
import type { DirectorCall, DirectorReply, DirectorTransport, DirectorTrust } from './director-transport.ts';
import type { DocumentChecks } from './schema.ts';
import type { StreamTarget } from './stream-duplex.ts';

const REQUEST_TIMEOUT_MS = 15_000;
const LONGEST_CHAIN = 4;

/** Director answered, and the answer is no. */
export class DirectorRefusal extends OperationalError {
  override name = 'DirectorRefusal';
  readonly status: number;

  constructor(status: number, code: string, message: string, nextStep: string) {
    super(code, message, nextStep);
    this.status = status;
  }

  /** Asking again soon is useless: the operator must act first. */
  get isFinal(): boolean {
    return this.status >= 400 && this.status < 500 && this.status !== 429 && this.status !== 408;
  }

  /** The client certificate itself was not accepted. */
  get isCertificate(): boolean {
    return this.status === 401 || this.code === 'revoked';
  }
}

function jsonOf(reply: DirectorReply): unknown {
  try {
    return JSON.parse(fromUtf8(reply.body));
  } catch {
    return undefined;
  }
}

function text(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value.slice(0, 500) : otherwise;
}

function refusalOf(reply: DirectorReply): DirectorRefusal {
  const error = (jsonOf(reply) as { error?: Record<string, unknown> } | undefined)?.error;
  return new DirectorRefusal(reply.status, text(error?.['code'], 'unknown'), text(error?.['message'], `Director answered ${reply.status}`), text(error?.['nextStep'], "look into Director's log"));
}

/** Certificates of a reply, DER. */
export function chainOf(document: unknown): readonly Uint8Array[] {
  const list = (document as { certificateChain?: unknown } | undefined)?.certificateChain;
  if (!Array.isArray(list) || list.length < 1 || list.length > LONGEST_CHAIN || list.some((entry) => typeof entry !== 'string')) {
    throw new OperationalError('director-reply', "Director's answer contains no certificate", 'check that Director and the box have matching versions');
  }
  return (list as string[]).map((entry) => new Uint8Array(Buffer.from(entry, 'base64')));
}

export interface DirectorSessionOptions {
  readonly transport: DirectorTransport;
  readonly target: StreamTarget;
  readonly trust: DirectorTrust;
}

export class DirectorSession {
  readonly #options: DirectorSessionOptions;

  constructor(options: DirectorSessionOptions) {
    this.#options = options;
  }

  /** @throws DirectorRefusal for a status that is no success, OperationalError without an answer */
  async call(method: DirectorCall['method'], path: string, body?: unknown, timeoutMs = REQUEST_TIMEOUT_MS, mostBytes?: number): Promise<DirectorReply> {
    const { transport, target, trust } = this.#options;
    const reply = await transport.request(target, trust, { method, path, timeoutMs, ...(body === undefined ? {} : { body }), ...(mostBytes === undefined ? {} : { mostBytes }) });
    if (reply.status < 200 || reply.status >= 300) throw refusalOf(reply);
    return reply;
  }

  async json(method: DirectorCall['method'], path: string, body?: unknown, timeoutMs?: number): Promise<unknown> {
    return jsonOf(await this.call(method, path, body, timeoutMs));
  }

  /** The device's bundle as it came, or undefined when Director has none above `after`. */
  async bundle(after: number): Promise<Uint8Array | undefined> {
    const reply = await this.call('GET', `/api/v1/devices/self/bundle?after=${after}`);
    return reply.status === 204 ? undefined : reply.body;
  }

  /** The provider's revocation list (DER), not checked. */
  async revocationList(): Promise<Uint8Array> {
    return (await this.call('GET', '/api/v1/crl', undefined, REQUEST_TIMEOUT_MS, LARGEST_CRL_BYTES)).body;
  }

  async renewCertificate(csr: Uint8Array): Promise<readonly Uint8Array[]> {
    return chainOf(await this.json('POST', '/api/v1/devices/self/certificate', { csr: Buffer.from(csr).toString('base64') }));
  }
}

export interface BundleOpening {
  readonly suite: Suite;
  readonly checks: DocumentChecks;
  readonly anchor: Uint8Array;
  readonly unixMs: number;
  readonly serial: string;
  readonly provider: string | undefined;
}

export function openDeviceBundle(bytes: Uint8Array, opening: BundleOpening, last: DeviceConfiguration | undefined): OpenedBundle {
  const { anchor, ...rest } = opening;
  return openBundle(bytes, { ...rest, anchors: [anchor], minimumGeneration: last?.generation ?? 0 });
}

