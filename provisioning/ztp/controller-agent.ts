// A Controller's way to its configuration: enrol once with a token, then poll Director for changes of the configuration,
// of the site directory, and for directives; and report staging boxes. What it knows is kept, so that a Controller that
// restarts while Director is away serves its sites.
import type { DeviceConfiguration, SiteDirectory } from '../../firmware/configuration.ts';
import { controlVrName } from '../../firmware/model.ts';
import type { Service, ServiceStatus, Site } from '../../firmware/services/service.ts';
import { fromUtf8, toHex, utf8 } from '../../platform/bytes.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { ConfigError, OperationalError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import { after } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import { AlarmReport } from './alarm-report.ts';
import { checkPollReply } from './controller-messages.ts';
import type { BranchConnectFacts, BranchFailedFacts, DirectorDirective, PollReply } from './controller-messages.ts';
import { deviceCsr, deviceKey, notBefore, raiseTimeFloor, renewalCause, storedIdentity } from './device-credential.ts';
import { DeviceStore } from './device-store.ts';
import { DirectorRefusal, DirectorSession, chainOf, openDeviceBundle } from './director-session.ts';
import type { DeviceIdentity } from './director-tls.ts';
import { networkTransport } from './director-transport.ts';
import type { DirectorTransport } from './director-transport.ts';
import { DIRECTOR_PORT } from './names.ts';
import { ReportQueue } from './report-queue.ts';
import { RevocationListKeeper } from './revocation-list.ts';
import { documentChecks } from './schema.ts';
import { SoftwareOrders } from './software-orders.ts';
import type { SystemSlots } from './software-slots.ts';
import type { StreamTarget } from './stream-duplex.ts';

export interface ControllerZtpHooks {
  applyConfiguration(configuration: DeviceConfiguration, identity: DeviceIdentity): Promise<void>;
  /** Replaces the former one as a whole. */
  applyDirectory(directory: SiteDirectory): void | Promise<void>;
  orderRekey(directive: DirectorDirective): void;
  /** What is known of revoked certificates now. `more`: some are revoked that were not before. */
  revocations(check: RevocationCheck, more: boolean): void;
}

export interface ControllerAgentOptions {
  readonly site: Site;
  readonly hooks: ControllerZtpHooks;
  readonly serial: string;
  /** Needed for the first start only. */
  readonly enrolment: { readonly url: string; readonly anchorSha256: string; readonly token: string } | undefined;
  /** Where Director is reached before the configuration names a southbound port; undefined = the process's own namespace. */
  readonly enrolmentVr?: string;
  readonly transport?: DirectorTransport;
  readonly softwareVersion: string;
  /** Undefined on a host without system slots. */
  readonly slots?: SystemSlots | undefined;
  /** Whether certificates count that no current revocation list was seen for. */
  readonly revocationPolicy: RevocationCheck['policy'];
}

const FIRST_CONTACT_TIMEOUT_MS = 15_000;
/** Director answers a poll within 25 s. */
const POLL_TIMEOUT_MS = 40_000;
const FIRST_RETRY_MS = 1_000;
/** A Controller that comes late holds up the onboarding of branches, and there are few Controllers. */
const LONGEST_RETRY_MS = 20_000;
const LONGEST_CAUSE = 400;
/** The same failure is reported once in this time; so many different ones are remembered. */
const FAILURE_REPEAT_MS = 30_000;
const FAILURE_LIMIT = 1024;
const DIRECTORY_DOCUMENT = 'ztp-directory';
const DIRECTIVE_DOCUMENT = 'ztp-directive';

const REFUSED_STEP = { staging: 'ike', 'post-staging': 'post-staging' } as const;
const REFUSED_NEXT_STEP = {
  staging: 'compare serial and prestaging record of the box with its site in Director',
  'post-staging': 'compare the clocks and the certificate of the box with its site in Director; a new prestaging record lets the box ask for a new certificate',
} as const;

function causeOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof OperationalError ? `${message}; next: ${error.nextStep}` : message;
}

export class ControllerAgent implements Service {
  readonly name = 'ztp';
  readonly #options: ControllerAgentOptions;
  readonly #log: Logger;
  readonly #store: DeviceStore;
  readonly #transport: DirectorTransport;
  readonly #reports: ReportQueue;
  readonly #revocations: RevocationListKeeper;
  readonly #softwareOrders: SoftwareOrders;
  readonly #checks = documentChecks();
  readonly #alarmReport: AlarmReport;
  readonly #checkPoll = checkPollReply();
  #configuration: DeviceConfiguration | undefined;
  #identity: DeviceIdentity | undefined;
  #renewedAt: Instant | undefined;
  #directory: SiteDirectory | undefined;
  #lastDirective = 0;
  /** Configuration and site directory are in force. */
  #serving = false;
  #directorChoice = 0;
  #state: 'new' | 'running' | 'stopped' = 'new';
  /** By the sentence of what does not work now. */
  readonly #problems = new Map<string, string>();
  readonly #recentFailures = new Map<string, Instant>();
  #wakers = new Set<() => void>();
  #wakeReporter: () => void = () => {};

  constructor(options: ControllerAgentOptions) {
    const { site } = options;
    this.#options = options;
    this.#log = site.log.channel('ztp');
    this.#store = new DeviceStore(site.store);
    this.#transport = options.transport ?? networkTransport(site);
    this.#alarmReport = new AlarmReport(site.alarms);
    this.#reports = new ReportQueue(site.store, site.random);
    this.#softwareOrders = new SoftwareOrders({ site, log: this.#log, slots: options.slots, running: options.softwareVersion });
    this.#revocations = new RevocationListKeeper({
      site,
      log: this.#log,
      policy: options.revocationPolicy,
      anchor: () => this.#store.anchor,
      changed: (check, more) => options.hooks.revocations(check, more),
    });
  }

  get configuration(): DeviceConfiguration | undefined {
    return this.#configuration;
  }

  /** Returns once the work has begun; the state says how far it is. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return;
    this.#state = 'running';
    await deviceKey(this.#store);
    this.#restore();
    this.#revocations.restore();
    await this.#softwareOrders.tidy(false);
    void this.#run();
  }

  async stop(): Promise<void> {
    this.#state = 'stopped';
    for (const wake of [...this.#wakers]) wake();
    this.#revocations.stop();
    this.#softwareOrders.stop();
    this.#transport.close();
  }

  /** What is being done to the box's own system; '' = nothing. */
  get softwareActivity(): string {
    return this.#softwareOrders.activity;
  }

  status(): ServiceStatus {
    const detail = [...this.#problems].map(([sentence, cause]) => `${sentence}: ${cause}.`).join(' ');
    if (this.#serving) return { state: 'up', detail };
    return { state: 'starting', detail: detail || (this.#configuration ? 'The site directory did not come yet.' : 'Not enrolled yet.') };
  }

  branchConnect(facts: BranchConnectFacts): void {
    this.#report('/api/v1/branch-connect', {
      serial: facts.serial,
      tenant: facts.tenant,
      identity: facts.stagingIdentity,
      observed: { address: facts.observedEndpoint.address, port: facts.observedEndpoint.port },
      temporaryAddress: facts.temporaryAddress,
    });
  }

  branchFailed(facts: BranchFailedFacts): void {
    const { stage, serial, identity } = facts;
    if (this.#isRepeated(`${serial ?? ''} ${identity ?? ''} ${facts.cause}`)) return;
    const isNew = this.#reports.addFailure('/api/v1/branch-failed', {
      step: REFUSED_STEP[stage],
      ...(serial ? { serial } : {}),
      ...(identity ? { identity } : {}),
      cause: facts.cause.slice(0, LONGEST_CAUSE),
      nextStep: REFUSED_NEXT_STEP[stage],
    });
    if (isNew) this.#wakeReporter();
  }

  /** A box that is refused tries again and again; the Task needs to hear of it from time to time only. */
  #isRepeated(failure: string): boolean {
    const now = this.#options.site.clock.now();
    const last = this.#recentFailures.get(failure);
    if (last !== undefined && now - last < FAILURE_REPEAT_MS) return true;
    this.#recentFailures.delete(failure);
    this.#recentFailures.set(failure, now);
    if (this.#recentFailures.size > FAILURE_LIMIT) this.#recentFailures.delete(this.#recentFailures.keys().next().value!);
    return false;
  }

  #report(path: string, body: Readonly<Record<string, unknown>>): void {
    if (this.#reports.add(path, body)) this.#wakeReporter();
  }

  // ------------------------------------------------------------------------------------------ documents

  #restore(): void {
    const { suite, clock, store } = this.#options.site;
    const pinned = this.#options.enrolment?.anchorSha256;
    const anchor = this.#store.anchor;
    if (pinned !== undefined && anchor && toHex(suite.hash('sha256', anchor)) !== pinned) {
      this.#log.warning('Enrolment names another trust anchor; the former provider is forgotten', { sha256: pinned });
      this.#store.forgetOnboarding();
      this.#revocations.forget();
      for (const name of [DIRECTORY_DOCUMENT, DIRECTIVE_DOCUMENT]) store.remove(name);
    }
    raiseTimeFloor(this.#options.site.timeFloor, this.#store.anchor, this.#store.certificateChain);
    this.#identity = storedIdentity(this.#store, suite, clock.unixMs());
    const bundle = this.#store.bundle;
    if (!this.#identity || !bundle) return;
    const problem = this.#openBundle(bundle);
    if (problem !== undefined) this.#log.error('Stored configuration is not usable', { cause: problem });
    const [directory, directive] = [store.read(DIRECTORY_DOCUMENT), store.read(DIRECTIVE_DOCUMENT)];
    this.#lastDirective = directive ? Number(fromUtf8(directive)) || 0 : 0;
    try {
      if (directory) this.#directory = this.#checks.directory(JSON.parse(fromUtf8(directory)));
    } catch (error) {
      this.#log.error('Stored site directory is not usable', { cause: causeOf(error) });
    }
  }

  /** Takes the bundle's configuration; returns the cause when it is refused. */
  #openBundle(bytes: Uint8Array): string | undefined {
    const { suite, clock } = this.#options.site;
    const opening = {
      suite,
      checks: this.#checks,
      anchor: this.#store.anchor!,
      unixMs: notBefore(this.#identity, clock.unixMs()),
      serial: this.#options.serial,
      provider: this.#configuration?.provider,
    };
    const opened = openDeviceBundle(bytes, opening, this.#configuration);
    if (!opened.ok) return opened.cause;
    if (opened.configuration.device.role !== 'controller') return `it is for a ${opened.configuration.device.role}`;
    this.#configuration = opened.configuration;
    return undefined;
  }

  get #sinceRenewalMs(): number | undefined {
    return this.#renewedAt === undefined ? undefined : this.#options.site.clock.now() - this.#renewedAt;
  }

  #keepCertificate(certificateChain: readonly Uint8Array[], privateKey: Uint8Array): void {
    const { suite, clock } = this.#options.site;
    const checked = suite.checkChain({ chain: certificateChain, anchors: [this.#store.anchor!], unixMs: clock.unixMs() });
    if (!checked.ok) throw new OperationalError('certificate-refused', `Director's certificate for this Controller is not good: ${checked.cause}`, 'compare the clocks of Controller and Director');
    raiseTimeFloor(this.#options.site.timeFloor, undefined, certificateChain);
    this.#store.certificateChain = certificateChain;
    this.#identity = { certificateChain, privateKey };
  }

  // ------------------------------------------------------------------------------------------ work

  async #run(): Promise<void> {
    if (!this.#configuration) await this.#persist('Enrolment failed', () => this.#enrol());
    await this.#persist('Configuration could not be applied', () => this.#apply());
    if (this.#directory) await this.#persist('Site directory could not be applied', () => this.#applyDirectory(this.#directory!));
    await Promise.all([this.#pollForever(), this.#reportForever()]);
  }

  async #pollForever(): Promise<void> {
    while (this.#state === 'running') await this.#persist('Poll of Director failed', () => this.#poll());
  }

  async #reportForever(): Promise<void> {
    while (this.#state === 'running') {
      const report = this.#reports.first();
      if (report) await this.#persist('Report to Director failed', () => this.#send(report.reportId, report.path, report.body));
      else await this.#pause(undefined, (wake) => (this.#wakeReporter = wake));
    }
  }

  /** Does something until it works, with growing pauses; gives up only at the stop. */
  async #persist(sentence: string, work: () => Promise<void>): Promise<void> {
    for (let attempt = 0; this.#state === 'running'; attempt++) {
      try {
        await work();
        this.#problems.delete(sentence);
        return;
      } catch (error) {
        if (this.#state !== 'running') return;
        const meanMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 16));
        const delayMs = meanMs * 0.75 + randomBelow(this.#options.site.random, meanMs / 2);
        this.#problems.set(sentence, causeOf(error));
        this.#directorChoice++;
        this.#log.warning(sentence, { cause: causeOf(error), seconds: Math.round(delayMs / 1000) });
        await this.#pause(delayMs, () => {});
      }
    }
  }

  /** Until the time is over, the waker given to `expose` is called, or the agent stops. */
  #pause(ms: number | undefined, expose: (wake: () => void) => void): Promise<void> {
    if (this.#state !== 'running') return Promise.resolve();
    const { clock } = this.#options.site;
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel?.();
        this.#wakers.delete(wake);
        resolve();
      };
      const cancel = ms === undefined ? undefined : clock.at(after(clock.now(), ms), wake);
      this.#wakers.add(wake);
      expose(wake);
    });
  }

  // ------------------------------------------------------------------------------------------ requests

  #target(): StreamTarget {
    const configuration = this.#configuration;
    if (configuration) {
      const { addresses, port } = configuration.director;
      const vr = configuration.southbound ? controlVrName(configuration.provider) : this.#options.enrolmentVr;
      return { vr, localAddress: undefined, remote: { address: addresses[this.#directorChoice % addresses.length]!, port } };
    }
    const url = new URL(this.#options.enrolment!.url);
    const address = url.hostname.replace(/^\[(.*)\]$/, '$1');
    return { vr: this.#options.enrolmentVr, localAddress: undefined, remote: { address, port: url.port === '' ? DIRECTOR_PORT : Number(url.port) } };
  }

  #session(): DirectorSession {
    const trust = { anchor: this.#store.anchor!, provider: this.#configuration?.provider, identity: this.#identity };
    return new DirectorSession({ transport: this.#transport, target: this.#target(), trust });
  }

  async #enrol(): Promise<void> {
    const { enrolment, serial } = this.#options;
    if (!enrolment) throw new OperationalError('not-enrolled', 'the Controller has neither a configuration nor an enrolment', 'order an enrolment in Director and put it into the configuration file');
    if (!this.#identity) {
      this.#store.anchor = await this.#transport.fetchAnchor(this.#target(), enrolment.anchorSha256, FIRST_CONTACT_TIMEOUT_MS);
      raiseTimeFloor(this.#options.site.timeFloor, this.#store.anchor);
      const privateKey = await deviceKey(this.#store);
      const csr = Buffer.from(await deviceCsr(privateKey, serial)).toString('base64');
      this.#keepCertificate(chainOf(await this.#session().json('POST', '/api/v1/enrol', { token: enrolment.token, serial, csr })), privateKey);
    }
    // The token is spent now: what comes after is under the certificate, so that it may be repeated.
    const bytes = await this.#session().bundle(0);
    this.#takeBundle(bytes ?? new Uint8Array(0));
    this.#log.info('Controller enrolled', { name: this.#configuration!.device.name, generation: this.#configuration!.generation });
  }

  #takeBundle(bytes: Uint8Array): void {
    const problem = this.#openBundle(bytes);
    if (problem !== undefined) throw new OperationalError('configuration-refused', `the configuration is refused: ${problem}`, 'correct the Controller in Director');
    this.#store.bundle = bytes;
  }

  async #apply(): Promise<void> {
    await this.#options.hooks.applyConfiguration(this.#configuration!, this.#identity!);
  }

  async #poll(): Promise<void> {
    const query = `after=${this.#directory?.generation ?? 0}&directive=${this.#lastDirective}&configuration=${this.#configuration!.generation}`;
    let poll: PollReply;
    try {
      await this.#alarmReport.tell(this.#session());
      poll = this.#checkPoll(await this.#session().json('GET', `/api/v1/controllers/self/directory?${query}`, undefined, POLL_TIMEOUT_MS));
      if (poll.directory !== null) await this.#takeDirectory(this.#checks.directory(poll.directory));
    } catch (error) {
      if (error instanceof ConfigError) throw new OperationalError('director-reply', error.message, 'check that Director and the Controller have matching versions');
      throw error;
    }
    const renewal = renewalCause(this.#identity!, this.#configuration!, this.#options.site.clock.unixMs(), this.#sinceRenewalMs);
    if (poll.configurationGeneration > this.#configuration!.generation || renewal !== undefined) await this.#refresh();
    for (const directive of poll.directives) this.#takeDirective(directive);
    // A site that was revoked shows in both; Controllers are few, so they ask at once.
    if (poll.directory !== null || poll.directives.length > 0) this.#revocations.hurry(0);
    const session = this.#session();
    void this.#revocations.refreshIfDue(() => session.revocationList());
    void this.#softwareOrders.poll(session);
  }

  async #applyDirectory(directory: SiteDirectory): Promise<void> {
    await this.#options.hooks.applyDirectory(directory);
    this.#serving = true;
  }

  async #takeDirectory(directory: SiteDirectory): Promise<void> {
    await this.#applyDirectory(directory);
    this.#options.site.store.write(DIRECTORY_DOCUMENT, utf8(JSON.stringify(directory)));
    this.#directory = directory;
    this.#log.info('Site directory received', { generation: directory.generation, sites: directory.sites.length });
  }

  /** A newer configuration, a new certificate, or both; in force together. */
  async #refresh(): Promise<void> {
    const session = this.#session();
    const before = this.#configuration!;
    try {
      const bytes = await session.bundle(before.generation);
      if (bytes) this.#takeBundle(bytes);
      const cause = renewalCause(this.#identity!, this.#configuration!, this.#options.site.clock.unixMs(), this.#sinceRenewalMs);
      if (cause !== undefined) {
        const privateKey = await deviceKey(this.#store);
        this.#keepCertificate(await session.renewCertificate(await deviceCsr(privateKey, this.#options.serial)), privateKey);
        this.#renewedAt = this.#options.site.clock.now();
        this.#log.info('Device certificate renewed', { cause });
      }
      await this.#apply();
    } catch (error) {
      // The next poll must see the old generation, so that it comes here again.
      this.#configuration = before;
      throw error;
    }
    this.#log.info('Configuration received', { generation: this.#configuration!.generation, tenants: this.#configuration!.tenants.length });
  }

  #takeDirective(directive: DirectorDirective): void {
    if (directive.id <= this.#lastDirective) return;
    this.#lastDirective = directive.id;
    this.#options.site.store.write(DIRECTIVE_DOCUMENT, utf8(String(directive.id)));
    this.#log.info('Rekey ordered by Director', { tenant: directive.tenant, epoch: directive.epoch, reason: directive.reason });
    this.#options.hooks.orderRekey(directive);
  }

  async #send(reportId: string, path: string, body: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      await this.#session().call('POST', path, { reportId, ...body });
    } catch (error) {
      if (!(error instanceof DirectorRefusal) || !error.isFinal) throw error;
      // Director has written the cause into the Task; asking again would not change it.
      this.#log.warning('Director refused a branch', { cause: causeOf(error) });
    }
    this.#reports.done(reportId);
  }
}

export function createControllerAgent(options: ControllerAgentOptions): ControllerAgent {
  return new ControllerAgent(options);
}
