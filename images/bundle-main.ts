// npm run bundle -- x86_64|aarch64 [--signer CERTIFICATE --signer-key KEY] [--output DIRECTORY]: the update bundle of the
// image that `npm run image` has built, beside it.
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PLATFORM_VERSION } from '../firmware/version.ts';
import { OperationalError, UsageError } from '../platform/errors.ts';
import { architectureOf } from './architecture.ts';
import { CHECKOUT } from './build.ts';
import { makeBundle } from './bundle.ts';
import { imageFiles } from './image.ts';
import { updateAuthority } from './update-authority.ts';

function main(args: readonly string[]): string {
  const flags = { signer: { type: 'string' }, 'signer-key': { type: 'string' }, output: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options: flags, allowPositionals: true });
  const architecture = architectureOf(positionals[0] ?? '');
  const { signer: certificate, 'signer-key': key } = values;
  if ((certificate === undefined) !== (key === undefined)) throw new UsageError('--signer and --signer-key belong together');
  const signer = certificate !== undefined && key !== undefined ? { certificate, key } : updateAuthority(join(CHECKOUT, '.selvage/update-authority'));
  const { slot } = imageFiles({ version: PLATFORM_VERSION, architecture }, resolve(values.output ?? join(CHECKOUT, '.selvage/images')));
  if (!existsSync(slot)) throw new OperationalError('no-slot', `${slot} is not there`, `run: npm run image -- ${architecture.machine}`);
  const file = slot.replace(/slot$/, 'raucb');
  rmSync(file, { force: true });
  makeBundle({ architecture, version: PLATFORM_VERSION, slot, signer }, file);
  return file;
}

try {
  process.stdout.write(`${main(process.argv.slice(2))}\n`);
} catch (error) {
  if (!(error instanceof OperationalError || error instanceof UsageError)) throw error;
  process.stderr.write(`selvage: ${error.message}${error instanceof OperationalError ? `; next: ${error.nextStep}` : ''}\n`);
  process.exitCode = 1;
}
