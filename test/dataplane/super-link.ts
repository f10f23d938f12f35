// A link whose host hands over super-packets, one with each read.
import { AREA_BYTES, HEADROOM, OUTPUT_START, type Burst } from '../../drivers/burst.ts';
import { MemoryLink } from '../../drivers/memory.ts';

export interface SuperPacket {
  readonly packet: Uint8Array;
  /** Octets of the payload of each part. */
  readonly segment: number;
  /** From the IP header to that of TCP or UDP, and to the payload. */
  readonly transport: number;
  readonly headers: number;
}

export class SuperLink extends MemoryLink {
  readonly #supers: SuperPacket[] = [];

  offer(superPacket: SuperPacket): void {
    this.#supers.push(superPacket);
  }

  /** Packets that came in the usual way follow when no super-packet waits. */
  override read(burst: Burst): number {
    const next = this.#supers.shift();
    if (next === undefined) return super.read(burst);
    const i = burst.count++;
    const at = OUTPUT_START - AREA_BYTES + HEADROOM;
    burst.bytes.set(next.packet, at);
    burst.offset[i] = at;
    burst.length[i] = next.packet.length;
    burst.segment[i] = next.segment;
    burst.headers[i] = next.headers;
    burst.transport[i] = next.transport;
    burst.inner[i] = 0;
    burst.mark[i] = 0;
    return 1;
  }
}
