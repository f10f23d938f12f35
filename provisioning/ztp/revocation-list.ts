// The provider's revocation list on a box: fetched from Director in the background long before it ends, kept over
// restarts, and never replaced by an older one (RFC 5280 5). Whoever is on the way can hold a list back, but not change
// it: the trust anchor signs it, and a list that is out of date raises an alarm.
import { equalBytes } from '../../platform/bytes.ts';
import { decodeCertificate } from '../../platform/certificate.ts';
import { decodeCrl, isCrlSignedBy } from '../../platform/crl.ts';
import type { Crl } from '../../platform/crl.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { OperationalError, WireError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import type { CancelTimer, Instant } from '../../platform/time.ts';
import { after, earlier, rfc3339 } from '../../platform/time.ts';
import type { Site } from '../../firmware/services/service.ts';

const DOCUMENT = 'ztp-revocation-list';
const ALARM = 'revocation-list-stale';
const REFRESH_MS = 3_600_000;
/** A list that ends soon is replaced after half of what is left of it. */
const LEAST_REFRESH_MS = 60_000;
const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 1_800_000;
export interface RevocationListOptions {
  readonly site: Pick<Site, 'clock' | 'timeFloor' | 'random' | 'store' | 'alarms'>;
  readonly log: Logger;
  readonly policy: RevocationCheck['policy'];
  /** The provider's trust anchor, DER; undefined before it is known. */
  anchor(): Uint8Array | undefined;
  /** What is known has changed. `more`: certificates are revoked that were not before. */
  changed(check: RevocationCheck, more: boolean): void;
}

interface Held {
  readonly der: Uint8Array;
  readonly crl: Crl;
}

/** A refused or failed list leaves the one before in force. */
export class RevocationListKeeper {
  readonly #options: RevocationListOptions;
  #held: Held | undefined;
  #dueAt: Instant;
  #attempts = 0;
  #busy = false;
  #stopped = false;
  #cancelEnd: CancelTimer | undefined;

  constructor(options: RevocationListOptions) {
    this.#options = options;
    this.#dueAt = options.site.clock.now();
  }

  get check(): RevocationCheck {
    return { crls: this.#held === undefined ? [] : [this.#held.der], policy: this.#options.policy };
  }

  /** Takes up what an earlier life of the box has stored, and says what is known now. */
  restore(): void {
    const { site, log, changed } = this.#options;
    const der = site.store.read(DOCUMENT);
    const anchor = this.#options.anchor();
    try {
      if (der !== undefined && anchor !== undefined) this.#hold({ der, crl: readList(der, anchor) });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      log.warning('Stored revocation list is not usable', { cause: error.message });
    }
    changed(this.check, true);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelEnd?.();
  }

  /** Another provider's list means nothing. */
  forget(): void {
    this.#held = undefined;
    this.#cancelEnd?.();
    this.#dueAt = this.#options.site.clock.now();
    this.#options.site.store.remove(DOCUMENT);
    this.#options.changed(this.check, false);
  }

  /** Something may have been revoked: the next refresh is due within `spreadMs`, which keeps the boxes of a provider apart. */
  hurry(spreadMs: number): void {
    const { clock, random } = this.#options.site;
    this.#dueAt = earlier(this.#dueAt, after(clock.now(), randomBelow(random, spreadMs)))!;
  }

  /** To be called from time to time while Director can be reached. Never rejects; a failure is logged and tried again later. */
  async refreshIfDue(fetch: () => Promise<Uint8Array>): Promise<void> {
    const { clock } = this.#options.site;
    if (this.#busy || this.#stopped || clock.now() < this.#dueAt) return;
    this.#busy = true;
    this.#dueAt = after(clock.now(), REFRESH_MS);
    try {
      const der = await fetch();
      if (!this.#stopped) this.#take(der);
      this.#attempts = 0;
      this.#dueAt = earlier(this.#dueAt, after(clock.now(), this.#spread(this.#refreshMs())))!;
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#busy = false;
    }
  }

  #take(der: Uint8Array): void {
    const { site, log, changed } = this.#options;
    const anchor = this.#options.anchor();
    if (anchor === undefined) return;
    const crl = readList(der, anchor);
    const former = this.#held?.crl;
    if (former !== undefined && equalBytes(this.#held!.der, der)) return;
    if (former !== undefined && isOlder(crl, former)) throw new WireError(`the list has number ${crl.number ?? 'none'}, number ${former.number ?? 'none'} is known already`);
    // The store keeps its own copy; this one is what chains are checked against, by identity.
    site.store.write(DOCUMENT, der);
    this.#hold({ der, crl });
    const more = former === undefined || [...crl.revoked.keys()].some((serialNumber) => !former.revoked.has(serialNumber));
    if (more) log.info('Revocation list received', { number: String(crl.number), revoked: crl.revoked.size, nextUpdate: crl.nextUpdateUnixMs && rfc3339(crl.nextUpdateUnixMs) });
    changed(this.check, more);
  }

  #hold(held: Held): void {
    this.#held = held;
    this.#cancelEnd?.();
    const { clock, alarms } = this.#options.site;
    const { thisUpdateUnixMs, nextUpdateUnixMs } = held.crl;
    this.#options.site.timeFloor?.raiseIfBehind(thisUpdateUnixMs);
    if (nextUpdateUnixMs === undefined || nextUpdateUnixMs > clock.unixMs()) alarms.clear(ALARM);
    if (nextUpdateUnixMs === undefined) return;
    this.#cancelEnd = clock.at(after(clock.now(), Math.max(0, nextUpdateUnixMs - clock.unixMs())), () => this.#ended(nextUpdateUnixMs));
  }

  #ended(nextUpdateUnixMs: number): void {
    this.#alarm(`the revocation list ended at ${rfc3339(nextUpdateUnixMs)}`);
  }

  #alarm(what: string): void {
    const isHard = this.#options.policy === 'hard';
    this.#options.site.alarms.raise({
      name: ALARM,
      object: '',
      severity: isHard ? 'critical' : 'warning',
      cause: `${what}: ${isHard ? 'peers are refused until a newer one comes (hard fail)' : 'newer revocations are not known, peers still connect (soft fail)'}`,
      nextStep: 'check that Director is reachable and that the clocks agree',
    });
  }

  #refreshMs(): number {
    const endsUnixMs = this.#held?.crl.nextUpdateUnixMs;
    if (endsUnixMs === undefined) return REFRESH_MS;
    return Math.min(REFRESH_MS, Math.max(LEAST_REFRESH_MS, (endsUnixMs - this.#options.site.clock.unixMs()) / 2));
  }

  #spread(meanMs: number): number {
    return meanMs * 0.75 + randomBelow(this.#options.site.random, meanMs / 2);
  }

  #failed(error: unknown): void {
    if (this.#stopped) return;
    const delayMs = this.#spread(Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#attempts++, 16)));
    this.#dueAt = after(this.#options.site.clock.now(), delayMs);
    const cause = error instanceof OperationalError ? `${error.message}; next: ${error.nextStep}` : (error as Error).message;
    this.#options.log.warning('Revocation list could not be fetched', { cause, seconds: Math.round(delayMs / 1000) });
    if (this.#held === undefined) this.#alarm(`there is no revocation list yet (${cause})`);
  }
}

/** Throws WireError for what the anchor did not sign as its list. */
function readList(der: Uint8Array, anchor: Uint8Array): Crl {
  const crl = decodeCrl(der);
  const { subject, publicKey } = decodeCertificate(anchor);
  if (!equalBytes(crl.issuer, subject) || !isCrlSignedBy(crl, publicKey)) throw new WireError('the list is not signed by the trust anchor');
  return crl;
}

function isOlder(crl: Crl, than: Crl): boolean {
  if (crl.number !== undefined && than.number !== undefined) return crl.number < than.number;
  // A list that leaves its number out must not get around the comparison.
  return than.number !== undefined || crl.thisUpdateUnixMs < than.thisUpdateUnixMs;
}
