// Deadlines by name, for owners of very many: a binary heap, where TimerTable looks at every one.
import type { Instant } from './time.ts';

interface Entry<Name> {
  readonly name: Name;
  readonly when: Instant;
}

/** Entries that were overtaken stay in the heap until they come up; beyond this many per living one it is built anew. */
const STALE_FACTOR = 4;
const SMALLEST_REBUILD = 64;

export class Deadlines<Name> {
  readonly #current = new Map<Name, Entry<Name>>();
  #heap: Entry<Name>[] = [];

  set(name: Name, when: Instant): void {
    if (this.#current.get(name)?.when === when) return;
    const entry = { name, when };
    this.#current.set(name, entry);
    this.#push(entry);
    if (this.#heap.length > SMALLEST_REBUILD && this.#heap.length > STALE_FACTOR * this.#current.size) this.#rebuild();
  }

  clear(name: Name): void {
    this.#current.delete(name);
  }

  next(): Instant | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#current.get(top.name) === top) return top.when;
      this.#pop();
    }
    return undefined;
  }

  /** Removes and returns the name whose deadline is the earliest, if that has come. */
  takeDue(now: Instant): Name | undefined {
    const when = this.next();
    if (when === undefined || when > now) return undefined;
    const { name } = this.#heap[0]!;
    this.#current.delete(name);
    this.#pop();
    return name;
  }

  #rebuild(): void {
    // A sorted list is a heap.
    this.#heap = [...this.#current.values()].toSorted((a, b) => a.when - b.when);
  }

  #push(entry: Entry<Name>): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.when <= entry.when) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  /** Removes the root. */
  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.when < heap[child]!.when) child++;
      if (heap[child]!.when >= last.when) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
