// Upgrades of the box's own system: orders of the operator, and the trial of what was booted. RAUC writes the slots;
// the bundle's signature, architecture, length and version are judged before that.
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { after, type CancelTimer } from '../../platform/time.ts';
import { compareVersions } from '../../platform/version-order.ts';
import { requireInstallable, type BundleFacts } from '../upgrade/bundle.ts';
import { SlotTrial, type PendingTrial, type Slot, type TrialOutput } from '../upgrade/trial.ts';
import type { PackageView } from '../views.ts';
import { MachineRunner } from './machine-runner.ts';
import type { Service, ServiceStatus, Site } from './service.ts';

const PENDING_DOCUMENT = 'upgrade-pending';
const FLOOR_DOCUMENT = 'upgrade-floor';
const OUTCOME_DOCUMENT = 'upgrade-outcome';
const HEALTH_INTERVAL_MS = 5_000;

/** What the host offers; RAUC on a box, a table in tests. */
export interface SlotHost {
  status(): Promise<{ readonly compatible: string; readonly slots: readonly { readonly name: Slot; readonly booted: boolean; readonly good: boolean }[] }>;
  info(bundle: string): Promise<BundleFacts>;
  install(bundle: string): Promise<void>;
  mark(state: 'good' | 'bad' | 'active', slot: 'booted' | 'other'): Promise<void>;
  reboot(): Promise<void>;
}

export interface UpgradeOptions {
  readonly site: Site;
  readonly host: SlotHost;
  readonly slot: Slot;
  /** Since the boot of the host. */
  readonly upMs: number;
  readonly version: string;
  /** What keeps this box from its work; '' = nothing. */
  readonly missing: () => string;
  /** Called before another system is written to the other slot. */
  readonly forgetOtherConfiguration: () => void;
  /** Whether the disk has taken all that was written to the store; it always has when this is not given. */
  readonly isKept?: () => boolean;
}

/** How a change of system ended. */
export interface Decision {
  readonly kind: 'good' | 'returned';
  readonly version: string;
  /** Why the box is back in its former system; '' when it is not. */
  readonly cause: string;
}

export class UpgradeService implements Service {
  readonly name = 'upgrade';
  readonly #options: UpgradeOptions;
  readonly #log: Logger;
  readonly #runner: MachineRunner<Parameters<SlotTrial['handle']>[0], TrialOutput>;
  readonly #trial = new SlotTrial();
  /** One order at a time. */
  #busy: string | undefined;
  #lastFailure = '';
  #compatible: string | undefined;
  #cancel: CancelTimer | undefined;

  constructor(options: UpgradeOptions) {
    const { site } = options;
    this.#options = options;
    this.#log = site.log.channel('upgrade');
    this.#runner = new MachineRunner(this.#trial, site.clock, (output) => this.#carryOut(output));
  }

  async start(): Promise<void> {
    const { slot, upMs } = this.#options;
    this.#runner.push({ kind: 'started', booted: slot, upMs, pending: this.#pending() });
    this.#watch();
  }

  async stop(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#runner.stop();
  }

  status(): ServiceStatus {
    const waiting = this.#trial.waitsFor;
    if (waiting !== undefined) return { state: 'starting', detail: `The system is on trial: ${waiting}.` };
    return { state: 'up', detail: this.#busy ?? '' };
  }

  /** What `show system package` shows. Rejects with OperationalError. */
  async view(): Promise<PackageView> {
    const { version } = this.#options;
    const { slots } = await this.#options.host.status();
    return { version, floor: this.#floor(), slots, trial: this.#trial.waitsFor ?? '', activity: this.#busy ?? '', lastFailure: this.#lastFailure };
  }

  /**
   * Checks a bundle and begins to install it; the box reboots when that is done. Resolves when the bundle is accepted.
   * Rejects with OperationalError with the cause of a refusal, before anything is written.
   */
  async upgrade(bundle: string): Promise<{ readonly version: string }> {
    if (!bundle.startsWith('/')) throw new UsageError('name the bundle by its whole path');
    const version = await this.#accept(bundle, () => Promise.resolve());
    // Its failure is logged, and shown.
    void this.#install(bundle, version, () => Promise.resolve()).catch(() => {});
    return { version };
  }

  /**
   * The same for an order of Director, which is told and may still say no before anything is written, and hears how it
   * ends. Resolves when the box is about to reboot.
   */
  async install(bundle: string, next: (phase: 'installing' | 'rebooting') => Promise<void>): Promise<void> {
    const version = await this.#accept(bundle, () => next('installing'));
    await this.#install(bundle, version, () => next('rebooting'));
  }

  /** Product and architecture of the bundles that fit. Rejects with OperationalError. */
  async compatible(): Promise<string> {
    return (this.#compatible ??= (await this.#options.host.status()).compatible);
  }

  /** What the last change of system came to; kept until the next one. */
  outcome(): { readonly kind: 'none' } | { readonly kind: 'on-trial' } | Decision {
    if (this.#trial.waitsFor !== undefined) return { kind: 'on-trial' };
    const { kind, version, cause } = this.#document<Decision>(OUTCOME_DOCUMENT) ?? {};
    return (kind === 'good' || kind === 'returned') && version !== undefined && cause !== undefined ? { kind, version, cause } : { kind: 'none' };
  }

  /** Judges a bundle, and holds the box for its installation. */
  async #accept(bundle: string, agreed: () => Promise<void>): Promise<string> {
    this.#begin(`checks ${bundle}`);
    try {
      const { compatible } = await this.#options.host.status();
      const facts = await this.#options.host.info(bundle);
      requireInstallable(facts, { compatible, floor: this.#floor() });
      await agreed();
      this.#busy = `installs ${facts.version}`;
      this.#log.info('bundle accepted', { bundle, version: facts.version, running: this.#options.version });
      return facts.version;
    } catch (error) {
      this.#failed('bundle refused', error);
      throw error;
    }
  }

  /** Boots the system of the other slot, on trial like an upgrade. Rejects with OperationalError. */
  async rollback(): Promise<void> {
    this.#begin('goes back to the other slot');
    try {
      const other = (await this.#options.host.status()).slots.find(({ booted }) => !booted);
      if (other === undefined || !other.good) throw new OperationalError('no-other-system', 'the other slot holds no system that was good', 'install a bundle: request system package upgrade FILE');
      await this.#bootOther('of the other slot', () => Promise.resolve());
    } catch (error) {
      await this.#keepRunning();
      this.#failed('rollback refused', error);
      throw error;
    }
  }

  #begin(activity: string): void {
    if (this.#busy !== undefined) throw new OperationalError('upgrade-busy', `another order is under way: the box ${this.#busy}`, 'wait until it is over: show system package');
    if (this.#trial.waitsFor !== undefined) throw new OperationalError('upgrade-trial', `the running system is on trial: ${this.#trial.waitsFor}`, 'wait until it is good, or until the former one is back');
    this.#busy = activity;
  }

  async #install(bundle: string, version: string, rebooting: () => Promise<void>): Promise<void> {
    try {
      this.#options.forgetOtherConfiguration();
      // Before RAUC writes, for it makes the other slot the next one itself: whatever boots after a power cut knows its trial.
      this.#expect(version);
      await this.#options.host.install(bundle);
      await this.#bootOther(version, rebooting);
    } catch (error) {
      await this.#keepRunning();
      this.#failed('bundle could not be installed', error);
      throw error;
    }
  }

  /** Nothing may boot untried: the running system goes first again, whatever RAUC came to. */
  async #keepRunning(): Promise<void> {
    await this.#options.host.mark('active', 'booted').catch((cause: Error) => this.#log.error('slot could not be marked', { cause: cause.message }));
    this.#options.site.store.remove(PENDING_DOCUMENT);
  }

  #expect(version: string): void {
    const from = this.#options.slot;
    // Whatever is decided from here on is about this change.
    this.#options.site.store.remove(OUTCOME_DOCUMENT);
    const pending: PendingTrial = { from, to: from === 'A' ? 'B' : 'A', version, cause: '' };
    this.#options.site.store.write(PENDING_DOCUMENT, utf8(JSON.stringify(pending)));
    if (this.#options.isKept?.() === false) throw new OperationalError('trial-not-stored', 'the disk does not take the note that the other system is on trial, so that would be taken for good untried', 'see the alarm state-not-stored');
  }

  async #bootOther(version: string, rebooting: () => Promise<void>): Promise<void> {
    this.#expect(version);
    await this.#options.host.mark('active', 'other');
    await rebooting();
    this.#log.info('box reboots into its other slot', { version });
    await this.#options.host.reboot();
  }

  #failed(sentence: 'bundle refused' | 'rollback refused' | 'bundle could not be installed', error: unknown): void {
    const cause = error instanceof Error ? error.message : String(error);
    const nextStep = error instanceof OperationalError ? error.nextStep : 'read the journal of rauc';
    this.#busy = undefined;
    this.#lastFailure = cause;
    this.#log.error(sentence, { cause, nextStep });
  }

  #watch(): void {
    if (this.#trial.waitsFor === undefined) return;
    const { site, missing } = this.#options;
    this.#runner.push({ kind: 'health', missing: missing() });
    this.#cancel = site.clock.at(after(site.clock.now(), HEALTH_INTERVAL_MS), () => this.#watch());
  }

  #carryOut(output: TrialOutput): void {
    const { site } = this.#options;
    switch (output.kind) {
      case 'log':
        this.#log.event(output.event);
        return;
      case 'mark-good':
        void this.#markGood();
        return;
      case 'decided':
        this.#rememberDecision(output);
        site.store.remove(PENDING_DOCUMENT);
        if (output.version === undefined) this.#lastFailure = output.cause;
        else this.#raiseFloor();
        return;
      case 'give-up':
        site.store.write(PENDING_DOCUMENT, utf8(JSON.stringify(output.pending)));
        void this.#leave();
        return;
    }
  }

  async #markGood(): Promise<void> {
    const done = await this.#options.host.mark('good', 'booted').then(() => true, (error: Error) => void this.#log.error('slot could not be marked', { cause: error.message }));
    this.#runner.push({ kind: 'marked', done: done === true });
  }

  async #leave(): Promise<void> {
    try {
      await this.#options.host.mark('bad', 'booted');
    } catch (error) {
      // The boot loader has counted this boot as a try, so that the reboot alone leads back.
      this.#log.error('slot could not be marked', { cause: (error as Error).message });
    }
    await this.#options.host.reboot().catch((error: Error) => this.#log.error('box could not reboot', { cause: error.message, nextStep: 'reboot it' }));
  }

  /** Before the pending trial is forgotten: a power cut between the two has it decided once more. */
  #rememberDecision({ version, cause }: Extract<TrialOutput, { kind: 'decided' }>): void {
    const decision: Decision = version === undefined ? { kind: 'returned', version: this.#pending()?.version ?? '', cause } : { kind: 'good', version, cause };
    this.#options.site.store.write(OUTCOME_DOCUMENT, utf8(JSON.stringify(decision)));
  }

  #pending(): PendingTrial | undefined {
    const { from, to, version, cause } = this.#document<PendingTrial>(PENDING_DOCUMENT) ?? {};
    return (from === 'A' || from === 'B') && (to === 'A' || to === 'B') && version !== undefined && cause !== undefined ? { from, to, version, cause } : undefined;
  }

  /** A spoilt document counts as none. */
  #document<Document extends object>(name: string): Partial<Document> | undefined {
    const bytes = this.#options.site.store.read(name);
    if (bytes === undefined) return undefined;
    try {
      const document: unknown = JSON.parse(fromUtf8(bytes));
      return typeof document === 'object' && document !== null ? (document as Partial<Document>) : undefined;
    } catch {
      return undefined;
    }
  }

  #floor(): string {
    const bytes = this.#options.site.store.read(FLOOR_DOCUMENT);
    return bytes === undefined ? '' : fromUtf8(bytes);
  }

  /** What was good once is the oldest that a bundle may bring; the other slot's system stays reachable by rollback. */
  #raiseFloor(): void {
    const { site, version } = this.#options;
    if (this.#floor() === '' || compareVersions(version, this.#floor()) > 0) site.store.write(FLOOR_DOCUMENT, utf8(version));
  }
}
