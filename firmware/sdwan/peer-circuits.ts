// The circuits of all peers of one tenant, from verified circuit routes. Several Controllers show the same route; the
// newest content counts, and a circuit is gone when nobody shows it any more.
import { equalBytes, toHex } from '../../platform/bytes.ts';
import type { IpAddress, TenantId } from '../model.ts';
import { verifyCircuitRoute } from './circuit-route.ts';
import type { PeerCircuit } from './circuit-route.ts';
import type { RouteInput } from './keying-messages.ts';
import { isSignerRevoked } from './signed-route.ts';
import type { RouteTrust } from './signed-route.ts';

/** 4096 peers with 16 circuits each. */
const CIRCUITS_MAX = 65_536;
/** 16 circuits, each with a second address family. */
const CIRCUITS_PER_NODE_MAX = 32;

export interface PeerCircuitsOptions {
  readonly trust: RouteTrust;
  readonly tenant: TenantId;
  readonly unixMs: () => number;
}

interface Entry {
  circuit: PeerCircuit;
  tunnelEncapsulation: Uint8Array;
  readonly sources: Set<string>;
}

export class PeerCircuits {
  readonly #options: PeerCircuitsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #byNode = new Map<IpAddress, Set<Entry>>();
  /** Refused routes, for `show`. */
  refused = 0;

  constructor(options: PeerCircuitsOptions) {
    this.#options = options;
  }

  /** Takes one circuit route or its withdrawal; returns the cause when it is refused. Refused counts as withdrawn. */
  update(input: RouteInput): string | undefined {
    const key = toHex(input.nlri);
    const entry = this.#entries.get(key);
    if (input.tunnelEncapsulation === undefined) {
      this.#absent(key, input.from);
      return undefined;
    }
    if (entry !== undefined && equalBytes(entry.tunnelEncapsulation, input.tunnelEncapsulation)) {
      entry.sources.add(input.from);
      return undefined;
    }
    const bytes = { nlri: input.nlri, tunnelEncapsulation: input.tunnelEncapsulation };
    const { trust, tenant, unixMs } = this.#options;
    const verdict = verifyCircuitRoute(trust, bytes, tenant, unixMs());
    const cause = verdict.ok ? this.#unfit(entry, verdict.route) : verdict.cause;
    if (!verdict.ok || cause !== undefined) {
      this.refused++;
      this.#absent(key, input.from);
      return cause;
    }
    this.#put(key, entry ?? this.#entryOf(verdict.route), verdict.route, bytes.tunnelEncapsulation, input.from);
    return undefined;
  }

  #entryOf(circuit: PeerCircuit): Entry {
    const entry: Entry = { circuit, tunnelEncapsulation: new Uint8Array(0), sources: new Set() };
    const siblings = this.#byNode.get(circuit.nodeId) ?? new Set<Entry>();
    this.#byNode.set(circuit.nodeId, siblings.add(entry));
    return entry;
  }

  #put(key: string, entry: Entry, circuit: PeerCircuit, tunnelEncapsulation: Uint8Array, from: string): void {
    entry.circuit = circuit;
    entry.tunnelEncapsulation = tunnelEncapsulation;
    entry.sources.add(from);
    this.#entries.set(key, entry);
  }

  #unfit(entry: Entry | undefined, route: PeerCircuit): string | undefined {
    if (entry !== undefined) return undefined;
    if (this.#entries.size >= CIRCUITS_MAX) return `${CIRCUITS_MAX} circuits are known already`;
    const siblings = [...(this.#byNode.get(route.nodeId) ?? [])];
    const other = siblings.find(({ circuit }) => circuit.siteId !== route.siteId);
    if (other !== undefined) return `its Node-ID belongs to site ${other.circuit.siteId}`;
    return siblings.length >= CIRCUITS_PER_NODE_MAX ? `${CIRCUITS_PER_NODE_MAX} circuits of the node are known already` : undefined;
  }

  #absent(key: string, from: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || !entry.sources.delete(from) || entry.sources.size > 0) return;
    this.#entries.delete(key);
    const siblings = this.#byNode.get(entry.circuit.nodeId)!;
    siblings.delete(entry);
    if (siblings.size === 0) this.#byNode.delete(entry.circuit.nodeId);
  }

  /** The trust has learned of revocations: circuits that a revoked certificate has signed are gone. */
  dropRevoked(): void {
    const { trust, unixMs } = this.#options;
    for (const [key, entry] of [...this.#entries]) {
      if (isSignerRevoked(trust, entry.tunnelEncapsulation, unixMs())) for (const from of [...entry.sources]) this.#absent(key, from);
    }
  }

  all(): readonly PeerCircuit[] {
    return [...this.#entries.values()].map((entry) => entry.circuit);
  }
}
