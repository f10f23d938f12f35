// What a box keeps on its data partition, read from a disk image without starting it: the journal is replayed as at a boot,
// on a copy, and the documents are read by the box's own store.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hostCommand } from '../../provisioning/lab/host-command.ts';
import { OperationalError } from '../../platform/errors.ts';
import { FileStore } from '../../platform/store-file.ts';

export interface Stored {
  /** What e2fsck says of a file system that it could not repair by itself; '' of a good one. */
  readonly damage: string;
  /** Octets by name of the document. */
  readonly documents: ReadonlyMap<string, Uint8Array>;
  /** /etc/selvage/selvage.json; undefined when it is not there. */
  readonly configuration: string | undefined;
}

/** Below the root of the partition. */
const STATE = '/overlay/var/lib/selvage/state';
const CONFIGURATION = '/overlay/etc/selvage/selvage.json';
/** e2fsck(8): 0 clean, 1 repaired. */
const REPAIRED = 1;

/** A partition on its disk. */
export interface Place {
  readonly startBytes: number;
  readonly bytes: number;
}

/** `scratch` is a directory that is emptied. */
export function readStored(disk: string, { startBytes, bytes }: Place, scratch: string): Stored {
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const partition = join(scratch, 'data.img');
  hostCommand('dd', [`if=${disk}`, `of=${partition}`, 'bs=1M', `skip=${startBytes}`, `count=${bytes}`, 'iflag=skip_bytes,count_bytes', 'conv=sparse', 'status=none']);
  const { status, stdout } = spawnSync('e2fsck', ['-p', partition], { encoding: 'utf8' });
  const damage = status === null || status > REPAIRED ? stdout.trim() : '';
  hostCommand('debugfs', ['-R', `rdump ${STATE} ${scratch}`, partition]);
  const state = join(scratch, 'state');
  const store = existsSync(state) ? new FileStore(state) : undefined;
  const documents = new Map((store?.list() ?? []).map((name) => [name, store!.read(name)!]));
  const configuration = join(scratch, 'configuration');
  hostCommand('debugfs', ['-R', `dump ${CONFIGURATION} ${configuration}`, partition]);
  rmSync(partition);
  return { damage, documents, configuration: existsSync(configuration) ? readFileSync(configuration, 'utf8') : undefined };
}

/** Whether a disk image holds the octets of a file at a place. */
export function holdsFile(disk: string, startBytes: number, file: string): boolean {
  const { status, stderr } = spawnSync('cmp', ['--quiet', `--ignore-initial=${startBytes}:0`, `--bytes=${statSync(file).size}`, disk, file], { encoding: 'utf8' });
  if (status !== 0 && status !== 1) throw new OperationalError('cmp', `cmp ${disk} ${file}: ${stderr}`, 'look at these files');
  return status === 0;
}
