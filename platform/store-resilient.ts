// A store that goes on when its disk does not: what cannot be written stays in memory and is written when the disk takes
// it again. The owner is told, because until then a restart loses it.
import { OperationalError } from './errors.ts';
import { randomBelow, type Random } from './random.ts';
import type { Store } from './store.ts';
import { after, type CancelTimer, type Clock } from './time.ts';

export interface ResilientStoreOptions {
  readonly open: () => Store;
  readonly clock: Clock;
  readonly random: Random;
  /** The disk fails; called again when the cause changes. */
  readonly onLosing: (cause: string, nextStep: string) => void;
  /** Everything is on the disk. */
  readonly onKept: () => void;
}

const RETRY_MS = 60_000;
const REMOVED = Symbol('removed');

export class ResilientStore implements Store {
  readonly #options: ResilientStoreOptions;
  #base: Store | undefined;
  /** What the disk has not taken. */
  readonly #pending = new Map<string, Uint8Array | typeof REMOVED>();
  #losing = false;
  #cancel: CancelTimer | undefined;

  constructor(options: ResilientStoreOptions) {
    this.#options = options;
    this.#attempt(() => this.#opened());
  }

  read(name: string): Uint8Array | undefined {
    const pending = this.#pending.get(name);
    if (pending !== undefined) return pending === REMOVED ? undefined : pending.slice();
    return this.#attempt(() => this.#opened().read(name));
  }

  write(name: string, bytes: Uint8Array): void {
    this.#pending.set(name, bytes.slice());
    this.#flush();
  }

  remove(name: string): void {
    this.#pending.set(name, REMOVED);
    this.#flush();
  }

  list(): readonly string[] {
    const names = new Set(this.#attempt(() => this.#opened().list()) ?? []);
    for (const [name, bytes] of this.#pending) {
      if (bytes === REMOVED) names.delete(name);
      else names.add(name);
    }
    return [...names].sort();
  }

  /** Whether the disk has everything; otherwise a restart forgets something. */
  get isKept(): boolean {
    return this.#pending.size === 0;
  }

  /** Ends the attempts to write what is still in memory. */
  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #opened(): Store {
    return (this.#base ??= this.#options.open());
  }

  #flush(): void {
    for (const [name, bytes] of [...this.#pending]) {
      const written = this.#attempt(() => {
        if (bytes === REMOVED) this.#opened().remove(name);
        else this.#opened().write(name, bytes);
        return true;
      });
      if (written === true) this.#pending.delete(name);
    }
    if (this.#pending.size > 0 || !this.#losing) return;
    this.#losing = false;
    this.close();
    this.#options.onKept();
  }

  #attempt<T>(run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      this.#losing = true;
      this.#options.onLosing(error.message, error.nextStep);
      this.#arm();
      return undefined;
    }
  }

  #arm(): void {
    if (this.#cancel !== undefined) return;
    const { clock, random } = this.#options;
    this.#cancel = clock.at(after(clock.now(), RETRY_MS * 0.75 + randomBelow(random, RETRY_MS / 2)), () => {
      this.#cancel = undefined;
      this.#flush();
    });
  }
}
