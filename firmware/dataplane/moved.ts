// @hot (noticeSource)  Endpoints that move: NAT bindings change, links fail over. Called for good packets only.
import type { Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import type { Slot } from './ports.ts';
import type { Tables } from './tables.ts';
import type { TunnelEndpoint } from './tunnel.ts';
import { KIND_CLEAR, KIND_ESP, KIND_VXLAN_ESP } from './tunnel.ts';

/** An endpoint moves at most this often; what comes in between is noticed by the next packet. */
const MOVE_INTERVAL_MS = 100;
/**
 * Two configured paths may both be alive, each end preferring another one. While the path in use still brings packets,
 * a packet on another configured path is no reason to leave it; else both ends would follow each other for ever.
 */
const PATH_ALIVE_MS = 1000;

/** Compares the outer source of packet `i` with where tunnel `row` sends to. */
export function noticeSource(burst: Burst, i: number, row: number, slot: Slot, tables: Tables, now: Instant): void {
  const tunnels = tables.tunnels;
  if (!isOwnRole(tunnels.kind[row]!, slot)) return;
  if (tunnels.sendsTo(row, slot.owner, burst.family[i]!, burst.address, i * 16, burst.port[i]!)) tunnels.lastRxHere[row] = now;
  else move(burst, i, row, slot, tables, now);
}

/** A tunnel of ESP in UDP cannot learn an endpoint from bare ESP, nor the other way round. */
function isOwnRole(kind: number, slot: Slot): boolean {
  if (kind === KIND_CLEAR) return false;
  if (kind === KIND_VXLAN_ESP) return slot.role === 'vxlan';
  return slot.role === (kind === KIND_ESP ? 'esp' : 'natt');
}

function move(burst: Burst, i: number, row: number, slot: Slot, tables: Tables, now: Instant): void {
  const { tunnels, ports, events } = tables;
  if (now - tunnels.movedAt[row]! < MOVE_INTERVAL_MS) return;
  const family = burst.family[i]!;
  const endpoint: TunnelEndpoint = {
    outside: slot.owner,
    family,
    address: burst.address.slice(i * 16, i * 16 + (family === 4 ? 4 : 16)),
    port: burst.port[i]!,
  };
  const alive = tunnels.next[row] !== 0 && now - tunnels.lastRxHere[row]! < PATH_ALIVE_MS;
  if (alive && tunnels.isConfigured(row, endpoint)) return;
  tunnels.movedAt[row] = now;
  tunnels.lastRxHere[row] = now;
  tunnels.learn(row, endpoint, ports);
  tables.probes.restart(row, tables, now);
  events.push({ kind: 'endpoint-moved', tunnel: tunnels.id[row]!, outside: slot.owner, remote: tunnels.remoteOf(row) });
}
