// Network namespaces for one test run. A detached process holds our pipe and removes them when it closes: at close(),
// and just as well when the test runner crashes or is killed.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, SpawnOptions, SpawnSyncReturns } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostCommand } from '../../provisioning/lab/host-command.ts';
import { SystemRandom } from '../../platform/random.ts';

const REMOVE_ON_CLOSE = `
cat >/dev/null
for name in $(ip netns list | cut -d' ' -f1 | grep "^$1-"); do
  ip netns pids "$name" | xargs -r kill -KILL
  ip netns del "$name"
done
rm -rf "$2"
`;

export interface VethEnd {
  readonly namespace: string;
  /** At most 15 characters. */
  readonly device: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

export interface Outcome {
  /** Exit code; null after a signal, also that of the time limit. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end, whatever it is, while others go on. It dies with the test run. */
export function outcomeOf(command: string, args: readonly string[], timeoutMs: number, env = process.env): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout: Buffer.concat(stdout).toString('utf8'), stderr: Buffer.concat(stderr).toString('utf8') }));
  });
}

export class TestNetwork {
  /** For files that end with the network. */
  readonly directory = mkdtempSync(join(tmpdir(), 'selvage-network-'));
  readonly #prefix: string;
  readonly #reaper: ChildProcess;

  constructor() {
    this.#prefix = `selvage-test-${process.pid}-${new SystemRandom().uint32().toString(36)}`;
    this.#reaper = spawn('sh', ['-c', REMOVE_ON_CLOSE, 'reaper', this.#prefix, this.directory], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    this.#reaper.unref();
  }

  /** The full name of the namespace with this label, which is unique on the machine. */
  namespace(label: string): string {
    return `${this.#prefix}-${label}`;
  }

  /** Makes a namespace with `lo` up; returns its full name. */
  addNamespace(label: string): string {
    const name = this.namespace(label);
    hostCommand('ip', ['netns', 'add', name]);
    const settings = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0'];
    hostCommand('ip', ['netns', 'exec', name, 'sysctl', '-q', '-w', ...settings]);
    hostCommand('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    return name;
  }

  /** A veth pair between two namespaces of ours, both ends up with their addresses. */
  addVeth(a: VethEnd, b: VethEnd): void {
    hostCommand('ip', ['link', 'add', 'name', a.device, 'netns', a.namespace, 'type', 'veth', 'peer', 'name', b.device, 'netns', b.namespace]);
    for (const end of [a, b]) {
      const addresses = end.addresses.map((address) => `address add ${address} dev ${end.device}${address.includes(':') ? ' nodad' : ''}\n`);
      hostCommand('ip', ['-n', end.namespace, '-batch', '-'], `${addresses.join('')}link set ${end.device} up\n`);
    }
  }

  /** Runs a command inside to its end; throws OperationalError when it fails. */
  run(namespace: string, command: readonly string[], input = ''): string {
    return hostCommand('ip', ['netns', 'exec', namespace, ...command], input);
  }

  /** Runs a command inside and returns its outcome, whatever it is. */
  attempt(namespace: string, command: readonly string[], timeoutMs: number): SpawnSyncReturns<string> {
    return spawnSync('ip', ['netns', 'exec', namespace, ...command], { encoding: 'utf8', timeout: timeoutMs });
  }

  /** The same, while other work goes on. */
  outcome(namespace: string, command: readonly string[], timeoutMs: number): Promise<Outcome> {
    return outcomeOf('ip', ['netns', 'exec', namespace, ...command], timeoutMs);
  }

  /** Starts a command inside; its process id is the command's own, and it dies with the test run. */
  spawn(namespace: string, command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'ip', 'netns', 'exec', namespace, ...command], options);
  }

  /** Kills what still runs inside and removes every namespace. */
  async close(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#reaper.once('exit', () => resolve()));
    this.#reaper.ref();
    this.#reaper.stdin!.end();
    await ended;
  }
}
