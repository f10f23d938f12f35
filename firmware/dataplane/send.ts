// @hot  Last stages of both directions: outer header and endpoint, writing to the ports, counting what was dropped.
import { FIRST_PORT, Next, type Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import { ipVersion } from '../wire/ip.ts';
import { writeVxlanPrefix, VXLAN_NEXT_ESP, VXLAN_NEXT_GRE, VXLAN_PREFIX_BYTES } from '../wire/vxlan.ts';
import { GRE_HEADER_BYTES } from '../wire/gre.ts';
import { MPLS_ENTRY_BYTES } from '../wire/mpls.ts';
import { countDrop, countTx, Reason, reasonOfErrno } from './counters.ts';
import type { PortTable } from './ports.ts';
import type { Tables } from './tables.ts';
import { KIND_CLEAR, KIND_VXLAN_ESP } from './tunnel.ts';

const LABEL_BYTES = GRE_HEADER_BYTES + MPLS_ENTRY_BYTES;
const PATH_MTU_REPORT_MS = 1000;
const SEND_TOO_LARGE = Reason['send-too-large'];

/** Remembers that the burst holds packets for the port with this `next`. */
export function markUsed(ports: PortTable, next: number): void {
  ports.used[next - FIRST_PORT] = 1;
}

/** A `tunnel` column value below zero names an entry of the provisional endpoints. */
export function provisionalRow(entry: number): number {
  return -1 - entry;
}

/** Writes the outer header of every packet with next = send and addresses it. */
export function addressPackets(burst: Burst, vni: number, tables: Tables, now: Instant): void {
  const { next, tunnel } = burst;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.send) continue;
    const row = tunnel[i]!;
    if (row < 0) addressProvisional(burst, i, -1 - row, vni, tables);
    else addressTunnel(burst, i, row, tables, now);
  }
}

function addressTunnel(burst: Burst, i: number, row: number, tables: Tables, now: Instant): void {
  const tunnels = tables.tunnels;
  const kind = tunnels.kind[row]!;
  // Inner octets, as the receiver counts them; a dummy has none.
  countTx(tables.page, row, Math.max(0, kind === KIND_CLEAR || kind === KIND_VXLAN_ESP ? burst.length[i]! - LABEL_BYTES : burst.length[i]!));
  if (kind === KIND_CLEAR) prefixClear(burst, i, tunnels.vni[row]!);
  else if (kind === KIND_VXLAN_ESP) prefixSealed(burst, i, tunnels.vni[row]!);
  else {
    burst.offset[i] = burst.esp[i]!;
    burst.length[i] = burst.espLength[i]!;
  }
  copyAddress(tunnels.address, row * 16, tunnels.family[row]!, burst.address, i * 16);
  burst.family[i] = tunnels.family[row]!;
  burst.port[i] = tunnels.port[row]!;
  burst.next[i] = tunnels.next[row]!;
  markUsed(tables.ports, tunnels.next[row]!);
  tunnels.lastTx[row] = now;
}

function addressProvisional(burst: Burst, i: number, entry: number, vni: number, tables: Tables): void {
  const provisional = tables.provisional;
  prefixClear(burst, i, vni);
  copyAddress(provisional.address, entry * 16, provisional.family[entry]!, burst.address, i * 16);
  burst.family[i] = provisional.family[entry]!;
  burst.port[i] = provisional.port[entry]!;
  burst.next[i] = provisional.next[entry]!;
  markUsed(tables.ports, provisional.next[entry]!);
}

function copyAddress(from: Uint8Array, at: number, family: number, to: Uint8Array, into: number): void {
  const octets = family === 4 ? 4 : 16;
  for (let o = 0; o < octets; o++) to[into + o] = from[at + o]!;
}

/** In front of GRE | MPLS | IP, which starts at offset. */
function prefixClear(burst: Burst, i: number, vni: number): void {
  const inner = burst.offset[i]! + LABEL_BYTES;
  const start = burst.offset[i]! - VXLAN_PREFIX_BYTES;
  writeVxlanPrefix(burst.bytes, start, vni, VXLAN_NEXT_GRE, ipVersion(burst.bytes, inner));
  burst.offset[i] = start;
  burst.length[i] = burst.length[i]! + VXLAN_PREFIX_BYTES;
}

/** In front of ESP. The inner packet is sealed; `inside` tells its version. */
function prefixSealed(burst: Burst, i: number, vni: number): void {
  const start = burst.esp[i]! - VXLAN_PREFIX_BYTES;
  writeVxlanPrefix(burst.bytes, start, vni, VXLAN_NEXT_ESP, burst.inside[i]!);
  burst.offset[i] = start;
  burst.length[i] = burst.espLength[i]! + VXLAN_PREFIX_BYTES;
}

/** Hands the burst to every port that it holds packets for. */
export function flush(burst: Burst, ports: PortTable): void {
  const used = ports.used;
  for (let slot = 0; slot < ports.slots.length; slot++) {
    if (used[slot] === 0) continue;
    used[slot] = 0;
    ports.slots[slot]?.port.write(burst, FIRST_PORT + slot);
  }
}

/** Counts every dropped packet of the burst; `sends` says that its `tunnel` column holds tunnel rows. */
export function countDrops(burst: Burst, sends: boolean, tables: Tables, now: Instant): void {
  const { next, reason } = burst;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.drop) continue;
    const why = reason[i]!;
    if (why >= 0) {
      countDrop(tables.page, why);
      continue;
    }
    const group = reasonOfErrno(why);
    countDrop(tables.page, group);
    if (group === SEND_TOO_LARGE && sends && burst.tunnel[i]! >= 0) reportPathMtu(burst, i, tables, now);
  }
}

function reportPathMtu(burst: Burst, i: number, tables: Tables, now: Instant): void {
  const row = burst.tunnel[i]!;
  const tunnels = tables.tunnels;
  if (now - tunnels.mtuReportedAt[row]! < PATH_MTU_REPORT_MS) return;
  tunnels.mtuReportedAt[row] = now;
  const headers = tunnels.family[row] === 6 ? 40 : 20;
  const udp = tunnels.port[row] === 0 ? 0 : 8;
  tables.events.push({
    kind: 'path-mtu',
    tunnel: tunnels.id[row]!,
    outside: tunnels.outside[row]!,
    outerBytes: burst.length[i]! + headers + udp,
  });
}
