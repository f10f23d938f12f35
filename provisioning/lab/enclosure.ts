// The lab's own PID, mount and network namespaces. The first process inside is the lab; when it ends, or when it or
// its parent is killed, the kernel takes every process, mount, device and namespace of the lab with it.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SystemClock, after } from '../../platform/time.ts';
import { hostCommand } from './host-command.ts';
import { relayFromMachine } from './relay.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STATE = join(ROOT, '.selvage');
const PID_FILE = join(STATE, 'lab.pid');
/** Tells a script that it runs inside, and where its files go. */
const RUN_DIRECTORY_VARIABLE = 'SELVAGE_LAB_DIRECTORY';
const RELAY_PORT_VARIABLE = 'SELVAGE_LAB_RELAY_PORT';
const RELAY_SOCKET = 'relay';
const RUN_DIRECTORY = /^lab-(\d+)$/;
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** How long the lab may take to end in order after a signal. */
const ENDING_MS = 15_000;

/** The run's directory when this process is the lab's first one, else undefined. */
export function enclosedRunDirectory(): string | undefined {
  return process.env[RUN_DIRECTORY_VARIABLE];
}

export interface EnclosedRelay {
  /** Port on the machine's loopback. */
  readonly port: number;
  /** Where its connections arrive inside; to be served by relayIntoLab. */
  readonly socketPath: string;
}

/** The relay that was asked for when the enclosure was made. */
export function enclosedRelay(): EnclosedRelay | undefined {
  const port = process.env[RELAY_PORT_VARIABLE];
  const runDirectory = enclosedRunDirectory();
  return port === undefined || runDirectory === undefined ? undefined : { port: Number(port), socketPath: join(runDirectory, RELAY_SOCKET) };
}

/** Inside: hides the machine's own run-time files and namespace names. To be called once, before anything else. */
export function settleInside(): void {
  hostCommand('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run']);
  mkdirSync('/run/netns');
  mkdirSync('/run/lock');
  hostCommand('mount', ['-t', 'sysfs', 'sysfs', '/sys']);
  hostCommand('ip', ['link', 'set', 'lo', 'up']);
}

export interface EncloseOptions {
  /** Keep the run's directory (logs, databases) when the script fails. */
  readonly keepOnFailure: boolean;
  /** Make this run the one that `lab -- shell` finds. */
  readonly announce: boolean;
  /** A TCP port of the machine's loopback to carry into the lab (0 = a free one); undefined = none. */
  readonly relayPort?: number;
}

/** Outside: runs a script of this repository as first process of a new enclosure; resolves with its exit code. */
export async function enclose(script: string, args: readonly string[], options: EncloseOptions): Promise<number> {
  removeStaleRuns();
  const runDirectory = join(STATE, `lab-${process.pid}`);
  mkdirSync(runDirectory, { recursive: true, mode: 0o700 });
  const wrapper = ['--pid', '--mount', '--net', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
  // unshare must not outlive us; its own child dies with it.
  const command = ['--pdeathsig', 'KILL', '--', 'unshare', ...wrapper, '--', process.execPath, '--disable-warning=ExperimentalWarning', script, ...args];
  const relay = options.relayPort === undefined ? undefined : await relayFromMachine(options.relayPort, join(runDirectory, RELAY_SOCKET));
  const env: NodeJS.ProcessEnv = { ...process.env, [RUN_DIRECTORY_VARIABLE]: runDirectory };
  if (relay !== undefined) env[RELAY_PORT_VARIABLE] = String((relay.address() as AddressInfo).port);
  const child = spawn('setpriv', command, { stdio: 'inherit', env });
  const stopListening = endOnSignals(child);
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      if (options.announce) writeFileSync(PID_FILE, `${child.pid}\n`);
    });
    child.once('exit', (status, signal) => resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
  stopListening();
  relay?.close();
  if (options.announce) rmSync(PID_FILE, { force: true });
  if (code === 0 || !options.keepOnFailure) rmSync(runDirectory, { recursive: true, force: true });
  return code;
}

/**
 * unshare ignores these signals while it waits, so they go to the lab itself; a first process of a PID namespace
 * receives only signals that it listens to (pid_namespaces(7)), hence the end by force afterwards.
 */
function endOnSignals(unshare: ChildProcess): () => void {
  const clock = new SystemClock();
  let cancel = (): void => {};
  const offs = ENDING_SIGNALS.map((signal) => {
    const listener = (): void => {
      const inside = firstProcess(unshare.pid);
      if (inside !== undefined) process.kill(inside, signal);
      cancel();
      cancel = clock.at(after(clock.now(), ENDING_MS), () => unshare.kill('SIGKILL'));
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => {
    cancel();
    for (const off of offs) off();
  };
}

/** The lab that was announced last, as a process id of this machine, or undefined when none runs. */
export function runningLab(): number | undefined {
  try {
    return firstProcess(Number(readFileSync(PID_FILE, 'utf8')));
  } catch {
    return undefined;
  }
}

/** The child that unshare forked into the new PID namespace. */
function firstProcess(unsharePid: number | undefined): number | undefined {
  if (unsharePid === undefined) return undefined;
  try {
    const [pid] = readFileSync(`/proc/${unsharePid}/task/${unsharePid}/children`, 'utf8').trim().split(' ');
    return pid === undefined || pid === '' ? undefined : Number(pid);
  } catch {
    return undefined;
  }
}

function removeStaleRuns(): void {
  mkdirSync(STATE, { recursive: true });
  for (const name of readdirSync(STATE)) {
    const owner = RUN_DIRECTORY.exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) rmSync(join(STATE, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
