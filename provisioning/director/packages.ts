// Signed bundles of the appliance's system that Director keeps for boxes: files below the data directory, named by their
// digest, and a row for each. Director stores and hands out; whether a bundle is good is for the box to say.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import type { ReadStream } from 'node:fs';
import { open, rename, rm, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { toHex } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';
import { after } from '../../platform/time.ts';
import type { SoftwarePackage } from '../ztp/software-messages.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { readManifest } from './package-manifest.ts';
import { refusal } from './refusal.ts';
import type { Db, SoftwarePackageTable } from './store/tables.ts';

export interface SoftwarePackageView extends SoftwarePackage {
  readonly createdUnixMs: number;
}

export const LARGEST_PACKAGE_BYTES = 1024 ** 3;
const PACKAGE_LIMIT = 64;
const UPLOADS_AT_ONCE = 2;
/** For the database and the logs, whatever is uploaded. */
const RESERVE_BYTES = 256 * 1024 ** 2;
/** An upload that brings nothing for so long has ended. */
const IDLE_MS = 60_000;
const UPLOAD = '.upload-';
const SUFFIX = '.raucb';

export class PackageStore {
  readonly #directory: string;
  #uploads = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes files and rows agree after whatever ended the last Director. */
  async open(context: DirectorContext): Promise<void> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const rows = await context.db.selectFrom('software_packages').selectAll().execute();
    const known = new Set(rows.map(({ sha256 }) => `${sha256}${SUFFIX}`));
    for (const name of readdirSync(this.#directory)) if (!known.has(name)) rmSync(join(this.#directory, name), { recursive: true });
    for (const { sha256, version } of rows) {
      if (existsSync(this.#file(sha256))) continue;
      context.log.warning('Software package is gone', { sha256, version });
      await context.db.deleteFrom('software_packages').where('sha256', '=', sha256).execute();
    }
  }

  /**
   * Takes a bundle from a stream to the disk; the same one again is no error. A failure leaves nothing behind.
   * Throws OperationalError with the cause of a refusal.
   */
  async add(context: DirectorContext, actor: string, body: Readable, claimedBytes: number | undefined): Promise<SoftwarePackageView> {
    if (this.#uploads >= UPLOADS_AT_ONCE) throw refusal('rate-limited', `${UPLOADS_AT_ONCE} uploads are under way`, 'wait until one is over');
    this.#uploads++;
    const aside = join(this.#directory, `${UPLOAD}${toHex(context.random.bytes(8))}`);
    try {
      if ((await listPackages(context.db)).length >= PACKAGE_LIMIT) throw refusal('exhausted', `Director keeps ${PACKAGE_LIMIT} software packages`, 'delete one that no box needs any longer');
      if ((claimedBytes ?? 0) > LARGEST_PACKAGE_BYTES) throw tooLarge();
      const { bavail, bsize } = await statfs(this.#directory);
      const room = bavail * bsize - RESERVE_BYTES;
      if (room < (claimedBytes ?? 0)) throw refusal('exhausted', `the package has ${claimedBytes} octets, the disk has room for ${Math.max(0, room)}`, "free space on the file system of Director's data directory");
      const found = await take(context, body, aside, Math.min(LARGEST_PACKAGE_BYTES, room));
      return await this.#keep(context, actor, aside, found);
    } finally {
      this.#uploads--;
      await rm(aside, { force: true });
    }
  }

  async remove(context: DirectorContext, actor: string, sha256: string): Promise<void> {
    await context.db.transaction().execute(async (db) => {
      const { version } = await packageBySha256(db, sha256);
      const order = await db.selectFrom('upgrades').innerJoin('tasks', 'tasks.id', 'upgrades.task_id').select('task_id').where('version', '=', version).where('status', '=', 'PENDING').executeTakeFirst();
      if (order) throw refusal('conflict', `upgrade ${order.task_id} to ${version} is under way`, 'wait until it is over, or cancel it');
      await db.deleteFrom('software_packages').where('sha256', '=', sha256).execute();
      await audit(context, db, actor, 'delete-software', version, sha256);
    });
    await rm(this.#file(sha256), { force: true });
    context.log.info('Software package deleted', { sha256 });
  }

  /** Octets `first` to `last` of a package's file. */
  read(sha256: string, first: number, last: number): ReadStream {
    return createReadStream(this.#file(sha256), { start: first, end: last });
  }

  async #keep(context: DirectorContext, actor: string, aside: string, found: SoftwarePackage): Promise<SoftwarePackageView> {
    const { sha256, compatible, version, bytes } = found;
    return context.db.transaction().execute(async (db) => {
      const twin = await db.selectFrom('software_packages').selectAll().where('compatible', '=', compatible).where('version', '=', version).executeTakeFirst();
      if (twin?.sha256 === sha256) return packageView(twin);
      if (twin) throw refusal('conflict', `there is another package of ${version} for ${compatible}: ${twin.sha256}`, 'delete that one first, or give every build its own version');
      await rename(aside, this.#file(sha256));
      const row = { sha256, compatible, version, bytes, created_unix_ms: context.clock.unixMs() };
      await db.insertInto('software_packages').values(row).execute();
      await audit(context, db, actor, 'add-software', version, `${compatible} ${sha256}`);
      context.log.info('Software package stored', { sha256, compatible, version, bytes });
      return packageView(row);
    });
  }

  #file(sha256: string): string {
    return join(this.#directory, `${sha256}${SUFFIX}`);
  }
}

function tooLarge(): Error {
  return refusal('too-large', `a software package has at most ${LARGEST_PACKAGE_BYTES} octets`, 'build the bundle anew; one of an image has some 200 MB');
}

function noRoom(): Error {
  return refusal('exhausted', 'the disk has no more room for the package', "free space on the file system of Director's data directory");
}

/** Writes what comes to a file, and reads what the bundle says of itself. */
async function take(context: DirectorContext, body: Readable, path: string, most: number): Promise<SoftwarePackage> {
  const { clock } = context;
  const hash = createHash('sha256');
  let bytes = 0;
  let seen = -1;
  let cancel = (): void => {};
  const watch = (): void => {
    if (bytes === seen) return void body.destroy(new Error(`nothing came for ${IDLE_MS / 1000} s`));
    seen = bytes;
    cancel = clock.at(after(clock.now(), IDLE_MS), watch);
  };
  watch();
  const file = await open(path, 'wx+', 0o600);
  try {
    for await (const part of body as AsyncIterable<Uint8Array>) {
      if (bytes + part.length > most) throw bytes + part.length > LARGEST_PACKAGE_BYTES ? tooLarge() : noRoom();
      hash.update(part);
      await file.writeFile(part);
      bytes += part.length;
    }
    await file.sync();
    return { sha256: hash.digest('hex'), bytes, ...(await manifestOf(file, bytes)) };
  } catch (error) {
    if (body.errored) throw refusal('invalid', `the upload ended after ${bytes} octets: ${body.errored.message}`, 'send it again');
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw noRoom();
    throw error;
  } finally {
    cancel();
    await file.close();
  }
}

async function manifestOf(file: FileHandle, bytes: number): Promise<{ readonly compatible: string; readonly version: string }> {
  try {
    return await readManifest(file, bytes);
  } catch (error) {
    if (error instanceof WireError) throw refusal('invalid', `this is no update bundle: ${error.message}`, 'send the file that "npm run bundle" has made, whole');
    throw error;
  }
}

function packageView({ created_unix_ms, ...rest }: SoftwarePackageTable): SoftwarePackageView {
  return { ...rest, createdUnixMs: created_unix_ms };
}

/** Newest first. */
export async function listPackages(db: Db): Promise<readonly SoftwarePackageView[]> {
  return (await db.selectFrom('software_packages').selectAll().orderBy('created_unix_ms', 'desc').orderBy('sha256').execute()).map(packageView);
}

/** Throws OperationalError `not-found`. */
export async function packageBySha256(db: Db, sha256: string): Promise<SoftwarePackageView> {
  const row = await db.selectFrom('software_packages').selectAll().where('sha256', '=', sha256).executeTakeFirst();
  if (!row) throw refusal('not-found', `there is no software package ${sha256}`, 'list the packages and check the digest');
  return packageView(row);
}

/** The package of a version for boxes of one kind, if Director has it. */
export async function packageFor(db: Db, compatible: string, version: string): Promise<SoftwarePackageView | undefined> {
  const row = await db.selectFrom('software_packages').selectAll().where('compatible', '=', compatible).where('version', '=', version).executeTakeFirst();
  return row && packageView(row);
}
