// Fetches more than the file system of its argument holds, which something else is said to have filled meanwhile. Prints
// what came of it as JSON.
import { existsSync } from 'node:fs';
import { SystemClock } from '../../platform/time.ts';
import { PackageDownload, isFinalDownloadError } from '../../provisioning/ztp/package-download.ts';

const directory = process.argv[2]!;
const download = new PackageDownload({ clock: new SystemClock(), directory, freeBytes: async () => 1024 ** 3 });
const wanted = { sha256: 'ab'.repeat(32), compatible: 'selvage-x86_64', version: '1.1.0', bytes: 2_000_000 };
try {
  await download.fetch({ wanted, bytesPerSecond: 1_000_000_000, signal: new AbortController().signal, part: async (first, last) => new Uint8Array(last + 1 - first), progress: () => {} });
} catch (error) {
  process.stdout.write(JSON.stringify({ isFinal: isFinalDownloadError(error), cause: (error as Error).message, left: existsSync(directory) }));
}
