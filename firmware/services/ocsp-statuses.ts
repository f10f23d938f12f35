// What OCSP responders say of peers' certificates, asked for in the background: never while a peer waits, and only for
// certificates on a way to a trust anchor, so that a stranger's certificate sends nobody anywhere.
import { decodeCertificate } from '../../platform/certificate.ts';
import type { CertificateFields } from '../../platform/certificate.ts';
import type { CertificatePath } from '../../platform/crypto.ts';
import { equalBytes } from '../../platform/bytes.ts';
import { OperationalError, WireError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { decodeOcspResponse, encodeOcspRequest, isResponseSigned, statusOf } from '../../platform/ocsp.ts';
import type { CertificateStatus } from '../../platform/ocsp.ts';
import { randomBelow } from '../../platform/random.ts';
import { after, earlier } from '../../platform/time.ts';
import type { CancelTimer, Instant } from '../../platform/time.ts';
import type { Site } from './service.ts';

/** Certificates that are followed; the one that was met longest ago goes. */
const MOST_CERTIFICATES = 1024;
const MOST_REQUESTS = 4;
const NONCE_BYTES = 32;
const LONGEST_REFRESH_MS = 86_400_000;
const LEAST_REFRESH_MS = 60_000;
/** For a response that does not say when the next one comes. */
const ENDLESS_REFRESH_MS = 1_800_000;
const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 3_600_000;
/** A responder's clock may be ahead by so much. */
const AHEAD_MS = 300_000;

export interface OcspOptions {
  readonly site: Pick<Site, 'clock' | 'random'>;
  readonly log: Logger;
  /** Asks this responder in place of the one that a certificate names; '' = the certificate's. */
  readonly responder: string;
  /** Posts a request to a URL. */
  ask(url: string, request: Uint8Array): Promise<Uint8Array>;
  /** What is known has changed. `more`: a certificate is revoked that was not before. */
  changed(more: boolean): void;
}

interface Followed {
  readonly certificate: CertificateFields;
  readonly issuer: CertificateFields;
  readonly url: string;
  der: Uint8Array | undefined;
  status: CertificateStatus | undefined;
  dueAt: Instant | undefined;
  attempts: number;
}

export class OcspStatuses {
  readonly #options: OcspOptions;
  readonly #followed = new Map<string, Followed>();
  #asking = 0;
  #cancel: CancelTimer | undefined;
  #stopped = false;

  constructor(options: OcspOptions) {
    this.#options = options;
  }

  /** DER of what was answered last. */
  responses(): readonly Uint8Array[] {
    return [...this.#followed.values()].flatMap(({ der }) => der ?? []);
  }

  /** Follows the certificates of a way to an anchor that name a responder, the anchor itself excepted. */
  follow(path: CertificatePath): void {
    const fields = path.map((der) => decodeCertificate(der));
    for (const [i, certificate] of fields.slice(0, -1).entries()) {
      const url = this.#options.responder === '' ? certificate.ocspUrls[0] : this.#options.responder;
      if (url === undefined) continue;
      const issuer = fields[i + 1]!;
      const key = `${certificate.serialNumber} ${Buffer.from(issuer.publicKey).toString('base64')}`;
      const known = this.#followed.get(key);
      this.#followed.delete(key);
      this.#followed.set(key, known ?? { certificate, issuer, url, der: undefined, status: undefined, dueAt: this.#options.site.clock.now(), attempts: 0 });
      if (this.#followed.size > MOST_CERTIFICATES) this.#followed.delete(this.#followed.keys().next().value!);
    }
    this.#work();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #work(): void {
    if (this.#stopped) return;
    const { clock } = this.#options.site;
    this.#cancel?.();
    let next: Instant | undefined;
    for (const followed of this.#followed.values()) {
      if (followed.dueAt === undefined) continue;
      if (followed.dueAt <= clock.now() && this.#asking < MOST_REQUESTS) void this.#ask(followed);
      else next = earlier(next, followed.dueAt);
    }
    // With all requests under way, the end of one comes back here.
    if (next !== undefined && next > clock.now()) this.#cancel = clock.at(next, () => this.#work());
  }

  async #ask(followed: Followed): Promise<void> {
    const { site, ask } = this.#options;
    const { certificate, issuer, url } = followed;
    followed.dueAt = undefined;
    this.#asking++;
    try {
      const nonce = site.random.bytes(NONCE_BYTES);
      const der = await ask(url, encodeOcspRequest(certificate.serialNumber, issuer, nonce));
      if (!this.#stopped) this.#take(followed, der, nonce);
    } catch (error) {
      this.#failed(followed, error);
    } finally {
      this.#asking--;
      this.#work();
    }
  }

  #take(followed: Followed, der: Uint8Array, nonce: Uint8Array): void {
    const { clock } = this.#options.site;
    const { certificate, issuer } = followed;
    const unixMs = clock.unixMs();
    const response = decodeOcspResponse(der);
    const status = statusOf(response, certificate.serialNumber, issuer);
    if (status === undefined) throw new WireError('the response is about another certificate');
    // A responder that prepares its responses leaves the nonce out (RFC 5019 2.2.1).
    if (response.nonce !== undefined && !equalBytes(response.nonce, nonce)) throw new WireError('the response answers another request');
    if (!isResponseSigned(response, issuer, unixMs, () => false)) throw new WireError('the response is signed neither by the issuer nor by a responder that it has delegated');
    if (status.thisUpdateUnixMs > unixMs + AHEAD_MS) throw new WireError('the response is dated in the future');
    if (status.nextUpdateUnixMs !== undefined && status.nextUpdateUnixMs < unixMs) throw new WireError('the response has ended');
    if (followed.status !== undefined && status.thisUpdateUnixMs < followed.status.thisUpdateUnixMs) throw new WireError('the response is older than the one before');
    const more = status.state === 'revoked' && followed.status?.state !== 'revoked';
    followed.der = der;
    followed.status = status;
    followed.attempts = 0;
    followed.dueAt = after(clock.now(), this.#spread(refreshMs(status, unixMs)));
    if (more) this.#options.log.warning('OCSP responder says that a certificate is revoked', { serialNumber: certificate.serialNumber, responder: followed.url });
    this.#options.changed(more);
  }

  #failed(followed: Followed, error: unknown): void {
    if (this.#stopped) return;
    const delayMs = this.#spread(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(followed.attempts++, 16)));
    followed.dueAt = after(this.#options.site.clock.now(), delayMs);
    const cause = error instanceof OperationalError ? `${error.message}; next: ${error.nextStep}` : (error as Error).message;
    this.#options.log.warning('OCSP responder gave no usable answer', { serialNumber: followed.certificate.serialNumber, responder: followed.url, cause, seconds: Math.round(delayMs / 1000) });
  }

  #spread(meanMs: number): number {
    return meanMs * 0.75 + randomBelow(this.#options.site.random, meanMs / 2);
  }
}

function refreshMs({ nextUpdateUnixMs }: CertificateStatus, unixMs: number): number {
  if (nextUpdateUnixMs === undefined) return ENDLESS_REFRESH_MS;
  return Math.min(LONGEST_REFRESH_MS, Math.max(LEAST_REFRESH_MS, (nextUpdateUnixMs - unixMs) / 2));
}
