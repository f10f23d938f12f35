// Watches over what certificate checks of this box depend on: its own certificate and the anchors, which end one day, the
// lists and OCSP responses, and the host's clock. Raises alarms in time and answers `show certificates`.
import { commonName, decodeCertificate } from '../../platform/certificate.ts';
import { decodeCrl } from '../../platform/crl.ts';
import type { CertificatePath, RevocationCheck } from '../../platform/crypto.ts';
import { WireError } from '../../platform/errors.ts';
import type { AlarmSeverity } from '../../platform/alarms.ts';
import { randomBelow } from '../../platform/random.ts';
import { after, rfc3339 } from '../../platform/time.ts';
import type { CancelTimer } from '../../platform/time.ts';
import type { DeviceConfiguration } from '../configuration.ts';
import type { CertificatesView, CertificateView } from '../views.ts';
import { trustAnchors, type DeviceIdentity } from './ike-profiles.ts';
import { OcspStatuses } from './ocsp-statuses.ts';
import type { OcspOptions } from './ocsp-statuses.ts';
import type { Service, ServiceStatus, Site } from './service.ts';

const DAY_MS = 86_400_000;
const LOOK_MS = 3_600_000;
const EXPIRY_ALARM = 'certificate-expiry';
const CLOCK_ALARM = 'host-clock-behind';
const NOTICEABLE_MS = 3_600_000;
/** Days that are left, and how urgent that is; the first that fits counts. */
const EXPIRY_STEPS: readonly { readonly days: number; readonly severity: AlarmSeverity }[] = [
  { days: 0, severity: 'critical' },
  { days: 1, severity: 'critical' },
  { days: 7, severity: 'major' },
  { days: 14, severity: 'minor' },
  { days: 30, severity: 'warning' },
];

type Kind = CertificateView['kind'];
type CertificateFacts = Omit<CertificateView, 'revocation'>;

const EXPIRY_NEXT_STEPS: Readonly<Record<Kind, string>> = {
  device: 'the box renews it by itself as soon as it reaches Director: check the control tunnels and the log ztp',
  intermediate: 'renew the authority, then let the box ask Director for a new certificate',
  'trust anchor': 'give the boxes the next trust anchor from Director before this one ends',
};

export interface CertificatesOptions extends Pick<OcspOptions, 'responder' | 'ask'> {
  /** What is known of revocations, replaced as a whole. `more`: certificates are revoked that were not before. */
  revocations(check: RevocationCheck, more: boolean): void;
}

interface Held {
  readonly kind: Kind;
  readonly der: Uint8Array;
}

export class Certificates implements Service {
  readonly name = 'certificates';
  readonly #site: Site;
  readonly #options: CertificatesOptions;
  readonly #ocsp: OcspStatuses;
  #held: readonly Held[] = [];
  #revocation: RevocationCheck | undefined;
  #cancel: CancelTimer | undefined;
  #clockCause: string | undefined;

  constructor(site: Site, options: CertificatesOptions) {
    this.#site = site;
    this.#options = options;
    const { responder, ask } = options;
    this.#ocsp = new OcspStatuses({ site, log: site.log.channel('ipsec'), responder, ask, changed: (more) => this.#tell(more) });
  }

  async start(): Promise<void> {
    this.#look();
  }

  async stop(): Promise<void> {
    this.#cancel?.();
    this.#ocsp.stop();
  }

  status(): ServiceStatus {
    return { state: 'up', detail: this.#clockCause ?? '' };
  }

  /** What the box goes by from now on. */
  use(configuration: DeviceConfiguration, identity: DeviceIdentity): void {
    const own = identity.certificateChain.map((der, i): Held => ({ kind: i === 0 ? 'device' : 'intermediate', der }));
    this.#held = [...own, ...trustAnchors(configuration).map((der): Held => ({ kind: 'trust anchor', der }))];
    this.#judge();
  }

  /** Lists of the provider, replaced as a whole. */
  revocations(check: RevocationCheck, more: boolean): void {
    this.#revocation = check;
    this.#tell(more);
  }

  /** A peer has shown a certificate on a way to an anchor: its state is worth knowing from now on. */
  seen(path: CertificatePath): void {
    this.#ocsp.follow(path);
  }

  #tell(more: boolean): void {
    if (this.#revocation !== undefined) this.#options.revocations({ ...this.#revocation, ocspResponses: this.#ocsp.responses() }, more);
  }

  view(): CertificatesView {
    const { clock } = this.#site;
    return {
      certificates: this.#held.flatMap((held) => {
        const facts = this.#factsOf(held);
        return facts === undefined ? [] : [{ ...facts, revocation: held.kind === 'trust anchor' ? '-' : this.#revocationOf(held.der) }];
      }),
      revocationPolicy: this.#revocation?.policy ?? 'soft',
      revocationLists: (this.#revocation?.crls ?? []).map((der) => {
        const { issuer, number, thisUpdateUnixMs, nextUpdateUnixMs, revoked } = decodeCrl(der);
        return {
          issuer: commonName(issuer),
          number: String(number ?? '-'),
          thisUpdate: rfc3339(thisUpdateUnixMs),
          nextUpdate: nextUpdateUnixMs === undefined ? '-' : rfc3339(nextUpdateUnixMs),
          current: nextUpdateUnixMs === undefined || clock.unixMs() <= nextUpdateUnixMs,
          revoked: revoked.size,
        };
      }),
      clock: this.#clockCause ?? '',
    };
  }

  #look(): void {
    const { clock, random } = this.#site;
    this.#judge();
    const delayMs = LOOK_MS * 0.75 + randomBelow(random, LOOK_MS / 2);
    this.#cancel = clock.at(after(clock.now(), delayMs), () => this.#look());
  }

  #judge(): void {
    this.#judgeClock();
    for (const held of this.#held) {
      const facts = this.#factsOf(held);
      if (facts !== undefined) this.#judgeExpiry(facts);
    }
  }

  /** One alarm per certificate, which gets more urgent; a renewed one clears it. */
  #judgeExpiry({ kind, subject, notAfter, daysLeft }: CertificateFacts): void {
    const { alarms } = this.#site;
    const object = `${kind} ${subject}`;
    const step = EXPIRY_STEPS.find(({ days }) => daysLeft <= days);
    if (step === undefined) return alarms.clear(EXPIRY_ALARM, object);
    const left = step.days === 0 ? `ended on ${notAfter}` : `ends on ${notAfter}, in ${step.days} ${step.days === 1 ? 'day' : 'days'} or less`;
    alarms.raise({ name: EXPIRY_ALARM, object, severity: step.severity, cause: `the certificate ${left}`, nextStep: EXPIRY_NEXT_STEPS[kind] });
  }

  #judgeClock(): void {
    const { clock, timeFloor, alarms } = this.#site;
    const behindMs = timeFloor?.behindMs ?? 0;
    if (behindMs === 0) {
      this.#clockCause = undefined;
      return alarms.clear(CLOCK_ALARM);
    }
    const unixMs = clock.unixMs();
    this.#clockCause ??=
      behindMs < NOTICEABLE_MS
        ? `the host's clock has run from the time when the image was built since the boot (${rfc3339(unixMs)}): nobody has set it`
        : `the host's clock said ${rfc3339(unixMs - behindMs)} when it was ${rfc3339(unixMs)} at the least; certificates are checked with the later time`;
    alarms.raise({ name: CLOCK_ALARM, object: '', severity: 'major', cause: this.#clockCause, nextStep: "set the host's clock, or give it a time server that it reaches" });
  }

  #factsOf({ kind, der }: Held): CertificateFacts | undefined {
    const unixMs = this.#site.clock.unixMs();
    try {
      const { subject, issuer, serialNumber, notBeforeUnixMs, notAfterUnixMs } = decodeCertificate(der);
      return {
        kind,
        serialNumber,
        subject: commonName(subject),
        issuer: commonName(issuer),
        notBefore: rfc3339(notBeforeUnixMs),
        notAfter: rfc3339(notAfterUnixMs),
        daysLeft: Math.max(0, Math.ceil((notAfterUnixMs - unixMs) / DAY_MS)),
      };
    } catch (error) {
      if (error instanceof WireError) return undefined;
      throw error;
    }
  }

  #revocationOf(der: Uint8Array): string {
    const { suite, clock } = this.#site;
    if (this.#revocation === undefined) return 'unknown';
    const anchors = this.#held.filter(({ kind }) => kind === 'trust anchor').map((held) => held.der);
    const chain = [der, ...this.#held.filter((held) => held.kind === 'intermediate' && held.der !== der).map((held) => held.der)];
    const judged = suite.checkChain({ chain, anchors, unixMs: clock.unixMs(), revocation: { ...this.#revocation, policy: 'hard' } });
    return judged.ok ? 'good' : judged.revoked === true ? 'revoked' : 'unknown';
  }
}
