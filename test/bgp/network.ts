// Speakers joined by byte pipes in memory, on virtual time. Pipes cut the stream at random places, so every test also
// tests reassembly; both ends of a pipe see octets in order and a close after the octets before it.
import assert from 'node:assert/strict';
import { BgpSpeaker } from '../../firmware/bgp/speaker.ts';
import type { BgpInput, BgpOutput, BgpPeerConfig, BgpSpeakerOptions } from '../../firmware/bgp/speaker.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import { familyName } from '../../firmware/wire/bgp/family.ts';
import type { Family } from '../../firmware/wire/bgp/family.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { instant } from '../../platform/time.ts';

interface End {
  readonly node: Node;
  readonly stream: number;
  other: End | undefined;
  readonly inbox: Uint8Array[];
  closing: boolean;
}

export class Node {
  readonly name: string;
  readonly address: string;
  speaker: BgpSpeaker;
  readonly ends = new Map<number, End>();
  readonly outputs: BgpOutput[] = [];
  /** Whether it takes connections; a refused one fails at once. */
  listening = true;
  nextIncoming = -1;

  constructor(name: string, address: string, speaker: BgpSpeaker) {
    this.name = name;
    this.address = address;
    this.speaker = speaker;
  }

  logs(sentence: string): Extract<BgpOutput, { kind: 'log' }>['event'][] {
    return this.outputs.flatMap((output) => (output.kind === 'log' && output.event.sentence === sentence ? [output.event] : []));
  }

  count(kind: BgpOutput['kind']): number {
    return this.outputs.filter((output) => output.kind === kind).length;
  }

  clear(): void {
    this.outputs.length = 0;
  }
}

export class BgpNetwork {
  now = instant(1000);
  readonly nodes = new Map<string, Node>();
  readonly random: SeededRandom;
  /** Octets written since the start. */
  octets = 0;
  /** Pairs `a>b` whose octets vanish. */
  readonly cut = new Set<string>();
  /** Sees every write before it is delivered; may change it. */
  tap: ((from: Node, bytes: Uint8Array) => Uint8Array) | undefined;

  constructor(seed: string) {
    this.random = new SeededRandom(seed);
  }

  add(name: string, address: string, options: Partial<BgpSpeakerOptions> & { peers: readonly BgpPeerConfig[] }): Node {
    const all: BgpSpeakerOptions = { asNumber: 65000, routerId: address, reflector: false, random: this.random.fork(name), ...options };
    const node = new Node(name, address, new BgpSpeaker(all));
    this.nodes.set(address, node);
    return node;
  }

  /** The same box again with empty memory; its streams die without a word when `silent`, else they are closed. */
  restart(node: Node, options: Partial<BgpSpeakerOptions> & { peers: readonly BgpPeerConfig[] }, silent = false): void {
    for (const end of node.ends.values()) {
      if (silent && end.other) end.other.other = undefined;
      else this.#shut(end);
    }
    node.ends.clear();
    node.speaker = new BgpSpeaker({ asNumber: 65000, routerId: node.address, reflector: false, random: this.random.fork(`${node.name} again`), ...options });
    node.clear();
  }

  #shut(end: End): void {
    if (end.other) end.other.closing = true;
  }

  push(node: Node, input: BgpInput | { kind: 'timeout' }): void {
    node.speaker.handle(input, this.now);
    for (let output = node.speaker.poll(); output !== undefined; output = node.speaker.poll()) this.#output(node, output);
  }

  #output(node: Node, output: BgpOutput): void {
    node.outputs.push(output);
    if (output.kind === 'connect') this.#connect(node, output);
    else if (output.kind === 'write') {
      const end = node.ends.get(output.stream);
      assert.ok(end, `${node.name} writes to stream ${output.stream}, which is not open`);
      const bytes = this.tap ? this.tap(node, output.bytes) : output.bytes;
      this.octets += bytes.length;
      if (end.other && !this.cut.has(`${node.name}>${end.other.node.name}`)) end.other.inbox.push(bytes);
    } else if (output.kind === 'close') {
      const end = node.ends.get(output.stream);
      node.ends.delete(output.stream);
      if (end) this.#shut(end);
    }
  }

  #connect(node: Node, { stream, remote }: Extract<BgpOutput, { kind: 'connect' }>): void {
    const target = this.nodes.get(remote);
    const end: End = { node, stream, other: undefined, inbox: [], closing: false };
    node.ends.set(stream, end);
    if (!target?.listening) {
      end.closing = true;
      return;
    }
    const far: End = { node: target, stream: target.nextIncoming--, other: end, inbox: [], closing: false };
    end.other = far;
    this.#pending.push(() => {
      if (node.ends.get(stream) === end) this.push(node, { kind: 'stream-connected', peer: this.#peerId(node, target), stream, incoming: false });
    });
    this.#pending.push(() => {
      target.ends.set(far.stream, far);
      this.push(target, { kind: 'stream-connected', peer: this.#peerId(target, node), stream: far.stream, incoming: true });
    });
  }

  readonly #pending: (() => void)[] = [];

  #peerId(node: Node, remote: Node): string {
    const found = node.speaker.snapshot(this.now).neighbors.find((neighbor) => neighbor.remote === remote.address);
    return found?.id ?? remote.name;
  }

  /** Delivers until nothing moves; time stands still. */
  settle(): void {
    for (let round = 0; round < 100_000; round++) {
      const pending = this.#pending.splice(0);
      for (const run of pending) run();
      if (!this.#deliver() && pending.length === 0 && this.#pending.length === 0) return;
    }
    throw new Error('the network does not come to rest');
  }

  #deliver(): boolean {
    let moved = false;
    for (const node of this.nodes.values()) {
      for (const end of [...node.ends.values()]) {
        const bytes = end.inbox.shift();
        if (bytes) {
          moved = true;
          this.#pieces(end, bytes);
        } else if (end.closing && node.ends.delete(end.stream)) {
          moved = true;
          this.push(node, { kind: 'stream-closed', stream: end.stream });
        }
      }
    }
    return moved;
  }

  #pieces(end: End, bytes: Uint8Array): void {
    const cut = randomBelow(this.random, 4) === 0 ? 1 + randomBelow(this.random, bytes.length) : bytes.length;
    if (cut < bytes.length) end.inbox.unshift(bytes.slice(cut));
    this.push(end.node, { kind: 'stream-data', stream: end.stream, bytes: bytes.slice(0, cut) });
  }

  /** Lets virtual time pass, timers and deliveries in order. */
  run(ms: number): void {
    const until = this.now + ms;
    this.settle();
    for (;;) {
      let next = Number.POSITIVE_INFINITY;
      for (const node of this.nodes.values()) next = Math.min(next, node.speaker.deadline() ?? next);
      if (next > until) break;
      this.now = instant(Math.max(this.now, next));
      for (const node of this.nodes.values()) if ((node.speaker.deadline() ?? Number.POSITIVE_INFINITY) <= this.now) this.push(node, { kind: 'timeout' });
      this.settle();
    }
    this.now = instant(until);
  }

  neighbor(node: Node, id: string) {
    const found = node.speaker.snapshot(this.now).neighbors.find((neighbor) => neighbor.id === id);
    assert.ok(found, `${node.name} has no neighbour ${id}`);
    return found;
  }

  /** Keys of the routes that `node` has from its peers, with the peer: `family key < peer`, sorted. */
  heard(node: Node): string[] {
    const routes = node.speaker.snapshot(this.now).routes.filter((row) => row.peer !== '');
    return routes.map((row) => `${row.family} ${row.key} < ${row.peer}${row.stale ? ' (stale)' : ''}`).sort();
  }

  route(node: Node, family: Family, key: string): BgpRoute | undefined {
    return node.speaker.snapshot(this.now).routes.find((row) => row.family === familyName(family) && row.key === key && row.best)?.route;
  }
}

export function peer(remote: { id: string; address: string }, local: string, more: Partial<BgpPeerConfig> & Pick<BgpPeerConfig, 'families'>): BgpPeerConfig {
  return { id: remote.id, remote: remote.address, local, remoteAs: 65000, role: 'non-client', passive: false, holdSeconds: 90, ...more };
}
