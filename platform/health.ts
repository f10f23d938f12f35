// Tells the service manager that this process is well, after asking its parts: sd_notify(3), sd_watchdog_enabled(3).
// A part that stands still leaves the watchdog without its sign of life, so that the service manager starts the
// process again. That the timer of this file runs is the proof that the control plane's loop turns.
import { after, type CancelTimer, type Clock, type Instant } from './time.ts';

/** A part of the process with a loop of its own. */
export interface HealthPart {
  readonly name: string;
  /** `answered` is to be called once, when the part's loop has come to the question. */
  ask(answered: () => void): void;
}

export interface WatchdogOptions {
  readonly clock: Clock;
  /** The service manager's patience; undefined = it has no watchdog, and only the status is kept up to date. */
  readonly watchdogMs: number | undefined;
  readonly parts: readonly HealthPart[];
  /** One line for `systemctl status`. */
  readonly status: () => string;
  /** Sends assignments of sd_notify(3); may throw. */
  readonly notify: (state: string) => void;
  /** Called once per silence. */
  readonly onSilent: (part: string) => void;
  readonly onAnswersAgain: (part: string) => void;
  /** Called for the first failure after a success. */
  readonly onNotifyFailed: (error: Error) => void;
}

/** Between two looks when no watchdog says how often. */
const STATUS_INTERVAL_MS = 15_000;
/** What the service manager shows in one line. */
const LONGEST_STATUS = 240;

/** Asks every part twice per watchdog period and notifies when all have answered. */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #intervalMs: number;
  readonly #asked = new Set<string>();
  readonly #silent = new Set<string>();
  #next: Instant;
  #cancel: CancelTimer | undefined;
  #status = '';
  #notifyFails = false;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#intervalMs = options.watchdogMs === undefined ? STATUS_INTERVAL_MS : options.watchdogMs / 2;
    this.#next = options.clock.now();
  }

  /** The first sign of life follows at once. */
  start(): void {
    this.#next = this.#options.clock.now();
    this.#beat();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #beat(): void {
    const { clock, parts } = this.#options;
    // From beat to beat, not from the end of one to the next: delays must not add up.
    this.#next = after(this.#next, this.#intervalMs);
    const now = clock.now();
    if (this.#next <= now) this.#next = after(now, this.#intervalMs);
    this.#cancel = clock.at(this.#next, () => this.#beat());
    for (const name of this.#asked) this.#markSilent(name);
    this.#showStatus();
    const toAsk = parts.filter(({ name }) => !this.#asked.has(name));
    for (const { name } of toAsk) this.#asked.add(name);
    for (const part of toAsk) part.ask(() => this.#answered(part.name));
    if (parts.length === 0) this.#notify('WATCHDOG=1');
  }

  #answered(name: string): void {
    if (!this.#asked.delete(name)) return;
    if (this.#silent.delete(name)) {
      this.#options.onAnswersAgain(name);
      this.#showStatus();
    }
    if (this.#asked.size === 0 && this.#cancel !== undefined) this.#notify('WATCHDOG=1');
  }

  #markSilent(name: string): void {
    if (this.#silent.has(name)) return;
    this.#silent.add(name);
    this.#options.onSilent(name);
  }

  #showStatus(): void {
    const silent = [...this.#silent].map((name) => `${name} does not answer; `).join('');
    const status = oneLine(silent + this.#options.status());
    if (status === this.#status) return;
    this.#status = status;
    this.#notify(`STATUS=${status}`);
  }

  #notify(state: string): void {
    try {
      this.#options.notify(state);
      this.#notifyFails = false;
    } catch (error) {
      if (!this.#notifyFails) this.#options.onNotifyFailed(error as Error);
      this.#notifyFails = true;
    }
  }
}

/** A line break would start another assignment. */
function oneLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ');
  return line.length > LONGEST_STATUS ? `${line.slice(0, LONGEST_STATUS - 3)}...` : line;
}

/** The service manager's watchdog period for this process, or undefined when it set none. */
export function watchdogMsOf(environment: NodeJS.ProcessEnv, processId: number): number | undefined {
  const { WATCHDOG_USEC: period = '', WATCHDOG_PID: owner = `${processId}` } = environment;
  if (owner !== `${processId}` || !/^[1-9]\d{0,15}$/.test(period)) return undefined;
  return Number(period) / 1000;
}

export interface PartStatus {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
}

/** `branch b1: up`, or what is not up and why. */
export function statusLine(who: string, parts: readonly PartStatus[]): string {
  const waiting = parts.filter(({ state }) => state !== 'up').map(({ name, state, detail }) => `${name} ${state}${detail === '' ? '' : ` (${detail})`}`);
  return `${who}: ${waiting.length === 0 ? 'up' : waiting.join(', ')}`;
}
