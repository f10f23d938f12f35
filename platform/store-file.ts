// Store in a directory of its own: one file per document. A document is either the old one or the new one after a
// crash at any moment: written aside, synced, renamed, and the directory synced.
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { OperationalError, UsageError } from './errors.ts';
import type { Store } from './store.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Documents hold keys. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
const ASIDE = '.aside-';

export class FileStore implements Store {
  readonly #directory: string;

  /** Creates the directory when it is missing, and removes what an interrupted write left behind, if the disk lets it. */
  constructor(directory: string) {
    this.#directory = directory;
    const names = this.#attempt('open', () => {
      mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
      return readdirSync(directory);
    });
    for (const name of names.filter((each) => each.startsWith(ASIDE))) removeIfPossible(join(directory, name));
  }

  read(name: string): Uint8Array | undefined {
    const path = this.#path(name);
    try {
      return new Uint8Array(readFileSync(path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw this.#failure('read', error);
    }
  }

  write(name: string, bytes: Uint8Array): void {
    const path = this.#path(name);
    const aside = join(this.#directory, ASIDE + name);
    this.#attempt('write', () => {
      const fd = openSync(aside, 'w', FILE_MODE);
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(aside, path);
      this.#syncDirectory();
    });
  }

  remove(name: string): void {
    const path = this.#path(name);
    this.#attempt('remove', () => {
      rmSync(path, { force: true });
      this.#syncDirectory();
    });
  }

  list(): readonly string[] {
    return this.#attempt('list', () => readdirSync(this.#directory).filter((name) => NAME.test(name)).sort());
  }

  #path(name: string): string {
    if (!NAME.test(name)) throw new UsageError(`document ${JSON.stringify(name)}: a name has 1 to 100 letters, digits, dots, underscores and dashes, the first a letter or digit`);
    return join(this.#directory, name);
  }

  #syncDirectory(): void {
    const fd = openSync(this.#directory, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  #attempt<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw this.#failure(what, error);
    }
  }

  #failure(what: string, error: unknown): OperationalError {
    const { code, message } = error as NodeJS.ErrnoException;
    const next = code === 'ENOSPC' ? 'free space on that file system' : 'check that the directory belongs to this service and is writable';
    return new OperationalError(`store-${code ?? 'failed'}`, `state directory ${this.#directory} could not ${what}: ${message}`, next, error);
  }
}

function removeIfPossible(path: string): void {
  try {
    rmSync(path);
  } catch {
    // On a read-only disk it stays: the next write of that document replaces it.
  }
}
