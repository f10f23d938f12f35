// What is built once and kept on the machine: directories of Debian's files. A builder works under a name of its own, and
// what it has made gets the cache's name at once; of two builders the first one wins. That name says when it began: the times
// of the directory are those that a package gave it.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const CACHE = '/var/cache/selvage';
const MARK = '-building-';
const BEGAN = new RegExp(`${MARK}(\\d+)-`);
/** No builder takes so long: what is older was left by one that was killed. */
const LEFT_MS = 3_600_000;

/** Where the directory of that name is, or will be. */
export function cachePath(name: string): string {
  return join(CACHE, name);
}

export function isCached(name: string): boolean {
  return existsSync(cachePath(name));
}

/** An empty directory to build in; the remains of killed builders go. `unixMs` is the time now. */
export function beginBuilding(name: string, unixMs: number): string {
  mkdirSync(CACHE, { recursive: true });
  for (const entry of readdirSync(CACHE)) {
    const began = BEGAN.exec(entry)?.[1];
    if (began !== undefined && unixMs - Number(began) > LEFT_MS) rmSync(join(CACHE, entry), { recursive: true, force: true });
  }
  return mkdtempSync(`${cachePath(name)}${MARK}${Math.floor(unixMs)}-`);
}

/** Gives the name to what was built, unless another builder was first; with `replace` also then. */
export function keepBuilt(building: string, name: string, replace = false): void {
  if (replace) rmSync(cachePath(name), { recursive: true, force: true });
  if (!isCached(name)) renameSync(building, cachePath(name));
}

/** To be called in the end, kept or not. */
export function endBuilding(building: string): void {
  rmSync(building, { recursive: true, force: true });
}
