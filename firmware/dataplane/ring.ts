// @hot  Packets on their way from one worker to another: a ring in shared memory with one writer and one reader. Octets
// are copied as whole words, so a packet keeps its place within a word (`shift`).
//
//   word 0    WRITE  where the next record begins      the writer's
//   word 1    LEFT   where it began anew               the writer's
//   word 16   READ   the oldest record                 the reader's
//   word 32   RUNG   1 from waking the reader until it looks
//   word 48   records: words of the record, 0 or less = go on at minus that | the columns below | 4 words address | octets
//
// A writer whose reader has everything begins anew once it is some way into the ring: what is used lies in the caches, and
// memory that no queue has reached is not there. When the reader then does not come, what is behind it is used as well.
//
// Error contract: a packet that finds no room is dropped with the reason 'worker-queue-full'; the others go on. A worker
// that dies leaves whole records and true positions.
import {
  ADDRESS_OFFSET, ARENA_OFFSET, AREA_BYTES, AREAS, BURST_PACKETS, HEADROOM, LARGEST_READ, Next, OUTPUT_BYTES, packetsIn, slotStart, SLOT_BYTES, TAILROOM,
  type Burst,
} from '../../drivers/burst.ts';
import type { BurstPort } from '../../drivers/port.ts';
import { countHandedOver, Reason, type CounterPage } from './counters.ts';

const WRITE = 0;
/** 0 = nowhere. While the reader is still there, what is behind may be used once, and the beginning is not free. */
const LEFT = 1;
const READ = 16;
const RUNG = 32;
const RECORDS = 48;

const KIND = 1;
const ID = 2;
const FAMILY = 3;
const PORT = 4;
const MARK = 5;
const LENGTH = 6;
const SEGMENT = 7;
const HEADERS = 8;
const TRANSPORT = 9;
const SHIFT = 10;
const ADDRESS = 11;
const OCTETS = 15;

const ADDRESS_WORDS = ADDRESS_OFFSET >>> 2;
const ARENA_WORDS = ARENA_OFFSET >>> 2;
const AREAS_START = BURST_PACKETS * SLOT_BYTES;
/** Room that is left for cutting up the last super-packet of a burst, as the addon's reader of links leaves it. */
const LARGEST_OUTPUT = 512 << 10;
const WRAPPING_BYTES = HEADROOM + TAILROOM;
const QUEUE_FULL = Reason['worker-queue-full'];

export type Ring = Int32Array;

/** Zeroed memory that two threads can share; whole words of it hold packets. */
export function createRing(bytes: number): Ring {
  return new Int32Array(new SharedArrayBuffer((RECORDS + (bytes >>> 2)) * 4));
}

/** Wakes a reader that sleeps. */
export interface Bell {
  /** Descriptor that the reader waits on; -1 when both workers breathe on one thread. */
  readonly fd: number;
  ring(): void;
  silence(): void;
}

export interface WorkerPortOptions {
  readonly name: string;
  /** From the other worker. */
  readonly from: Ring;
  readonly to: Ring;
  readonly ownBell: Bell;
  readonly otherBell: Bell;
  readonly page: CounterPage;
}

/** What a worker sees of another one. The columns `tunnel`, `inside` and `family` say where a packet came from (handover.ts). */
export class WorkerPort implements BurstPort {
  readonly name: string;
  readonly fd: number;
  readonly #from: Ring;
  readonly #to: Ring;
  readonly #ownBell: Bell;
  readonly #otherBell: Bell;
  readonly #page: CounterPage;
  readonly #size: number;
  /** From here on it begins anew. */
  readonly #some: number;
  /** Where the next record goes, before the reader is told. */
  #at: number;

  constructor({ name, from, to, ownBell, otherBell, page }: WorkerPortOptions) {
    this.name = name;
    this.fd = ownBell.fd;
    this.#from = from;
    this.#to = to;
    this.#ownBell = ownBell;
    this.#otherBell = otherBell;
    this.#page = page;
    this.#size = to.length - RECORDS;
    this.#some = this.#size >> 4;
    this.#at = Atomics.load(to, WRITE);
    // A worker before this one may have died between telling and waking.
    ownBell.ring();
    otherBell.ring();
  }

  /** Before a round of reading: whoever writes from now on wakes again. */
  begin(): void {
    this.#ownBell.silence();
    Atomics.store(this.#from, RUNG, 0);
  }

  /** After it: what was left is no reason to sleep. */
  end(): void {
    if (Atomics.load(this.#from, WRITE) !== this.#from[READ] && Atomics.exchange(this.#from, RUNG, 1) === 0) this.#ownBell.ring();
  }

  /** Adds packets of one origin: those up to the first of another. */
  read(burst: Burst): number {
    const ring = this.#from;
    const before = burst.count;
    const write = Atomics.load(ring, WRITE);
    let at = ring[READ]!;
    let area = freeArea(burst);
    let output = 0;
    let first = -1;
    let i = before;
    while (at !== write && i < BURST_PACKETS) {
      const record = RECORDS + at;
      const words = ring[record]!;
      if (words <= 0) {
        at = 0 - words;
        continue;
      }
      if (first >= 0 && (ring[record + KIND] !== ring[first + KIND] || ring[record + ID] !== ring[first + ID] || ring[record + FAMILY] !== ring[first + FAMILY])) break;
      const large = ring[record + SEGMENT]! > 0 || ring[record + LENGTH]! > LARGEST_READ;
      if (large && (area === AREAS || output > OUTPUT_BYTES - LARGEST_OUTPUT)) break;
      take(ring, record, burst, i, large ? AREAS_START + area++ * AREA_BYTES + HEADROOM : slotStart(i));
      if (large) output += burst.length[i]! + packetsIn(burst, i) * (burst.headers[i]! + WRAPPING_BYTES);
      first = record;
      i++;
      at += words;
    }
    Atomics.store(ring, READ, at);
    burst.count = i;
    return i - before;
  }

  write(burst: Burst, select: number): number {
    const { next, reason } = burst;
    let rows = 0;
    let packets = 0;
    for (let i = 0; i < burst.count; i++) {
      if (next[i] !== select) continue;
      if (!this.#put(burst, i)) {
        next[i] = Next.drop;
        reason[i] = QUEUE_FULL;
        continue;
      }
      next[i] = Next.done;
      packets += packetsIn(burst, i);
      rows++;
    }
    if (rows === 0) return 0;
    countHandedOver(this.#page, packets);
    Atomics.store(this.#to, WRITE, this.#at);
    if (Atomics.exchange(this.#to, RUNG, 1) === 0) this.#otherBell.ring();
    return rows;
  }

  /** The rings stay for whoever comes after. */
  close(): void {}

  #put(burst: Burst, i: number): boolean {
    const shift = burst.offset[i]! & 3;
    const octets = (shift + burst.length[i]! + 3) >>> 2;
    const at = this.#room(OCTETS + octets);
    if (at < 0) return false;
    const ring = this.#to;
    const { words } = burst;
    const record = RECORDS + at;
    ring[record] = OCTETS + octets;
    ring[record + KIND] = burst.tunnel[i]!;
    ring[record + ID] = burst.inside[i]!;
    ring[record + FAMILY] = burst.family[i]!;
    ring[record + PORT] = burst.port[i]!;
    ring[record + MARK] = burst.mark[i]!;
    ring[record + LENGTH] = burst.length[i]!;
    ring[record + SEGMENT] = burst.segment[i]!;
    ring[record + HEADERS] = burst.headers[i]!;
    ring[record + TRANSPORT] = burst.transport[i]!;
    ring[record + SHIFT] = shift;
    const address = ADDRESS_WORDS + i * 4;
    for (let w = 0; w < 4; w++) ring[record + ADDRESS + w] = words[address + w]!;
    const from = ARENA_WORDS + (burst.offset[i]! >>> 2);
    const to = record + OCTETS;
    for (let w = 0; w < octets; w++) ring[to + w] = words[from + w]!;
    this.#at = at + OCTETS + octets;
    return true;
  }

  /** Where a record of so many words may lie, or -1. One word more stays free: WRITE never meets READ from behind, and "go on" has a place. */
  #room(words: number): number {
    const ring = this.#to;
    const at = this.#at;
    const read = Atomics.load(ring, READ);
    if (read !== ring[LEFT]) ring[LEFT] = 0;
    if (at < read) {
      if (words < read - at) return at;
      if (ring[LEFT] === 0 || words >= this.#size - read - 1) return -1;
      return this.#goOn(read + 1);
    }
    if (at === read && at >= this.#some && words < read) {
      ring[LEFT] = at;
      return this.#goOn(0);
    }
    if (words < this.#size - at) return at;
    return ring[LEFT] === 0 && words < read ? this.#goOn(0) : -1;
  }

  /** The next record lies there. */
  #goOn(at: number): number {
    this.#to[RECORDS + this.#at] = 0 - at;
    return at;
  }
}

function take(ring: Ring, record: number, burst: Burst, i: number, start: number): void {
  const { words } = burst;
  const shift = ring[record + SHIFT]!;
  const at = start - 4 + shift;
  burst.tunnel[i] = ring[record + KIND]!;
  burst.inside[i] = ring[record + ID]!;
  burst.family[i] = ring[record + FAMILY]!;
  burst.port[i] = ring[record + PORT]!;
  burst.mark[i] = ring[record + MARK]!;
  burst.offset[i] = at;
  burst.length[i] = ring[record + LENGTH]!;
  burst.segment[i] = ring[record + SEGMENT]!;
  burst.headers[i] = ring[record + HEADERS]!;
  burst.transport[i] = ring[record + TRANSPORT]!;
  burst.inner[i] = 0;
  const address = ADDRESS_WORDS + i * 4;
  for (let w = 0; w < 4; w++) words[address + w] = ring[record + ADDRESS + w]!;
  const from = record + OCTETS;
  const to = ARENA_WORDS + (at >>> 2);
  const octets = ring[record]! - OCTETS;
  for (let w = 0; w < octets; w++) words[to + w] = ring[from + w]!;
}

/** The first area behind those that the burst's packets lie in. */
function freeArea(burst: Burst): number {
  let area = 0;
  for (let i = 0; i < burst.count; i++) {
    const used = Math.floor((burst.offset[i]! - AREAS_START) / AREA_BYTES);
    if (used >= area) area = used + 1;
  }
  return area;
}
