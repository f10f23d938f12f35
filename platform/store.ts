// Small durable state: whole documents by name, each replaced atomically. Used for boot and rekey counters, keys,
// bundles, IKE history. Not a database; Director has one of its own.

export interface Store {
  /** The document's octets, or undefined when it was never written. */
  read(name: string): Uint8Array | undefined;
  /** Returns only when the document is durable (written aside, synced, renamed). */
  write(name: string, bytes: Uint8Array): void;
  remove(name: string): void;
  list(): readonly string[];
}

export class MemoryStore implements Store {
  readonly #documents = new Map<string, Uint8Array>();

  read(name: string): Uint8Array | undefined {
    return this.#documents.get(name)?.slice();
  }

  write(name: string, bytes: Uint8Array): void {
    this.#documents.set(name, bytes.slice());
  }

  remove(name: string): void {
    this.#documents.delete(name);
  }

  list(): readonly string[] {
    return [...this.#documents.keys()];
  }
}
