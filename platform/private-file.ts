// Files that only their owner may read, replaced as a whole.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export function writePrivateFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const aside = `${file}.new`;
  writeFileSync(aside, text, { mode: 0o600 });
  renameSync(aside, file);
}
