// npm run deb -- amd64|arm64 [DIRECTORY]: the Debian package, in `dist` of the checkout unless a directory is named.
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import { architectureOf } from '../architecture.ts';
import { buildDeb } from './deb.ts';

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));

try {
  const [name = process.arch, directory = join(CHECKOUT, 'dist')] = process.argv.slice(2);
  process.stderr.write(`selvage: lays out and packs the payload for ${name}, which takes about half a minute\n`);
  process.stdout.write(`${buildDeb(CHECKOUT, architectureOf(name), resolve(directory))}\n`);
} catch (error) {
  if (!(error instanceof OperationalError || error instanceof UsageError)) throw error;
  process.stderr.write(`selvage: ${error.message}${error instanceof OperationalError ? `; next: ${error.nextStep}` : ''}\n`);
  process.exitCode = 1;
}
