// @hot (lookup)  Longest-prefix match for every inside: 8-bit tries with leaf pushing over one Int32Array.
//
// A node is 256 words. A word > 0 is the number of a child node, a word <= 0 is minus the number of a route, 0 = none.
// Routes are inserted from the shortest prefix to the longest, so a longer one simply overwrites its part.

const NODE_WORDS = 256;
/** 64 MiB of nodes. Routes beyond that are refused: a peer's route count is bounded long before. */
const MAX_NODES = 65_536;

export interface FibRoute {
  /** Root that `addRoot` returned; one per inside and family. */
  readonly root: number;
  readonly bytes: Uint8Array;
  /** Bits of the prefix. */
  readonly length: number;
  /** Row of the tunnel. */
  readonly tunnel: number;
  /** MPLS label to push. */
  readonly label: number;
}

export class Fib {
  /** Route numbers start at 1. */
  readonly tunnelOf: Int32Array;
  readonly labelOf: Int32Array;
  /** Routes that found no room. */
  readonly refused: number;
  readonly #nodes: Int32Array;

  /** `roots` tries (numbered 1 to `roots`) filled with `routes`. */
  constructor(roots: number, routes: readonly FibRoute[]) {
    const sorted = [...routes].sort((a, b) => a.length - b.length);
    this.tunnelOf = new Int32Array(sorted.length + 1).fill(-1);
    this.labelOf = new Int32Array(sorted.length + 1);
    const trie = new TrieBuilder(roots);
    let refused = 0;
    for (const [i, route] of sorted.entries()) {
      this.tunnelOf[i + 1] = route.tunnel;
      this.labelOf[i + 1] = route.label;
      if (!trie.insert(route, i + 1)) refused++;
    }
    this.refused = refused;
    this.#nodes = trie.finish();
  }

  /** The route for the address at `at`, or 0. The address has as many octets as the prefixes of this root. */
  lookup(root: number, bytes: Uint8Array, at: number): number {
    const nodes = this.#nodes;
    let word = root;
    let octet = at;
    while (word > 0) word = nodes[word * NODE_WORDS + bytes[octet++]!]!;
    // Not -word: minus zero is no index, and code compiled for indices would be thrown away for every unknown address.
    return 0 - word;
  }
}

class TrieBuilder {
  #nodes: Int32Array;
  #count: number;

  constructor(roots: number) {
    this.#count = roots + 1;
    this.#nodes = new Int32Array(Math.max(16, this.#count * 2) * NODE_WORDS);
  }

  insert(route: FibRoute, number: number): boolean {
    let node = route.root;
    let bits = route.length;
    let octet = 0;
    while (bits > 8) {
      const child = this.#childOf(node, route.bytes[octet++]!);
      if (child < 0) return false;
      node = child;
      bits -= 8;
    }
    // `bits` is 0 only for the default route. Longer prefixes come later, so nothing below is lost.
    const span = 1 << (8 - bits);
    const first = node * NODE_WORDS + (bits === 0 ? 0 : route.bytes[octet]! & (0xff00 >>> bits) & 0xff);
    this.#nodes.fill(-number, first, first + span);
    return true;
  }

  /** The child behind one word, made from the leaf there when it is missing; -1 when there is no room. */
  #childOf(node: number, octet: number): number {
    const at = node * NODE_WORDS + octet;
    const word = this.#nodes[at]!;
    if (word > 0) return word;
    if (this.#count === MAX_NODES) return -1;
    const child = this.#count++;
    if ((child + 1) * NODE_WORDS > this.#nodes.length) {
      const larger = new Int32Array(this.#nodes.length * 2);
      larger.set(this.#nodes);
      this.#nodes = larger;
    }
    this.#nodes.fill(word, child * NODE_WORDS, (child + 1) * NODE_WORDS);
    this.#nodes[at] = child;
    return child;
  }

  finish(): Int32Array {
    return this.#nodes.slice(0, this.#count * NODE_WORDS);
  }
}
