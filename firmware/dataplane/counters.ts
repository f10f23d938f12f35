// The reasons for drops, and the page of counters that forwarder and control plane share.
//
// Page layout, in 8-octet floating-point words (integers stay exact up to 2^53, and an aligned word is never torn):
//   word 0                          version of the applied ForwardingState
//   word 1, 2                       capacity: SAs, tunnels
//   word 3                          packets handed over to other workers
//   DROPS    + reason               packets dropped for that reason
//   SAS      + row * 2              SA id (0 = free row), highest sequence number sent or accepted
//   behind   + row * 5              tunnel id (0 = free row), TX packets, TX octets, RX packets, RX octets
//
// The SA section is more than statistics: a forwarder that is started again on the same page goes on from these
// numbers, so that no nonce is used twice under one key and no packet is accepted twice.
import type { DropCount, ForwarderCounters, TunnelCount } from '../model.ts';

/** How many rows a forwarder can hold; what does not fit is refused and counted. */
export interface Capacity {
  readonly tunnels: number;
  readonly sas: number;
}

const DEFAULT_CAPACITY: Capacity = { tunnels: 8192, sas: 32_768 };

/** Append only: a number never changes its meaning. `reason[i]` of a burst is an index into this table. */
export const DROP_REASONS = [
  'none',
  // From the inside.
  'malformed-ip',
  'clear-not-ike',
  'clear-foreign-source',
  'multicast',
  'broadcast',
  'link-local',
  'unusable-address',
  'no-route',
  'no-sa',
  'no-path',
  'sa-hard-limit',
  'too-big-answered',
  'too-big-silent',
  'fragment-burst-full',
  // From the outside.
  'malformed-vxlan',
  'unknown-next-protocol',
  'malformed-esp',
  'malformed-gre',
  'malformed-mpls',
  'inner-ethernet',
  'malformed-inner-ip',
  'unknown-vni',
  'unknown-spi',
  'replay',
  'aead-failed',
  'spi-collision-miss',
  'vni-mismatch',
  'unknown-label',
  'label-of-other-tenant',
  'unknown-next-header',
  'dummy',
  'natt-keepalive',
  'source-spoofed',
  'clear-not-for-us',
  'wrong-encapsulation',
  'no-inside',
  // Sending, by group of errno.
  'send-too-large',
  'send-no-buffers',
  'send-unreachable',
  'send-refused',
  'send-forbidden',
  'send-failed',
  // Control.
  'ike-too-large',
  'ike-no-port',
  'route-ignored',
  'tunnel-ignored',
  'sa-ignored',
  // Appended later.
  'congestion-without-ecn',
  'path-probe',
  'worker-queue-full',
  'wrong-worker',
] as const;

type DropReason = (typeof DROP_REASONS)[number];

/** Reason numbers by name, for stages. */
export const Reason = Object.freeze(Object.fromEntries(DROP_REASONS.map((name, i) => [name, i]))) as Readonly<Record<DropReason, number>>;

const MAX_REASONS = 256;
const VERSION = 0;
const SA_CAPACITY = 1;
const TUNNEL_CAPACITY = 2;
const HANDED_OVER = 3;
const DROPS = 4;
const SAS = DROPS + MAX_REASONS;
const SA_WORDS = 2;
const TUNNEL_WORDS = 5;

export type CounterPage = Float64Array;

/** Zeroed memory that a worker thread can share. */
export function createCounterPage(capacity: Capacity = DEFAULT_CAPACITY): CounterPage {
  const words = SAS + capacity.sas * SA_WORDS + capacity.tunnels * TUNNEL_WORDS;
  const page = new Float64Array(new SharedArrayBuffer(words * 8));
  page[SA_CAPACITY] = capacity.sas;
  page[TUNNEL_CAPACITY] = capacity.tunnels;
  return page;
}

export function capacityOf(page: CounterPage): Capacity {
  return { sas: page[SA_CAPACITY]!, tunnels: page[TUNNEL_CAPACITY]! };
}

function tunnelWord(page: CounterPage, row: number): number {
  return SAS + page[SA_CAPACITY]! * SA_WORDS + row * TUNNEL_WORDS;
}

export function setPageVersion(page: CounterPage, version: number): void {
  page[VERSION] = version;
}

export function countDrop(page: CounterPage, reason: number, packets = 1): void {
  page[DROPS + reason]! += packets;
}

export function countHandedOver(page: CounterPage, packets: number): void {
  page[HANDED_OVER]! += packets;
}

/** Starts a row for a tunnel, or frees it with id 0. */
export function resetTunnelCounters(page: CounterPage, row: number, id: number): void {
  const at = tunnelWord(page, row);
  page.fill(0, at, at + TUNNEL_WORDS);
  page[at] = id;
}

export function countTx(page: CounterPage, row: number, packets: number, octets: number): void {
  const at = tunnelWord(page, row);
  page[at + 1]! += packets;
  page[at + 2]! += octets;
}

export function countRx(page: CounterPage, row: number, octets: number): void {
  const at = tunnelWord(page, row);
  page[at + 3]!++;
  page[at + 4]! += octets;
}

/** Index of the word that holds the sequence number of SA row `row`. */
export function sequenceWord(row: number): number {
  return SAS + row * SA_WORDS + 1;
}

export function setSaRow(page: CounterPage, row: number, id: number, sequence: number): void {
  page[SAS + row * SA_WORDS] = id;
  page[sequenceWord(row)] = sequence;
}

/** Takes the sequence numbers by SA id that a former forwarder left on the page, and frees its rows. */
export function takeFormerSequences(page: CounterPage): Map<number, number> {
  const former = new Map<number, number>();
  for (let row = 0; row < page[SA_CAPACITY]!; row++) {
    const id = page[SAS + row * SA_WORDS]!;
    if (id !== 0) former.set(id, page[sequenceWord(row)]!);
    setSaRow(page, row, 0, 0);
  }
  return former;
}

/** Tunnel rows that a former forwarder left are freed; drop counts go on. */
export function freeTunnelRows(page: CounterPage): void {
  page.fill(0, tunnelWord(page, 0));
}

/** What the page says now. */
export function readCounters(page: CounterPage): ForwarderCounters {
  const drops: DropCount[] = [];
  for (const [reason, name] of DROP_REASONS.entries()) {
    const packets = page[DROPS + reason]!;
    if (packets !== 0) drops.push({ reason: name, packets });
  }
  const tunnels: TunnelCount[] = [];
  for (let at = tunnelWord(page, 0); at < page.length; at += TUNNEL_WORDS) {
    if (page[at] === 0) continue;
    const [tunnel, txPackets, txBytes, rxPackets, rxBytes] = page.subarray(at, at + TUNNEL_WORDS) as unknown as [number, number, number, number, number];
    tunnels.push({ tunnel, txPackets, txBytes, rxPackets, rxBytes });
  }
  return { version: page[VERSION]!, handedOver: page[HANDED_OVER]!, drops, tunnels };
}

/** Reason for a negative errno that a port reported. */
export function reasonOfErrno(errno: number): number {
  switch (-errno) {
    case 90: // EMSGSIZE
      return Reason['send-too-large'];
    case 11: // EAGAIN
    case 12: // ENOMEM
    case 105: // ENOBUFS
      return Reason['send-no-buffers'];
    case 99: // EADDRNOTAVAIL
    case 100: // ENETDOWN
    case 101: // ENETUNREACH
    case 113: // EHOSTUNREACH
      return Reason['send-unreachable'];
    case 111: // ECONNREFUSED
      return Reason['send-refused'];
    case 1: // EPERM
    case 13: // EACCES
      return Reason['send-forbidden'];
    default:
      return Reason['send-failed'];
  }
}
