// What both agents ask of Director, in terms of the product: replies are checked, refusals become errors with Director's
// own cause. Nothing here decides when to ask.
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import { fromUtf8 } from '../../platform/bytes.ts';
import { LARGEST_CRL_BYTES } from '../../platform/crl.ts';
import type { Suite } from '../../platform/crypto.ts';
import { ConfigError, OperationalError } from '../../platform/errors.ts';
import { openBundle } from './bundle.ts';
import type { OpenedBundle } from './bundle.ts';
import type { DirectorCall, DirectorReply, DirectorTransport, DirectorTrust } from './director-transport.ts';
import type { DocumentChecks } from './schema.ts';
import { softwareReplyCheck } from './software-messages.ts';
import type { OrderReport, SoftwareReply } from './software-messages.ts';
import type { StreamTarget } from './stream-duplex.ts';

const REQUEST_TIMEOUT_MS = 15_000;
const LONGEST_CHAIN = 4;
const checkSoftwareReply = softwareReplyCheck();

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
  async call(method: DirectorCall['method'], path: string, body?: unknown, timeoutMs = REQUEST_TIMEOUT_MS, more: Pick<DirectorCall, 'mostBytes' | 'range'> = {}): Promise<DirectorReply> {
    const { transport, target, trust } = this.#options;
    const reply = await transport.request(target, trust, { method, path, timeoutMs, ...(body === undefined ? {} : { body }), ...more });
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
    return (await this.call('GET', '/api/v1/crl', undefined, REQUEST_TIMEOUT_MS, { mostBytes: LARGEST_CRL_BYTES })).body;
  }

  /** What this box should run; Director hears what runs, and which bundles fit (undefined without system slots). */
  async software(running: string, compatible: string | undefined): Promise<SoftwareReply> {
    const query = new URLSearchParams({ running, ...(compatible === undefined ? {} : { compatible }) });
    try {
      return checkSoftwareReply(await this.json('GET', `/api/v1/devices/self/software?${query}`));
    } catch (error) {
      if (error instanceof ConfigError) throw new OperationalError('director-reply', error.message, 'check that Director and the box have matching versions', error);
      throw error;
    }
  }

  /** Octets `first` to `last` of a software package, exactly. */
  async packagePart(sha256: string, first: number, last: number, timeoutMs: number): Promise<Uint8Array> {
    const length = last - first + 1;
    const reply = await this.call('GET', `/api/v1/devices/self/software/${sha256}`, undefined, timeoutMs, { range: { first, last }, mostBytes: length });
    const isPart = reply.status === 206 && reply.contentRange?.startsWith(`bytes ${first}-${last}/`) === true;
    if (!isPart || reply.body.length !== length) throw new OperationalError('director-reply', `Director sent ${reply.contentRange ?? 'no part'} (${reply.body.length} octets) for octets ${first} to ${last}`, "look into Director's log");
    return reply.body;
  }

  async tellUpgrade(report: OrderReport): Promise<void> {
    await this.call('POST', '/api/v1/devices/self/upgrade', report);
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

