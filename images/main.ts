// Builds a disk image: `main.ts x86_64|aarch64 [--update-ca FILE] [--output DIRECTORY] [--fresh]`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { OperationalError, UsageError } from '../platform/errors.ts';
import { architectureOf } from './architecture.ts';
import { CHECKOUT, createBuild } from './build.ts';
import { buildImage } from './image.ts';
import { updateAuthority } from './update-authority.ts';

const ENCLOSED = 'SELVAGE_IMAGE_ENCLOSED';

/** Mounts of the build end with its process, however that ends. */
function enclose(args: readonly string[]): number {
  const command = ['--mount', '--', process.execPath, '--disable-warning=ExperimentalWarning', import.meta.filename, ...args];
  const { status, error } = spawnSync('unshare', command, { stdio: 'inherit', env: { ...process.env, [ENCLOSED]: '1' } });
  if (error !== undefined) throw new OperationalError('unshare', error.message, 'install util-linux');
  return status ?? 1;
}

async function main(args: readonly string[]): Promise<number> {
  const options = { 'update-ca': { type: 'string' }, output: { type: 'string' }, fresh: { type: 'boolean' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const architecture = architectureOf(positionals[0] ?? '');
  if (process.getuid?.() !== 0) throw new UsageError('an image is built as root: packages are unpacked with their owners');
  if (process.env[ENCLOSED] === undefined) return enclose(args);
  const work = mkdtempSync(join(tmpdir(), 'selvage-image-'));
  const print = (line: string): void => void process.stdout.write(`image: ${line}\n`);
  try {
    const build = createBuild({ architecture, work, print });
    print(`${architecture.machine}, version ${build.version}, commit ${build.commit}`);
    const authority = values['update-ca'] ?? updateAuthority(join(CHECKOUT, '.selvage/update-authority')).ca;
    print(`update bundles are trusted when signed by ${authority}`);
    const output = resolve(values.output ?? join(CHECKOUT, '.selvage/images'));
    await buildImage(build, { updateCa: authority, output, fresh: values.fresh ?? false });
    return 0;
  } finally {
    // The overlay is unmounted with our namespace only, and its mount point cannot be removed before.
    spawnSync('umount', [join(work, 'root')], { stdio: 'ignore' });
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const next = error instanceof OperationalError ? `\nnext: ${error.nextStep}` : '';
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${next}\n`);
  process.exitCode = 1;
}
