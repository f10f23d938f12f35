// An image as a user gets it: built, flashed to a blank disk, booted under emulation, onboarded from a USB stick by the
// lab's Director, and carrying the traffic of its LANs; then upgraded, rolled back, reset, and without its data partition. The
// upgrade is cut off by power failures, and the image is built a second time.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { architectureOf } from '../../images/architecture.ts';
import type { BootResult, Stage } from '../../images/boot-lab.ts';
import { imageFiles, sumsFile } from '../../images/image.ts';
import { sha256Of } from '../../images/signature.ts';
import type { CutResult } from '../../images/power-cut/cuts.ts';
import { PLATFORM_VERSION } from '../../firmware/version.ts';

const IMAGES = join(import.meta.dirname, '../../images');
const AUTHORITY = join(IMAGES, '../.selvage/update-authority/ca.pem');
const BUILD_TIMEOUT_MS = 900_000;
const BOOT_TIMEOUT_MS = 3_600_000;
const COMPRESSED_LIMIT_BYTES = 400 * 1024 * 1024;
const MEMORY_LIMIT_MIB = 350;
const QUESTIONS = 16;
const SHOWN_LINES = 100;
/** Judged by the disk that they leave, and booted from it. */
const CUTS = { judged: 12, booted: 3 };

function run(script: string, args: readonly string[], timeout: number): string {
  const command = ['--disable-warning=ExperimentalWarning', join(IMAGES, script), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', timeout, maxBuffer: 1 << 26 });
  assert.equal(status, 0, `${script} ended with ${status}:\n${`${stdout}\n${stderr}`.split('\n').slice(-SHOWN_LINES).join('\n')}`);
  return stdout;
}

function assertWorks(stage: Stage, slot: string): void {
  assert.deepEqual(stage, { slot, failedUnits: '', asked: QUESTIONS, unreached: [] });
}

describe('the image for x86_64', function () {
  this.timeout(BUILD_TIMEOUT_MS + BOOT_TIMEOUT_MS);
  const output = mkdtempSync(join(tmpdir(), 'selvage-image-test-'));
  const files = imageFiles({ version: PLATFORM_VERSION, architecture: architectureOf('x86_64') }, output);
  const second = mkdtempSync(join(tmpdir(), 'selvage-image-test-'));
  let booted: BootResult & { readonly powerCuts: readonly CutResult[] };

  before(async () => {
    run('main.ts', ['x86_64', '--output', output], BUILD_TIMEOUT_MS);
    const building = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(IMAGES, 'main.ts'), 'x86_64', '--output', second], { stdio: 'ignore' });
    const built = once(building, 'exit');
    try {
      booted = bundleAndBoot();
    } finally {
      await built;
    }
    assert.deepEqual(await built, [0, null]);
  });

  function bundleAndBoot(): typeof booted {
    run('bundle-main.ts', ['x86_64', '--output', output], BUILD_TIMEOUT_MS);
    const cuts = ['--power-cuts', `${CUTS.judged}`, '--boots', `${CUTS.booted}`];
    const said = run('boot-main.ts', ['x86_64', '--image', files.raw, '--disk', 'sata', '--life', ...cuts, '--json'], BOOT_TIMEOUT_MS);
    return JSON.parse(said.trim().split('\n').at(-1)!) as typeof booted;
  }

  after(() => [output, second].forEach((path) => rmSync(path, { recursive: true, force: true })));

  it('comes with the sums of its files, signed by the authority of the checkout', () => {
    const sums = sumsFile(files);
    const { stderr } = spawnSync('openssl', ['cms', '-verify', '-binary', '-purpose', 'any', '-inform', 'PEM', '-in', `${sums}.p7s`, '-content', sums, '-CAfile', AUTHORITY, '-out', '/dev/null'], { encoding: 'utf8' });
    assert.match(stderr, /successful/);
    assert.ok(readFileSync(sums, 'utf8').includes(`${sha256Of(files.raw)}  ${basename(files.raw)}\n`));
  });

  it('is small, and tells what it is made of', () => {
    assert.ok(statSync(files.qcow2).size < COMPRESSED_LIMIT_BYTES);
    const sbom = JSON.parse(readFileSync(files.sbom, 'utf8')) as { bomFormat: string; components: { purl: string }[] };
    assert.equal(sbom.bomFormat, 'CycloneDX');
    const purls = sbom.components.map(({ purl }) => purl);
    assert.ok(purls.some((purl) => purl.startsWith('pkg:npm/fastify@')));
    assert.ok(purls.some((purl) => purl.startsWith('pkg:deb/debian/rauc@1.13')));
    assert.ok(!purls.some((purl) => /pkg:npm\/(?:mocha|typescript)@/.test(purl)), 'tools of development are not in an image');
    assert.equal(new Set(purls).size, purls.length);
  });

  it('boots with every unit, in little memory, and takes the whole disk', () => {
    assert.equal(booted.failedUnits, '');
    assert.equal(booted.dataState, 'usable');
    assert.ok(booted.memoryUsedMiB <= MEMORY_LIMIT_MIB, `${booted.memoryUsedMiB} MiB are in use`);
    assert.ok(booted.dataMiB > 2000, `the data partition has ${booted.dataMiB} MiB of a disk of 4096`);
  });

  it('is onboarded under the serial number of its hardware, and carries traffic of both tenants to the other branch', () => {
    assert.equal(booted.serial, 'LAB-BRANCH-2');
    assert.deepEqual(booted.unreached, []);
    assert.equal(booted.asked, QUESTIONS);
  });

  it('is the same octets when built again: disk, slot, and the list of what it is made of', () => {
    const again = imageFiles({ version: PLATFORM_VERSION, architecture: architectureOf('x86_64') }, second);
    for (const kind of ['raw', 'slot', 'sbom'] as const) assert.equal(sha256Of(again[kind]), sha256Of(files[kind]), kind);
  });

  it('takes an upgrade in its other slot, finds it good, and carries traffic as before', () => assertWorks(booted.upgraded!, 'B'));

  it('goes back to the former slot when it is told to', () => assertWorks(booted.life!.rolledBack, 'A'));

  it('forgets its keys in a factory reset, and can be onboarded again', () => {
    assert.ok(booted.life!.isKeyNew);
    assertWorks(booted.life!.reset, 'A');
  });

  for (const [trouble, key, dataState, alarm] of [
    ['boots with a data partition that had to be repaired, says so, and can be onboarded again', 'repaired', 'repaired', 'data-partition-repaired'],
    ['boots without a data partition that can be used, says so, and can be onboarded again', 'damaged', 'damaged', 'data-partition-lost'],
    ['boots from a disk that is full, says so, and carries traffic as before', 'full', 'usable', 'state-not-stored'],
    ['boots from a write-protected disk, says so, and can be onboarded again', 'readOnly', 'read-only', 'data-partition-lost'],
  ] as const) {
    it(trouble, () => {
      const { stage, ...said } = booted.life![key];
      assert.deepEqual([said.dataState, said.alarm], [dataState, alarm]);
      assertWorks(stage, 'A');
    });
  }

  it('comes to a whole slot with its configuration after a power cut at any moment of an upgrade', () => {
    assert.deepEqual(booted.powerCuts.filter(({ faults }) => faults.length > 0), []);
    assert.deepEqual([booted.powerCuts.length, booted.powerCuts.filter((cut) => cut.booted).length], [CUTS.judged, CUTS.booted]);
  });
});
