// @hot (fields)  The tunnels as rows. What is sent goes to the row's endpoint: the one learned from the last
// authenticated packet, else the first path of the TunnelSpec that has a port.
import type { Instant } from '../../platform/time.ts';
import { addressBytes, addressText, isAddress } from '../wire/address.ts';
import type { PathSpec, TunnelKind, TunnelSpec } from '../model.ts';
import { capacityOf, resetTunnelCounters, type CounterPage } from './counters.ts';
import { familyOf, type PortRole, type PortTable } from './ports.ts';

export const KIND_CLEAR = 0;
export const KIND_VXLAN_ESP = 1;
export const KIND_ESP = 2;
export const KIND_ESP_UDP = 3;

const KINDS: Readonly<Record<TunnelKind, number>> = { 'vxlan-clear': KIND_CLEAR, 'vxlan-esp': KIND_VXLAN_ESP, esp: KIND_ESP, 'esp-udp': KIND_ESP_UDP };
const ROLES: Readonly<Record<TunnelKind, PortRole>> = { 'vxlan-clear': 'vxlan', 'vxlan-esp': 'vxlan', esp: 'esp', 'esp-udp': 'natt' };

export const NEVER = -1e15 as Instant;

/** Where a tunnel's packets go. */
export interface TunnelEndpoint {
  readonly outside: number;
  readonly family: number;
  readonly address: Uint8Array;
  readonly port: number;
}

interface Cold {
  spec: TunnelSpec;
  paths: readonly TunnelEndpoint[];
  learned: TunnelEndpoint | undefined;
}

export class TunnelTable {
  readonly id: Float64Array;
  readonly kind: Uint8Array;
  readonly tenant: Int32Array;
  readonly vni: Int32Array;
  /** Number of the peer within this state: tunnels to one peer of one tenant share it. */
  readonly peer: Int32Array;
  /** Row of the inside for packets without VPN label, or -1. */
  readonly inside: Int32Array;
  readonly mtu: Int32Array;
  /** SA row, or -1. */
  readonly txSa: Int32Array;
  /** `next` of the port that packets leave through; 0 = no usable path. */
  readonly next: Int32Array;
  /** `next` of the worker that the tunnel belongs to; 0 = this one. */
  readonly handTo: Int32Array;
  readonly family: Uint8Array;
  readonly port: Int32Array;
  readonly address: Uint8Array;
  readonly outside: Int32Array;
  readonly lastTx: Float64Array;
  /** When a good packet last came from the endpoint in use. */
  readonly lastRxHere: Float64Array;
  readonly idleDummyMs: Float64Array;
  /** When 'endpoint-moved' was last reported. */
  readonly movedAt: Float64Array;
  /** Rows in use are below this. */
  rows = 0;

  readonly #page: CounterPage;
  readonly #capacity: number;
  readonly #cold: (Cold | undefined)[] = [];
  readonly #rowOfId = new Map<number, number>();
  readonly #free: number[] = [];

  constructor(page: CounterPage) {
    this.#page = page;
    const { tunnels } = capacityOf(page);
    this.#capacity = tunnels;
    this.id = new Float64Array(tunnels);
    this.kind = new Uint8Array(tunnels);
    this.tenant = new Int32Array(tunnels);
    this.vni = new Int32Array(tunnels);
    this.peer = new Int32Array(tunnels);
    this.inside = new Int32Array(tunnels);
    this.mtu = new Int32Array(tunnels);
    this.txSa = new Int32Array(tunnels).fill(-1);
    this.next = new Int32Array(tunnels);
    this.handTo = new Int32Array(tunnels);
    this.family = new Uint8Array(tunnels);
    this.port = new Int32Array(tunnels);
    this.address = new Uint8Array(tunnels * 16);
    this.outside = new Int32Array(tunnels).fill(-1);
    this.lastTx = new Float64Array(tunnels);
    this.lastRxHere = new Float64Array(tunnels);
    this.idleDummyMs = new Float64Array(tunnels);
    this.movedAt = new Float64Array(tunnels);
  }

  /** Row of a tunnel id, or -1. */
  rowOf(id: number): number {
    return this.#rowOfId.get(id) ?? -1;
  }

  specOf(row: number): TunnelSpec | undefined {
    return this.#cold[row]?.spec;
  }

  /** The row of a tunnel, made when it is new; -1 when the table is full. A learned endpoint lasts until the first path changes. */
  install(spec: TunnelSpec, peer: number, inside: number, vni: number, handTo: number): number {
    let row = this.rowOf(spec.id);
    const former = row < 0 ? undefined : this.#cold[row];
    if (row < 0) {
      row = this.#free.pop() ?? (this.rows < this.#capacity ? this.rows++ : -1);
      if (row < 0) return -1;
      this.#rowOfId.set(spec.id, row);
      this.#start(row, spec.id);
    }
    const learned = former !== undefined && former.spec.kind === spec.kind && samePath(former.spec.paths[0], spec.paths[0]) ? former.learned : undefined;
    if (former?.spec.tx?.id !== spec.tx?.id) this.lastTx[row] = NEVER;
    this.#cold[row] = { spec, paths: spec.paths.flatMap(compiled), learned };
    this.kind[row] = KINDS[spec.kind];
    this.tenant[row] = spec.tenant;
    this.vni[row] = vni;
    this.peer[row] = peer;
    this.inside[row] = inside;
    this.handTo[row] = handTo;
    this.mtu[row] = spec.mtu;
    this.idleDummyMs[row] = spec.idleDummyMs;
    return row;
  }

  #start(row: number, id: number): void {
    this.id[row] = id;
    this.lastTx[row] = NEVER;
    this.lastRxHere[row] = NEVER;
    this.movedAt[row] = NEVER;
    resetTunnelCounters(this.#page, row, id);
  }

  retain(wanted: ReadonlySet<number>): void {
    for (const [id, row] of this.#rowOfId) {
      if (wanted.has(id)) continue;
      this.#rowOfId.delete(id);
      this.#cold[row] = undefined;
      this.id[row] = 0;
      this.txSa[row] = -1;
      this.next[row] = 0;
      this.idleDummyMs[row] = 0;
      resetTunnelCounters(this.#page, row, 0);
      this.#free.push(row);
    }
  }

  /** Chooses every tunnel's endpoint again: after a new state, and when ports came or went. */
  resolveAll(ports: PortTable): void {
    for (let row = 0; row < this.rows; row++) this.resolve(row, ports);
  }

  resolve(row: number, ports: PortTable): void {
    const cold = this.#cold[row];
    this.next[row] = 0;
    if (cold === undefined) return;
    const role = ROLES[cold.spec.kind];
    const candidates = cold.learned === undefined ? cold.paths : [cold.learned, ...cold.paths];
    for (const endpoint of candidates) {
      const slot = ports.find(role, endpoint.outside, endpoint.family);
      if (slot < 0) continue;
      this.next[row] = ports.nextOf(slot);
      this.outside[row] = endpoint.outside;
      this.family[row] = endpoint.family;
      this.port[row] = role === 'esp' ? 0 : endpoint.port;
      this.address.set(endpoint.address, row * 16);
      return;
    }
  }

  /** Whether the row sends to exactly this remote through this outside now. */
  sendsTo(row: number, outside: number, family: number, bytes: Uint8Array, at: number, port: number): boolean {
    return this.next[row] !== 0 && this.outside[row] === outside && this.isAt(row, family, bytes, at, port);
  }

  /** Whether the row's remote is the one at `at`. */
  isAt(row: number, family: number, bytes: Uint8Array, at: number, port: number): boolean {
    if (this.family[row] !== family || (this.kind[row] !== KIND_ESP && this.port[row] !== port)) return false;
    const octets = family === 4 ? 4 : 16;
    const own = row * 16;
    for (let i = 0; i < octets; i++) if (this.address[own + i] !== bytes[at + i]) return false;
    return true;
  }

  /** Whether the remote is one of the spec's paths; for the rare case that an endpoint differs. */
  isConfigured(row: number, endpoint: TunnelEndpoint): boolean {
    const cold = this.#cold[row];
    return cold?.paths.some((path) => sameEndpointOf(path, endpoint, cold.spec.kind === 'esp')) ?? false;
  }

  /** From now on packets go to where the peer was seen. */
  learn(row: number, endpoint: TunnelEndpoint, ports: PortTable): void {
    const cold = this.#cold[row];
    if (cold === undefined) return;
    cold.learned = endpoint;
    this.resolve(row, ports);
  }

  remoteOf(row: number): { address: string; port: number } {
    const octets = this.family[row] === 4 ? 4 : 16;
    return { address: addressText(this.address.slice(row * 16, row * 16 + octets)), port: this.port[row]! };
  }
}

function compiled(path: PathSpec): TunnelEndpoint[] {
  const { address, port } = path.remote;
  if (!isAddress(address)) return [];
  return [{ outside: path.outside, family: familyOf(address), address: addressBytes(address), port }];
}

function samePath(a: PathSpec | undefined, b: PathSpec | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.outside === b.outside && a.remote.address === b.remote.address && a.remote.port === b.remote.port;
}

function sameEndpointOf(a: TunnelEndpoint, b: TunnelEndpoint, ignorePort: boolean): boolean {
  if (a.outside !== b.outside || a.family !== b.family || (!ignorePort && a.port !== b.port)) return false;
  return a.address.every((octet, i) => octet === b.address[i]);
}
