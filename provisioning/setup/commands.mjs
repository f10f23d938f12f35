// What each command runs once the machine is set up. Every function resolves with the exit code.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SetupFailure } from './failure.mjs';
import { runAttached, runLogged } from './run.mjs';

/** @typedef {{ root: string, node: string, args: readonly string[] }} Context */
/** @typedef {{ passed: number, failed: number }} Counts */

/** @type {Readonly<Record<string, (context: Context) => Promise<number>>>} */
export const COMMANDS = {
  setup: async () => 0,
  lab: (context) => runScript(context, 'provisioning/lab/main.ts'),
  sim: (context) => runScript(context, 'test/sim/main.ts'),
  fuzz: (context) => runScript(context, 'test/fuzz/main.ts'),
  bench: (context) => runScript(context, 'test/bench/main.ts'),
  deb: (context) => runScript(context, 'images/package/main.ts'),
  interop: (context) => runScript(context, 'test/interop/main.ts'),
  bundle: (context) => runScript(context, 'images/bundle-main.ts'),
  image: (context) => runScript(context, 'images/main.ts'),
  'image:boot': (context) => runScript(context, 'images/boot-main.ts'),
  sanitize: runSanitized,
  test: runTests,
  check: runCheck,
};

/** Commands that touch devices and namespaces of the machine. */
export const ROOT_COMMANDS = ['sanitize', 'setup', 'lab', 'test', 'bench', 'interop', 'image', 'image:boot'];

/** Commands that need the native addon. */
export const ADDON_COMMANDS = ['sanitize', 'setup', 'lab', 'test', 'bench', 'interop', 'image', 'image:boot'];

const SANITIZED_TESTS = ['addon', 'aead', 'native-aead', 'datagram-ports', 'outside-ports', 'hostile-virtio', 'tun', 'tun-offload'].map((name) => `test/drivers/${name}.test.ts`);

async function runScript({ root, node, args }, script) {
  const path = join(root, script);
  if (!existsSync(path)) throw new SetupFailure(`${script} is missing from this checkout`, 'Check out the whole repository');
  // The script ends with us even when we are killed: nothing of a lab may stay behind.
  return runAttached('setpriv', ['--pdeathsig', 'TERM', '--', node, '--disable-warning=ExperimentalWarning', path, ...args], { cwd: process.cwd() });
}

/** Tests of whole images mostly wait for an emulated machine: they run beside the others, and report after them. */
const IMAGE_TESTS = 'test/images/**/*.test.ts';

async function runTests(context) {
  if (context.args.length > 0) {
    const { code, counts } = await mocha(context, 'test/**/*.test.ts');
    return conclude(counts, code);
  }
  const log = join(context.root, '.selvage', 'image-tests.log');
  writeFileSync(log, '');
  const images = mocha({ ...context, args: [] }, IMAGE_TESTS, log);
  const others = await mocha({ ...context, args: ['--ignore', IMAGE_TESTS] }, 'test/**/*.test.ts');
  process.stdout.write('tests of images, which began with the others:\n');
  const beside = await images;
  process.stdout.write(readFileSync(log));
  const counts = { passed: others.counts.passed + beside.counts.passed, failed: others.counts.failed + beside.counts.failed };
  return conclude(counts, others.code || beside.code);
}

/**
 * The addon's tests with an addon that checks every access to memory (AddressSanitizer, UndefinedBehaviorSanitizer). Node
 * itself is not instrumented, so the sanitizer's library comes first by LD_PRELOAD, and leaks are not looked for.
 */
async function runSanitized({ root, node, args }) {
  const { buildAddon } = await import(pathToFileURL(join(root, 'drivers/native/build.mjs')).href);
  const { file } = buildAddon(root, { sanitized: true });
  const library = (name) => spawnSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
  const tests = args.length > 0 ? args : SANITIZED_TESTS;
  const env = { ...process.env, SELVAGE_ADDON: file, LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`, ASAN_OPTIONS: 'detect_leaks=0:handle_segv=0', UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1' };
  return runAttached(node, ['--disable-warning=ExperimentalWarning', join(root, 'node_modules/mocha/bin/mocha.js'), '--timeout', '120000', ...tests], { cwd: root, env });
}

/** Types, lint, and the tests about the source itself; all of them run, whatever the first ones say. */
async function runCheck({ root, node }) {
  const steps = [
    ['types', [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]],
    ['lint', [join(root, 'node_modules/oxlint/bin/oxlint'), '--deny-warnings', root]],
  ];
  const total = { passed: 0, failed: 0 };
  const verdicts = [];
  for (const [name, command] of steps) {
    const code = await runAttached(node, command, { cwd: root });
    total[code === 0 ? 'passed' : 'failed']++;
    verdicts.push(`${name} ${code === 0 ? 'ok' : 'FAILED'}`);
  }
  const { code, counts } = await mocha({ root, node, args: ['test/tidy.test.ts', 'test/layers.test.ts'] }, '');
  verdicts.push(`tidy and layers ${code === 0 ? 'ok' : 'FAILED'}`);
  process.stdout.write(`check: ${verdicts.join(', ')}\n`);
  return conclude({ passed: total.passed + counts.passed, failed: total.failed + counts.failed }, code);
}

/**
 * Runs mocha; arguments that are paths choose the tests, everything else goes to mocha as it is. With `log` its output
 * goes there.
 * @returns {Promise<{ code: number, counts: Counts }>}
 */
async function mocha({ root, node, args }, everything, log) {
  const chosen = args.map((arg) => asSpec(root, arg));
  const specs = chosen.some((spec, index) => spec !== args[index] || existsSync(join(root, spec))) ? [] : [everything];
  const directory = mkdtempSync(join(tmpdir(), 'selvage-test-'));
  const result = join(directory, 'counts.json');
  try {
    const command = [
      '--disable-warning=ExperimentalWarning',
      join(root, 'node_modules/mocha/bin/mocha.js'),
      ...(process.stdout.isTTY ? [] : ['--no-color']),
      '--reporter',
      join(root, 'provisioning/setup/reporter.mjs'),
      '--reporter-option',
      `counts=${result}`,
      ...chosen,
      ...specs,
    ];
    const code = await (log === undefined ? runAttached(node, command, { cwd: root }) : runLogged(node, command, log, { cwd: root }));
    return { code, counts: readCounts(result, code) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A folder of tests becomes the pattern of its files; a path may be given from where the operator stands. */
function asSpec(root, arg) {
  if (arg.startsWith('-')) return arg;
  const path = [resolve(root, arg), resolve(arg)].find((candidate) => existsSync(candidate));
  if (path === undefined) return arg;
  const name = relative(root, path);
  return statSync(path).isDirectory() ? `${name}/**/*.test.ts` : name;
}

/** A run that broke off before its end, or that ran nothing, has failed. */
function readCounts(file, code) {
  const counts = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 0, finished: false };
  const { passed, failed, finished } = counts;
  const broken = !finished || (code !== 0 && failed === 0) || passed + failed === 0;
  return { passed, failed: broken ? failed + 1 : failed };
}

function conclude({ passed, failed }, code) {
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed > 0 ? Math.max(1, code) : code;
}
