// Fetches a software package part by part into a file. What has come is kept over interruptions and restarts, and counted
// as come only when the whole has the digest that Director named. One package at a time; nothing of it is kept in memory
// but the part under way.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { OperationalError } from '../../platform/errors.ts';
import { after, pauseUntil } from '../../platform/time.ts';
import type { Clock, Instant } from '../../platform/time.ts';
import type { SoftwarePackage } from './software-messages.ts';

export interface DownloadOptions {
  readonly clock: Clock;
  /** Holds nothing but packages: what else lies in it is removed. */
  readonly directory: string;
  /** Of its file system; replaced in tests. */
  readonly freeBytes?: (directory: string) => Promise<number>;
}

export interface Download {
  readonly wanted: SoftwarePackage;
  readonly bytesPerSecond: number;
  /** Octets `first` to `last` of the package. */
  readonly part: (first: number, last: number, timeoutMs: number) => Promise<Uint8Array>;
  readonly signal: AbortSignal;
  readonly progress: (percentage: number) => void;
}

/** Left for state and logs. */
const RESERVE_BYTES = 64 * 1024 ** 2;
const SMALLEST_PART_BYTES = 16 * 1024;
const LARGEST_PART_BYTES = 4 * 1024 ** 2;
/** Parts grow and shrink with the path, so that one takes about this time: a part that is cut off is fetched again. */
const PART_MS = 2_000;
const PART_TIMEOUT_MS = 30_000;
const READ_BYTES = 1024 ** 2;
const DISK_FULL = 'package-disk-full';
const DISK_BROKEN = 'package-disk';
const WRONG_DIGEST = 'package-digest';

/** Whether trying again is useless: the disk or the package must change first. */
export function isFinalDownloadError(error: unknown): boolean {
  return error instanceof OperationalError && [DISK_FULL, DISK_BROKEN, WRONG_DIGEST].includes(error.code);
}

async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

/** What the network does wrong is an OperationalError already. */
function diskError(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof OperationalError || code === undefined || !(error instanceof Error) || error.name === 'AbortError') return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(`the disk is full: ${message}`, error);
  return new OperationalError(DISK_BROKEN, `the package cannot be kept on the disk: ${message}`, 'look at the data partition of the box: its log, and cat /run/selvage-image/data', error);
}

function diskFull(text: string, cause?: unknown): OperationalError {
  return new OperationalError(DISK_FULL, text, 'free space on the data partition of the box, then order the upgrade anew', cause);
}

export class PackageDownload {
  readonly #options: DownloadOptions;
  #partBytes = SMALLEST_PART_BYTES * 4;

  constructor(options: DownloadOptions) {
    this.#options = options;
  }

  /**
   * Resolves with the file once all of it is there. After a rejection the next call goes on where this one ended, unless
   * the error is final; then nothing is left of the package.
   */
  async fetch(download: Download): Promise<string> {
    try {
      return await this.#fetch(download);
    } catch (error) {
      const cause = diskError(error);
      if (isFinalDownloadError(cause)) await this.clear();
      throw cause;
    }
  }

  /** Removes whatever was fetched, as far as the disk lets it. */
  async clear(): Promise<void> {
    await rm(this.#options.directory, { recursive: true, force: true }).catch(() => {});
  }

  async #fetch(download: Download): Promise<string> {
    const { wanted } = download;
    const partial = this.#file(wanted, 'partial');
    const whole = this.#file(wanted, 'raucb');
    await this.#makeRoom(wanted);
    // What was whole is checked again: a disk may have lost it since.
    await rename(whole, partial).catch(() => {});
    for (;;) {
      const { digest, resumed } = await this.#fill(download, partial);
      if (digest === wanted.sha256) {
        await rename(partial, whole);
        return whole;
      }
      await rm(partial, { force: true });
      // What an earlier attempt left may be spoilt; what came at one go is what Director has.
      if (!resumed) throw new OperationalError(WRONG_DIGEST, `the package that came has SHA-256 ${digest}, Director named ${wanted.sha256}`, 'delete the package in Director and upload it anew');
    }
  }

  #file({ sha256 }: SoftwarePackage, kind: 'partial' | 'raucb'): string {
    return join(this.#options.directory, `${sha256}.${kind}`);
  }

  async #makeRoom(wanted: SoftwarePackage): Promise<void> {
    const { directory, freeBytes = freeBytesOf } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) if (!name.startsWith(wanted.sha256)) await rm(join(directory, name), { recursive: true, force: true });
    const kept = await stat(this.#file(wanted, 'raucb')).catch(() => stat(this.#file(wanted, 'partial'))).catch(() => undefined);
    const needed = wanted.bytes - (kept?.size ?? 0) + RESERVE_BYTES;
    const free = await freeBytes(directory);
    if (free < needed) throw diskFull(`the package needs ${needed} octets on the disk, ${free} are free`);
  }

  async #fill(download: Download, path: string): Promise<{ readonly digest: string; readonly resumed: boolean }> {
    const { wanted, signal } = download;
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      const hash = createHash('sha256');
      const start = await takeUp(file, wanted.bytes, hash);
      const pace = new Pace(this.#options.clock, download.bytesPerSecond);
      for (let at = start; at < wanted.bytes; ) {
        download.progress(Math.floor((100 * at) / wanted.bytes));
        const part = await this.#part(download, at);
        await append(file, part, at);
        hash.update(part);
        at += part.length;
        await pace.spent(part.length, signal);
      }
      download.progress(100);
      return { digest: hash.digest('hex'), resumed: start > 0 };
    } finally {
      await file.close();
    }
  }

  async #part({ wanted, bytesPerSecond, part, signal }: Download, at: number): Promise<Uint8Array> {
    signal.throwIfAborted();
    const { clock } = this.#options;
    const most = Math.min(this.#partBytes, Math.max(SMALLEST_PART_BYTES, bytesPerSecond), wanted.bytes - at);
    const asked = clock.now();
    try {
      const bytes = await part(at, at + most - 1, PART_TIMEOUT_MS);
      const tookMs = clock.now() - asked;
      if (tookMs < PART_MS / 2) this.#partBytes = Math.min(LARGEST_PART_BYTES, this.#partBytes * 2);
      else if (tookMs > PART_MS * 2) this.#partBytes = Math.max(SMALLEST_PART_BYTES, this.#partBytes / 2);
      return bytes;
    } catch (error) {
      this.#partBytes = Math.max(SMALLEST_PART_BYTES, this.#partBytes / 2);
      throw error;
    } finally {
      signal.throwIfAborted();
    }
  }
}

/** Feeds what the file holds already to the digest; returns how much that is. */
async function takeUp(file: FileHandle, most: number, hash: Hash): Promise<number> {
  const { size } = await file.stat();
  if (size > most) await file.truncate(0);
  const end = size > most ? 0 : size;
  const buffer = new Uint8Array(READ_BYTES);
  for (let at = 0; at < end; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at);
    if (bytesRead === 0) throw new OperationalError('package-read', 'the part of the package that is there cannot be read', 'look at the disk of the box');
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return end;
}

/** On the disk when this resolves: what counts as come is still there after a power cut. */
async function append(file: FileHandle, part: Uint8Array, at: number): Promise<void> {
  for (let written = 0; written < part.length; ) written += (await file.write(part, written, part.length - written, at + written)).bytesWritten;
  await file.datasync();
}

/** Holds a download to its octets per second on average. */
class Pace {
  readonly #clock: Clock;
  readonly #bytesPerSecond: number;
  readonly #began: Instant;
  #bytes = 0;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#began = clock.now();
  }

  /** Resolves when these octets may count as spent, or with the signal. */
  spent(bytes: number, signal: AbortSignal): Promise<void> {
    this.#bytes += bytes;
    return pauseUntil(this.#clock, after(this.#began, (1000 * this.#bytes) / this.#bytesPerSecond), signal);
  }
}
