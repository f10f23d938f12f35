// Sums of what was built, signed by the update authority: who flashes a box can tell where the image comes from.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { runCommand } from './build.ts';
import type { Build } from './build.ts';

export interface Signer {
  /** PEM files. */
  readonly certificate: string;
  readonly key: string;
}

const READ_BYTES = 1 << 22;

/** Lower-case hexadecimal SHA-256 of a file that may be larger than memory. */
export function sha256Of(file: string): string {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(READ_BYTES);
  const fd = openSync(file, 'r');
  try {
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) hash.update(buffer.subarray(0, count));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

/** Writes `sums` (as sha256sum(1) reads it) of the files, which lie beside it, and `<sums>.p7s`, a detached CMS signature. */
export async function signSums(build: Build, files: readonly string[], sums: string, signer: Signer): Promise<void> {
  build.print('sums and their signature');
  writeFileSync(sums, files.map((file) => `${sha256Of(file)}  ${basename(file)}\n`).join(''));
  const content = ['-in', sums, '-outform', 'PEM', '-out', `${sums}.p7s`];
  await runCommand(build, 'openssl', ['cms', '-sign', '-binary', '-md', 'sha256', ...content, '-signer', signer.certificate, '-inkey', signer.key]);
}
