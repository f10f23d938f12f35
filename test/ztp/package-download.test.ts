// A software package that comes in parts: over interruptions and restarts, at its rate, and onto disks that are too small.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { SystemClock, sleep } from '../../platform/time.ts';
import { PackageDownload, isFinalDownloadError } from '../../provisioning/ztp/package-download.ts';
import type { Download } from '../../provisioning/ztp/package-download.ts';

const PROBE = fileURLToPath(new URL('full-disk-probe.ts', import.meta.url));
const CONTENT = new SeededRandom('package').bytes(900_000);
const WANTED = { sha256: createHash('sha256').update(CONTENT).digest('hex'), compatible: 'selvage-x86_64', version: '1.1.0', bytes: CONTENT.length };
const FAST = 1_000_000_000;

describe('download of a software package', () => {
  let directory: string;

  beforeEach(() => (directory = join(mkdtempSync(join(tmpdir(), 'selvage-download-')), 'software')));
  afterEach(() => rmSync(join(directory, '..'), { recursive: true }));

  const box = (freeBytes?: () => Promise<number>): PackageDownload => new PackageDownload({ clock: new SystemClock(), directory, ...(freeBytes ? { freeBytes } : {}) });
  const order = (changes: Partial<Download> = {}): Download => ({
    wanted: WANTED,
    bytesPerSecond: FAST,
    signal: new AbortController().signal,
    part: async (first, last) => CONTENT.slice(first, last + 1),
    progress: () => {},
    ...changes,
  });

  it('takes every octet once, in growing parts, and tells how far it is', async () => {
    const parts: number[] = [];
    const told: number[] = [];
    const file = await box().fetch(order({ part: async (first, last) => (parts.push(last + 1 - first), CONTENT.slice(first, last + 1)), progress: (percentage) => told.push(percentage) }));
    assert.ok(readFileSync(file).equals(CONTENT));
    assert.deepEqual([statSync(file).mode & 0o777, readdirSync(directory).length], [0o600, 1]);
    assert.equal(parts.reduce((sum, part) => sum + part, 0), CONTENT.length);
    assert.ok(parts[1]! > parts[0]!);
    assert.deepEqual([told[0], told.at(-1)], [0, 100]);
    // A second order for the same finds it whole.
    assert.equal(await box().fetch(order({ part: () => assert.fail('nothing is missing') })), file);
  });

  for (const seed of [1, 2, 3, 4, 5]) {
    it(`goes on where it was after interruptions and restarts at points of seed ${seed}`, async () => {
      const random = new SeededRandom(`cuts ${seed}`);
      let fetched = 0;
      let lives = 0;
      for (let file: string | undefined; file === undefined; lives++) {
        // Every life of the box has its own object; what it knows lies on the disk.
        let left = randomBelow(random, 4);
        const part = async (first: number, last: number): Promise<Uint8Array> => {
          if (left-- === 0) throw new Error('the connection broke');
          fetched += last + 1 - first;
          return CONTENT.slice(first, last + 1);
        };
        file = await box().fetch(order({ part })).catch(() => undefined);
        if (file !== undefined) assert.ok(readFileSync(file).equals(CONTENT));
      }
      assert.ok(lives > 1);
      assert.equal(fetched, CONTENT.length, 'no octet came twice');
    });
  }

  it('begins anew when what was kept turns out spoilt, and refuses what is wrong from the beginning', async () => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `${WANTED.sha256}.partial`), CONTENT.slice(0, 300_000).fill(7, 1000, 1010));
    writeFileSync(join(directory, 'other.raucb'), 'of a former order');
    assert.ok(readFileSync(await box().fetch(order())).equals(CONTENT));
    assert.deepEqual(readdirSync(directory), [`${WANTED.sha256}.raucb`]);
    await assert.rejects(box().fetch(order({ wanted: { ...WANTED, sha256: 'ab'.repeat(32) } })), (error) => isFinalDownloadError(error) && /has SHA-256 .*, Director named abab/.test((error as Error).message));
    assert.equal(existsSync(directory), false);
  });

  it('keeps to its rate', async () => {
    const clock = new SystemClock();
    const began = clock.now();
    await box().fetch(order({ bytesPerSecond: 1_500_000 }));
    assert.ok(clock.now() - began > 550, `${clock.now() - began} ms for 0.9 MB at 1.5 MB/s`);
  });

  it('ends at once when it is called back, and goes on later', async () => {
    const abort = new AbortController();
    const fetching = box().fetch(order({ bytesPerSecond: 1000, signal: abort.signal }));
    void sleep(100).then(() => abort.abort());
    await assert.rejects(fetching, { name: 'AbortError' });
    assert.ok(statSync(join(directory, `${WANTED.sha256}.partial`)).size > 0);
    assert.ok(readFileSync(await box().fetch(order())).equals(CONTENT));
  });

  it('takes nothing when the disk has no room for all of it and a reserve', async () => {
    await assert.rejects(box(async () => 64 * 1024 ** 2 + 899_999).fetch(order({ part: () => assert.fail('asked') })), (error) => isFinalDownloadError(error) && /needs 68008864 octets on the disk, 68008863 are free/.test((error as Error).message));
    assert.equal(existsSync(directory), false);
  });

  it('gives back what it took when the disk fills up all the same', () => {
    const script = `mount -t tmpfs -o size=500k tmpfs "$1" && exec "$2" --disable-warning=ExperimentalWarning "$3" "$1/software"`;
    mkdirSync(directory, { recursive: true });
    const { stdout, stderr, status } = spawnSync('unshare', ['--mount', '--', 'sh', '-c', script, 'probe', directory, process.execPath, PROBE], { encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' });
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { isFinal: true, cause: 'the disk is full: ENOSPC: no space left on device, write', left: false });
  });
});
