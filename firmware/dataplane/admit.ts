// @hot  From the WAN, first half: what arrived, which SA it claims, whether its number is new. Everything here is
// unauthenticated; the only traffic that gets through without a tag is IKE to the box's own clear address.
import { BURST_PACKETS, FIRST_PORT, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import { addressText } from '../wire/address.ts';
import { espSequence, espSpi, isEsp, ESP_SHORTEST_BYTES } from '../wire/esp.ts';
import { addressFault, ipDestinationAt, ipSourceAt, ipTotalBytes, ipVersion, read32, AddressFault } from '../wire/ip.ts';
import { isSameVxlanPrefix, isVxlan, vxlanPayload, vxlanVni, VXLAN_NEXT_ESP, VXLAN_PREFIX_BYTES } from '../wire/vxlan.ts';
import { isIke, isIp } from './classify.ts';
import { Reason, sequenceWord } from './counters.ts';
import { COPY_FROM_OUTSIDE, FROM_OUTSIDE, handOver } from './handover.ts';
import { innerPacket, isExplicitNull } from './labelled.ts';
import type { Slot } from './ports.ts';
import { inferSequence, replayIsNew } from './replay.ts';
import { markUsed } from './send.ts';
import type { Tables } from './tables.ts';

const TWO_32 = 0x1_0000_0000;
const NATT_KEEPALIVE = 0xff;
const NON_ESP_MARKER_BYTES = 4;
const ANY_TENANT = -1;
const NO_VNI = -1;
const SHORTEST_SEALED_BYTES = VXLAN_PREFIX_BYTES + ESP_SHORTEST_BYTES;
const REPLAY = Reason.replay;
const MALFORMED_VXLAN = Reason['malformed-vxlan'];
/** For copies of a packet that another SA with the same SPI was meant to open. */
const COLLISION_MISS = Reason['spi-collision-miss'];

/**
 * VXLAN: next = open for ESP, the clear TVI's link for IKE, else drop. `slotNext` is the port's own `next`.
 * A datagram with the headers of the one before it (`like`) belongs to the same SA: it was joined with it on its way.
 */
export function admitVxlan(burst: Burst, slot: Slot, slotNext: number, tables: Tables, now: Instant): void {
  const { bytes, offset, length, next, reason } = burst;
  const count = burst.count;
  let like = -1;
  for (let i = 0; i < count; i++) {
    const at = offset[i]!;
    if (like >= 0 && isLikeBefore(burst, i, like)) {
      burst.esp[i] = at + VXLAN_PREFIX_BYTES;
      burst.espLength[i] = length[i]! - VXLAN_PREFIX_BYTES;
      claimSa(burst, i, burst.tunnel[like]!, REPLAY, tables);
      continue;
    }
    like = -1;
    next[i] = Next.drop;
    reason[i] = MALFORMED_VXLAN;
    if (!isVxlan(bytes, at, length[i]!)) continue;
    const payload = vxlanPayload(bytes, at, length[i]!);
    if (payload < 0) continue;
    const protocol = payload & 0xff;
    const skip = payload >>> 8;
    if (protocol !== VXLAN_NEXT_ESP) admitClear(burst, i, at, skip, protocol, slotNext, tables, now);
    else if (admitEsp(burst, i, at + skip, length[i]! - skip, vxlanVni(bytes, at), slot, tables) && skip === VXLAN_PREFIX_BYTES) like = i;
  }
}

/** Same VXLAN headers and SPI as row `like`, and a length that ESP can have. */
function isLikeBefore(burst: Burst, i: number, like: number): boolean {
  const { view, length } = burst;
  const a = burst.offset[i]!;
  const b = burst.offset[like]!;
  return (
    length[i]! >= SHORTEST_SEALED_BYTES && (length[i]! & 3) === 0 && isSameVxlanPrefix(view, a, b) && view.getInt32(a + VXLAN_PREFIX_BYTES) === view.getInt32(b + VXLAN_PREFIX_BYTES)
  );
}

/** UDP 4500: IKE goes to the control plane, the rest is ESP. */
export function admitNatt(burst: Burst, slot: Slot, local: { address: string; port: number }, tables: Tables): void {
  const { bytes, offset, length, next, reason } = burst;
  const count = burst.count;
  for (let i = 0; i < count; i++) {
    const at = offset[i]!;
    next[i] = Next.drop;
    if (length[i] === 1 && bytes[at] === NATT_KEEPALIVE) reason[i] = Reason['natt-keepalive'];
    else if (length[i]! > NON_ESP_MARKER_BYTES && read32(bytes, at) === 0) reportIke(burst, i, slot.owner, local, tables);
    else admitEsp(burst, i, at, length[i]!, NO_VNI, slot, tables);
  }
}

export function admitBareEsp(burst: Burst, slot: Slot, tables: Tables): void {
  const count = burst.count;
  for (let i = 0; i < count; i++) admitEsp(burst, i, burst.offset[i]!, burst.length[i]!, NO_VNI, slot, tables);
}

function reportIke(burst: Burst, i: number, outside: number, local: { address: string; port: number }, tables: Tables): void {
  const octets = burst.family[i] === 4 ? 4 : 16;
  const address = addressText(burst.address.slice(i * 16, i * 16 + octets));
  const at = burst.offset[i]!;
  tables.events.push({
    kind: 'ike',
    outside,
    local,
    remote: { address, port: burst.port[i]! },
    bytes: burst.bytes.slice(at + NON_ESP_MARKER_BYTES, at + burst.length[i]!),
  });
  burst.next[i] = Next.done;
}

/**
 * Finds the SA and infers the sequence number: next = open, `tunnel` = row of the SA. The VNI only says where to look
 * first; SAs of other tenants with this SPI are considered when the hinted tenant has none. Returns whether the SPI names
 * one SA only, and this worker has it.
 */
function admitEsp(burst: Burst, i: number, at: number, length: number, vni: number, slot: Slot, tables: Tables): boolean {
  burst.next[i] = Next.drop;
  if (!isEsp(burst.bytes, at, length) || (length & 3) !== 0) {
    burst.reason[i] = Reason['malformed-esp'];
    return false;
  }
  burst.esp[i] = at;
  burst.espLength[i] = length;
  const sas = tables.sas;
  const spi = espSpi(burst.bytes, at);
  const first = sas.first(spi);
  if (first < 0) {
    burst.reason[i] = Reason['unknown-spi'];
    return false;
  }
  if (sas.after(first) < 0) {
    const hand = sas.handTo[first]!;
    if (hand === 0) claimSa(burst, i, first, REPLAY, tables);
    else handOver(burst, i, hand, FROM_OUTSIDE, slot.owner, tables);
    return hand === 0;
  }
  admitAmbiguous(burst, i, first, tables.insides.tenantOfVni(vni), slot, tables);
  return false;
}

/** Several SAs have this SPI: the likeliest gets the packet, the others copies of it. At most one tag will be good. */
function admitAmbiguous(burst: Burst, i: number, first: number, tenant: number, slot: Slot, tables: Tables): void {
  const { sas, tunnels, extra } = tables;
  let hinted = false;
  for (let row = first; row >= 0; row = sas.after(row)) hinted ||= sas.tenant[row] === tenant;
  if (sas.others > 0 && handOverAmbiguous(burst, i, first, hinted ? tenant : ANY_TENANT, slot, tables)) return;
  let best = -1;
  for (let row = first; row >= 0; row = sas.after(row)) {
    if (sas.handTo[row] !== 0 || (hinted && sas.tenant[row] !== tenant)) continue;
    const here = tunnels.sendsTo(sas.tunnel[row]!, slot.owner, burst.family[i]!, burst.address, i * 16, burst.port[i]!);
    if (best < 0 || here) best = row;
  }
  for (let row = first; row >= 0; row = sas.after(row)) {
    if (row === best || sas.handTo[row] !== 0 || (hinted && sas.tenant[row] !== tenant) || extra.count === BURST_PACKETS) continue;
    const j = extra.count++;
    copyPacket(burst, i, extra, j);
    claimSa(extra, j, row, COLLISION_MISS, tables);
  }
  claimSa(burst, i, best, REPLAY, tables);
}

/** Workers of other SAs with this SPI get copies. Returns whether there is no SA for this worker to try: then packet `i` itself is away. */
function handOverAmbiguous(burst: Burst, i: number, first: number, tenant: number, slot: Slot, tables: Tables): boolean {
  const { sas, extra } = tables;
  let away = true;
  let told = 0;
  for (let row = first; row >= 0; row = sas.after(row)) if (sas.handTo[row] === 0 && (tenant === ANY_TENANT || sas.tenant[row] === tenant)) away = false;
  for (let row = first; row >= 0; row = sas.after(row)) {
    const hand = sas.handTo[row]!;
    const bit = 1 << (hand & 31);
    if (hand === 0 || (told & bit) !== 0 || (tenant !== ANY_TENANT && sas.tenant[row] !== tenant)) continue;
    if (away && told === 0) handOver(burst, i, hand, FROM_OUTSIDE, slot.owner, tables);
    else if (!tables.handed && extra.count < BURST_PACKETS) {
      const j = extra.count++;
      copyPacket(burst, i, extra, j);
      handOver(extra, j, hand, COPY_FROM_OUTSIDE, slot.owner, tables);
    }
    told |= bit;
  }
  return away;
}

function claimSa(burst: Burst, i: number, row: number, seenReason: number, tables: Tables): void {
  const { sas, page } = tables;
  const top = page[sequenceWord(row)]!;
  const window = sas.window[row]!;
  const sequence = inferSequence(top, window, espSequence(burst.bytes, burst.esp[i]!), sas.esn[row] === 1);
  burst.tunnel[i] = row;
  if (sequence < 0 || !replayIsNew(sas.rings[row]!, top, window, sequence)) {
    burst.next[i] = Next.drop;
    burst.reason[i] = seenReason;
    return;
  }
  burst.seqHi[i] = (sequence / TWO_32) | 0;
  burst.sa[i] = sas.handle[row]!;
  burst.next[i] = Next.open;
}

function copyPacket(from: Burst, i: number, to: Burst, j: number): void {
  const start = slotStart(j);
  const shift = start - from.offset[i]!;
  for (let o = 0; o < from.length[i]!; o++) to.bytes[start + o] = from.bytes[from.offset[i]! + o]!;
  for (let o = 0; o < 16; o++) to.address[j * 16 + o] = from.address[i * 16 + o]!;
  to.offset[j] = start;
  to.length[j] = from.length[i]!;
  to.esp[j] = from.esp[i]! + shift;
  to.espLength[j] = from.espLength[i]!;
  to.port[j] = from.port[i]!;
  to.family[j] = from.family[i]!;
  to.segment[j] = 0;
  to.mark[j] = from.mark[i]!;
}

function admitClear(burst: Burst, i: number, at: number, skip: number, protocol: number, slotNext: number, tables: Tables, now: Instant): void {
  const { bytes } = burst;
  const { insides, provisional } = tables;
  const inner = innerPacket(bytes, at + skip, burst.length[i]! - skip, protocol);
  if (inner < 0) {
    burst.reason[i] = -inner;
    return;
  }
  const ip = at + skip + (inner & 0xff);
  const row = insides.clearOfTenant(insides.tenantOfVni(vxlanVni(bytes, at)));
  const fault = faultOfClear(burst, i, ip, inner >>> 8, row, tables);
  if (fault !== 0) {
    burst.reason[i] = fault;
    return;
  }
  if (tables.home !== 0) {
    handOver(burst, i, tables.home, FROM_OUTSIDE, tables.ports.slots[slotNext - FIRST_PORT]!.owner, tables);
    return;
  }
  const version = ipVersion(bytes, ip);
  const entry = provisional.claim(insides.id[row]!, version, bytes, ipSourceAt(bytes, ip));
  provisional.next[entry] = slotNext;
  provisional.seenAt[entry] = now;
  provisional.family[entry] = burst.family[i]!;
  provisional.port[entry] = burst.port[i]!;
  for (let o = 0; o < 16; o++) provisional.address[entry * 16 + o] = burst.address[i * 16 + o]!;
  burst.offset[i] = ip;
  burst.length[i] = ipTotalBytes(bytes, ip);
  burst.next[i] = insides.next[row]!;
  markUsed(tables.ports, insides.next[row]!);
}

/** Only whole IKE messages from someone else to the box's own clear address; 0 = legal. */
function faultOfClear(burst: Burst, i: number, ip: number, label: number, row: number, tables: Tables): number {
  const { bytes } = burst;
  const { insides } = tables;
  if (row < 0) return Reason['unknown-vni'];
  if (!isIp(bytes, ip, burst.offset[i]! + burst.length[i]! - ip)) return Reason['malformed-inner-ip'];
  if (!isExplicitNull(label) || !isIke(bytes, ip)) return Reason['clear-not-ike'];
  const version = ipVersion(bytes, ip);
  if (!insides.isOwn(row, version, bytes, ipDestinationAt(bytes, ip))) return Reason['clear-not-for-us'];
  const source = ipSourceAt(bytes, ip);
  if (addressFault(bytes, source, version) !== AddressFault.none || insides.isOwn(row, version, bytes, source)) return Reason['source-spoofed'];
  return insides.next[row] === 0 ? Reason['no-inside'] : 0;
}
