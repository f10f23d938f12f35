// Applies a ForwardingState by difference: SAs and tunnels whose id persists keep windows, sequence numbers, learned
// endpoints and counters. Everything else is made anew. Not hot: once per change of the control plane's mind.
import { ESP_SHAPES } from '../../drivers/esp-suite.ts';
import { isAddress, parsePrefix } from '../wire/address.ts';
import type { ForwardingState, InsideSpec, RouteSpec, SaSpec, TunnelSpec } from '../model.ts';
import { countDrop, Reason, setPageVersion } from './counters.ts';
import { Fib, type FibRoute } from './fib.ts';
import { InsideTable } from './insides.ts';
import type { Tables } from './tables.ts';

/** What cannot be applied (a full table, a reference to nothing, a route across tenants) is left out and counted. */
export function applyState(tables: Tables, state: ForwardingState): void {
  tables.insides = new InsideTable(state);
  const insideById = new Map(state.insides.map((inside) => [inside.id, inside]));
  applyTunnels(tables, state, insideById);
  tables.probes.follow(tables.tunnels);
  tables.fib = buildFib(tables, state.routes, insideById);
  resolvePorts(tables);
  setPageVersion(tables.page, state.version);
}

/** Ports came or went: every `next` that names one is chosen again. */
export function resolvePorts(tables: Tables): void {
  const { insides, ports, tunnels } = tables;
  for (let row = 0; row < insides.rows; row++) insides.next[row] = ports.nextOf(ports.find('link', insides.id[row]!, 0));
  ports.rows = Int32Array.from(ports.slots, (slot) => (slot?.role === 'link' ? insides.rowOf(slot.owner) : -1));
  tunnels.resolveAll(ports);
}

function applyTunnels(tables: Tables, state: ForwardingState, insideById: ReadonlyMap<number, InsideSpec>): void {
  const { tunnels, sas, insides, page } = tables;
  const usable = state.tunnels.filter((spec) => isUsable(spec, tables, insideById));
  for (let ignored = usable.length; ignored < state.tunnels.length; ignored++) countDrop(page, Reason['tunnel-ignored']);
  tunnels.retain(new Set(usable.map((spec) => spec.id)));
  const handTo = (spec: TunnelSpec): number => handOverTo(tables, spec);
  sas.retain(new Set(usable.flatMap((spec) => (handTo(spec) === 0 ? allSas(spec).map((sa) => sa.id) : []))));
  const peers = new Map<string, number>();
  const receivers: number[] = [];
  for (const spec of usable) {
    const key = `${spec.tenant}/${spec.peer}`;
    const peer = peers.get(key) ?? peers.size;
    peers.set(key, peer);
    const hand = handTo(spec);
    const row = tunnels.install(spec, peer, insides.rowOf(spec.inside), insides.vniOfTenant(spec.tenant), hand);
    if (row < 0) {
      countDrop(page, Reason['tunnel-ignored']);
      continue;
    }
    tunnels.txSa[row] = spec.tx === undefined || hand !== 0 ? -1 : installSa(tables, spec.tx, spec, row, false);
    for (const rx of spec.rx) {
      const sa = hand === 0 ? installSa(tables, rx, spec, row, true) : noteSa(tables, rx, spec, row, hand);
      if (sa >= 0) receivers.push(sa);
    }
  }
  const refused = sas.index(receivers);
  for (let i = 0; i < refused; i++) countDrop(page, Reason['sa-ignored']);
}

function allSas(spec: TunnelSpec): readonly SaSpec[] {
  return spec.tx === undefined ? spec.rx : [spec.tx, ...spec.rx];
}

function installSa(tables: Tables, sa: SaSpec, tunnel: TunnelSpec, row: number, receives: boolean): number {
  // A key that does not fit its suite is our own mistake, but not one that all other tunnels may pay for.
  const { keyBytes, saltBytes } = ESP_SHAPES[sa.suite];
  const fits = sa.key.length === keyBytes && sa.salt.length === saltBytes;
  const installed = !fits ? -1 : tables.sas.install(sa, tunnel.tenant, row, receives);
  if (installed < 0) countDrop(tables.page, Reason['sa-ignored']);
  return installed;
}

function noteSa(tables: Tables, sa: SaSpec, tunnel: TunnelSpec, row: number, handTo: number): number {
  const noted = tables.sas.note(sa, tunnel.tenant, row, handTo);
  if (noted < 0) countDrop(tables.page, Reason['sa-ignored']);
  return noted;
}

/** `next` of the worker that the tunnel belongs to; 0 = this one, or one that is not there. */
function handOverTo({ worker, ports }: Tables, spec: TunnelSpec): number {
  const owner = spec.worker ?? 0;
  return owner === worker ? 0 : ports.nextOf(ports.find('worker', owner, 0));
}

/** A tunnel must not lead into another tenant's inside, and a VXLAN kind needs its tenant's VNI. */
function isUsable(spec: TunnelSpec, tables: Tables, insideById: ReadonlyMap<number, InsideSpec>): boolean {
  const inside = insideById.get(spec.inside);
  if (inside !== undefined && inside.tenant !== spec.tenant) return false;
  return !spec.kind.startsWith('vxlan') || tables.insides.vniOfTenant(spec.tenant) >= 0;
}

function buildFib(tables: Tables, routes: readonly RouteSpec[], insideById: ReadonlyMap<number, InsideSpec>): Fib {
  const usable: FibRoute[] = [];
  for (const route of routes) {
    const compiled = compileRoute(tables, route, insideById);
    if (compiled === undefined) countDrop(tables.page, Reason['route-ignored']);
    else usable.push(compiled);
  }
  const fib = new Fib(tables.insides.rows * 2, usable);
  for (let i = 0; i < fib.refused; i++) countDrop(tables.page, Reason['route-ignored']);
  return fib;
}

function compileRoute(tables: Tables, route: RouteSpec, insideById: ReadonlyMap<number, InsideSpec>): FibRoute | undefined {
  const { insides, tunnels } = tables;
  const row = insides.rowOf(route.inside);
  const tunnel = tunnels.rowOf(route.tunnel);
  if (row < 0 || tunnel < 0 || insideById.get(route.inside)?.tenant !== tunnels.tenant[tunnel]) return undefined;
  if (!isPrefix(route.prefix)) return undefined;
  const { bytes, length } = parsePrefix(route.prefix);
  const root = bytes.length === 4 ? insides.root4[row]! : insides.root6[row]!;
  return { root, bytes, length, tunnel, label: route.label };
}

function isPrefix(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/');
  if (!isAddress(address) || !/^\d{1,3}$/.test(bits) || rest.length > 0) return false;
  return Number(bits) <= (address.includes(':') ? 128 : 32);
}
