// What one peer was told, and what it must be told next. Changes are kept by route identity, so a peer that reads
// slowly costs one entry per route however often the route changes; MRAI is 0 (protocols with short-lived keys).
import type { Family } from '../wire/bgp/family.ts';
import { RTC, familyName, sameFamily } from '../wire/bgp/family.ts';
import { REFRESH_BEGINS, REFRESH_ENDS, UPDATE, encodeMessage, encodeRouteRefresh } from '../wire/bgp/message.ts';
import type { ParsedNlri } from '../wire/bgp/nlri.ts';
import { nlriKey } from '../wire/bgp/nlri.ts';
import { encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from '../wire/bgp/update.ts';
import type { ExportedRoute } from './export.ts';
import type { RibEntry } from './rib.ts';

interface Pending {
  readonly nlri: ParsedNlri;
  /** undefined withdraws. */
  readonly exported: ExportedRoute | undefined;
}

interface FamilyOut {
  readonly family: Family;
  /** By route key; undefined = told in a form that no longer counts. */
  readonly told: Map<string, ExportedRoute | undefined>;
  readonly pending: Map<string, Pending>;
  endOfRibDue: boolean;
  refreshMarked: boolean;
}

export interface Flushed {
  readonly messages: readonly Uint8Array[];
  /** Routes whose attributes leave no room for them in a message of this peer. */
  readonly tooLarge: readonly ParsedNlri[];
}

function sameForm(a: ExportedRoute, b: ExportedRoute): boolean {
  return a === b || (a.group === b.group && labelOf(a.nlri) === labelOf(b.nlri));
}

function labelOf(nlri: ParsedNlri): number {
  return nlri.kind === 'vpn' ? nlri.label : 0;
}

export class AdjRibOut {
  readonly #families: readonly FamilyOut[];
  readonly #byName: ReadonlyMap<string, FamilyOut>;
  readonly #mostBytes: number;

  /** `mostBytes` is the largest message the peer takes. Memberships go first: they decide what the peer sends. */
  constructor(families: readonly Family[], mostBytes: number) {
    const ordered = [...families].sort((a, b) => Number(sameFamily(b, RTC)) - Number(sameFamily(a, RTC)));
    this.#families = ordered.map((family) => ({ family, told: new Map(), pending: new Map(), endOfRibDue: true, refreshMarked: false }));
    this.#byName = new Map(this.#families.map((out) => [familyName(out.family), out]));
    this.#mostBytes = mostBytes;
  }

  count(family: Family): number {
    return this.#byName.get(familyName(family))?.told.size ?? 0;
  }

  /** Queues what the peer should know of the entry, unless it knows that already. */
  queue(entry: RibEntry, exported: ExportedRoute | undefined): void {
    const out = this.#byName.get(familyName(entry.family));
    if (!out) return;
    const told = out.told.get(entry.key);
    const known = exported ? told !== undefined && sameForm(told, exported) : !out.told.has(entry.key);
    if (known) out.pending.delete(entry.key);
    else out.pending.set(entry.key, { nlri: entry.nlri, exported });
  }

  /** Forgets what was told, so that what is queued next goes out again; `marked` puts it between markers (RFC 7313 4). */
  refresh(family: Family, marked: boolean): void {
    const out = this.#byName.get(familyName(family));
    if (!out) return;
    for (const key of out.told.keys()) out.told.set(key, undefined);
    out.refreshMarked = marked;
  }

  /** Messages for everything queued, and End-of-RIB for families that `ended` names and that still owe it. */
  flush(ended: (family: Family) => boolean): Flushed {
    const messages: Uint8Array[] = [];
    const tooLarge: ParsedNlri[] = [];
    for (const out of this.#families) {
      const { family, refreshMarked } = out;
      const bodies: Uint8Array[] = [];
      this.#flushFamily(out, bodies, tooLarge);
      if (refreshMarked) messages.push(encodeRouteRefresh({ family, subtype: REFRESH_BEGINS }));
      for (const body of bodies) messages.push(encodeMessage(UPDATE, body));
      if (refreshMarked) messages.push(encodeRouteRefresh({ family, subtype: REFRESH_ENDS }));
      out.refreshMarked = false;
      if (out.endOfRibDue && ended(out.family)) {
        out.endOfRibDue = false;
        messages.push(encodeMessage(UPDATE, encodeEndOfRib(out.family)));
      }
    }
    return { messages, tooLarge };
  }

  #flushFamily(out: FamilyOut, bodies: Uint8Array[], tooLarge: ParsedNlri[]): void {
    if (out.pending.size === 0) return;
    const withdrawn: ParsedNlri[] = [];
    const groups = new Map<string, { exported: ExportedRoute; nlri: ParsedNlri[] }>();
    for (const [key, { nlri, exported }] of out.pending) {
      if (exported === undefined) {
        if (out.told.delete(key)) withdrawn.push(nlri);
        continue;
      }
      const group = groups.get(exported.group);
      if (group) group.nlri.push(exported.nlri);
      else groups.set(exported.group, { exported, nlri: [exported.nlri] });
      out.told.set(key, exported);
    }
    out.pending.clear();
    for (const { exported, nlri } of groups.values()) {
      const { nextHop, attributes } = exported;
      const encoded = encodeAnnouncements({ family: out.family, nextHop, nlri }, attributes, this.#mostBytes);
      bodies.push(...encoded.bodies);
      // RFC 8654 4: what no longer fits is withdrawn, so that no older version of it stays with the peer.
      for (const unsent of encoded.unsent) out.told.delete(nlriKey(unsent));
      withdrawn.push(...encoded.unsent);
      tooLarge.push(...encoded.unsent);
    }
    if (withdrawn.length > 0) bodies.push(...encodeWithdrawals({ family: out.family, nlri: withdrawn }, this.#mostBytes));
  }
}
