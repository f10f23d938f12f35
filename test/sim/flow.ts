// What happened in a run: a hash over every delivered packet, and the newest events for a ladder when a test fails.
import { createHash } from 'node:crypto';
import type { Instant } from '../../platform/time.ts';
import type { Packet } from './packet.ts';
import { describePacket } from './packet.ts';

/** Events that a ladder can show; older ones are forgotten. */
const MOST_EVENTS = 2000;
const HASHED_OCTETS = 16;

type FlowEvent =
  | { readonly kind: 'packet'; readonly at: Instant; readonly from: string; readonly to: string; readonly label: string; readonly lost: boolean }
  | { readonly kind: 'note'; readonly at: Instant; readonly node: string; readonly text: string };

export interface LadderOptions {
  /** Newest events to draw. */
  readonly last: number;
  /** Only events that touch one of these nodes; all when absent. */
  readonly nodes?: readonly string[];
}

export class Flow {
  readonly #hash = createHash('sha256');
  readonly #events: FlowEvent[] = [];
  #delivered = 0;

  get delivered(): number {
    return this.#delivered;
  }

  /** A packet that reached a node. */
  packet(at: Instant, from: string, to: string, packet: Packet): void {
    const { bytes } = packet;
    this.#delivered++;
    this.#hash.update(`${at}|${from}|${to}|${bytes.length}|`).update(bytes.subarray(0, HASHED_OCTETS));
    this.#add({ kind: 'packet', at, from, to, label: describePacket(packet), lost: false });
  }

  /** A packet that the network, a NAT or a full queue took. */
  lost(at: Instant, from: string, to: string, packet: Packet, cause: string): void {
    this.#add({ kind: 'packet', at, from, to, label: `${describePacket(packet)}, ${cause}`, lost: true });
  }

  note(at: Instant, node: string, text: string): void {
    this.#add({ kind: 'note', at, node, text });
  }

  /** The same for two runs of the same seed; differs as soon as one packet does. */
  traceHash(): string {
    return this.#hash.copy().digest('hex');
  }

  /** A mermaid sequence diagram. */
  ladder(options: LadderOptions = { last: 60 }): string {
    const touches = (name: string): boolean => options.nodes === undefined || options.nodes.includes(name);
    const shown = this.#events.filter((event) => (event.kind === 'note' ? touches(event.node) : touches(event.from) || touches(event.to))).slice(-options.last);
    const names = [...new Set(shown.flatMap((event) => (event.kind === 'note' ? [event.node] : [event.from, event.to])))];
    const id = (name: string): string => `n${names.indexOf(name)}`;
    const lines = shown.map((event) => {
      const at = (event.at / 1000).toFixed(3);
      if (event.kind === 'note') return `  Note over ${id(event.node)}: ${at} ${plain(event.text)}`;
      return `  ${id(event.from)}${event.lost ? '-x' : '->>'}${id(event.to)}: ${at} ${plain(event.label)}`;
    });
    return ['sequenceDiagram', ...names.map((name) => `  participant ${id(name)} as ${plain(name)}`), ...lines].join('\n');
  }

  #add(event: FlowEvent): void {
    this.#events.push(event);
    if (this.#events.length > 2 * MOST_EVENTS) this.#events.splice(0, MOST_EVENTS);
  }
}

/** Mermaid ends a message at a line break, `;` or `#`. */
function plain(text: string): string {
  return text.replaceAll(/[\n\r;#]/g, ' ');
}
