// @hot  From the WAN to an inside: admit (admit.ts) -> open -> commit -> unwrap -> deliver.
import type { AeadEngine } from '../../drivers/aead.ts';
import { Next, type Burst } from '../../drivers/burst.ts';
import type { DatagramPort } from '../../drivers/port.ts';
import type { Instant } from '../../platform/time.ts';
import { espNextHeader, espPayloadBytes, espPayloadOffset, espSequence } from '../wire/esp.ts';
import {
  addressFault, ipDestinationAt, ipSourceAt, isSameIpPair, ipTotalBytes, ipTrafficClass, ipVersion, setEcn,
  ECN_CONGESTION, ECN_ECT_0, ECN_ECT_1, ECN_MASK, ECN_NOT_CAPABLE,
  IPV6_HEADER_BYTES, PROTOCOL_GRE, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_NONE,
} from '../wire/ip.ts';
import { clampMss } from '../wire/tcp.ts';
import { vxlanVni } from '../wire/vxlan.ts';
import { admitBareEsp, admitNatt, admitVxlan } from './admit.ts';
import { isIp, reasonOfFault } from './classify.ts';
import { countRx, Reason, sequenceWord } from './counters.ts';
import { reportLimits } from './events.ts';
import { INSIDE_LAN } from './insides.ts';
import { isExplicitNull, throughGre } from './labelled.ts';
import { noticeSource } from './moved.ts';
import type { Slot } from './ports.ts';
import { replayCommit, replayIsNew } from './replay.ts';
import { REPORTED_FIRST } from './sa-table.ts';
import { countDrops, flush, markAllUsed, markUsed } from './send.ts';
import type { Tables } from './tables.ts';
import { KIND_ESP, KIND_ESP_UDP, KIND_VXLAN_ESP } from './tunnel.ts';

const TWO_32 = 0x1_0000_0000;
const TCP_OVER_IPV4_BYTES = 40;
const TCP_OVER_IPV6_BYTES = 60;
/** The headers that `isLikeBefore` looks at: IPv6, the largest. What is shorter with its trailer and ICV is looked at in full. */
const LARGEST_COMPARED_BYTES = IPV6_HEADER_BYTES;
const AEAD_FAILED = Reason['aead-failed'];

/** Reads one burst from an outside's port and delivers it. Returns how many packets were read. */
export function forwardOutside(slot: Slot, slotNext: number, burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): number {
  burst.count = 0;
  const read = slot.read(burst);
  if (read > 0) acceptOutside(burst, slot, slotNext, AEAD_FAILED, tables, aead, now);
  return read;
}

/** Delivers what was read from an outside's port. */
export function acceptOutside(burst: Burst, slot: Slot, slotNext: number, failReason: number, tables: Tables, aead: AeadEngine, now: Instant): void {
  const extra = tables.extra;
  extra.count = 0;
  if (slot.role === 'vxlan') admitVxlan(burst, slot, slotNext, tables, now);
  else if (slot.role === 'natt') admitNatt(burst, slot, (slot.port as DatagramPort).local, tables);
  else admitBareEsp(burst, slot, tables);
  openAndDeliver(burst, slot, failReason, tables, aead, now);
  if (extra.count === 0) return;
  markAllUsed(extra, tables.ports);
  openAndDeliver(extra, slot, Reason['spi-collision-miss'], tables, aead, now);
}

function openAndDeliver(burst: Burst, slot: Slot, failReason: number, tables: Tables, aead: AeadEngine, now: Instant): void {
  aead.open(burst, Next.open, Next.unwrap, failReason);
  unwrap(burst, slot, tables, now);
  flush(burst, tables.ports);
  countDrops(burst, false, tables, now);
}

/** For opened packets: the port that they leave through, or drop with a reason. */
export function unwrap(burst: Burst, slot: Slot, tables: Tables, now: Instant): void {
  const { next, reason, tunnel } = burst;
  const { sas } = tables;
  let like = -1;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.unwrap) {
      if (next[i] === Next.drop && reason[i] === AEAD_FAILED) countFailure(tunnel[i]!, tables);
      continue;
    }
    const sa = tunnel[i]!;
    let fault = commit(burst, i, sa, slot, tables, now);
    if (fault === 0) {
      if (like >= 0 && tunnel[like] === sa && isLikeBefore(burst, i, like, sas.ivBytes[sa]!, sas.icvBytes[sa]!)) fault = deliverLike(burst, i, like, sa, tables);
      else fault = deliver(burst, i, sa, tables, now);
    }
    if (fault === 0) like = i;
    else {
      next[i] = Next.drop;
      reason[i] = fault;
    }
  }
}

/**
 * Whether packet `i` of the same SA has the next header, labels and inner addresses of row `like`, which was delivered:
 * then it goes where that one went, and its source is as good.
 */
function isLikeBefore(burst: Burst, i: number, like: number, ivBytes: number, icvBytes: number): boolean {
  const { view, bytes, esp, espLength } = burst;
  const a = esp[i]!;
  const b = esp[like]!;
  const skip = burst.offset[like]! - b;
  if (espLength[i]! < skip + LARGEST_COMPARED_BYTES || espNextHeader(bytes, a, espLength[i]!, icvBytes) !== espNextHeader(bytes, b, espLength[like]!, icvBytes)) return false;
  for (let o = espPayloadOffset(ivBytes); o < skip; o += 4) if (view.getInt32(a + o) !== view.getInt32(b + o)) return false;
  return isSameIpPair(view, a + skip, b + skip);
}

function deliverLike(burst: Burst, i: number, like: number, sa: number, tables: Tables): number {
  const { bytes } = burst;
  const { sas } = tables;
  const ivBytes = sas.ivBytes[sa]!;
  const skip = burst.offset[like]! - burst.esp[like]!;
  const at = burst.esp[i]! + skip;
  const payload = espPayloadBytes(bytes, burst.esp[i]!, burst.espLength[i]!, ivBytes, sas.icvBytes[sa]!);
  if (payload < 0) return Reason['malformed-esp'];
  if (!isIp(bytes, at, payload - (skip - espPayloadOffset(ivBytes)))) return Reason['malformed-inner-ip'];
  return place(burst, i, at, burst.inside[like]!, sas.tunnel[sa]!, tables);
}

function countFailure(sa: number, tables: Tables): void {
  tables.sas.failures[sa]!++;
  reportLimits(tables.sas, tables.tunnels, tables.events, sa);
}

/** The tag was good: window, limits, and what the outer header may now be believed. 0, or a drop reason. */
function commit(burst: Burst, i: number, sa: number, slot: Slot, tables: Tables, now: Instant): number {
  const { sas, tunnels, page, events } = tables;
  const word = sequenceWord(sa);
  const top = page[word]!;
  const sequence = burst.seqHi[i]! * TWO_32 + espSequence(burst.bytes, burst.esp[i]!);
  // A second copy may have stood in the same burst.
  if (!replayIsNew(sas.rings[sa]!, top, sas.window[sa]!, sequence)) return Reason.replay;
  replayCommit(sas.rings[sa]!, top, sequence);
  const newest = sequence > top;
  if (newest) page[word] = sequence;
  const row = sas.tunnel[sa]!;
  if (!fits(tunnels.kind[row]!, slot)) return Reason['wrong-encapsulation'];
  if (slot.role === 'vxlan' && vxlanVni(burst.bytes, burst.offset[i]!) !== tunnels.vni[row]) return Reason['vni-mismatch'];
  sas.packets[sa]!++;
  sas.octets[sa]! += burst.espLength[i]!;
  if (sas.packets[sa]! > sas.hardPackets[sa]! || sas.octets[sa]! > sas.hardBytes[sa]!) return Reason['sa-hard-limit'];
  if (sas.packets[sa]! >= sas.softPackets[sa]! || sas.octets[sa]! >= sas.softBytes[sa]!) reportLimits(sas, tunnels, events, sa);
  if ((sas.reported[sa]! & REPORTED_FIRST) === 0) {
    sas.reported[sa]! |= REPORTED_FIRST;
    events.push({ kind: 'first-packet', tunnel: tunnels.id[row]!, spi: sas.spi[sa]! >>> 0 });
  }
  // Only the newest packet moves an endpoint: an old one may have been under way since before the peer moved.
  if (newest) noticeSource(burst, i, row, slot, tables, now);
  return 0;
}

/** ESP in UDP and bare ESP are one thing to a receiver (RFC 7296 2.23). */
function fits(kind: number, slot: Slot): boolean {
  return slot.role === 'vxlan' ? kind === KIND_VXLAN_ESP : kind === KIND_ESP || kind === KIND_ESP_UDP;
}

/** Takes the inner packet out of the opened one and names the link that it goes to. 0, or a drop reason. */
function deliver(burst: Burst, i: number, sa: number, tables: Tables, now: Instant): number {
  const { bytes } = burst;
  const { insides, sas, tunnels } = tables;
  const row = sas.tunnel[sa]!;
  const length = burst.espLength[i]!;
  const payload = espPayloadBytes(bytes, burst.esp[i]!, length, sas.ivBytes[sa]!, sas.icvBytes[sa]!);
  if (payload < 0) return Reason['malformed-esp'];
  let at = burst.esp[i]! + espPayloadOffset(sas.ivBytes[sa]!);
  let left = payload;
  let inside = tunnels.inside[row]!;
  const nextHeader = espNextHeader(bytes, burst.esp[i]!, length, sas.icvBytes[sa]!);
  if (nextHeader === PROTOCOL_NONE) return tables.probes.heard(bytes, at, payload, row, tables, now);
  if (nextHeader === PROTOCOL_GRE && tunnels.kind[row] === KIND_VXLAN_ESP) {
    const inner = throughGre(bytes, at, left);
    if (inner < 0) return -inner;
    at += inner & 0xff;
    left -= inner & 0xff;
    const label = inner >>> 8;
    if (!isExplicitNull(label)) inside = insides.rowOfLabel(label);
    if (inside < 0) return Reason['unknown-label'];
    if (insides.tenant[inside] !== sas.tenant[sa]) return Reason['label-of-other-tenant'];
  } else if (nextHeader !== PROTOCOL_IPV4 && nextHeader !== PROTOCOL_IPV6) return Reason['unknown-next-header'];
  if (inside < 0 || insides.next[inside] === 0) return Reason['no-inside'];
  return deliverIp(burst, i, at, left, inside, row, tables);
}

function deliverIp(burst: Burst, i: number, at: number, left: number, inside: number, row: number, tables: Tables): number {
  const { bytes } = burst;
  if (!isIp(bytes, at, left)) return Reason['malformed-inner-ip'];
  const version = ipVersion(bytes, at);
  const fault = reasonOfFault(addressFault(bytes, ipDestinationAt(bytes, at), version));
  if (fault !== 0) return fault;
  if (!sourceIsBehind(bytes, at, version, inside, row, tables)) return Reason['source-spoofed'];
  return place(burst, i, at, inside, row, tables);
}

/** Last step for a packet whose addresses are good: it leaves through the link of its inside. 0, or a drop reason. */
function place(burst: Burst, i: number, at: number, inside: number, row: number, tables: Tables): number {
  const { bytes } = burst;
  const { insides, tunnels, page, ports } = tables;
  if (!mergeEcn(bytes, at, burst.mark[i]!)) return Reason['congestion-without-ecn'];
  if (insides.kind[inside] === INSIDE_LAN) {
    const mtu = tunnels.mtu[row]! < insides.mtu[inside]! ? tunnels.mtu[row]! : insides.mtu[inside]!;
    clampMss(bytes, at, mtu - (ipVersion(bytes, at) === 4 ? TCP_OVER_IPV4_BYTES : TCP_OVER_IPV6_BYTES));
  }
  burst.offset[i] = at;
  burst.length[i] = ipTotalBytes(bytes, at);
  burst.inside[i] = inside;
  burst.next[i] = insides.next[inside]!;
  markUsed(ports, insides.next[inside]!);
  countRx(page, row, burst.length[i]!);
  return 0;
}

/** Carries congestion marks of the outer header inwards (RFC 6040 4.2); false = the packet must be dropped instead. */
function mergeEcn(bytes: Uint8Array, at: number, mark: number): boolean {
  const outer = mark & ECN_MASK;
  if (outer !== ECN_CONGESTION && outer !== ECN_ECT_1) return true;
  const inner = ipTrafficClass(bytes, at) & ECN_MASK;
  if (inner === ECN_NOT_CAPABLE) return outer !== ECN_CONGESTION;
  if (outer === ECN_CONGESTION || inner === ECN_ECT_0) setEcn(bytes, at, outer);
  return true;
}

/** Reverse-path check: the inside must route the source to the peer that sent the packet. */
function sourceIsBehind(bytes: Uint8Array, at: number, version: number, inside: number, row: number, tables: Tables): boolean {
  const { insides, fib, tunnels } = tables;
  const source = ipSourceAt(bytes, at);
  if (insides.isOwn(inside, version, bytes, source)) return false;
  const found = fib.lookup(version === 4 ? insides.root4[inside]! : insides.root6[inside]!, bytes, source);
  return found !== 0 && tunnels.peer[fib.tunnelOf[found]!] === tunnels.peer[row];
}
