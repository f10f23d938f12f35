// A store for documents that are written in the midst of other work: one that the disk refuses is kept in memory, where
// it is read from, and written when the disk takes it again. An alarm lasts as long. Not for what must be durable before
// anybody acts on it.
import type { Alarms } from './alarms.ts';
import { OperationalError } from './errors.ts';
import { randomBelow } from './random.ts';
import type { Random } from './random.ts';
import type { Store } from './store.ts';
import { after } from './time.ts';
import type { CancelTimer, Clock } from './time.ts';

/** Half of it up to one and a half. */
const RETRY_MS = 20_000;
const ALARM = 'state-not-stored';

export interface PatientStoreOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly alarms: Alarms;
}

export class PatientStore implements Store {
  readonly #options: PatientStoreOptions;
  /** What the disk does not have yet; undefined: to be removed. */
  readonly #waiting = new Map<string, Uint8Array | undefined>();
  #timer: CancelTimer | undefined;

  constructor(options: PatientStoreOptions) {
    this.#options = options;
  }

  read(name: string): Uint8Array | undefined {
    return this.#waiting.has(name) ? this.#waiting.get(name)?.slice() : this.#options.store.read(name);
  }

  write(name: string, bytes: Uint8Array): void {
    this.#waiting.set(name, bytes.slice());
    this.#attempt(name);
  }

  remove(name: string): void {
    this.#waiting.set(name, undefined);
    this.#attempt(name);
  }

  list(): readonly string[] {
    const names = new Set(this.#options.store.list());
    for (const [name, bytes] of this.#waiting) {
      if (bytes === undefined) names.delete(name);
      else names.add(name);
    }
    return [...names].sort();
  }

  /** Tries what waits once more, and never again. */
  stop(): void {
    for (const name of [...this.#waiting.keys()]) this.#attempt(name);
    this.#timer?.();
    this.#timer = undefined;
  }

  #attempt(name: string): void {
    const { store, alarms } = this.#options;
    const bytes = this.#waiting.get(name);
    try {
      if (bytes === undefined) store.remove(name);
      else store.write(name, bytes);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      const cause = `${error.message}; the newest state is in memory only and is lost with a restart`;
      alarms.raise({ name: ALARM, object: name, severity: 'major', cause, nextStep: error.nextStep });
      this.#retryLater();
      return;
    }
    this.#waiting.delete(name);
    alarms.clear(ALARM, name);
  }

  #retryLater(): void {
    const { clock, random } = this.#options;
    this.#timer ??= clock.at(after(clock.now(), RETRY_MS / 2 + randomBelow(random, RETRY_MS)), () => {
      this.#timer = undefined;
      for (const name of [...this.#waiting.keys()]) this.#attempt(name);
    });
  }
}
