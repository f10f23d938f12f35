// Runs iproute2 and sysctl. Every failure names the command, what it said, and the next step.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { OperationalError } from '../platform/errors.ts';
import { after, SystemClock } from '../platform/time.ts';
import { Program } from './program.ts';

/** No iproute2 call takes long; one that does hangs on a lock of the kernel. */
const COMMAND_TIMEOUT_MS = 30_000;

const clock = new SystemClock();

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function execute(command: string, args: readonly string[], input: string, timeoutMs: number): Promise<Finished> {
  const program = new Program(command, args);
  const cancel = clock.at(after(clock.now(), timeoutMs), () => program.kill('SIGTERM'));
  program.stdin.end(input);
  try {
    const [{ code }, stdout, stderr] = await Promise.all([program.ended, textOf(program.stdout), textOf(program.stderr)]);
    return { code, stdout, stderr: stderr.trim() };
  } finally {
    cancel();
  }
}

async function textOf(stream: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'close');
  return Buffer.concat(chunks).toString();
}

function nextStep(stderr: string): string {
  if (/not permitted|denied/i.test(stderr)) return 'run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN';
  if (/Cannot find device|does not exist|No such device/i.test(stderr)) return 'check the device name in the configuration against: ip -br link';
  if (/Cannot open network namespace|No such file/i.test(stderr)) return 'create the virtual router first, and see: ip netns';
  if (/unreachable|invalid gateway/i.test(stderr)) return 'check that the gateway lies in a network of this device';
  return 'run the command by hand to see more, and check the configuration that led to it';
}

/** Runs one command to its end and returns what it printed. Rejects with an OperationalError. */
export async function run(command: string, args: readonly string[], input = '', timeoutMs = COMMAND_TIMEOUT_MS): Promise<string> {
  const shown = [command, ...args].join(' ');
  const done = await execute(command, args, input, timeoutMs);
  if (done.code === 0) return done.stdout;
  const failedLine = /Command failed -:(\d+)/.exec(done.stderr)?.[1];
  const line = failedLine === undefined ? '' : ` at "${input.split('\n')[Number(failedLine) - 1]}"`;
  const how = done.code === null ? 'did not end in time' : `ended with ${done.code}`;
  throw new OperationalError('COMMAND_FAILED', `${shown}${line} ${how}: ${done.stderr}`, nextStep(done.stderr));
}

/** Runs lines of `ip` in one process; stops at the first that fails. Does nothing without lines. */
export async function ipBatch(vr: string, lines: readonly string[]): Promise<void> {
  if (lines.length > 0) await run('ip', ['-n', vr, '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Asks `ip -j` and returns the parsed answer. */
export async function ipJson(vr: string, ...args: string[]): Promise<unknown> {
  const text = (await run('ip', ['-n', vr, '-j', ...args])).trim();
  return text === '' ? [] : JSON.parse(text);
}

/** Sets kernel parameters inside a virtual router; parameters that this kernel lacks are left out. */
export async function setParameters(vr: string, parameters: Readonly<Record<string, string>>): Promise<void> {
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  await run('ip', ['netns', 'exec', vr, 'sysctl', '-e', '-q', '-w', ...pairs]);
}
