// Packets between two IKE endpoints of a world under virtual time, sent and received on the tunnels that the product's
// own bookkeeping makes of their children. A packet that arrives and finds no SA is lost by our fault.
import type { Endpoint } from '../../firmware/model.ts';
import { IkeTunnels } from '../../firmware/services/ike-tunnels.ts';
import type { TunnelContext } from '../../firmware/services/ike-tunnels.ts';
import { equalBytes } from '../../platform/bytes.ts';
import type { Node, World } from './pair.ts';

/** As the IKE service: a deleted child still receives this long. */
const RETIRED_MS = 10_000;
const KEY = 'peer';
const TUNNEL = 1;
const CONTEXT: TunnelContext = { peer: 'peer', tenant: 2, kind: 'esp', inside: 1, paths: [], mtu: 1400, idleDummyMs: 0, routes: [] };

interface Flight {
  readonly at: number;
  readonly to: Side;
  readonly spi: number;
  readonly key: Uint8Array;
  /** The sender answered the exchange that made the SA and has no other to send on: the packet may overtake the answer. */
  readonly overtakes: boolean;
  readonly sent: string;
}

/** What may happen on the way, and how often packets are sent. */
export interface Way {
  reaches(destination: Endpoint): boolean;
  /** Undefined: lost. */
  delayMs(): number | undefined;
  pauseMs(): number;
}

/** One end: what its IKE service would know. */
class Side {
  readonly node: Node;
  readonly tunnels = new IkeTunnels(() => TUNNEL);
  /** Where the peer of each connection is. */
  readonly #remotes = new Map<number, Endpoint>();
  readonly #connectionOf = new Map<number, number>();
  readonly #children = new Map<number, number>();
  /** When connections ended here: what a peer that does not know it sends on is nobody's fault, after a while. */
  readonly #ended = new Map<number, number>();
  readonly #overtaking = new Set<number>();
  readonly #forget: { readonly at: number; readonly child: number }[] = [];
  #seen = 0;

  constructor(node: Node) {
    this.node = node;
  }

  follow(now: number): void {
    for (; this.#seen < this.node.outputs.length; this.#seen++) {
      const output = this.node.outputs[this.#seen]!;
      if (output.kind === 'ike-up' || output.kind === 'endpoint') this.#remotes.set(output.ikeSa, output.remote);
      else if (output.kind === 'ike-down') this.#ended.set(output.ikeSa, now);
      else if (output.kind === 'child-down') {
        this.tunnels.retire(output.child);
        this.#forget.push({ at: now + RETIRED_MS, child: output.child });
      } else if (output.kind === 'child-up') {
        const { child, ikeSa, inbound, outbound, replaces, initiator } = output;
        this.#connectionOf.set(inbound.spi, ikeSa);
        this.#children.set(child, ikeSa);
        if (!initiator && this.tunnels.sendingChild(TUNNEL) === undefined) this.#overtaking.add(outbound.spi);
        this.tunnels.childUp(KEY, CONTEXT, { child, inbound, outbound, replaces, sendAtOnce: initiator });
      }
    }
    while (this.#forget[0] !== undefined && this.#forget[0].at <= now) this.tunnels.forget(this.#forget.shift()!.child);
  }

  /** The SA to send on, and where to. */
  sending(): { spi: number; key: Uint8Array; overtakes: boolean; remote: Endpoint } | undefined {
    const [tunnel] = this.tunnels.part().tunnels ?? [];
    const child = this.tunnels.sendingChild(TUNNEL);
    if (tunnel?.tx === undefined || child === undefined) return undefined;
    const { spi, key } = tunnel.tx;
    return { spi, key, overtakes: this.#overtaking.has(spi), remote: this.#remotes.get(this.#children.get(child)!)! };
  }

  opens({ spi, key }: Flight): boolean {
    const [tunnel] = this.tunnels.part().tunnels ?? [];
    if (tunnel?.rx.some((sa) => sa.spi === spi && equalBytes(sa.key, key)) !== true) return false;
    this.tunnels.firstPacket(TUNNEL, spi);
    return true;
  }

  /** Why a packet that was not opened is nobody's fault: it was faster than the answer, or slower than the end of the connection. */
  excuses({ spi, overtakes }: Flight, now: number): boolean {
    const connection = this.#connectionOf.get(spi);
    if (connection === undefined) return overtakes;
    const ended = this.#ended.get(connection);
    return ended !== undefined && now - ended >= RETIRED_MS;
  }
}

export class EspTraffic {
  /** Packets that came in and were opened. */
  opened = 0;
  /** Those that came in and were not: a line for each. */
  readonly lost: string[] = [];
  readonly #world: World;
  readonly #way: Way;
  readonly #sides: readonly [Side, Side];
  #flights: Flight[] = [];
  #nextSending = 0;

  constructor(world: World, one: Node, other: Node, way: Way) {
    this.#world = world;
    this.#way = way;
    this.#sides = [new Side(one), new Side(other)];
  }

  run(ms: number): void {
    const end = this.#world.now + ms;
    while (this.#world.now < end) {
      const next = Math.min(end, this.#nextSending, ...this.#flights.map(({ at }) => at));
      this.#world.run(Math.max(0, next - this.#world.now));
      for (const side of this.#sides) side.follow(this.#world.now);
      this.#arrive();
      if (this.#world.now >= this.#nextSending) this.#send();
    }
  }

  #arrive(): void {
    const { now } = this.#world;
    const due = this.#flights.filter(({ at }) => at <= now);
    this.#flights = this.#flights.filter(({ at }) => at > now);
    for (const flight of due) {
      if (flight.to.opens(flight)) this.opened++;
      else if (!flight.to.excuses(flight, now)) this.lost.push(`${flight.sent}, came in at ${now}`);
    }
  }

  #send(): void {
    const { now } = this.#world;
    for (const [i, side] of this.#sides.entries()) {
      const sending = side.sending();
      const delayMs = this.#way.delayMs();
      if (sending === undefined || delayMs === undefined || !this.#way.reaches(sending.remote)) continue;
      const { spi, key, overtakes } = sending;
      this.#flights.push({ at: now + delayMs, to: this.#sides[1 - i]!, spi, key, overtakes, sent: `${side.node.name} sent on ${spi.toString(16)} at ${now}` });
    }
    this.#nextSending = now + this.#way.pauseMs();
  }
}
