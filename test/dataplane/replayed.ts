// One burst that is read again and again, for a bench and a test that want the stages and nothing else: an AEAD that
// seals nothing, ports that carry nothing, two ends that agree on one tunnel.
import type { AeadEngine } from '../../drivers/aead.ts';
import { AREAS, FIRST_PORT, HEADROOM, Next, OUTPUT_START, slotStart, type Burst } from '../../drivers/burst.ts';
import type { DatagramPort, Link } from '../../drivers/port.ts';
import { writeEspHeader } from '../../firmware/wire/esp.ts';

const TWO_32 = 0x1_0000_0000;

/** Passes packets on as they are. */
export class IdleAead implements AeadEngine {
  readonly name = 'idle';
  #handles = 0;

  install(): number {
    return this.#handles++;
  }

  remove(): void {}

  seal(burst: Burst, select: number, then: number): void {
    pass(burst, select, then);
  }

  open(burst: Burst, select: number, then: number): void {
    pass(burst, select, then);
  }
}

function pass(burst: Burst, select: number, then: number): void {
  for (let i = 0; i < burst.count; i++) if (burst.next[i] === select) burst.next[i] = then;
}

/** Takes everything and keeps nothing. */
class Sink {
  readonly fd = -1;
  /** Rows that were sent. */
  rows = 0;

  write(burst: Burst, select: number): number {
    let rows = 0;
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select) continue;
      burst.next[i] = Next.done;
      rows++;
    }
    this.rows += rows;
    return rows;
  }

  close(): void {}
}

/** Gives the same inner packet in every row of a burst; `segment` > 0 makes it a super-packet. */
export class ReplayLink extends Sink implements Link {
  readonly kind = 'tun';
  readonly name = 'replayed';
  readonly #packet: Uint8Array;
  readonly #rows: number;
  readonly #segment: number;
  readonly #headers: number;
  #placed: Burst | undefined;

  constructor(packet: Uint8Array, rows: number, segment = 0, headers = 0) {
    super();
    this.#packet = packet;
    this.#rows = rows;
    this.#segment = segment;
    this.#headers = headers;
  }

  read(burst: Burst): number {
    const first = this.#placed !== burst;
    this.#placed = burst;
    const stride = (OUTPUT_START - slotStart(0)) / AREAS;
    for (let i = 0; i < this.#rows; i++) {
      const at = this.#segment === 0 ? slotStart(i) : Math.floor(i * stride) + HEADROOM;
      // Sealing leaves a super-packet as it was, and nothing else.
      if (first || this.#segment === 0) burst.bytes.set(this.#packet, at);
      burst.offset[i] = at;
      burst.length[i] = this.#packet.length;
      burst.segment[i] = this.#segment;
      burst.headers[i] = this.#headers;
      burst.transport[i] = 20;
      burst.inner[i] = 0;
      burst.mark[i] = 0;
    }
    burst.count = this.#rows;
    return this.#rows;
  }
}

/**
 * Gives one opened datagram in every row, one behind the other as the kernel joins them, each time with the next sequence
 * numbers. `espAt`: octets in front of ESP.
 */
export class ReplayDatagrams extends Sink implements DatagramPort {
  readonly kind = 'udp';
  readonly name = 'replayed datagrams';
  readonly local = { address: '192.0.2.2', port: 4790 };
  readonly #datagram: Uint8Array;
  readonly #rows: number;
  readonly #espAt: number;
  readonly #spi: number;
  #sequence = 0;
  #placed: Burst | undefined;

  constructor(datagram: Uint8Array, rows: number, espAt: number, spi: number) {
    super();
    this.#datagram = datagram;
    this.#rows = rows;
    this.#espAt = espAt;
    this.#spi = spi;
  }

  read(burst: Burst): number {
    const first = this.#placed !== burst;
    this.#placed = burst;
    for (let i = 0; i < this.#rows; i++) {
      const at = OUTPUT_START + i * this.#datagram.length;
      const sequence = ++this.#sequence;
      if (first) burst.bytes.set(this.#datagram, at);
      writeEspHeader(burst.bytes, at + this.#espAt, 8, this.#spi, (sequence / TWO_32) | 0, sequence | 0);
      burst.offset[i] = at;
      burst.length[i] = this.#datagram.length;
      burst.segment[i] = 0;
      burst.mark[i] = 0;
      burst.family[i] = 4;
      burst.port[i] = 4790;
      burst.address[i * 16] = 192;
      burst.address[i * 16 + 1] = 0;
      burst.address[i * 16 + 2] = 2;
      burst.address[i * 16 + 3] = 1;
    }
    burst.count = this.#rows;
    return this.#rows;
  }
}

/** Catches the one datagram that a forwarder makes of one packet. */
export class CatchDatagrams extends Sink implements DatagramPort {
  readonly kind = 'udp';
  readonly name = 'caught datagrams';
  readonly local = { address: '192.0.2.1', port: 4790 };
  caught = new Uint8Array(0);

  read(): number {
    return 0;
  }

  override write(burst: Burst, select: number): number {
    if (burst.count === 1 && select >= FIRST_PORT) this.caught = burst.bytes.slice(burst.offset[0], burst.offset[0]! + burst.length[0]!);
    return super.write(burst, select);
  }
}
