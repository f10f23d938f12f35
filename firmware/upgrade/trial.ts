// Whether a slot is good: decided by the appliance itself and not by the fact that it was booted. After an upgrade or a
// rollback the system has 10 minutes from its boot to reach its Controllers; otherwise the former slot comes back. A
// boot without a change is good as soon as the services run: a WAN that is away is no reason to change the system.
import type { LogEvent } from '../../platform/log.ts';
import { after, TimerTable, type Instant } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';

export type Slot = 'A' | 'B';

/** Written before the reboot into the other slot, and kept until the matter is decided. */
export interface PendingTrial {
  readonly from: Slot;
  readonly to: Slot;
  readonly version: string;
  /** Why the trial was given up; '' as long as it was not. */
  readonly cause: string;
}

export type TrialInput =
  | { readonly kind: 'started'; readonly booted: Slot; readonly upMs: number; readonly pending: PendingTrial | undefined }
  /** `missing`: what does not work yet; '' when everything does. */
  | { readonly kind: 'health'; readonly missing: string }
  /** The boot loader knows that the slot is good, or could not be told. */
  | { readonly kind: 'marked'; readonly done: boolean };

export type TrialOutput =
  | { readonly kind: 'mark-good' }
  /** The slot is bad; the pending trial is to be kept with its cause, then the box reboots. */
  | { readonly kind: 'give-up'; readonly pending: PendingTrial }
  /** The matter is decided: the pending trial is to be forgotten. `version`: confirmed; undefined after a return. */
  | { readonly kind: 'decided'; readonly version: string | undefined; readonly cause: string }
  | { readonly kind: 'log'; readonly event: LogEvent };

export const TRIAL_MS = 600_000;
/** A slot that is not marked good is left at the next boot. */
const MARK_AGAIN_MS = 60_000;

export class SlotTrial implements Machine<TrialInput, TrialOutput> {
  readonly #timers = new TimerTable<'trial' | 'mark'>();
  readonly #outputs: TrialOutput[] = [];
  /** The trial under way in this slot. */
  #trial: PendingTrial | undefined;
  /** Passed, and not yet marked good. */
  #passed: PendingTrial | undefined;
  #missing = 'nothing is known yet';

  poll(): TrialOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  /** What the trial waits for; undefined without one. */
  get waitsFor(): string | undefined {
    if (this.#passed !== undefined) return 'it is being marked good';
    return this.#trial && this.#missing;
  }

  handle(input: TrialInput | Timeout, now: Instant): void {
    switch (input.kind) {
      case 'started':
        return this.#started(input.booted, input.upMs, input.pending, now);
      case 'health':
        this.#missing = input.missing;
        if (this.#trial !== undefined && input.missing === '') this.#confirm(this.#trial);
        return;
      case 'marked':
        if (!input.done) this.#timers.set('mark', after(now, MARK_AGAIN_MS));
        else if (this.#passed !== undefined) this.#decide(this.#passed);
        return;
      case 'timeout':
        for (let due = this.#timers.takeDue(now); due !== undefined; due = this.#timers.takeDue(now)) {
          if (due === 'mark') this.#outputs.push({ kind: 'mark-good' });
          else if (this.#trial !== undefined) this.#giveUp(this.#trial);
        }
        return;
    }
  }

  #started(booted: Slot, upMs: number, pending: PendingTrial | undefined, now: Instant): void {
    if (pending?.to === booted) {
      this.#trial = pending;
      this.#timers.set('trial', after(now, Math.max(0, TRIAL_MS - upMs)));
      this.#log('info', 'system on trial', { slot: booted, version: pending.version, seconds: Math.max(0, Math.round((TRIAL_MS - upMs) / 1000)) });
      return;
    }
    if (pending !== undefined) {
      const cause = pending.cause === '' ? 'it did not come up' : pending.cause;
      this.#log('error', 'system returned to its former slot', { slot: booted, version: pending.version, cause });
      this.#outputs.push({ kind: 'decided', version: undefined, cause });
    }
    this.#outputs.push({ kind: 'mark-good' });
  }

  #confirm(trial: PendingTrial): void {
    this.#trial = undefined;
    this.#passed = trial;
    this.#timers.clear('trial');
    this.#log('info', 'system is good', { slot: trial.to, version: trial.version });
    this.#outputs.push({ kind: 'mark-good' });
  }

  /** Only now: a power cut before leads back to the former system, which then still finds the trial and says why. */
  #decide(trial: PendingTrial): void {
    this.#passed = undefined;
    this.#outputs.push({ kind: 'decided', version: trial.version, cause: '' });
  }

  #giveUp(trial: PendingTrial): void {
    this.#trial = undefined;
    const cause = `within ${TRIAL_MS / 60_000} minutes: ${this.#missing}`;
    this.#log('error', 'system given up', { slot: trial.to, version: trial.version, cause });
    this.#outputs.push({ kind: 'give-up', pending: { ...trial, cause } });
  }

  #log(level: LogEvent['level'], sentence: string, fields: LogEvent['fields']): void {
    this.#outputs.push({ kind: 'log', event: { level, sentence, fields } });
  }
}
