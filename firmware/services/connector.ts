// Keeps IKE connections wanted: starts each, and after a failure tries its next candidate with backoff and jitter.
import { randomBelow } from '../../platform/random.ts';
import { after, type CancelTimer } from '../../platform/time.ts';
import type { IkeInput, IkeOutput } from '../ike/input-output.ts';
import type { Site } from './service.ts';

export const FIRST_RETRY_MS = 1_000;
export const LONGEST_RETRY_MS = 60_000;

export type Initiate = Extract<IkeInput, { kind: 'initiate' }>;

export interface Wanted {
  readonly profile: string;
  /** Tried in turn. None: there is nothing to connect from, until it is wanted with other ones. */
  readonly candidates: readonly Initiate[];
}

export interface ConnectionState {
  readonly profile: string;
  readonly state: 'up' | 'connecting' | 'waiting';
  /** Failures in a row. */
  readonly failures: number;
  readonly lastCause: string;
}

interface Entry {
  readonly wanted: Wanted;
  state: ConnectionState['state'];
  failures: number;
  lastCause: string;
  /** IKE SAs of this profile that are up; a replaced one may go down after its successor came up. */
  readonly up: Set<number>;
  timer: CancelTimer | undefined;
}

export class Connector {
  readonly #site: Site;
  readonly #push: (input: IkeInput) => void;
  readonly #entries = new Map<string, Entry>();

  constructor(site: Site, push: (input: IkeInput) => void) {
    this.#site = site;
    this.#push = push;
  }

  /** Again with what is wanted already changes nothing: an attempt that is under way would only be refused a second one. */
  want(wanted: Wanted): void {
    const before = this.#entries.get(wanted.profile);
    if (before !== undefined && JSON.stringify(before.wanted) === JSON.stringify(wanted)) return;
    before?.timer?.();
    const entry: Entry = { wanted, state: 'connecting', failures: 0, lastCause: '', up: before?.up ?? new Set(), timer: undefined };
    this.#entries.set(wanted.profile, entry);
    if (entry.up.size > 0) entry.state = 'up';
    else this.#connect(entry);
  }

  /** Forgets every connection whose profile is not in `profiles`. */
  retain(profiles: ReadonlySet<string>, reason: string): void {
    for (const profile of [...this.#entries.keys()]) if (!profiles.has(profile)) this.forget(profile, reason);
  }

  forget(profile: string, reason: string): void {
    const entry = this.#entries.get(profile);
    if (entry === undefined) return;
    entry.timer?.();
    this.#entries.delete(profile);
    for (const ikeSa of entry.up) this.#push({ kind: 'terminate', ikeSa, reason });
  }

  stop(): void {
    for (const entry of this.#entries.values()) entry.timer?.();
    this.#entries.clear();
  }

  states(): readonly ConnectionState[] {
    return [...this.#entries.values()].map(({ wanted, state, failures, lastCause }) => ({ profile: wanted.profile, state, failures, lastCause }));
  }

  onOutput(output: IkeOutput): void {
    if (output.kind !== 'ike-up' && output.kind !== 'ike-down' && output.kind !== 'connect-failed') return;
    const entry = this.#entries.get(output.profile);
    if (entry === undefined) return;
    if (output.kind === 'ike-up') {
      entry.timer?.();
      entry.timer = undefined;
      entry.up.add(output.ikeSa);
      entry.state = 'up';
      entry.failures = 0;
      entry.lastCause = '';
      return;
    }
    if (output.kind === 'ike-down') entry.up.delete(output.ikeSa);
    if (entry.up.size > 0 || entry.timer !== undefined) return;
    entry.lastCause = output.kind === 'ike-down' ? output.reason : output.cause;
    this.#retry(entry);
  }

  #retry(entry: Entry): void {
    const base = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(entry.failures, 16));
    const wait = base * 0.75 + randomBelow(this.#site.random, Math.ceil(base * 0.5));
    entry.failures++;
    entry.state = 'waiting';
    entry.timer = this.#site.clock.at(after(this.#site.clock.now(), wait), () => {
      entry.timer = undefined;
      entry.state = 'connecting';
      this.#connect(entry);
    });
  }

  #connect(entry: Entry): void {
    const { candidates } = entry.wanted;
    if (candidates.length === 0) {
      entry.state = 'waiting';
      entry.lastCause = 'no circuit has an address to connect from';
      return;
    }
    this.#push(candidates[entry.failures % candidates.length]!);
  }
}
