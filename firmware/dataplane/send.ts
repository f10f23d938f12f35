// @hot  Last stages of both directions: endpoints, writing to the ports, counting what was dropped.
import { FIRST_PORT, Next, packetsIn, type Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import { countDrop, Reason, reasonOfErrno } from './counters.ts';
import type { PortTable } from './ports.ts';
import type { Tables } from './tables.ts';

const SEND_TOO_LARGE = Reason['send-too-large'];

/** Remembers that the burst holds packets for the port with this `next`. */
export function markUsed(ports: PortTable, next: number): void {
  ports.used[next - FIRST_PORT] = 1;
}

/** The same for all packets that have their port already, when another burst was flushed meanwhile. */
export function markAllUsed(burst: Burst, ports: PortTable): void {
  for (let i = 0; i < burst.count; i++) if (burst.next[i]! >= FIRST_PORT) markUsed(ports, burst.next[i]!);
}

/** A `tunnel` column value below zero names an entry of the provisional endpoints. */
export function provisionalRow(entry: number): number {
  return -1 - entry;
}

/** Addresses every packet with next = send and names its port. */
export function addressPackets(burst: Burst, tables: Tables, now: Instant): void {
  const { next, tunnel } = burst;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.send) continue;
    const row = tunnel[i]!;
    if (row < 0) addressProvisional(burst, i, -1 - row, tables);
    else addressTunnel(burst, i, row, tables, now);
  }
}

function addressTunnel(burst: Burst, i: number, row: number, tables: Tables, now: Instant): void {
  const tunnels = tables.tunnels;
  copyAddress(tunnels.address, row * 16, tunnels.family[row]!, burst.address, i * 16);
  burst.family[i] = tunnels.family[row]!;
  burst.port[i] = tunnels.port[row]!;
  burst.next[i] = tunnels.next[row]!;
  markUsed(tables.ports, tunnels.next[row]!);
  tunnels.lastTx[row] = now;
}

function addressProvisional(burst: Burst, i: number, entry: number, tables: Tables): void {
  const provisional = tables.provisional;
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

/** Hands the burst to every port that it holds packets for. */
export function flush(burst: Burst, ports: PortTable): void {
  const used = ports.used;
  for (let slot = 0; slot < ports.slots.length; slot++) {
    if (used[slot] === 0) continue;
    used[slot] = 0;
    ports.slots[slot]?.write(burst, FIRST_PORT + slot);
  }
}

/** Counts every dropped packet of the burst; `sends` says that its `tunnel` column holds tunnel rows. */
export function countDrops(burst: Burst, sends: boolean, tables: Tables, now: Instant): void {
  const { next, reason } = burst;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.drop) continue;
    const why = reason[i]!;
    const group = why < 0 ? reasonOfErrno(why) : why;
    countDrop(tables.page, group, packetsIn(burst, i));
    if (why >= 0) continue;
    if (group === SEND_TOO_LARGE && sends && burst.tunnel[i]! >= 0) tables.probes.refused(burst.tunnel[i]!, tables, now);
  }
}
