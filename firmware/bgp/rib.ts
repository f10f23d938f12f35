// What peers announced (Adj-RIB-In) and the best of it (Loc-RIB), one table per family. One entry per route identity
// holds every peer's path to it, so a change looks at the few paths concerned.
import type { Family } from '../wire/bgp/family.ts';
import { familyName } from '../wire/bgp/family.ts';
import type { ParsedNlri } from '../wire/bgp/nlri.ts';
import type { Path, PathSource } from './decision.ts';
import { selectBest } from './decision.ts';
import type { BgpRoute } from './route.ts';
import { sameRoute } from './route.ts';

export interface RibEntry {
  readonly family: Family;
  readonly key: string;
  readonly nlri: ParsedNlri;
  /** By source id. */
  readonly paths: Map<string, Path>;
  best: Path | undefined;
}

export interface RibChange {
  readonly entry: RibEntry;
  /** Whether the source's own path appeared, changed or went. */
  readonly pathChanged: boolean;
  readonly bestChanged: boolean;
}

export class Rib {
  readonly #tables = new Map<string, Map<string, RibEntry>>();
  /** Source id, family name -> entries with a path of that source. */
  readonly #bySource = new Map<string, Map<string, Set<RibEntry>>>();

  entry(family: Family, key: string): RibEntry | undefined {
    return this.#tables.get(familyName(family))?.get(key);
  }

  *entries(family: Family): IterableIterator<RibEntry> {
    const table = this.#tables.get(familyName(family));
    if (table) yield* table.values();
  }

  *all(): IterableIterator<RibEntry> {
    for (const table of this.#tables.values()) yield* table.values();
  }

  /** Entries that `source` has a path to, in one family or in all; a copy, so that they may be removed meanwhile. */
  of(source: string, family?: Family): RibEntry[] {
    const families = this.#bySource.get(source);
    if (!families) return [];
    if (family) return [...(families.get(familyName(family)) ?? [])];
    return [...families.values()].flatMap((entries) => [...entries]);
  }

  count(source: string, family?: Family): number {
    const families = this.#bySource.get(source);
    if (!families) return 0;
    if (family) return families.get(familyName(family))?.size ?? 0;
    let count = 0;
    for (const entries of families.values()) count += entries.size;
    return count;
  }

  has(source: string, family: Family, key: string): boolean {
    return this.entry(family, key)?.paths.has(source) ?? false;
  }

  set(source: PathSource, route: BgpRoute): RibChange {
    const entry = this.#entryFor(route);
    const before = entry.paths.get(source.id);
    const pathChanged = before?.source.routerId !== source.routerId || !sameRoute(before.route, route);
    // An unchanged announcement keeps its path object: nothing is sent again for it.
    if (pathChanged) entry.paths.set(source.id, { source, route, stale: false });
    else before.stale = false;
    this.#index(source.id, entry);
    return { entry, pathChanged, bestChanged: this.#decide(entry) };
  }

  remove(source: string, family: Family, key: string): RibChange | undefined {
    const entry = this.entry(family, key);
    if (!entry?.paths.delete(source)) return undefined;
    this.#bySource.get(source)?.get(familyName(family))?.delete(entry);
    const bestChanged = this.#decide(entry);
    if (entry.paths.size === 0) this.#tables.get(familyName(family))!.delete(key);
    return { entry, pathChanged: true, bestChanged };
  }

  /** Marks a source's paths of one family; returns entries whose best path is another one now. */
  markStale(source: string, family: Family): RibEntry[] {
    const changed: RibEntry[] = [];
    for (const entry of this.of(source, family)) {
      entry.paths.get(source)!.stale = true;
      if (this.#decide(entry)) changed.push(entry);
    }
    return changed;
  }

  #entryFor(route: BgpRoute): RibEntry {
    const name = familyName(route.family);
    let table = this.#tables.get(name);
    if (!table) this.#tables.set(name, (table = new Map()));
    let entry = table.get(route.key);
    if (!entry) table.set(route.key, (entry = { family: route.family, key: route.key, nlri: route.nlri, paths: new Map(), best: undefined }));
    return entry;
  }

  #index(source: string, entry: RibEntry): void {
    let families = this.#bySource.get(source);
    if (!families) this.#bySource.set(source, (families = new Map()));
    const name = familyName(entry.family);
    let entries = families.get(name);
    if (!entries) families.set(name, (entries = new Set()));
    entries.add(entry);
  }

  #decide(entry: RibEntry): boolean {
    const best = entry.paths.size === 1 ? [...entry.paths.values()][0] : selectBest([...entry.paths.values()]);
    if (best === entry.best) return false;
    entry.best = best;
    return true;
  }
}
