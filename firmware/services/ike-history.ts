// The life of every IKE SA as an append-only list of events per VPN profile, bounded, and kept over a restart.
import { after, type CancelTimer } from '../../platform/time.ts';
import type { HistoryEntry, IkeOutput } from '../ike/input-output.ts';
import type { Site } from './service.ts';

export const HISTORY_PER_PROFILE = 200;
/** Of profiles that are configured no more some are still worth reading about; beyond this the quietest is forgotten. */
export const MOST_PROFILES = 500;
/** Events are gathered this long before they are written, so that a flapping peer does not wear out the disk. */
const WRITE_DELAY_MS = 5_000;
const DOCUMENT = 'ike-history';

export class IkeHistory {
  readonly #site: Site;
  readonly #entries: Map<string, HistoryEntry[]>;
  #timer: CancelTimer | undefined;

  constructor(site: Site) {
    this.#site = site;
    this.#entries = restore(site);
  }

  onOutput(output: IkeOutput): void {
    if (output.kind !== 'history') return;
    const { profile } = output.entry;
    const ring = this.#entries.get(profile) ?? [];
    ring.push(output.entry);
    if (ring.length > HISTORY_PER_PROFILE) ring.shift();
    // The one that was heard of last stands last.
    this.#entries.delete(profile);
    this.#entries.set(profile, ring);
    if (this.#entries.size > MOST_PROFILES) this.#entries.delete(this.#entries.keys().next().value!);
    this.#timer ??= this.#site.clock.at(after(this.#site.clock.now(), WRITE_DELAY_MS), () => this.#write());
  }

  /** Oldest first. */
  of(profile: string): readonly HistoryEntry[] {
    return this.#entries.get(profile) ?? [];
  }

  /** The life of SAs and of those that they replaced, as far back as the ring goes; oldest first. */
  lifeOf(profile: string, spis: readonly string[]): readonly HistoryEntry[] {
    const entries = this.of(profile);
    const wanted = new Set(spis);
    // What a replacement replaced was entered before it: one way back finds the whole line.
    for (const { spis: own, replaces } of entries.toReversed()) if (replaces !== undefined && wanted.has(own)) wanted.add(replaces);
    return entries.filter((entry) => wanted.has(entry.spis));
  }

  profiles(): readonly string[] {
    return [...this.#entries.keys()];
  }

  stop(): void {
    if (this.#timer !== undefined) this.#write();
  }

  #write(): void {
    this.#timer?.();
    this.#timer = undefined;
    this.#site.store.write(DOCUMENT, new TextEncoder().encode(JSON.stringify(Object.fromEntries(this.#entries))));
  }
}

/** An unreadable document is dropped: history must never keep a box from starting. */
function restore(site: Site): Map<string, HistoryEntry[]> {
  const bytes = site.store.read(DOCUMENT);
  if (bytes === undefined) return new Map();
  try {
    const document: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (isHistory(document)) return new Map(Object.entries(document).map(([profile, entries]) => [profile, entries.slice(-HISTORY_PER_PROFILE)]));
  } catch {
    // Not even JSON.
  }
  site.log.channel('ipsec').warning('IKE history could not be read and starts empty', { document: DOCUMENT });
  return new Map();
}

function isHistory(document: unknown): document is Record<string, HistoryEntry[]> {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject(document) && Object.values(document).every((entries) => Array.isArray(entries) && entries.every((entry) => isObject(entry) && isEntry(entry)));
}

/** What is shown of an entry. */
function isEntry(entry: Record<string, unknown>): boolean {
  const texts = ['event', 'profile', 'role', 'peer', 'remote', 'spis', 'cause'].every((name) => typeof entry[name] === 'string');
  const optional = [entry['replaces'], entry['replacedBy']].every((value) => value === undefined || typeof value === 'string');
  return texts && optional && Number.isSafeInteger(entry['unixMs']) && typeof entry['nat'] === 'boolean';
}
