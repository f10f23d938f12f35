// One appliance (or Director) of the lab: its own network, mount and host-name namespaces, held open by a sleeping
// process, so that the firmware in it can be killed and started like on a box that keeps its disk.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, SpawnSyncReturns } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { hostCommand } from './host-command.ts';

const FIRMWARE = fileURLToPath(new URL('../../firmware/main.ts', import.meta.url));
const POLL_MS = 10;
const READY_TIMEOUT_MS = 30_000;

/**
 * Run as first process of the namespaces. `$1` is the node's directory, `$2` its name. /etc and /var are copies on
 * write that end with the node's namespace; what must survive for the operator (logs, state) lies in the directory.
 */
const HOLD = `
set -e
hostname "$2"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock /run/view/etc /run/view/etc-work /run/view/var /run/view/var-work
mount -t sysfs sysfs /sys
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/view/etc,workdir=/run/view/etc-work /etc
mount -t overlay overlay -o lowerdir=/var,upperdir=/run/view/var,workdir=/run/view/var-work /var
mkdir -p /var/log/versa /var/lib/selvage
mount --bind "$1/log" /var/log/versa
mount --bind "$1/lib" /var/lib/selvage
ip link set lo up
echo "$2" >/etc/hostname
touch "$1/ready"
exec sleep infinity
`;

/** Where a lab node's holder writes its process id, for the shell. */
export function pidFileOf(runDirectory: string, name: string): string {
  return join(runDirectory, name, 'pid');
}

export class LabNode {
  readonly name: string;
  /** Outside view of the node's files: log/ is its /var/log/versa, lib/ its /var/lib/selvage, console.log its output. */
  readonly directory: string;
  readonly #holder: ChildProcess;
  #firmware: ChildProcess | undefined;

  private constructor(name: string, directory: string, holder: ChildProcess) {
    this.name = name;
    this.directory = directory;
    this.#holder = holder;
  }

  /** Makes the namespaces and waits until the node's view is complete. */
  static async create(name: string, runDirectory: string): Promise<LabNode> {
    const directory = join(runDirectory, name);
    for (const part of ['log', 'lib']) mkdirSync(join(directory, part), { recursive: true });
    const log = openSync(join(directory, 'console.log'), 'a');
    const holder = spawn('unshare', ['--net', '--mount', '--uts', '--', 'sh', '-c', HOLD, 'hold', directory, name], { stdio: ['ignore', log, log] });
    closeSync(log);
    const ready = join(directory, 'ready');
    for (let waitedMs = 0; !existsSync(ready); waitedMs += POLL_MS) {
      if (holder.exitCode !== null || waitedMs > READY_TIMEOUT_MS) {
        throw new OperationalError('node-view', `${name} could not get its own view of the machine`, `Read ${directory}/console.log`);
      }
      await sleep(POLL_MS);
    }
    writeFileSync(pidFileOf(runDirectory, name), `${holder.pid}\n`);
    return new LabNode(name, directory, holder);
  }

  /** Process id, inside the lab, that stands for the node's namespaces. */
  get holderPid(): number {
    return this.#holder.pid!;
  }

  /** The running firmware, or undefined. */
  get firmware(): ChildProcess | undefined {
    return this.#firmware;
  }

  #enter(command: readonly string[]): string[] {
    return ['-t', String(this.holderPid), '--mount', '--net', '--uts', '--', ...command];
  }

  /** Runs a command inside to its end; throws OperationalError when it fails. */
  run(command: readonly string[], input = ''): string {
    return hostCommand('nsenter', this.#enter(command), input);
  }

  /** Runs a command inside and returns its outcome, whatever it is. */
  attempt(command: readonly string[], timeoutMs: number): SpawnSyncReturns<string> {
    return spawnSync('nsenter', this.#enter(command), { encoding: 'utf8', timeout: timeoutMs });
  }

  /** Starts any command inside; its output goes to the named file of the node's directory. */
  spawn(command: readonly string[], output = 'console.log'): ChildProcess {
    const log = openSync(join(this.directory, output), 'a');
    try {
      return spawn('nsenter', this.#enter(command), { stdio: ['ignore', log, log] });
    } finally {
      closeSync(log);
    }
  }

  /** Starts the firmware: `firmware/main.ts` with these arguments under the Node that runs the lab, with its own options. */
  start(argv: readonly string[], nodeOptions: readonly string[] = []): ChildProcess {
    if (this.isRunning()) throw new OperationalError('node-running', `The firmware of ${this.name} already runs`, 'Stop it first');
    const firmware = this.spawn([process.execPath, '--disable-warning=ExperimentalWarning', ...nodeOptions, FIRMWARE, ...argv]);
    this.#firmware = firmware;
    return firmware;
  }

  isRunning(): boolean {
    return this.#firmware !== undefined && this.#firmware.exitCode === null && this.#firmware.signalCode === null;
  }

  /** Asks the firmware to end in order, kills it after the time; resolves when it is gone. */
  async stop(timeoutMs: number): Promise<void> {
    await this.#end('SIGTERM', timeoutMs);
    await this.kill();
  }

  /** Ends the firmware as a power cut would: nothing of it gets a chance to run. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL', READY_TIMEOUT_MS);
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL', timeoutMs: number): Promise<void> {
    for (let waitedMs = 0; this.isRunning() && waitedMs <= timeoutMs; waitedMs += POLL_MS) {
      if (waitedMs === 0) this.#firmware!.kill(signal);
      await sleep(POLL_MS);
    }
  }

  /** The firmware stands still but its sockets and devices stay. */
  pause(): void {
    this.#firmware?.kill('SIGSTOP');
  }

  resume(): void {
    this.#firmware?.kill('SIGCONT');
  }
}
