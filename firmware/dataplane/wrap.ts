// @hot  Everything in front of and behind an inner packet but the IP header outside: label, GRE, ESP, VXLAN. A
// super-packet is wrapped once, with the sequence number of its first part; sealing gives every part its own copy.
import { Next, packetsIn, type Burst } from '../../drivers/burst.ts';
import { espBytes, espPayloadOffset, writeEspHeader, writeEspTrailer } from '../wire/esp.ts';
import { GRE_HEADER_BYTES, GRE_MPLS, writeGre } from '../wire/gre.ts';
import { PROTOCOL_GRE, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_NONE } from '../wire/ip.ts';
import { MPLS_ENTRY_BYTES, writeMpls } from '../wire/mpls.ts';
import { writeVxlanPrefix, VXLAN_NEXT_ESP, VXLAN_NEXT_GRE, VXLAN_PREFIX_BYTES } from '../wire/vxlan.ts';
import { countTx, Reason, sequenceWord } from './counters.ts';
import { reportLimits } from './events.ts';
import type { Tables } from './tables.ts';
import { KIND_CLEAR, KIND_VXLAN_ESP } from './tunnel.ts';

const TWO_32 = 0x1_0000_0000;
/** Without ESN the counter must not come round (RFC 4303 3.3.3). */
const LAST_SHORT_SEQUENCE = TWO_32 - 1;
const LABEL_BYTES = GRE_HEADER_BYTES + MPLS_ENTRY_BYTES;
const HARD_LIMIT = Reason['sa-hard-limit'];

/** For packets with next = wrap: seal, send for clear ones, or drop at a hard limit. `vni` is of the inside's tenant. */
export function wrap(burst: Burst, vni: number, tables: Tables): void {
  const { next, tunnel } = burst;
  const { kind } = tables.tunnels;
  for (let i = 0; i < burst.count; i++) {
    if (next[i] !== Next.wrap) continue;
    const row = tunnel[i]!;
    const how = row < 0 ? KIND_CLEAR : kind[row]!;
    if (how === KIND_CLEAR) wrapClear(burst, i, row, vni, tables);
    else if (how === KIND_VXLAN_ESP) wrapVxlan(burst, i, row, tables);
    else wrapEsp(burst, i, row, 0, burst.inside[i] === 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6, tables);
  }
}

/** Turns packet `i`, already in the burst with its empty payload, into a dummy for the tunnel `row` (RFC 4303 2.6). */
export function wrapDummy(burst: Burst, i: number, row: number, tables: Tables): void {
  burst.tunnel[i] = row;
  burst.inside[i] = 4;
  burst.mark[i] = 0;
  wrapEsp(burst, i, row, 0, PROTOCOL_NONE, tables);
  if (burst.next[i] === Next.seal && tables.tunnels.kind[row] === KIND_VXLAN_ESP) prefix(burst, i, row, tables);
}

/** The label waits in the `port` column. */
function writeLabel(burst: Burst, i: number): void {
  const start = burst.offset[i]! - LABEL_BYTES;
  writeGre(burst.bytes, start, GRE_MPLS);
  writeMpls(burst.bytes, start + GRE_HEADER_BYTES, burst.port[i]!, burst.mark[i]! >>> 5);
}

function wrapClear(burst: Burst, i: number, row: number, vni: number, tables: Tables): void {
  const start = burst.offset[i]! - LABEL_BYTES - VXLAN_PREFIX_BYTES;
  writeLabel(burst, i);
  if (row >= 0) countTx(tables.page, row, 1, burst.length[i]!);
  writeVxlanPrefix(burst.bytes, start, row < 0 ? vni : tables.tunnels.vni[row]!, VXLAN_NEXT_GRE, burst.inside[i]!);
  burst.offset[i] = start;
  burst.length[i] = burst.length[i]! + LABEL_BYTES + VXLAN_PREFIX_BYTES;
  burst.next[i] = Next.send;
}

function wrapVxlan(burst: Burst, i: number, row: number, tables: Tables): void {
  writeLabel(burst, i);
  wrapEsp(burst, i, row, LABEL_BYTES, PROTOCOL_GRE, tables);
  if (burst.next[i] === Next.seal) prefix(burst, i, row, tables);
}

/** VXLAN in front of ESP. The inner packet will be sealed; `inside` tells its version. */
function prefix(burst: Burst, i: number, row: number, tables: Tables): void {
  const start = burst.offset[i]! - VXLAN_PREFIX_BYTES;
  writeVxlanPrefix(burst.bytes, start, tables.tunnels.vni[row]!, VXLAN_NEXT_ESP, burst.inside[i]!);
  burst.offset[i] = start;
  burst.length[i] = burst.length[i]! + VXLAN_PREFIX_BYTES;
}

/** Puts ESP around the inner packet `i` and the `label` octets in front of it: offset and length are ESP's then. */
function wrapEsp(burst: Burst, i: number, row: number, label: number, nextHeader: number, tables: Tables): void {
  const { sas, tunnels, page } = tables;
  const sa = tunnels.txSa[row]!;
  const word = sequenceWord(sa);
  const inner = burst.offset[i]!;
  const length = burst.length[i]!;
  const packets = packetsIn(burst, i);
  const carried = packets === 1 ? length : length + (packets - 1) * burst.headers[i]!;
  const first = page[word]! + 1;
  const last = page[word]! + packets;
  const octets = sas.octets[sa]! + carried + packets * label;
  if (last > sas.hardPackets[sa]! || octets > sas.hardBytes[sa]! || (sas.esn[sa] === 0 && last > LAST_SHORT_SEQUENCE)) {
    burst.next[i] = Next.drop;
    burst.reason[i] = HARD_LIMIT;
    return;
  }
  page[word] = last;
  sas.packets[sa] = last;
  sas.octets[sa] = octets;
  if (last >= sas.softPackets[sa]! || octets >= sas.softBytes[sa]!) reportLimits(sas, tunnels, tables.events, sa);
  countTx(page, row, packets, carried);
  const ivBytes = sas.ivBytes[sa]!;
  const at = inner - label - espPayloadOffset(ivBytes);
  const hi = (first / TWO_32) | 0;
  writeEspHeader(burst.bytes, at, ivBytes, sas.spi[sa]!, hi, first | 0);
  burst.esp[i] = at;
  burst.seqHi[i] = hi;
  burst.sa[i] = sas.handle[sa]!;
  burst.next[i] = Next.seal;
  burst.offset[i] = at;
  if (burst.segment[i] === 0) {
    const blockBytes = sas.blockBytes[sa]!;
    writeEspTrailer(burst.bytes, inner + length, label + length, blockBytes, nextHeader);
    burst.espLength[i] = espBytes(label + length, ivBytes, sas.icvBytes[sa]!, blockBytes);
    burst.length[i] = burst.espLength[i]!;
  } else {
    burst.inner[i] = inner;
    burst.trailer[i] = nextHeader;
    burst.length[i] = inner + length - at;
  }
}
