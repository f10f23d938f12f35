// @hot  The packet vector: up to 256 packets as columns over one block of memory. Its layout is ABI with the
// addon (drivers/native/src/burst.h): the addon receives `memory` and finds every column by the offsets below.
//
// A packet is a run of octets in `bytes`, starting at offset[i]. Readers put packet i into slot i, HEADROOM octets
// after the slot's start, so that headers can be written in front of it in place.

export const BURST_PACKETS = 256;
export const SLOT_BYTES = 2048;
/** Octets free in front of a packet that was just read: outer headers are written here. */
export const HEADROOM = 192;
/** Octets free behind the largest packet that a reader stores: ESP trailer, padding and ICV. */
export const TAILROOM = 64;
export const LARGEST_READ = SLOT_BYTES - HEADROOM - TAILROOM;

/** A packet's next stage (`next[i]`). Values from FIRST_PORT up name a port: FIRST_PORT + slot of the link or WAN port. */
export const Next = {
  /** Dropped; `reason[i]` says why (firmware/dataplane/counters.ts). */
  drop: 0,
  /** Consumed: handled by the stage itself, nothing more to do. */
  done: 1,
  classify: 2,
  route: 3,
  wrap: 4,
  seal: 5,
  open: 6,
  unwrap: 7,
  /** For the control plane of this box. */
  control: 8,
  /** Sealed, or meant to be clear: outer header and port come next. */
  send: 9,
} as const;
export const FIRST_PORT = 16;

/** Column numbers of 4 octets per packet each, in the order in which they lie in `memory`. */
const WORD_COLUMNS = [
  'offset', // first octet of the packet in `bytes`
  'length', // octets of the packet
  'next',
  'reason',
  'sa', // key handle for the AEAD engine
  'tunnel', // row number, private to the data plane
  'esp', // first octet of the ESP header in `bytes`
  'espLength', // octets from the SPI to the end of the ICV
  'seqHi', // high 32 bits of the sequence number, for the AAD under ESN
  'port', // UDP port of the remote: source on read, destination on write
  'family', // 4 or 6: which of the remote's address octets count
  'segment', // length of each segment of a super-packet, 0 = not one
  'inside', // row number of the inside it came from or goes to
  'mark', // DSCP/ECN octet of the outer header: set by datagram ports on read, honoured on write
] as const;

export type WordColumn = (typeof WORD_COLUMNS)[number];

const WORDS_BYTES = WORD_COLUMNS.length * BURST_PACKETS * 4;
/** Remote addresses follow: 16 octets per packet, IPv4 in the first 4. */
export const ADDRESS_OFFSET = WORDS_BYTES;
export const ARENA_OFFSET = ADDRESS_OFFSET + BURST_PACKETS * 16;
export const BURST_MEMORY_BYTES = ARENA_OFFSET + BURST_PACKETS * SLOT_BYTES;

export type Burst = Readonly<Record<WordColumn, Int32Array>> & {
  /** All of it, for the addon. */
  readonly memory: ArrayBuffer;
  /** The arena; offset[i] and esp[i] index it. */
  readonly bytes: Uint8Array;
  readonly address: Uint8Array;
  /** Packets in the burst. */
  count: number;
};

export function createBurst(): Burst {
  const memory = new ArrayBuffer(BURST_MEMORY_BYTES);
  const columns = Object.fromEntries(
    WORD_COLUMNS.map((name, i) => [name, new Int32Array(memory, i * BURST_PACKETS * 4, BURST_PACKETS)]),
  ) as Record<WordColumn, Int32Array>;
  return {
    ...columns,
    memory,
    bytes: new Uint8Array(memory, ARENA_OFFSET, BURST_PACKETS * SLOT_BYTES),
    address: new Uint8Array(memory, ADDRESS_OFFSET, BURST_PACKETS * 16),
    count: 0,
  };
}

/** Where a reader places packet `i`. */
export function slotStart(i: number): number {
  return i * SLOT_BYTES + HEADROOM;
}

/** Appends one packet (tests, dummy packets, the memory drivers). Returns its index, or -1 when the burst is full. */
export function appendPacket(burst: Burst, packet: Uint8Array): number {
  const i = burst.count;
  if (i === BURST_PACKETS || packet.length > LARGEST_READ) return -1;
  burst.count = i + 1;
  burst.bytes.set(packet, slotStart(i));
  burst.offset[i] = slotStart(i);
  burst.length[i] = packet.length;
  burst.next[i] = Next.drop;
  burst.reason[i] = 0;
  burst.segment[i] = 0;
  burst.mark[i] = 0;
  return i;
}

/** A copy of packet `i`; not for the hot path. */
export function packetAt(burst: Burst, i: number): Uint8Array {
  return burst.bytes.slice(burst.offset[i]!, burst.offset[i]! + burst.length[i]!);
}
