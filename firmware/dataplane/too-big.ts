// @hot  Inner packets larger than their tunnel's MTU: fragments where IPv4 allows it, else an ICMP error back into the
// inside (RFC 791, RFC 1191, RFC 8201). Errors are rate limited.
import { BURST_PACKETS, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import { mayAnswerWithIcmp, tooBigPrefixBytes, writeTooBig } from '../wire/icmp.ts';
import { ipTotalBytes, ipVersion, ipv4DontFragment, ipv4FragmentOffset, ipv4HeaderBytes, ipv4MoreFragments, writeIpv4Fragment } from '../wire/ip.ts';
import { countDrop, Reason } from './counters.ts';
import { markUsed } from './send.ts';
import type { Tables } from './tables.ts';

/** ICMP errors per second, and in one go. */
const ICMP_PER_SECOND = 200;
const SMALLEST_FRAGMENT_MTU = 68;

/**
 * Deals with packet `i`, which is longer than `mtu`. Afterwards it is the first fragment (next = route still), the ICMP
 * error on its way to the inside `row`, or dropped. Further fragments are in `tables.extra`, next = route.
 */
export function handleTooBig(burst: Burst, i: number, row: number, mtu: number, tables: Tables, now: Instant): void {
  const at = burst.offset[i]!;
  if (ipVersion(burst.bytes, at) === 4 && !ipv4DontFragment(burst.bytes, at) && mtu >= SMALLEST_FRAGMENT_MTU) {
    if (!fragment(burst, i, mtu, tables.extra)) {
      burst.next[i] = Next.drop;
      burst.reason[i] = Reason['fragment-burst-full'];
    }
    return;
  }
  answer(burst, i, row, mtu, tables, now);
}

function answer(burst: Burst, i: number, row: number, mtu: number, tables: Tables, now: Instant): void {
  const at = burst.offset[i]!;
  const link = tables.insides.next[row]!;
  burst.next[i] = Next.drop;
  burst.reason[i] = Reason['too-big-silent'];
  if (link === 0 || !mayAnswerWithIcmp(burst.bytes, at) || !takeToken(tables, now)) return;
  const version = ipVersion(burst.bytes, at);
  burst.length[i] = writeTooBig(burst.bytes, at, mtu);
  burst.offset[i] = at - tooBigPrefixBytes(version);
  burst.next[i] = link;
  // It belongs to no tunnel: should the link refuse it, that says nothing about a path.
  burst.tunnel[i] = -1;
  markUsed(tables.ports, link);
  countDrop(tables.page, Reason['too-big-answered']);
}

function takeToken(tables: Tables, now: Instant): boolean {
  const earned = ((now - tables.icmpToppedUpAt) * ICMP_PER_SECOND) / 1000;
  if (earned >= 1) {
    tables.icmpTokens = Math.min(ICMP_PER_SECOND, tables.icmpTokens + earned);
    tables.icmpToppedUpAt = now;
  }
  if (tables.icmpTokens < 1) return false;
  tables.icmpTokens--;
  return true;
}

/** Cuts packet `i` to its first fragment and appends the others to `extra`; false when they do not fit there. */
function fragment(burst: Burst, i: number, mtu: number, extra: Burst): boolean {
  const bytes = burst.bytes;
  const at = burst.offset[i]!;
  const header = ipv4HeaderBytes(bytes, at);
  const payload = ipTotalBytes(bytes, at) - header;
  const piece = (mtu - header) & ~7;
  if (piece <= 0) return false;
  const pieces = Math.ceil(payload / piece);
  if (extra.count + pieces - 1 > BURST_PACKETS) return false;
  const base = ipv4FragmentOffset(bytes, at);
  const moreAfter = ipv4MoreFragments(bytes, at);
  for (let k = 1; k < pieces; k++) {
    const size = Math.min(piece, payload - k * piece);
    const j = extra.count++;
    const start = slotStart(j);
    for (let o = 0; o < header; o++) extra.bytes[start + o] = bytes[at + o]!;
    const from = at + header + k * piece;
    for (let o = 0; o < size; o++) extra.bytes[start + header + o] = bytes[from + o]!;
    writeIpv4Fragment(extra.bytes, start, header + size, base + k * piece, moreAfter || k < pieces - 1);
    extra.offset[j] = start;
    extra.length[j] = header + size;
    extra.segment[j] = 0;
    extra.reason[j] = 0;
    extra.next[j] = Next.route;
  }
  writeIpv4Fragment(bytes, at, header + piece, base, true);
  burst.length[i] = header + piece;
  return true;
}
