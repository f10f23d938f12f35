// @hot  The packet vector: up to 1024 packets as columns over one block of memory. Its layout is ABI with the
// addon (drivers/native/src/burst.h): the addon receives `memory` and finds every column by the offsets below.
//
// A packet is a run of octets in `bytes`, starting at offset[i]. Readers put packet i into slot i, or into an area of
// their own when the kernel hands over more at once, HEADROOM octets behind the start, so that headers can be written in
// front of it in place.
//
// A row with segment[i] > 0 is a super-packet: many packets of one flow that share their headers. From a link it is one
// inner packet whose payload is to be cut into parts of that length; behind sealing, and for datagram ports, it is a run
// of datagrams of that length, the last one as long as what remains.

export const BURST_PACKETS = 1024;
export const SLOT_BYTES = 2048;
/** Octets free in front of a packet that was just read: outer headers are written here. */
export const HEADROOM = 192;
/** Octets free behind the largest packet that a reader stores: ESP trailer, padding and ICV. */
export const TAILROOM = 64;
export const LARGEST_READ = SLOT_BYTES - HEADROOM - TAILROOM;
/** Behind the slots: areas that hold a super-packet each, then the room in which sealing cuts super-packets up. */
export const AREAS = 128;
export const AREA_BYTES = 65_536 + 512;
export const OUTPUT_BYTES = 3 << 20;
const AREAS_START = BURST_PACKETS * SLOT_BYTES;
export const OUTPUT_START = AREAS_START + AREAS * AREA_BYTES;

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
  'segment', // length of each part of a super-packet, 0 = not one
  'inside', // row number of the inside it came from or goes to
  'mark', // DSCP/ECN octet of the outer header: set by datagram ports on read, honoured on write
  'inner', // super-packets: first octet of the inner IP header in `bytes` while outer headers stand in front of it, else 0
  'headers', // super-packets from a link: octets from the IP header to the payload
  'transport', // super-packets from a link: octets from the IP header to that of TCP or UDP
  'trailer', // super-packets to be sealed: next header of the ESP trailer
] as const;

export type WordColumn = (typeof WORD_COLUMNS)[number];

const WORDS_BYTES = WORD_COLUMNS.length * BURST_PACKETS * 4;
/** Remote addresses follow: 16 octets per packet, IPv4 in the first 4. */
export const ADDRESS_OFFSET = WORDS_BYTES;
export const ARENA_OFFSET = ADDRESS_OFFSET + BURST_PACKETS * 16;
export const BURST_MEMORY_BYTES = ARENA_OFFSET + OUTPUT_START + OUTPUT_BYTES;

/** One shape for all bursts, so that the stages' property loads stay monomorphic. */
class BurstColumns implements Readonly<Record<WordColumn, Int32Array>> {
  /** All of it, for the addon. */
  readonly memory = new ArrayBuffer(BURST_MEMORY_BYTES);
  readonly offset = this.#column('offset');
  readonly length = this.#column('length');
  readonly next = this.#column('next');
  readonly reason = this.#column('reason');
  readonly sa = this.#column('sa');
  readonly tunnel = this.#column('tunnel');
  readonly esp = this.#column('esp');
  readonly espLength = this.#column('espLength');
  readonly seqHi = this.#column('seqHi');
  readonly port = this.#column('port');
  readonly family = this.#column('family');
  readonly segment = this.#column('segment');
  readonly inside = this.#column('inside');
  readonly mark = this.#column('mark');
  readonly inner = this.#column('inner');
  readonly headers = this.#column('headers');
  readonly transport = this.#column('transport');
  readonly trailer = this.#column('trailer');
  readonly address = new Uint8Array(this.memory, ADDRESS_OFFSET, BURST_PACKETS * 16);
  /** All of `memory` in words of 4 octets, for copying. */
  readonly words = new Int32Array(this.memory);
  /** The arena; offset[i] and esp[i] index it. */
  readonly bytes = new Uint8Array(this.memory, ARENA_OFFSET, OUTPUT_START + OUTPUT_BYTES);
  /** The same octets, to compare four at once. */
  readonly view = new DataView(this.memory, ARENA_OFFSET, OUTPUT_START + OUTPUT_BYTES);
  /** Packets in the burst. */
  count = 0;

  #column(name: WordColumn): Int32Array {
    return new Int32Array(this.memory, WORD_COLUMNS.indexOf(name) * BURST_PACKETS * 4, BURST_PACKETS);
  }
}

export type Burst = BurstColumns;

export function createBurst(): Burst {
  return new BurstColumns();
}

/** Packets that row `i` stands for on the wire: more than one when it is a super-packet. */
export function packetsIn(burst: Burst, i: number): number {
  const segment = burst.segment[i]!;
  if (segment === 0) return 1;
  const inner = burst.inner[i]!;
  const outer = inner === 0 ? 0 : inner - burst.offset[i]!;
  return Math.ceil((burst.length[i]! - outer - burst.headers[i]!) / segment);
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

/** Copies of the datagrams that row `i` stands for: one, or those of a run. Not for the hot path. */
export function datagramsAt(burst: Burst, i: number): Uint8Array[] {
  const start = burst.offset[i]!;
  const end = start + burst.length[i]!;
  const segment = burst.segment[i]!;
  if (segment === 0) return [packetAt(burst, i)];
  return Array.from({ length: packetsIn(burst, i) }, (_, part) => burst.bytes.slice(start + part * segment, Math.min(end, start + (part + 1) * segment)));
}

/** A copy of packet `i`; not for the hot path. */
export function packetAt(burst: Burst, i: number): Uint8Array {
  return burst.bytes.slice(burst.offset[i]!, burst.offset[i]! + burst.length[i]!);
}
