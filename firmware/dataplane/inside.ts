// @hot  From an inside to the WAN: classify -> route -> wrap -> seal -> send.
import { BURST_PACKETS, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import type { AeadEngine } from '../../drivers/aead.ts';
import type { Instant } from '../../platform/time.ts';
import { ipDestinationAt, ipTotalBytes, ipTrafficClass, ipVersion } from '../wire/ip.ts';
import { MPLS_EXPLICIT_NULL_IPV4, MPLS_EXPLICIT_NULL_IPV6 } from '../wire/mpls.ts';
import { clampMss } from '../wire/tcp.ts';
import { classify } from './classify.ts';
import { Reason } from './counters.ts';
import { FROM_INSIDE, handOver } from './handover.ts';
import { INSIDE_CLEAR, INSIDE_LAN } from './insides.ts';
import type { Slot } from './ports.ts';
import { addressPackets, countDrops, flush, provisionalRow } from './send.ts';
import type { Tables } from './tables.ts';
import { handleTooBig } from './too-big.ts';
import { KIND_CLEAR } from './tunnel.ts';
import { unroll } from './unroll.ts';
import { wrap } from './wrap.ts';

/** How long IKE that came from elsewhere than the tunnel's endpoint is answered there too. */
const PROVISIONAL_FRESH_MS = 30_000;

/** IP and TCP headers without options. */
const TCP_OVER_IPV4_BYTES = 40;
const TCP_OVER_IPV6_BYTES = 60;

/** Reads one burst from the link of inside `row` and sends it on. Returns how many rows were read. */
export function forwardInside(slot: Slot, row: number, burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): number {
  burst.count = 0;
  const read = slot.read(burst);
  if (read > 0) acceptInside(burst, row, tables, aead, now);
  return read;
}

/** Sends on what was read from inside `row`. */
export function acceptInside(burst: Burst, row: number, tables: Tables, aead: AeadEngine, now: Instant): void {
  tables.extra.count = 0;
  classify(burst, tables.insides, row);
  sendRouted(burst, row, tables, aead, now);
  if (tables.extra.count > 0) sendRouted(tables.extra, row, tables, aead, now);
}

function sendRouted(burst: Burst, row: number, tables: Tables, aead: AeadEngine, now: Instant): void {
  route(burst, row, tables, now);
  wrap(burst, tables.insides.vni[row]!, tables);
  sealAndSend(burst, tables, aead, now);
}

/** For packets with next = seal or send: the rest of their way. */
export function sealAndSend(burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): void {
  aead.seal(burst, Next.seal, Next.send, Reason['aead-failed']);
  addressPackets(burst, tables, now);
  flush(burst, tables.ports);
  countDrops(burst, true, tables, now);
}

/** For packets with next = route: wrap, or drop with a reason. Chooses tunnel and label; the label waits in the `port` column, the inner IP version in `inside`, until they are used. */
export function route(burst: Burst, row: number, tables: Tables, now: Instant): void {
  const { bytes, offset, length, next, reason, mark, tunnel } = burst;
  const { insides, fib, tunnels } = tables;
  const { handTo } = tunnels;
  const root4 = insides.root4[row]!;
  const root6 = insides.root6[row]!;
  const clear = insides.kind[row] === INSIDE_CLEAR;
  const lan = insides.kind[row] === INSIDE_LAN;
  const linkMtu = insides.mtu[row]!;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.route) continue;
    const at = offset[i]!;
    const version = ipVersion(bytes, at);
    const destination = ipDestinationAt(bytes, at);
    const found = fib.lookup(version === 4 ? root4 : root6, bytes, destination);
    const to = fib.tunnelOf[found]!;
    if (found !== 0 && handTo[to] !== 0) {
      handOver(burst, i, handTo[to]!, FROM_INSIDE, insides.id[row]!, tables);
      continue;
    }
    mark[i] = ipTrafficClass(bytes, at);
    burst.inside[i] = version;
    length[i] = ipTotalBytes(bytes, at);
    const superPacket = burst.segment[i]! > 0;
    if (clear && superPacket) {
      unroll(burst, i, tables);
      continue;
    }
    if (clear && (found === 0 || tunnels.next[to] === 0)) {
      routeProvisionally(burst, i, row, version, destination, tables);
      continue;
    }
    const why = found === 0 ? Reason['no-route'] : faultOfTunnel(to, clear, tables);
    if (why !== 0) {
      next[i] = Next.drop;
      reason[i] = why;
      continue;
    }
    const mtu = tunnels.mtu[to]!;
    if (superPacket) {
      if (burst.headers[i]! + burst.segment[i]! > mtu) unroll(burst, i, tables);
    } else if (length[i]! > mtu) handleTooBig(burst, i, row, mtu, tables, now);
    else if (lan) clampMss(bytes, at, (mtu < linkMtu ? mtu : linkMtu) - (version === 4 ? TCP_OVER_IPV4_BYTES : TCP_OVER_IPV6_BYTES));
    if (next[i] !== Next.route) continue;
    if (clear) copyToProvisional(burst, i, row, to, version, tables, now);
    tunnel[i] = to;
    burst.port[i] = fib.labelOf[found]!;
    next[i] = Next.wrap;
  }
}

function faultOfTunnel(row: number, clear: boolean, tables: Tables): number {
  const tunnels = tables.tunnels;
  if (tunnels.kind[row] === KIND_CLEAR) {
    // Nothing but IKE ever leaves clear.
    if (!clear) return Reason['wrong-encapsulation'];
  } else if (tunnels.txSa[row]! < 0) return Reason['no-sa'];
  return tunnels.next[row] === 0 ? Reason['no-path'] : 0;
}

/** IKE to a peer without endpoint goes back to where its own IKE came from. */
function routeProvisionally(burst: Burst, i: number, row: number, version: number, destination: number, tables: Tables): void {
  const entry = tables.provisional.find(tables.insides.id[row]!, version, burst.bytes, destination);
  if (entry < 0 || tables.insides.vni[row]! < 0) {
    burst.next[i] = Next.drop;
    burst.reason[i] = Reason['no-path'];
    return;
  }
  burst.tunnel[i] = provisionalRow(entry);
  burst.port[i] = version === 4 ? MPLS_EXPLICIT_NULL_IPV4 : MPLS_EXPLICIT_NULL_IPV6;
  burst.next[i] = Next.wrap;
}

/**
 * A peer that started anew behind a NAT asks from an endpoint that its tunnel does not have yet, and a liar may say so.
 * While such IKE is fresh, answers go both ways: the peer is reached, and nobody can draw its answers away.
 */
function copyToProvisional(burst: Burst, i: number, row: number, to: number, version: number, tables: Tables, now: Instant): void {
  const { provisional, tunnels, extra } = tables;
  const at = burst.offset[i]!;
  const entry = provisional.find(tables.insides.id[row]!, version, burst.bytes, ipDestinationAt(burst.bytes, at));
  if (entry < 0 || now - provisional.seenAt[entry]! > PROVISIONAL_FRESH_MS || extra === burst || extra.count === BURST_PACKETS) return;
  if (tunnels.next[to] === provisional.next[entry] && tunnels.isAt(to, provisional.family[entry]!, provisional.address, entry * 16, provisional.port[entry]!)) return;
  const j = extra.count++;
  const start = slotStart(j);
  for (let o = 0; o < burst.length[i]!; o++) extra.bytes[start + o] = burst.bytes[at + o]!;
  extra.offset[j] = start;
  extra.length[j] = burst.length[i]!;
  extra.segment[j] = 0;
  extra.inside[j] = version;
  extra.mark[j] = burst.mark[i]!;
  routeProvisionally(extra, j, row, version, ipDestinationAt(extra.bytes, start), tables);
}
