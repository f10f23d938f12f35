// The rekeys bench: 100 rekeys by directive over the tenants of the lab while their hosts send at half of what the overlay
// carries. Nothing may be lost. Runs the whole lab (test/bench/rekeys-lab.ts) in an enclosure of its own.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../../platform/errors.ts';
import { enclose } from '../../provisioning/lab/enclosure.ts';

const SCRIPT = fileURLToPath(new URL('rekeys-lab.ts', import.meta.url));

/** Prints its progress; returns what the lab counted. Throws OperationalError when the lab breaks off. */
export async function benchRekeys(rekeys: number): Promise<Record<string, unknown>> {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-rekeys-'));
  const file = join(directory, 'result.json');
  try {
    const code = await enclose(SCRIPT, [file, String(rekeys)], { keepOnFailure: true, announce: false });
    if (code !== 0) throw new OperationalError('bench', `the lab of the bench ended with code ${code}`, 'Read its last lines above');
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
