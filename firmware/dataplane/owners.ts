// Which of several workers a tunnel belongs to, for as long as it lives: its sequence numbers and windows are there.
// Few tunnels are dealt out evenly; the kernel is told where their packets go by tables (steering.ts), which follow peers
// that move. Of many, most go where the kernel's sum sends their packets anyway.
import type { ForwardingState, SaSpec, TunnelSpec } from '../model.ts';
import { addressBytes, isAddress } from '../wire/address.ts';
import { familyOf } from './ports.ts';
import { steeringKey, workerOfKey, type SteeringTable } from './steering.ts';

/** With more tunnels than that, a new one goes where the sum over its address says. */
const DEALT_TUNNELS = 64;
/** The kernel goes through the table entry by entry. */
const MOST_ENTRIES = 128;
const NO_KEY = new Uint8Array(0);

/** What the kernel makes of a tenant's packets from an address. */
interface Source {
  readonly family: number;
  readonly key: number;
}

interface Owned {
  readonly worker: number;
  vni: number;
  configured: readonly Source[];
  /** Where the peer was last seen. */
  learned: Source | undefined;
}

export class Owners {
  readonly #workers: number;
  readonly #owned = new Map<number, Owned>();

  constructor(workers: number) {
    this.#workers = workers;
  }

  /** The same state, each tunnel with its worker. Everything that is not VXLAN with ESP stays with worker 0, which has the ports for it. */
  assign(state: ForwardingState): ForwardingState {
    const living = new Set(state.tunnels.map((spec) => spec.id));
    for (const id of this.#owned.keys()) if (!living.has(id)) this.#owned.delete(id);
    const vniOf = new Map(state.tenants.map(({ tenant, vni }) => [tenant, vni]));
    return { ...state, tunnels: state.tunnels.map((spec) => (spec.kind === 'vxlan-esp' ? { ...spec, worker: this.#ownerOf(spec, vniOf.get(spec.tenant) ?? 0) } : spec)) };
  }

  #ownerOf(spec: TunnelSpec, vni: number): number {
    const configured = spec.paths.map(({ remote }) => remote.address).filter(isAddress).map((address) => sourceOf(vni, address));
    const known = this.#owned.get(spec.id);
    if (known !== undefined) {
      known.vni = vni;
      known.configured = configured;
      return known.worker;
    }
    const worker = this.#choose(spec.id, configured.map(({ key }) => key));
    this.#owned.set(spec.id, { worker, vni, configured, learned: undefined });
    return worker;
  }

  #choose(id: number, keys: readonly number[]): number {
    if (this.#owned.size >= DEALT_TUNNELS) return workerOfKey(keys[0] ?? id, this.#workers);
    const load = new Array<number>(this.#workers).fill(0);
    for (const owned of this.#owned.values()) {
      // The kernel cannot tell two peers behind one address apart.
      if (sourcesOf(owned).some(({ key }) => keys.includes(key))) return owned.worker;
      load[owned.worker]!++;
    }
    return load.indexOf(Math.min(...load));
  }

  /** The peer was seen at this address. Returns whether tables may change. */
  moved(tunnel: number, address: string): boolean {
    const owned = this.#owned.get(tunnel);
    if (owned === undefined || !isAddress(address)) return false;
    const source = sourceOf(owned.vni, address);
    if (owned.learned?.key === source.key) return false;
    owned.learned = source;
    return true;
  }

  /** Where the sum alone would send packets to the wrong worker. */
  table(family: 4 | 6): SteeringTable {
    const seen = new Set<number>();
    const table = new Map<number, number>();
    for (const owned of this.#owned.values()) {
      for (const source of sourcesOf(owned)) {
        if (source.family !== family || seen.has(source.key) || table.size === MOST_ENTRIES) continue;
        seen.add(source.key);
        if (workerOfKey(source.key, this.#workers) !== owned.worker) table.set(source.key, owned.worker);
      }
    }
    return table;
  }
}

function sourceOf(vni: number, address: string): Source {
  return { family: familyOf(address), key: steeringKey(vni, addressBytes(address)) };
}

function sourcesOf({ configured, learned }: Owned): readonly Source[] {
  return learned === undefined ? configured : [learned, ...configured];
}

/** What one worker is told: of others' tunnels all that it takes to hand packets over, but neither keys nor paths. */
export function shareOf(state: ForwardingState, worker: number): ForwardingState {
  return { ...state, tunnels: state.tunnels.map((spec) => ((spec.worker ?? 0) === worker ? spec : { ...spec, paths: [], tx: undefined, rx: spec.rx.map(withoutKey) })) };
}

function withoutKey(sa: SaSpec): SaSpec {
  return { ...sa, key: NO_KEY, salt: NO_KEY };
}
