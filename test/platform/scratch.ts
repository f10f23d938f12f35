// A directory of one test, removed afterwards.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export function withScratch(run: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
  try {
    run(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
