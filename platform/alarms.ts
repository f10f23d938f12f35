// What an operator should know about now: conditions that last, each raised once and cleared when it is over. Events
// that pass are log lines only.
import type { Logger } from './log.ts';

/** X.733's words, as far as they are used. */
export type AlarmSeverity = 'critical' | 'major' | 'minor' | 'warning';

export interface AlarmCondition {
  /** `session-keys-exported`: fixed per kind of condition (docs/LOGGING.md lists them). */
  readonly name: string;
  /** What it is about, where a name has several: a profile, a certificate. '' otherwise. */
  readonly object: string;
  readonly severity: AlarmSeverity;
  readonly cause: string;
  readonly nextStep: string;
}

export interface Alarm extends AlarmCondition {
  readonly sinceUnixMs: number;
}

/** A box with more conditions than this is beyond reading a list; the log names the rest. */
const MOST_ALARMS = 500;

export class Alarms {
  readonly #log: Logger;
  readonly #unixMs: () => number;
  readonly #active = new Map<string, Alarm>();
  #version = 0;

  /** @param log where raising and clearing are written */
  constructor(log: Logger, unixMs: () => number) {
    this.#log = log;
    this.#unixMs = unixMs;
  }

  /** Grows with every change, so that a reader sees whether it has the newest list. */
  get version(): number {
    return this.#version;
  }

  /** Oldest first. */
  active(): readonly Alarm[] {
    return [...this.#active.values()];
  }

  /** Raises a condition, or changes what is said about one that lasts. The same again is nothing new. */
  raise(condition: AlarmCondition): void {
    const { name, object, severity, cause, nextStep } = condition;
    const key = keyOf(name, object);
    const known = this.#active.get(key);
    if (known !== undefined && known.severity === severity && known.cause === cause) return;
    this.#log.error('alarm raised', { alarm: name, object, severity, cause, nextStep });
    if (known === undefined && this.#active.size >= MOST_ALARMS) return;
    this.#active.set(key, { name, object, severity, cause, nextStep, sinceUnixMs: known?.sinceUnixMs ?? this.#unixMs() });
    this.#version++;
  }

  /** Nothing when the condition does not last. */
  clear(name: string, object = ''): void {
    if (!this.#active.delete(keyOf(name, object))) return;
    this.#log.info('alarm cleared', { alarm: name, object });
    this.#version++;
  }
}

function keyOf(name: string, object: string): string {
  return `${name}\n${object}`;
}
