// The wires of the simulated world: the internet with a link per attachment (delay, loss, reordering, duplication,
// partitions) and local segments.
import type { SeededRandom } from '../../platform/random.ts';
import { after, instant } from '../../platform/time.ts';
import type { VirtualClock } from './clock.ts';
import type { Flow } from './flow.ts';
import type { Packet } from './packet.ts';
import { parsePacket } from './packet.ts';

export interface LinkQuality {
  /** One way, for this side of the path. */
  readonly delayMs: number;
  /** Added uniformly from [0, jitterMs); packets keep their order unless they are reordered. */
  readonly jitterMs: number;
  /** Probabilities from 0 to 1, per packet. */
  readonly loss: number;
  readonly reorder: number;
  readonly duplicate: number;
  /** Larger packets are dropped. */
  readonly mtu: number;
  readonly up: boolean;
}

export const GOOD_LINK: LinkQuality = { delayMs: 10, jitterMs: 0, loss: 0, reorder: 0, duplicate: 0, mtu: 1500, up: true };

/** How much later a reordered packet is. */
const REORDER_MS = 30;
const SEGMENT_DELAY_MS = 0.125;

/** One end of a wire. */
export interface Attachment {
  /** Name of the node in ladders and partitions. */
  readonly node: string;
  quality: LinkQuality;
  /** Replaces the addresses under which the wire finds this end. */
  setAddresses(addresses: readonly string[]): void;
  /** `nextHop` is the gateway, or the destination itself. */
  send(bytes: Uint8Array, nextHop: string): void;
  detach(): void;
}

export interface Wire {
  readonly name: string;
  attach(node: string, receive: (packet: Packet) => void, quality?: LinkQuality): Attachment;
}

interface End extends Attachment {
  readonly receive: (packet: Packet) => void;
  /** Arrival of the last packet that kept its order. */
  lastArrival: number;
}

/** The ends of one wire by address; whoever takes an address last has it. */
class Ends {
  readonly #byAddress = new Map<string, End>();

  at(address: string): End | undefined {
    return this.#byAddress.get(address);
  }

  add(node: string, receive: (packet: Packet) => void, quality: LinkQuality, send: (from: End, bytes: Uint8Array, nextHop: string) => void): End {
    let own: readonly string[] = [];
    const setAddresses = (addresses: readonly string[]): void => {
      for (const address of own) if (this.#byAddress.get(address) === end) this.#byAddress.delete(address);
      own = addresses;
      for (const address of addresses) this.#byAddress.set(address, end);
    };
    const end: End = { node, quality, receive, lastArrival: 0, setAddresses, send: (bytes, nextHop) => send(end, bytes, nextHop), detach: () => setAddresses([]) };
    return end;
  }
}

export interface WireContext {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly flow: Flow;
}

/** Finds ends by destination address and treats gateways as part of itself. */
export class Internet implements Wire {
  readonly name: string;
  readonly #context: WireContext;
  readonly #random: SeededRandom;
  readonly #ends = new Ends();
  readonly #partitions = new Set<string>();

  constructor(name: string, context: WireContext) {
    this.name = name;
    this.#context = context;
    this.#random = context.random.fork(`internet ${name}`);
  }

  attach(node: string, receive: (packet: Packet) => void, quality: LinkQuality = GOOD_LINK): Attachment {
    return this.#ends.add(node, receive, quality, (from, bytes) => this.#send(from, bytes));
  }

  /** Nothing passes between the two nodes, either way, until `heal`. */
  partition(a: string, b: string): void {
    this.#partitions.add([a, b].sort().join('|'));
  }

  heal(a: string, b: string): void {
    this.#partitions.delete([a, b].sort().join('|'));
  }

  #send(from: End, bytes: Uint8Array): void {
    const packet = parsePacket(bytes.slice());
    if (packet === undefined) return;
    const to = this.#ends.at(packet.destination);
    const cause = this.#loss(from, to, packet);
    if (to === undefined || cause !== undefined) {
      this.#context.flow.lost(this.#context.clock.now(), from.node, to?.node ?? packet.destination, packet, cause ?? 'nobody has this address');
      return;
    }
    const copies = this.#chance(from.quality.duplicate + to.quality.duplicate) ? 2 : 1;
    for (let i = 0; i < copies; i++) this.#deliver(from, to, packet);
  }

  #loss(from: End, to: End | undefined, packet: Packet): string | undefined {
    if (to === undefined) return undefined;
    if (!from.quality.up || !to.quality.up) return 'link is down';
    if (this.#partitions.has([from.node, to.node].sort().join('|'))) return 'partition';
    if (packet.bytes.length > Math.min(from.quality.mtu, to.quality.mtu)) return 'larger than the path';
    return this.#chance(from.quality.loss) || this.#chance(to.quality.loss) ? 'lost' : undefined;
  }

  #deliver(from: End, to: End, packet: Packet): void {
    const { clock, flow } = this.#context;
    const jitter = (from.quality.jitterMs + to.quality.jitterMs) * this.#fraction();
    let arrival = clock.now() + from.quality.delayMs + to.quality.delayMs + jitter;
    if (this.#chance(from.quality.reorder + to.quality.reorder)) arrival += REORDER_MS * this.#fraction();
    else {
      arrival = Math.max(arrival, to.lastArrival);
      to.lastArrival = arrival;
    }
    clock.at(instant(arrival), () => {
      if (!to.quality.up || this.#ends.at(packet.destination) !== to) return;
      flow.packet(clock.now(), from.node, to.node, packet);
      to.receive(packet);
    });
  }

  #fraction(): number {
    return this.#random.uint32() / 0x1_0000_0000;
  }

  /** Draws only where there is a chance, so that perfect links do not move the stream. */
  #chance(probability: number): boolean {
    return probability > 0 && this.#fraction() < probability;
  }
}

/** A LAN: ends are found by the next hop's address. */
export class Segment implements Wire {
  readonly name: string;
  readonly #context: WireContext;
  readonly #ends = new Ends();

  constructor(name: string, context: WireContext) {
    this.name = name;
    this.#context = context;
  }

  attach(node: string, receive: (packet: Packet) => void, quality: LinkQuality = GOOD_LINK): Attachment {
    return this.#ends.add(node, receive, quality, (from, bytes, nextHop) => this.#send(from, bytes, nextHop));
  }

  #send(from: End, bytes: Uint8Array, nextHop: string): void {
    const { clock, flow } = this.#context;
    const packet = parsePacket(bytes.slice());
    if (packet === undefined) return;
    const to = this.#ends.at(nextHop);
    if (to === undefined || !from.quality.up || !to.quality.up || bytes.length > from.quality.mtu) {
      flow.lost(clock.now(), from.node, to?.node ?? nextHop, packet, to === undefined ? 'nobody has this address' : 'link is down or too small');
      return;
    }
    clock.at(after(clock.now(), SEGMENT_DELAY_MS), () => {
      flow.packet(clock.now(), from.node, to.node, packet);
      to.receive(packet);
    });
  }
}
