// The life of a branch from the factory to operation, as a pure machine. It asks (requests to Director, the staging
// tunnel, applying a configuration) and is told what came of it; bytes, certificates and files are the agent's.
//
//   factory -> staging-ike -> certificate -> bundle -> software-check -> post-staging -> operational
//
// The software step may replace the box's own system: then the box reboots in it, and goes on in the new one.
//
// A request that keeps failing leads back to staging-ike after a backoff. A box that was onboarded once starts at
// post-staging and stays there: its staging key is void.
import type { DeviceConfiguration, PrestagingRecord } from '../../firmware/configuration.ts';
import type { Machine, Timeout } from '../../firmware/machine.ts';
import type { IpAddress } from '../../firmware/model.ts';
import type { LogEvent, LogLevel } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import type { Random } from '../../platform/random.ts';
import { TimerTable, after } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import { PROVIDER_TENANT } from './names.ts';
import { ReportOutbox } from './stages-outbox.ts';
import type { ReturnedSystem, SoftwareProgress, SoftwareUpgrade, Stage, StageInput, StageOutcome, StageOutput, StagePath, StageReport, StageRequest } from './stages-messages.ts';

export interface StageOptions {
  readonly random: Random;
  readonly softwareVersion: string;
  /** Between two polls of Director, on average. */
  readonly pollMs?: number;
}

type TimerName = 'staging' | 'restart' | 'retry' | 'report' | 'flush' | 'watch' | 'apply' | 'poll';

const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 300_000;
/** Requests of one stage before the tunnel itself is made anew. */
const REQUEST_ATTEMPTS = 4;
/** IKE has its own retries; a tunnel that does not come for so long is started over. */
const STAGING_PATIENCE_MS = 120_000;
/** Control tunnels of a new configuration that do not come for so long send a box that was never onboarded back. */
const POST_STAGING_PATIENCE_MS = 300_000;
/** Reports that Director has not taken by then follow over the control VR. */
const FLUSH_MS = 5_000;
const REBOOT_PATIENCE_MS = 600_000;
const POLL_MS = 60_000;
/** After a start: an order may wait for its end to be told. */
const FIRST_POLL_MS = 5_000;
const CAUSE_LENGTH_LIMIT = 400;
/** Percent of a download between two reports. */
const REPORTED_PERCENT = 5;

function reportsOfRestored(configuration: DeviceConfiguration, softwareVersion: string, returned: ReturnedSystem | undefined): StageReport[] {
  const failure = returned && ({ step: 'software', state: 'failed', message: `Software ${returned.version} was given up: ${returned.cause}`, nextStep: 'look into versa-upgrade.log of the box; it goes on with what it has' } as const);
  return [
    { step: 'config', state: 'completed', message: `Configuration generation ${configuration.generation} is in force after a restart` },
    ...(failure ? [failure] : []),
    { step: 'software', state: 'completed', message: `Software ${softwareVersion} runs after a restart` },
  ];
}

export class Stages implements Machine<StageInput, StageOutput> {
  readonly #options: StageOptions;
  readonly #timers = new TimerTable<TimerName>();
  readonly #outputs: StageOutput[] = [];
  #stage: Stage = 'factory';
  #record: PrestagingRecord | undefined;
  #configuration: DeviceConfiguration | undefined;
  #hasCertificate = false;
  #onboarded = false;
  #staging: { readonly assignedAddress: IpAddress; readonly directorAddresses: readonly IpAddress[] } | undefined;
  #controlUp = false;
  #detail = '';
  #now = 0 as Instant;
  #lastRequest = 0;
  /** The stage's own request under way. */
  #pending: number | undefined;
  readonly #outbox = new ReportOutbox();
  #attempts = 0;
  #reportAttempts = 0;
  #stagingRounds = 0;
  #applyAttempts = 0;
  #applying: DeviceConfiguration | undefined;
  /** Of the software step: the system that is fetched and installed. */
  #upgrade: SoftwareUpgrade | undefined;
  #toldPercentage = 0;
  /** Rises with every failure, so that every address of Director is tried. */
  #directorChoice = 0;

  constructor(options: StageOptions) {
    this.#options = options;
  }

  get stage(): Stage {
    return this.#stage;
  }

  /** What the box waits for, for `show` and the service status. */
  get detail(): string {
    return this.#detail;
  }

  get onboarded(): boolean {
    return this.#onboarded;
  }

  poll(): StageOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  handle(input: StageInput | Timeout, now: Instant): void {
    this.#now = now;
    switch (input.kind) {
      case 'timeout':
        for (let name = this.#timers.takeDue(now); name !== undefined; name = this.#timers.takeDue(now)) this.#onTimer(name);
        return;
      case 'prestaging':
        this.#record = input.record;
        this.#configuration = undefined;
        this.#hasCertificate = input.hasCertificate;
        this.#onboarded = false;
        this.#stagingRounds = 0;
        this.#outbox.clear();
        this.#startStaging();
        return;
      case 'restored':
        this.#record = input.record;
        this.#hasCertificate = true;
        this.#onboarded = input.onboarded;
        this.#log('info', 'ZTP restored a configuration', { generation: input.configuration.generation, onboarded: input.onboarded });
        // What was reported before the restart may not have arrived; Director takes it twice.
        if (!input.onboarded) this.#outbox.add(reportsOfRestored(input.configuration, this.#options.softwareVersion, input.returned));
        this.#enterPostStaging(input.configuration);
        return;
      case 'staging-up':
        this.#stagingUp(input.assignedAddress, input.directorAddresses);
        return;
      case 'staging-down':
        this.#stagingDown(input.cause);
        return;
      case 'outcome':
        this.#onOutcome(input.request, input.outcome);
        return;
      case 'software-progress':
        this.#softwareProgress(input.progress);
        return;
      case 'applied':
        this.#appliedInFull();
        return;
      case 'apply-failed':
        this.#applyFailed(input.cause);
        return;
      case 'post-staging':
        this.#postStaging(input.controlTunnels === 'up', input.bgp === 'up', input.detail);
        return;
    }
  }

  #onTimer(name: TimerName): void {
    switch (name) {
      case 'staging':
        this.#backToStaging(`no staging tunnel within ${STAGING_PATIENCE_MS / 1000} s`);
        return;
      case 'restart':
        this.#startStaging();
        return;
      case 'retry':
        this.#requestOfStage();
        return;
      case 'report':
        this.#sendReports();
        return;
      case 'flush':
        this.#leaveSoftwareCheck();
        return;
      case 'watch':
        this.#watchPostStaging();
        return;
      case 'apply':
        this.#apply();
        return;
      case 'poll':
        if (this.#controlUp && this.#pending === undefined) this.#request({ kind: 'bundle', after: this.#configuration?.generation ?? 0 });
        this.#armPoll();
        return;
    }
  }

  // ----------------------------------------------------------------------------------------- staging

  #startStaging(): void {
    if (!this.#record) return;
    this.#enter('staging-ike');
    this.#staging = undefined;
    this.#controlUp = false;
    this.#timers.set('staging', after(this.#now, STAGING_PATIENCE_MS));
    this.#outputs.push({ kind: 'start-staging', record: this.#record });
  }

  #stagingUp(assignedAddress: IpAddress, directorAddresses: readonly IpAddress[]): void {
    if (this.#stage === 'factory' || this.#stage === 'post-staging' || this.#stage === 'operational') return;
    this.#staging = { assignedAddress, directorAddresses };
    this.#log('info', 'Staging tunnel is up', { address: assignedAddress, director: directorAddresses.join(' ') });
    if (this.#stage !== 'staging-ike') {
      // The tunnel came again under a running stage: its requests went with the old one.
      this.#pending = undefined;
      this.#timers.clear('retry');
      if (this.#timers.get('flush') === undefined) this.#requestOfStage();
      else this.#sendReports();
      return;
    }
    this.#timers.clear('staging');
    this.#timers.clear('restart');
    this.#enter(this.#hasCertificate ? 'bundle' : 'certificate');
    this.#requestOfStage();
  }

  #stagingDown(cause: string): void {
    if (this.#stage === 'factory' || this.#stage === 'post-staging' || this.#stage === 'operational') return;
    // The box ended the tunnel itself; its cause is known already.
    if (this.#timers.get('restart') !== undefined) return;
    this.#detail = cause.slice(0, CAUSE_LENGTH_LIMIT);
    this.#log('warning', 'Staging tunnel is down', { cause });
    this.#staging = undefined;
    this.#outbox.abandon();
    if (this.#stage === 'staging-ike') return;
    this.#enter('staging-ike');
    this.#timers.set('staging', after(this.#now, STAGING_PATIENCE_MS));
  }

  #backToStaging(cause: string): void {
    const delayMs = this.#backoffMs(this.#stagingRounds++);
    this.#detail = cause.slice(0, CAUSE_LENGTH_LIMIT);
    this.#log('warning', 'ZTP goes back to staging', { cause, stage: this.#stage, seconds: Math.round(delayMs / 1000) });
    this.#enter('staging-ike');
    this.#staging = undefined;
    this.#controlUp = false;
    this.#outbox.abandon();
    this.#outputs.push({ kind: 'stop-staging', reason: cause });
    this.#timers.set('restart', after(this.#now, delayMs));
  }

  // ----------------------------------------------------------------------------------------- requests

  #requestOfStage(): void {
    if (this.#stage === 'certificate') this.#request({ kind: 'certificate' });
    else if (this.#stage === 'bundle') this.#request({ kind: 'bundle', after: 0 });
    else if (this.#stage === 'software-check') this.#request(this.#upgrade ? { kind: 'upgrade', ...this.#upgrade } : { kind: 'software' });
  }

  #request(request: StageRequest): void {
    const path = this.#path();
    if (path) this.#pending = this.#pushRequest(request, path);
    else if (this.#staging) this.#backToStaging('the Controller named no address of Director');
  }

  #pushRequest(request: StageRequest, path: StagePath): number {
    const id = ++this.#lastRequest;
    this.#outputs.push({ kind: 'request', id, request, path });
    return id;
  }

  #path(): StagePath | undefined {
    if (this.#staging) {
      const { assignedAddress, directorAddresses } = this.#staging;
      const director = directorAddresses[this.#directorChoice % directorAddresses.length];
      return director === undefined ? undefined : { localAddress: assignedAddress, director, port: undefined };
    }
    const configuration = this.#controlUp ? this.#configuration : undefined;
    const provider = configuration?.tenants.find((tenant) => tenant.tenant === PROVIDER_TENANT);
    if (!configuration || !provider) return undefined;
    const { addresses, port } = configuration.director;
    return { localAddress: provider.encryptedAddress, director: addresses[this.#directorChoice % addresses.length]!, port };
  }

  #onOutcome(request: number, outcome: StageOutcome): void {
    if (this.#outbox.isRequest(request)) {
      this.#onReportOutcome(outcome);
      return;
    }
    // Answers to requests of a stage that was left mean nothing any longer.
    if (request !== this.#pending) return;
    this.#pending = undefined;
    if (outcome.kind === 'failed') return this.#requestFailed(outcome.cause, outcome.refused, outcome.certificateRefused);
    this.#attempts = 0;
    switch (outcome.kind) {
      case 'certificate':
        this.#hasCertificate = true;
        this.#log('info', 'Device certificate received', {});
        this.#enter('bundle');
        return this.#requestOfStage();
      case 'bundle':
        return this.#bundleReceived(outcome.configuration);
      case 'bundle-invalid':
        return this.#bundleRefused(outcome.cause);
      case 'software':
        return this.#softwareKnown(outcome.wanted, outcome.upgrade, outcome.obstacle);
      case 'software-refused':
        return this.#softwareRefused(outcome);
      case 'software-installed':
        this.#detail = 'the box reboots into its new system';
        // Without the reboot the next attempt says why.
        this.#timers.set('retry', after(this.#now, REBOOT_PATIENCE_MS));
        return;
      case 'bundle-unchanged':
      case 'reported':
        return;
    }
  }

  #requestFailed(cause: string, refused: boolean, certificateRefused: boolean): void {
    this.#directorChoice++;
    if (certificateRefused) this.#hasCertificate = false;
    if (this.#stage === 'post-staging' || this.#stage === 'operational') {
      this.#log('warning', 'Request to Director failed', { stage: this.#stage, cause });
      return;
    }
    this.#detail = cause.slice(0, CAUSE_LENGTH_LIMIT);
    this.#attempts++;
    if (refused || this.#attempts >= REQUEST_ATTEMPTS) return this.#backToStaging(cause);
    const delayMs = this.#backoffMs(this.#attempts - 1);
    this.#log('warning', 'Request to Director failed', { stage: this.#stage, cause, seconds: Math.round(delayMs / 1000) });
    this.#timers.set('retry', after(this.#now, delayMs));
  }

  // ----------------------------------------------------------------------------------------- stages

  #bundleReceived(configuration: DeviceConfiguration): void {
    this.#log('info', 'Configuration received', { generation: configuration.generation, tenants: configuration.tenants.length });
    if (this.#stage === 'post-staging' || this.#stage === 'operational') {
      this.#configuration = configuration;
      this.#apply();
      return;
    }
    if (this.#stage !== 'bundle') return;
    this.#configuration = configuration;
    this.#report({ step: 'config', state: 'completed', message: `Configuration generation ${configuration.generation} is verified` });
    this.#enter('software-check');
    this.#requestOfStage();
  }

  #bundleRefused(cause: string): void {
    this.#log('error', 'Configuration refused', { cause });
    if (this.#stage !== 'bundle') return;
    this.#report({ step: 'config', state: 'failed', message: `The configuration is refused: ${cause}`, nextStep: 'correct the site in Director; the box fetches again by itself' });
    this.#backToStagingAfterReport(cause);
  }

  /** The report goes out over the tunnel that is about to end; when it does not get through, it follows in the next one. */
  #backToStagingAfterReport(cause: string): void {
    this.#attempts++;
    if (this.#attempts >= REQUEST_ATTEMPTS) return this.#backToStaging(cause);
    this.#detail = cause.slice(0, CAUSE_LENGTH_LIMIT);
    this.#timers.set('retry', after(this.#now, this.#backoffMs(this.#attempts)));
  }

  #softwareKnown(wanted: string, upgrade: SoftwareUpgrade | undefined, obstacle: string): void {
    if (this.#stage !== 'software-check') return;
    const running = this.#options.softwareVersion;
    this.#log(wanted === running ? 'info' : 'warning', 'Software version checked', { running, wanted });
    if (upgrade !== undefined && wanted !== running) {
      this.#upgrade = upgrade;
      this.#toldPercentage = 0;
      this.#report({ step: 'software', state: 'started', message: `Software ${running} runs, Director wants ${wanted}: the box downloads it`, percentage: 0 });
      return this.#requestOfStage();
    }
    this.#softwareDone(wanted === running ? `Software ${running} is what Director wants` : `Software ${running} runs, Director wants ${wanted}; the box goes on with what it has: ${obstacle}`);
  }

  #softwareDone(message: string): void {
    this.#timers.set('flush', after(this.#now, FLUSH_MS));
    this.#report(
      { step: 'software', state: 'completed', message },
      { step: 'post-staging', state: 'started', message: 'The box moves to its post-staging configuration' },
    );
  }

  #softwareProgress({ version, phase, percentage }: SoftwareProgress): void {
    if (this.#stage !== 'software-check' || this.#upgrade === undefined) return;
    // What moves need not be started over.
    this.#attempts = 0;
    this.#detail = phase === 'downloading' ? `downloads software ${version}: ${percentage ?? 0} %` : `${phase === 'installing' ? 'installs' : 'reboots into'} software ${version}`;
    if (phase !== 'downloading') return this.#report({ step: 'software', state: 'started', message: phase === 'installing' ? `The box installs software ${version}` : `The box reboots into software ${version}`, percentage: 100 });
    if (percentage === undefined || percentage < this.#toldPercentage + REPORTED_PERCENT) return;
    this.#toldPercentage = percentage;
    this.#report({ step: 'software', state: 'started', message: `The box downloads software ${version}`, percentage });
  }

  /** The box is of more use with the system that it has than not onboarded. */
  #softwareRefused({ version, isWriting, cause, nextStep }: Extract<StageOutcome, { kind: 'software-refused' }>): void {
    if (this.#stage !== 'software-check') return;
    this.#upgrade = undefined;
    this.#log('error', 'Software could not be upgraded', { version, cause });
    this.#report({ step: 'software', state: 'failed', message: `Software ${version} ${isWriting ? 'could not be installed' : 'is refused'}: ${cause}`, nextStep });
    this.#softwareDone(`Software ${this.#options.softwareVersion} runs; the box goes on with what it has`);
  }

  #leaveSoftwareCheck(): void {
    if (this.#stage === 'software-check' && this.#configuration) this.#enterPostStaging(this.#configuration);
  }

  #enterPostStaging(configuration: DeviceConfiguration): void {
    this.#configuration = configuration;
    this.#enter('post-staging');
    this.#outbox.abandon();
    if (this.#staging) this.#outputs.push({ kind: 'stop-staging', reason: 'the box moves to its post-staging configuration' });
    this.#staging = undefined;
    this.#controlUp = false;
    this.#detail = 'the control tunnels are not up yet';
    this.#apply();
    this.#armPoll();
  }

  #apply(): void {
    if (this.#applying || !this.#configuration) return;
    this.#applying = this.#configuration;
    this.#outputs.push({ kind: 'apply', configuration: this.#configuration });
  }

  #appliedInFull(): void {
    const done = this.#applying;
    this.#applying = undefined;
    this.#applyAttempts = 0;
    if (this.#stage !== 'post-staging' && this.#stage !== 'operational') return;
    // A newer one came meanwhile.
    if (done !== this.#configuration) this.#apply();
    if (this.#stage === 'post-staging') this.#timers.set('watch', after(this.#now, POST_STAGING_PATIENCE_MS));
  }

  #applyFailed(cause: string): void {
    this.#applying = undefined;
    const delayMs = this.#backoffMs(this.#applyAttempts++);
    this.#detail = cause.slice(0, CAUSE_LENGTH_LIMIT);
    this.#log('error', 'Configuration could not be applied', { cause, seconds: Math.round(delayMs / 1000) });
    this.#report({ step: 'post-staging', state: 'failed', message: `The configuration could not be applied: ${cause}`, nextStep: 'look into the log of the box; it tries again by itself' });
    this.#timers.set('apply', after(this.#now, delayMs));
    if (this.#stage === 'post-staging') this.#timers.set('watch', after(this.#now, POST_STAGING_PATIENCE_MS));
  }

  #postStaging(controlUp: boolean, bgpUp: boolean, detail: string): void {
    if (this.#stage !== 'post-staging' && this.#stage !== 'operational') return;
    const cameUp = controlUp && !this.#controlUp;
    if (controlUp !== this.#controlUp) {
      this.#log(controlUp ? 'info' : 'warning', controlUp ? 'Control tunnels are up' : 'Control tunnels are down', controlUp ? {} : { cause: detail });
    }
    this.#controlUp = controlUp;
    this.#detail = controlUp && bgpUp ? '' : detail.slice(0, CAUSE_LENGTH_LIMIT);
    if (!controlUp) {
      this.#outbox.abandon();
      this.#pending = undefined;
    }
    if (this.#stage === 'post-staging' && controlUp && bgpUp) {
      this.#enter('operational');
      this.#stagingRounds = 0;
      if (!this.#onboarded) this.#report({ step: 'post-staging', state: 'completed', message: 'Control tunnels and BGP sessions are up' });
      this.#armPoll(Math.min(FIRST_POLL_MS, this.#options.pollMs ?? POLL_MS));
    }
    if (cameUp) {
      this.#reportAttempts = 0;
      this.#sendReports();
    }
  }

  #watchPostStaging(): void {
    if (this.#stage !== 'post-staging') return;
    const seconds = POST_STAGING_PATIENCE_MS / 1000;
    if (this.#onboarded || this.#controlUp || !this.#record) {
      this.#log('warning', 'Post-staging is not complete', { seconds, cause: this.#detail });
      this.#timers.set('watch', after(this.#now, POST_STAGING_PATIENCE_MS));
      return;
    }
    this.#report({ step: 'post-staging', state: 'failed', message: `No control tunnel within ${seconds} s: ${this.#detail}`, nextStep: 'check that the WAN lets UDP 4790 through and that the Controllers have the site' });
    this.#backToStaging(`no control tunnel within ${seconds} s: ${this.#detail}`);
  }

  // ----------------------------------------------------------------------------------------- reports

  #report(...reports: readonly StageReport[]): void {
    this.#outbox.add(reports);
    this.#sendReports();
  }

  #sendReports(): void {
    // Reports are under the device certificate; without one they wait.
    const path = this.#hasCertificate ? this.#path() : undefined;
    if (!path || this.#outbox.isSending || this.#timers.get('report') !== undefined || this.#outbox.isEmpty) return;
    this.#outbox.sending(this.#pushRequest({ kind: 'report', reports: this.#outbox.all() }, path));
  }

  #onReportOutcome(outcome: StageOutcome): void {
    const failed = outcome.kind === 'failed' ? outcome : undefined;
    // A refused report would be refused again.
    this.#outbox.sent(failed === undefined || failed.refused);
    if (failed) this.#directorChoice++;
    else this.#reportAttempts = 0;
    if (failed?.refused) this.#log('warning', 'Onboarding report refused', { cause: failed.cause });
    else if (failed) this.#timers.set('report', after(this.#now, this.#backoffMs(this.#reportAttempts++)));
    if (!this.#outbox.isEmpty) return this.#sendReports();
    if (this.#timers.get('flush') !== undefined) {
      this.#timers.clear('flush');
      this.#leaveSoftwareCheck();
    } else if (this.#stage === 'operational' && !this.#onboarded && !failed) {
      this.#onboarded = true;
      this.#log('info', 'Onboarding is complete', {});
      this.#outputs.push({ kind: 'onboarded' });
    }
  }

  // ----------------------------------------------------------------------------------------- common

  #enter(stage: Stage): void {
    for (const name of ['staging', 'restart', 'retry', 'flush', 'watch'] as const) this.#timers.clear(name);
    this.#pending = undefined;
    this.#attempts = 0;
    this.#upgrade = undefined;
    if (stage !== this.#stage) this.#log('info', 'ZTP stage', { stage, from: this.#stage });
    this.#stage = stage;
  }

  #armPoll(meanMs = this.#options.pollMs ?? POLL_MS): void {
    this.#timers.set('poll', after(this.#now, meanMs * 0.75 + randomBelow(this.#options.random, meanMs / 2)));
  }

  /** Doubles from 2 s to 5 min, spread by a quarter to both sides so that boxes do not move in step. */
  #backoffMs(attempt: number): number {
    const meanMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 16));
    return meanMs * 0.75 + randomBelow(this.#options.random, meanMs / 2);
  }

  #log(level: LogLevel, sentence: string, fields: LogEvent['fields']): void {
    this.#outputs.push({ kind: 'log', event: { level, sentence, fields } });
  }
}
