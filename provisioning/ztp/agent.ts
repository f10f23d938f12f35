// Runs the stages of a branch: real requests to Director, the box's stored documents, and the hooks of the role. The
// machine (stages.ts) decides; this file carries out and reports back.
import type { DeviceConfiguration, PrestagingRecord } from '../../firmware/configuration.ts';
import { controlVrName } from '../../firmware/model.ts';
import type { IpAddress } from '../../firmware/model.ts';
import type { Service, ServiceStatus, Site } from '../../firmware/services/service.ts';
import { toHex, wipe } from '../../platform/bytes.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { rfc3339 } from '../../platform/time.ts';
import type { CancelTimer, Instant } from '../../platform/time.ts';
import type { Timeout } from '../../firmware/machine.ts';
import { AlarmReport } from './alarm-report.ts';
import { canonicalJson } from './canonical.ts';
import { deviceCsr, deviceKey, notBefore, raiseTimeFloor, renewalCause, storedIdentity } from './device-credential.ts';
import { DeviceStore } from './device-store.ts';
import { DirectorRefusal, DirectorSession, chainOf, openDeviceBundle } from './director-session.ts';
import type { BundleOpening } from './director-session.ts';
import type { DeviceIdentity } from './director-tls.ts';
import { networkTransport } from './director-transport.ts';
import type { DirectorTransport } from './director-transport.ts';
import { csrProof } from './enrolment.ts';
import { DIRECTOR_PORT } from './names.ts';
import { RevocationListKeeper } from './revocation-list.ts';
import { documentChecks } from './schema.ts';
import type { DocumentChecks } from './schema.ts';
import { SoftwareOrders } from './software-orders.ts';
import type { SystemSlots } from './software-slots.ts';
import { SoftwareStep } from './software-step.ts';
import type { Stage, StageInput, StageOutcome, StageOutput, StagePath, StageRequest } from './stages-messages.ts';
import { Stages } from './stages.ts';
import type { StreamTarget } from './stream-duplex.ts';

export interface PostStagingStatus {
  readonly controlTunnels: 'up' | 'down';
  readonly bgp: 'up' | 'down';
  /** What is missing, with its cause. */
  readonly detail: string;
}

/** What the role does for ZTP. */
export interface ZtpHooks {
  startStaging(record: PrestagingRecord): void | Promise<void>;
  stopStaging(reason: string): void;
  /** Resolves when the configuration is in force; tunnels may still be down then. */
  applyConfiguration(configuration: DeviceConfiguration, identity: DeviceIdentity): Promise<void>;
  status(): PostStagingStatus;
  /** What is known of revoked certificates now. `more`: some are revoked that were not before. */
  revocations(check: RevocationCheck, more: boolean): void;
}

export interface ZtpAgentOptions {
  readonly site: Site;
  /** Of the hardware, or of the configuration where that names one. */
  readonly serial: string;
  readonly hooks: ZtpHooks;
  /** From a file; undefined = what is stored, else the box waits for `loadPrestaging`. */
  readonly record: PrestagingRecord | undefined;
  readonly softwareVersion: string;
  /** Port of Director while staging. */
  readonly directorPort?: number;
  readonly transport?: DirectorTransport;
  /** Undefined on a host without system slots. */
  readonly slots?: SystemSlots | undefined;
  /** Between two polls of Director, on average; a minute unless told otherwise. */
  readonly pollMs?: number;
  /** Whether certificates count that no current revocation list was seen for. */
  readonly revocationPolicy: RevocationCheck['policy'];
}

/** After a revocation all boxes of a provider ask for the list within this time. */
const REVOCATION_SPREAD_MS = 20_000;
const FIRST_CONTACT_TIMEOUT_MS = 15_000;

function causeOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof OperationalError ? `${message}; next: ${error.nextStep}` : message;
}

export class ZtpAgent implements Service {
  readonly name = 'ztp';
  readonly #options: ZtpAgentOptions;
  readonly #log: Logger;
  readonly #store: DeviceStore;
  readonly #transport: DirectorTransport;
  readonly #checks: DocumentChecks = documentChecks();
  readonly #alarmReport: AlarmReport;
  readonly #stages: Stages;
  readonly #revocations: RevocationListKeeper;
  readonly #softwareStep: SoftwareStep;
  readonly #softwareOrders: SoftwareOrders;
  #record: PrestagingRecord | undefined;
  #configuration: DeviceConfiguration | undefined;
  #identity: DeviceIdentity | undefined;
  #renewedAt: Instant | undefined;
  #currentRequest = 0;
  #queue: (StageInput | Timeout)[] = [];
  #running = false;
  #state: 'new' | 'running' | 'stopped' = 'new';
  #cancel: CancelTimer | undefined;

  constructor(options: ZtpAgentOptions) {
    const { site } = options;
    this.#options = options;
    this.#log = site.log.channel('ztp');
    this.#store = new DeviceStore(site.store);
    this.#transport = options.transport ?? networkTransport(site);
    this.#alarmReport = new AlarmReport(site.alarms);
    this.#stages = new Stages({ random: site.random, softwareVersion: options.softwareVersion, ...(options.pollMs === undefined ? {} : { pollMs: options.pollMs }) });
    const software = { log: this.#log, slots: options.slots, running: options.softwareVersion };
    this.#softwareStep = new SoftwareStep({ clock: site.clock, store: site.store, ...software });
    this.#softwareOrders = new SoftwareOrders({ site, ...software });
    this.#revocations = new RevocationListKeeper({
      site,
      log: this.#log,
      policy: options.revocationPolicy,
      anchor: () => this.#store.anchor,
      changed: (check, more) => options.hooks.revocations(check, more),
    });
  }

  get stage(): Stage {
    return this.#stages.stage;
  }

  get configuration(): DeviceConfiguration | undefined {
    return this.#configuration;
  }

  /** Restores what an earlier life of the box left, or begins to stage. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return;
    this.#state = 'running';
    await deviceKey(this.#store);
    const record = this.#options.record ?? this.#storedRecord();
    if (record) this.#adopt(record);
    this.#dropSpoiltAnchor();
    raiseTimeFloor(this.#options.site.timeFloor, this.#store.anchor, this.#store.certificateChain);
    this.#revocations.restore();
    const { isUnfinished } = this.#softwareStep;
    await this.#softwareOrders.tidy(isUnfinished);
    const restored = this.#restore();
    if (restored && !(isUnfinished && this.#record && !this.#store.onboarded)) this.#push({ kind: 'restored', configuration: restored, record: this.#record, onboarded: this.#store.onboarded, returned: this.#softwareStep.returned });
    else if (this.#record) this.#push({ kind: 'prestaging', record: this.#record, hasCertificate: this.#identity !== undefined });
    else this.#log.info('ZTP waits for a prestaging record', {});
  }

  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#cancel?.();
    this.#revocations.stop();
    this.#softwareStep.stop();
    this.#softwareOrders.stop();
    this.#transport.close();
  }

  /** What is being done to the box's own system; '' = nothing. */
  get softwareActivity(): string {
    return this.#stages.stage === 'software-check' ? this.#stages.detail : this.#softwareOrders.activity;
  }

  /** What a new system has yet to show: that the box is onboarded in it, and Director knows; '' = nothing. */
  get missing(): string {
    const { state, detail } = this.status();
    if (state !== 'up') return `ztp: ${detail}`;
    return this.#stages.onboarded ? '' : 'ztp: Director has not confirmed the onboarding';
  }

  status(): ServiceStatus {
    const { stage, detail } = this.#stages;
    if (stage === 'operational') return { state: 'up', detail };
    if (stage === 'factory') return { state: 'down', detail: 'The box has no prestaging record. Load the record that Director made for its serial.' };
    return { state: 'starting', detail: `Stage ${stage}${detail === '' ? '' : `: ${detail}`}.` };
  }

  /** A record from a stick or an activation link, at any time. A record that differs from the one in force starts onboarding anew. */
  loadPrestaging(record: PrestagingRecord): void {
    if (this.#adopt(this.#checks.prestaging(record))) this.#push({ kind: 'prestaging', record, hasCertificate: false });
  }

  /**
   * A record that somebody brings to the box: typed, on a stick, or in an activation link. A record without a serial number is for this box.
   * Throws UsageError when it is for another box, when it has expired, or when this one is onboarded already, ConfigError when it is no record.
   */
  requestStaging(document: unknown, expiresUnixMs?: number): PrestagingRecord {
    const { serial } = this.#options;
    const record = this.#checks.prestaging(typeof document === 'object' && document !== null ? { serial, ...document } : document);
    if (record.serial !== serial) {
      throw new UsageError(`the prestaging record is for serial number ${record.serial}, this box has ${serial}; order a record for ${serial} in Director`);
    }
    if (expiresUnixMs !== undefined && expiresUnixMs <= this.#options.site.clock.unixMs()) {
      throw new UsageError(`the activation link expired at ${rfc3339(expiresUnixMs)}; order a new one in Director`);
    }
    if (this.#store.onboarded && this.#store.record !== canonicalJson(record)) {
      throw new UsageError('this box is onboarded already; a factory reset makes it take another prestaging record');
    }
    this.loadPrestaging(record);
    return record;
  }

  stagingUp(facts: { readonly assignedAddress: IpAddress; readonly directorAddresses: readonly IpAddress[] }): void {
    this.#push({ kind: 'staging-up', ...facts });
  }

  stagingDown(cause: string): void {
    this.#push({ kind: 'staging-down', cause });
  }

  /** To be called whenever the status may have changed. */
  postStaging(status: PostStagingStatus): void {
    this.#push({ kind: 'post-staging', ...status });
  }

  /** A Controller told that a site was revoked: the next poll of Director asks for the revocation list too. */
  revocationOrdered(): void {
    this.#revocations.hurry(REVOCATION_SPREAD_MS);
  }

  // ------------------------------------------------------------------------------------------ documents

  #storedRecord(): PrestagingRecord | undefined {
    const text = this.#store.record;
    if (text === undefined) return undefined;
    try {
      return this.#checks.prestaging(JSON.parse(text));
    } catch (error) {
      this.#log.error('Stored prestaging record is not usable', { cause: causeOf(error) });
      return undefined;
    }
  }

  /** True when the record is a new one; then nothing of the former onboarding counts any longer. */
  #adopt(record: PrestagingRecord): boolean {
    this.#record = record;
    const text = canonicalJson(record);
    if (this.#store.record === text) return false;
    this.#store.forgetOnboarding();
    this.#revocations.forget();
    this.#softwareStep.forget();
    this.#softwareOrders.forget();
    this.#store.record = text;
    this.#configuration = undefined;
    this.#identity = undefined;
    this.#log.info('Prestaging record loaded', { serial: record.serial, provider: record.provider, controllers: record.controllers.length });
    return true;
  }

  /** An anchor that is not the record's any longer would keep the box from Director for ever. */
  #dropSpoiltAnchor(): void {
    const { anchor } = this.#store;
    if (!anchor || !this.#record || toHex(this.#options.site.suite.hash('sha256', anchor)) === this.#record.trustAnchorSha256) return;
    this.#log.error('Stored trust anchor is not usable', { cause: 'its SHA-256 is not that of the prestaging record' });
    this.#store.forgetOnboarding();
  }

  #opening(anchor: Uint8Array, record: PrestagingRecord): BundleOpening {
    const { suite, clock } = this.#options.site;
    return { suite, checks: this.#checks, anchor, unixMs: notBefore(this.#identity, clock.unixMs()), serial: record.serial, provider: record.provider };
  }

  #restore(): DeviceConfiguration | undefined {
    const { suite, clock } = this.#options.site;
    this.#identity = storedIdentity(this.#store, suite, clock.unixMs());
    const [anchor, bundle] = [this.#store.anchor, this.#store.bundle];
    if (!this.#identity || !this.#record || !anchor || !bundle) return undefined;
    const opened = openDeviceBundle(bundle, this.#opening(anchor, this.#record), undefined);
    if (!opened.ok) {
      this.#log.error('Stored configuration is not usable', { cause: opened.cause });
      return undefined;
    }
    this.#configuration = opened.configuration;
    return opened.configuration;
  }

  // ------------------------------------------------------------------------------------------ machine

  #push(input: StageInput | Timeout): void {
    if (this.#state !== 'running') return;
    this.#queue.push(input);
    if (this.#running) return;
    this.#running = true;
    const { clock } = this.#options.site;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        this.#stages.handle(next, clock.now());
        for (let output = this.#stages.poll(); output !== undefined; output = this.#stages.poll()) this.#carryOut(output);
      }
    } finally {
      this.#running = false;
    }
    this.#cancel?.();
    const deadline = this.#stages.deadline();
    this.#cancel = deadline === undefined ? undefined : clock.at(deadline, () => this.#push({ kind: 'timeout' }));
  }

  #carryOut(output: StageOutput): void {
    const { hooks } = this.#options;
    switch (output.kind) {
      case 'start-staging':
        void this.#startStaging(output.record);
        return;
      case 'stop-staging':
        hooks.stopStaging(output.reason);
        return;
      case 'request':
        if (output.request.kind !== 'report') this.#currentRequest = output.id;
        void this.#request(output.id, output.request, output.path).then((outcome) => this.#push({ kind: 'outcome', request: output.id, outcome }));
        return;
      case 'apply':
        void this.#apply(output.configuration);
        return;
      case 'onboarded':
        this.#store.markOnboarded();
        return;
      case 'log':
        this.#log.event(output.event);
        return;
    }
  }

  async #startStaging(record: PrestagingRecord): Promise<void> {
    try {
      await this.#options.hooks.startStaging(record);
    } catch (error) {
      this.stagingDown(causeOf(error));
    }
  }

  async #apply(configuration: DeviceConfiguration): Promise<void> {
    try {
      await this.#options.hooks.applyConfiguration(configuration, this.#identity!);
    } catch (error) {
      this.#push({ kind: 'apply-failed', cause: causeOf(error) });
      return;
    }
    this.#push({ kind: 'applied' });
    this.postStaging(this.#options.hooks.status());
  }

  // ------------------------------------------------------------------------------------------ requests

  async #request(id: number, request: StageRequest, path: StagePath): Promise<StageOutcome> {
    try {
      const record = this.#record!;
      const target: StreamTarget = {
        vr: controlVrName(record.provider),
        localAddress: path.localAddress,
        remote: { address: path.director, port: path.port ?? this.#options.directorPort ?? DIRECTOR_PORT },
      };
      const anchor = this.#store.anchor ?? (await this.#firstContact(target, record));
      const session = new DirectorSession({ transport: this.#transport, target, trust: { anchor, provider: record.provider, identity: this.#identity } });
      return await this.#ask(session, id, request, record, anchor);
    } catch (error) {
      const refusal = error instanceof DirectorRefusal ? error : undefined;
      return { kind: 'failed', cause: causeOf(error), refused: refusal?.isFinal ?? false, certificateRefused: refusal?.isCertificate ?? false };
    }
  }

  async #firstContact(target: StreamTarget, record: PrestagingRecord): Promise<Uint8Array> {
    const anchor = await this.#transport.fetchAnchor(target, record.trustAnchorSha256, FIRST_CONTACT_TIMEOUT_MS);
    const digest = toHex(this.#options.site.suite.hash('sha256', anchor));
    if (digest !== record.trustAnchorSha256) throw new OperationalError('anchor-mismatch', `the trust anchor has SHA-256 ${digest}`, 'load the newest prestaging record of the site');
    this.#store.anchor = anchor;
    raiseTimeFloor(this.#options.site.timeFloor, anchor);
    this.#log.info('Trust anchor pinned', { sha256: digest });
    return anchor;
  }

  /** A late answer to a request that was given up must not replace what a newer one has brought. */
  #expectCurrent(id: number): void {
    if (id !== this.#currentRequest || this.#state !== 'running') throw new OperationalError('superseded', 'the request was given up', 'wait for the next one');
  }

  async #ask(session: DirectorSession, id: number, request: StageRequest, record: PrestagingRecord, anchor: Uint8Array): Promise<StageOutcome> {
    switch (request.kind) {
      case 'certificate':
        return this.#askCertificate(session, id, record);
      case 'bundle':
        return this.#askBundle(session, id, request.after, record, anchor);
      case 'software':
        return this.#softwareStep.check(session);
      case 'upgrade':
        return this.#softwareStep.upgrade(session, request.package, request.bytesPerSecond, (progress) => this.#push({ kind: 'software-progress', progress }));
      case 'report':
        await session.call('POST', '/api/v1/devices/self/progress', { reports: request.reports });
        return { kind: 'reported' };
    }
  }

  async #askCertificate(session: DirectorSession, id: number, record: PrestagingRecord): Promise<StageOutcome> {
    const { suite } = this.#options.site;
    const privateKey = await deviceKey(this.#store);
    const csr = await deviceCsr(privateKey, record.serial);
    const psk = Uint8Array.from(Buffer.from(record.staging.psk, 'base64'));
    const proof = csrProof(suite, psk, csr);
    wipe(psk);
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    const body = { serial: record.serial, identity: record.staging.localIdentity, csr: base64(csr), proof: base64(proof) };
    const chain = chainOf(await session.json('POST', '/api/v1/devices/certificate', body));
    this.#expectCurrent(id);
    this.#keepCertificate(chain, privateKey);
    return { kind: 'certificate' };
  }

  get #sinceRenewalMs(): number | undefined {
    return this.#renewedAt === undefined ? undefined : this.#options.site.clock.now() - this.#renewedAt;
  }

  #keepCertificate(certificateChain: readonly Uint8Array[], privateKey: Uint8Array): void {
    const { suite, clock } = this.#options.site;
    const checked = suite.checkChain({ chain: certificateChain, anchors: [this.#store.anchor!], unixMs: clock.unixMs() });
    if (!checked.ok) throw new OperationalError('certificate-refused', `Director's certificate for this box is not good: ${checked.cause}`, 'compare the clocks of box and Director');
    raiseTimeFloor(this.#options.site.timeFloor, undefined, certificateChain);
    this.#store.certificateChain = certificateChain;
    this.#identity = { certificateChain, privateKey };
  }

  async #askBundle(session: DirectorSession, id: number, after: number, record: PrestagingRecord, anchor: Uint8Array): Promise<StageOutcome> {
    const bytes = await session.bundle(after);
    this.#expectCurrent(id);
    await this.#alarmReport.tell(session);
    // While staging the software step decides.
    if (this.#stages.stage === 'operational') void this.#softwareOrders.poll(session);
    void this.#revocations.refreshIfDue(() => session.revocationList());
    let configuration = this.#configuration;
    if (bytes) {
      const opened = openDeviceBundle(bytes, this.#opening(anchor, record), this.#configuration);
      if (!opened.ok) return { kind: 'bundle-invalid', cause: opened.cause };
      configuration = opened.configuration;
    }
    const renewal = configuration && this.#identity && renewalCause(this.#identity, configuration, this.#options.site.clock.unixMs(), this.#sinceRenewalMs);
    if (renewal !== undefined) await this.#renew(session, record, renewal);
    if (bytes) this.#store.bundle = bytes;
    this.#configuration = configuration;
    // A new certificate is put into force by applying the configuration again.
    return configuration && (bytes || renewal !== undefined) ? { kind: 'bundle', configuration } : { kind: 'bundle-unchanged' };
  }

  async #renew(session: DirectorSession, record: PrestagingRecord, cause: string): Promise<void> {
    const privateKey = await deviceKey(this.#store);
    this.#keepCertificate(await session.renewCertificate(await deviceCsr(privateKey, record.serial)), privateKey);
    this.#renewedAt = this.#options.site.clock.now();
    this.#log.info('Device certificate renewed', { cause });
  }
}

export function createZtpAgent(options: ZtpAgentOptions): ZtpAgent {
  return new ZtpAgent(options);
}
