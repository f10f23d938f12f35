// Builds a disk image: `main.ts x86_64|aarch64 [--update-ca FILE [--signer CERTIFICATE --signer-key KEY]]
// [--output DIRECTORY] [--fresh] [--twice]`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { OperationalError, UsageError } from '../platform/errors.ts';
import type { Architecture } from './architecture.ts';
import { architectureOf } from './architecture.ts';
import { CHECKOUT, createBuild } from './build.ts';
import { buildImage } from './image.ts';
import type { ImageFiles, ImageOptions } from './image.ts';
import { sha256Of } from './signature.ts';
import type { Signer } from './signature.ts';
import { updateAuthority } from './update-authority.ts';

const ENCLOSED = 'SELVAGE_IMAGE_ENCLOSED';

/** Mounts of the build end with its process, however that ends. */
function enclose(args: readonly string[]): number {
  const command = ['--mount', '--', process.execPath, '--disable-warning=ExperimentalWarning', import.meta.filename, ...args];
  const { status, error } = spawnSync('unshare', command, { stdio: 'inherit', env: { ...process.env, [ENCLOSED]: '1' } });
  if (error !== undefined) throw new OperationalError('unshare', error.message, 'install util-linux');
  return status ?? 1;
}

/** The authority that was named, with its signer if that was named too; else the checkout's own. */
function authorityOf(ca: string | undefined, certificate: string | undefined, key: string | undefined): { readonly ca: string; readonly signer: Signer | undefined } {
  if ((certificate === undefined) !== (key === undefined)) throw new UsageError('--signer and --signer-key belong together');
  if (ca === undefined) {
    const own = updateAuthority(join(CHECKOUT, '.selvage/update-authority'));
    return { ca: own.ca, signer: own };
  }
  return { ca, signer: certificate === undefined || key === undefined ? undefined : { certificate, key } };
}

function print(line: string): void {
  process.stdout.write(`image: ${line}\n`);
}

async function main(args: readonly string[]): Promise<number> {
  const flags = { 'update-ca': { type: 'string' }, signer: { type: 'string' }, 'signer-key': { type: 'string' }, output: { type: 'string' }, fresh: { type: 'boolean' }, twice: { type: 'boolean' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options: flags, allowPositionals: true });
  const architecture = architectureOf(positionals[0] ?? '');
  if (process.getuid?.() !== 0) throw new UsageError('an image is built as root: packages are unpacked with their owners');
  if (process.env[ENCLOSED] === undefined) return enclose(args);
  const { ca, signer } = authorityOf(values['update-ca'], values.signer, values['signer-key']);
  print(`update bundles are trusted when signed by ${ca}`);
  const output = resolve(values.output ?? join(CHECKOUT, '.selvage/images'));
  const options = { updateCa: ca, signer, output, fresh: values.fresh ?? false };
  const files = await buildOnce(architecture, options);
  if (values.twice === true) await compareWithSecond(architecture, options, files);
  return 0;
}

/** The first image stays; the second is only compared with it. Throws OperationalError when they differ. */
async function compareWithSecond(architecture: Architecture, options: ImageOptions, first: ImageFiles): Promise<void> {
  const output = mkdtempSync(join(tmpdir(), 'selvage-second-image-'));
  try {
    const second = await buildOnce(architecture, { ...options, output });
    for (const kind of ['slot', 'raw', 'sbom'] as const) {
      if (sha256Of(first[kind]) !== sha256Of(second[kind])) {
        throw new OperationalError('not-reproducible', `the ${kind} of the second build is other than ${first[kind]}`, 'compare what is in them; with --fresh the packages of the archive may have changed in between');
      }
    }
    print('the second build is the same, octet for octet');
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
}

async function buildOnce(architecture: Architecture, options: ImageOptions): Promise<ImageFiles> {
  const work = mkdtempSync(join(tmpdir(), 'selvage-image-'));
  try {
    const build = createBuild({ architecture, work, print });
    print(`${architecture.machine}, version ${build.version}, commit ${build.commit}`);
    return await buildImage(build, options);
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
