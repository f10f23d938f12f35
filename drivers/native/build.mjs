// Compiles the addon with the machine's compiler against the headers of the pinned Node package. Plain Node 18, no packages.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

// -O3: the checksum loop needs vectors (three times as fast).
const FLAGS = ['-std=gnu11', '-O3', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden', '-pthread'];

/** For the addon that checks every access to memory (`npm run sanitize`). */
const SANITIZER_FLAGS = ['-fsanitize=address,undefined', '-fno-omit-frame-pointer', '-g', '-O1'];

/** Debian's cross compilers, for images of another architecture than the machine's. */
const COMPILERS = { x64: 'x86_64-linux-gnu-gcc', arm64: 'aarch64-linux-gnu-gcc' };

function sourcesIn(folder) {
  const names = readdirSync(folder).sort();
  return { compiled: names.filter((name) => name.endsWith('.c')), all: names };
}

function fingerprint(folder, names, facts) {
  const hash = createHash('sha256').update(JSON.stringify(facts));
  for (const name of names) hash.update(name).update('\0').update(readFileSync(join(folder, name)));
  return hash.digest('hex');
}

/**
 * Builds drivers/native/build/selvage.node under `root` unless it is up to date.
 * `arch` ('x64' or 'arm64') and `headers` (a Node include folder) serve images of another architecture;
 * those land in build/selvage-<arch>.node, and a sanitized one in build/selvage-sanitized.node.
 * Throws an Error of one line that names the next step; returns whether it compiled, and the file.
 */
export function buildAddon(root, { arch = process.arch, headers, sanitized = false } = {}) {
  const native = join(root, 'drivers', 'native');
  const include = headers ?? join(root, 'node_modules', `node-linux-${arch}`, 'include', 'node');
  const version = join(include, 'node_version.h');
  if (!existsSync(version)) {
    throw new Error(`the addon needs the headers of node-linux-${arch}, which are not installed; run: npm ci`);
  }
  const own = arch === process.arch;
  const compiler = process.env.CC ?? (own ? 'gcc' : COMPILERS[arch]);
  const source = join(native, 'src');
  const { compiled, all } = sourcesIn(source);
  const found = spawnSync(compiler, ['--version'], { encoding: 'utf8' });
  if (found.error) {
    const packages = own ? 'gcc libc6-dev' : `gcc-${COMPILERS[arch].replace(/-gcc$/, '').replaceAll('_', '-')}`;
    throw new Error(`the addon needs the compiler ${compiler}, which is not installed; run: apt-get install ${packages}`);
  }
  const build = join(native, 'build');
  const flags = sanitized ? [...FLAGS, ...SANITIZER_FLAGS] : FLAGS;
  const file = join(build, sanitized ? 'selvage-sanitized.node' : own ? 'selvage.node' : `selvage-${arch}.node`);
  const stamp = `${file}.sha256`;
  const facts = [flags, arch, found.stdout, readFileSync(version, 'utf8')];
  const wanted = fingerprint(source, all, facts);
  if (existsSync(file) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return { built: false, file };
  mkdirSync(build, { recursive: true });
  // A process may have the old file mapped: the new one takes its name only when it is complete.
  const fresh = `${file}.${process.pid}`;
  const run = spawnSync(compiler, [...flags, `-I${include}`, ...compiled.map((name) => join(source, name)), '-o', fresh], {
    encoding: 'utf8',
  });
  if (run.status !== 0) {
    const first = run.stderr.split('\n').find((line) => line.includes('error')) ?? run.stderr.split('\n')[0];
    throw new Error(`the addon does not compile (${first}); fix the source or install libc6-dev and linux-libc-dev`);
  }
  if (run.stderr !== '') process.stderr.write(run.stderr);
  renameSync(fresh, file);
  writeFileSync(stamp, wanted);
  return { built: true, file };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const { built, file } = buildAddon(process.cwd());
    console.log(`${file} ${built ? 'built' : 'is up to date'}`);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
