// A client of Director's API for the lab, the shell and tests: every connection is verified against the pinned anchor.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { basename } from 'node:path';
import { Readable, pipeline } from 'node:stream';
import { OperationalError } from '../../platform/errors.ts';
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import { directorTls } from '../ztp/director-tls.ts';
import type { DeviceIdentity } from '../ztp/director-tls.ts';
import type { EnrolmentRecord } from '../ztp/enrolment.ts';
import type { ControllerRequest, ControllerView } from './controllers.ts';
import type { RekeyDirective, RekeyRequest } from './directives.ts';
import type { Organization, OrganizationRequest } from './organizations.ts';
import type { SiteChange, SiteRequest, SiteView } from './sites.ts';
import type { ActivationOrder } from './orders.ts';
import type { SoftwarePackageView } from './packages.ts';
import type { TaskView } from './tasks.ts';
import type { UpgradeRequest } from './upgrades.ts';

export interface DirectorClientOptions {
  readonly host: string;
  readonly port: number;
  readonly provider: string;
  /** The provider's trust anchor, DER. */
  readonly anchor: Uint8Array;
  /** Operator's bearer token. */
  readonly token?: string;
  /** Client certificate, for device routes. */
  readonly identity?: DeviceIdentity;
}

export interface DirectorAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

const LARGEST_ANSWER_BYTES = 64 * 1024 * 1024;

/** The JSON of an answer; throws OperationalError with Director's own code, message and next step. */
function jsonAnswer<Answer>(answer: DirectorAnswer): Answer {
  const document: unknown = answer.body.length > 0 ? JSON.parse(Buffer.from(answer.body).toString('utf8')) : undefined;
  if (answer.status >= 200 && answer.status < 300) return document as Answer;
  const error = (document as { error?: { code: string; message: string; nextStep: string } } | undefined)?.error;
  throw new OperationalError(error?.code ?? `http-${answer.status}`, error?.message ?? `Director answered ${answer.status}`, error?.nextStep ?? "look into Director's log");
}

export class DirectorClient {
  readonly #options: DirectorClientOptions;

  constructor(options: DirectorClientOptions) {
    this.#options = options;
  }

  /** One request; any HTTP status is an answer. Rejects when there is no connection or no trust. */
  request(method: string, path: string, body?: unknown): Promise<DirectorAnswer> {
    if (body === undefined) return this.#exchange(method, path, {}, undefined);
    const text = Buffer.from(JSON.stringify(body));
    return this.#exchange(method, path, { 'content-type': 'application/json', 'content-length': text.length }, text);
  }

  #exchange(method: string, path: string, headers: OutgoingHttpHeaders, body: Uint8Array | Readable | undefined): Promise<DirectorAnswer> {
    const { host, port, provider, anchor, token, identity } = this.#options;
    return new Promise((resolve, reject) => {
      const request = httpsRequest(
        {
          host,
          port,
          method,
          path,
          agent: false,
          headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers },
          ...directorTls(anchor, provider, identity),
        },
        (response) => {
          const parts: Buffer[] = [];
          let length = 0;
          response.on('data', (part: Buffer) => {
            length += part.length;
            if (length > LARGEST_ANSWER_BYTES) response.destroy(new Error(`the answer is longer than ${LARGEST_ANSWER_BYTES} octets`));
            else parts.push(part);
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }));
          response.on('error', reject);
        },
      );
      request.on('error', reject);
      if (body instanceof Readable) pipeline(body, request, () => {});
      else request.end(body);
    });
  }

  /**
   * A request whose answer is JSON.
   * @throws OperationalError with Director's own code, message and next step
   */
  async call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    return jsonAnswer(await this.request(method, path, body));
  }

  createOrganization(request: OrganizationRequest): Promise<Organization> {
    return this.call('POST', '/api/v1/organizations', request);
  }

  createTransport(name: string): Promise<{ readonly name: string }> {
    return this.call('POST', '/api/v1/transports', { name });
  }

  createController(request: ControllerRequest): Promise<ControllerView> {
    return this.call('POST', '/api/v1/controllers', request);
  }

  createSite(request: SiteRequest): Promise<SiteView> {
    return this.call('POST', '/api/v1/sites', request);
  }

  updateSite(name: string, change: SiteChange): Promise<SiteView> {
    return this.call('PATCH', `/api/v1/sites/${name}`, change);
  }

  site(name: string): Promise<SiteView> {
    return this.call('GET', `/api/v1/sites/${name}`);
  }

  sites(): Promise<readonly SiteView[]> {
    return this.call('GET', '/api/v1/sites');
  }

  revokeSite(name: string): Promise<SiteView> {
    return this.call('POST', `/api/v1/sites/${name}/revoke`);
  }

  orderPrestaging(name: string): Promise<PrestagingRecord> {
    return this.call('POST', `/api/v1/sites/${name}/prestaging`);
  }

  /** A link is good for a week unless told otherwise. */
  orderActivation(name: string, request: { readonly lifetimeSeconds?: number } = {}): Promise<ActivationOrder> {
    return this.call('POST', `/api/v1/sites/${name}/activation`, request);
  }

  orderEnrolment(name: string): Promise<EnrolmentRecord> {
    return this.call('POST', `/api/v1/controllers/${name}/enrolment`);
  }

  orderRekey(tenant: number, request: RekeyRequest = {}): Promise<RekeyDirective> {
    return this.call('POST', `/api/v1/tenants/${tenant}/rekey`, request);
  }

  /** Uploads a signed bundle from a file, as it is read. */
  async uploadSoftware(file: string): Promise<SoftwarePackageView> {
    const { size } = await stat(file);
    return jsonAnswer(await this.#exchange('PUT', `/api/v1/software/${basename(file)}`, { 'content-type': 'application/octet-stream', 'content-length': size }, createReadStream(file)));
  }

  software(): Promise<readonly SoftwarePackageView[]> {
    return this.call('GET', '/api/v1/software');
  }

  deleteSoftware(sha256: string): Promise<void> {
    return this.call('DELETE', `/api/v1/software/${sha256}`);
  }

  orderUpgrade(request: UpgradeRequest): Promise<TaskView> {
    return this.call('POST', '/api/v1/upgrades', request);
  }

  cancelUpgrade(id: number): Promise<TaskView> {
    return this.call('POST', `/api/v1/upgrades/${id}/cancel`);
  }

  tasks(): Promise<readonly TaskView[]> {
    return this.call('GET', '/api/v1/tasks');
  }

  task(id: number): Promise<TaskView> {
    return this.call('GET', `/api/v1/tasks/${id}`);
  }
}
