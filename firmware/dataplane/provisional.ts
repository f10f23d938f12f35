// @hot  Where IKE that arrived in clear VXLAN came from, so that its answer finds the way back before any tunnel has
// an endpoint. Unauthenticated: used for nothing but IKE. Eight entries per set, the oldest of a set is replaced.
const SETS = 128;
const WAYS = 8;
const ENTRIES = SETS * WAYS;

export class ProvisionalEndpoints {
  /** Id of the inside + 1; 0 = free. */
  readonly #inside = new Int32Array(ENTRIES);
  /** Inner address: 16 octets, IPv4 in the first 4. */
  readonly #inner = new Uint8Array(ENTRIES * 16);
  readonly #version = new Uint8Array(ENTRIES);
  readonly #used = new Float64Array(ENTRIES);
  #clock = 0;
  /** `next` of the port, remote family, port and address of the entry. */
  readonly next = new Int32Array(ENTRIES);
  readonly family = new Uint8Array(ENTRIES);
  readonly port = new Int32Array(ENTRIES);
  readonly address = new Uint8Array(ENTRIES * 16);
  /** When IKE last came from there. */
  readonly seenAt = new Float64Array(ENTRIES);

  /** Entry for the inner address at `at`, or -1. */
  find(inside: number, version: number, bytes: Uint8Array, at: number): number {
    const octets = version === 4 ? 4 : 16;
    const first = setOf(inside, bytes, at, octets) * WAYS;
    for (let entry = first; entry < first + WAYS; entry++) {
      if (this.#inside[entry] !== inside + 1 || this.#version[entry] !== version) continue;
      if (this.#sameInner(entry, bytes, at, octets)) {
        this.#used[entry] = ++this.#clock;
        return entry;
      }
    }
    return -1;
  }

  /** The entry for the inner address, taken from the least recently used of its set when it is new. The caller fills in the endpoint. */
  claim(inside: number, version: number, bytes: Uint8Array, at: number): number {
    const found = this.find(inside, version, bytes, at);
    if (found >= 0) return found;
    const octets = version === 4 ? 4 : 16;
    const first = setOf(inside, bytes, at, octets) * WAYS;
    let oldest = first;
    for (let entry = first + 1; entry < first + WAYS; entry++) {
      if (this.#used[entry]! < this.#used[oldest]!) oldest = entry;
    }
    this.#inside[oldest] = inside + 1;
    this.#version[oldest] = version;
    this.#used[oldest] = ++this.#clock;
    for (let i = 0; i < octets; i++) this.#inner[oldest * 16 + i] = bytes[at + i]!;
    return oldest;
  }

  /** Forgets everything: ports have changed, and `next` names ports. */
  clear(): void {
    this.#inside.fill(0);
    this.#used.fill(0);
  }

  #sameInner(entry: number, bytes: Uint8Array, at: number, octets: number): boolean {
    for (let i = 0; i < octets; i++) if (this.#inner[entry * 16 + i] !== bytes[at + i]) return false;
    return true;
  }
}

function setOf(inside: number, bytes: Uint8Array, at: number, octets: number): number {
  let hash = inside;
  for (let i = 0; i < octets; i++) hash = Math.imul(hash ^ bytes[at + i]!, 0x0100_0193);
  return ((hash >>> 16) ^ hash) & (SETS - 1);
}
