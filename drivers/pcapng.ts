// Captures as pcapng (draft-ietf-opsawg-pcapng): one section, one interface per port, raw IP packets. Little-endian.

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
/** LINKTYPE_RAW: the first nibble says IPv4 or IPv6. */
export const LINKTYPE_RAW = 101;
const OPTION_END = 0;
const OPTION_IF_NAME = 2;
const OPTION_EPB_FLAGS = 2;

/** The direction bits of epb_flags. */
export const Direction = { inbound: 1, outbound: 2 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

/** Where octets go; the writer hands over each block once and keeps nothing of it. */
export interface CaptureSink {
  write(bytes: Uint8Array): void;
  close(): void;
}

const padded = (length: number): number => (length + 3) & ~3;

/** A block of `type` around a body whose length is a multiple of 4. */
function block(type: number, bodyLength: number): { readonly bytes: Uint8Array<ArrayBuffer>; readonly body: DataView } {
  const total = 12 + bodyLength;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  view.setUint32(total - 4, total, true);
  return { bytes, body: new DataView(bytes.buffer, 8, bodyLength) };
}

export function sectionHeaderBlock(): Uint8Array {
  const { bytes, body } = block(SECTION_HEADER, 16);
  body.setUint32(0, BYTE_ORDER_MAGIC, true);
  body.setUint16(4, 1, true);
  // The section's length is not known beforehand: -1.
  body.setUint32(8, 0xffff_ffff, true);
  body.setUint32(12, 0xffff_ffff, true);
  return bytes;
}

/** `snapLength`: octets of a packet that are kept at most. Timestamps are microseconds, the default. */
export function interfaceBlock(name: string, snapLength: number): Uint8Array {
  const text = Buffer.from(name, 'utf8');
  const { bytes, body } = block(INTERFACE_DESCRIPTION, 8 + 4 + padded(text.length) + 4);
  body.setUint16(0, LINKTYPE_RAW, true);
  body.setUint32(4, snapLength, true);
  body.setUint16(8, OPTION_IF_NAME, true);
  body.setUint16(10, text.length, true);
  bytes.set(text, 8 + 12);
  body.setUint16(12 + padded(text.length), OPTION_END, true);
  return bytes;
}

/** `parts` one behind the other are the packet; at most `snapLength` octets of it are kept. */
export function packetBlock(interfaceId: number, unixMs: number, direction: Direction, parts: readonly Uint8Array[], snapLength: number): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const kept = Math.min(length, snapLength);
  const { bytes, body } = block(ENHANCED_PACKET, 20 + padded(kept) + 12);
  const microseconds = Math.round(unixMs * 1000);
  body.setUint32(0, interfaceId, true);
  body.setUint32(4, Math.floor(microseconds / 2 ** 32), true);
  body.setUint32(8, microseconds % 2 ** 32, true);
  body.setUint32(12, kept, true);
  body.setUint32(16, length, true);
  let at = 0;
  for (const part of parts) {
    bytes.set(part.subarray(0, Math.max(0, kept - at)), 8 + 20 + at);
    at = Math.min(kept, at + part.length);
  }
  const options = 20 + padded(kept);
  body.setUint16(options, OPTION_EPB_FLAGS, true);
  body.setUint16(options + 2, 4, true);
  body.setUint32(options + 4, direction, true);
  body.setUint16(options + 8, OPTION_END, true);
  return bytes;
}

export interface CaptureLimits {
  /** Size of the whole capture; packets that do not fit any more are counted, not written. */
  readonly maxBytes: number;
  readonly snapLength: number;
  /** Unix time in milliseconds. */
  unixMs(): number;
}

/** One capture of bounded size. A sink that throws ends the capture, not the port: `failure` keeps the cause. */
export class PcapngWriter {
  readonly #sink: CaptureSink;
  readonly #limits: CaptureLimits;
  #interfaces = 0;
  #bytes = 0;
  #closed = false;
  /** Packets written. */
  packets = 0;
  /** Packets left out because the capture was full, failed or closed. */
  missed = 0;
  failure: Error | undefined;

  constructor(sink: CaptureSink, limits: CaptureLimits) {
    this.#sink = sink;
    this.#limits = limits;
    this.#write(sectionHeaderBlock());
  }

  /** Returns the number that packet() takes. */
  addInterface(name: string): number {
    this.#write(interfaceBlock(name, this.#limits.snapLength));
    return this.#interfaces++;
  }

  packet(interfaceId: number, direction: Direction, parts: readonly Uint8Array[]): void {
    const { snapLength } = this.#limits;
    if (this.full || !this.#write(packetBlock(interfaceId, this.#limits.unixMs(), direction, parts, snapLength))) this.missed++;
    else this.packets++;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Nothing more will be written. */
  get full(): boolean {
    return this.#closed || this.failure !== undefined || this.#bytes >= this.#limits.maxBytes;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sink.close();
  }

  #write(bytes: Uint8Array): boolean {
    if (this.full || this.#bytes + bytes.length > this.#limits.maxBytes) return false;
    try {
      this.#sink.write(bytes);
    } catch (error) {
      this.failure = error as Error;
      return false;
    }
    this.#bytes += bytes.length;
    return true;
  }
}
