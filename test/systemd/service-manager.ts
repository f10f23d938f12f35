// A stand-in for systemd: starts the real appliance in a network namespace of its own and listens on its notify socket.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sleep } from '../../platform/time.ts';

const MAIN = fileURLToPath(new URL('../../firmware/main.ts', import.meta.url));
const HOOK = new URL('standstill-hook.ts', import.meta.url).href;
const POLL_MS = 10;
const PATIENCE_MS = 20_000;

/** Node has no Unix datagrams; Perl is in every Debian. One line per datagram, after a line when the socket is there. */
const RECEIVER = `
use IO::Socket::UNIX; use Socket; $| = 1;
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "bind: $!";
print "listens\\n";
while (defined $socket->recv(my $datagram, 65536)) { print "$datagram\\n"; }
`;

export class ServiceManager {
  /** What came in, in order. */
  readonly notifications: string[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), 'selvage-unit-'));
  #receiver: ChildProcess | undefined;
  #appliance: ChildProcess | undefined;

  /** Starts the appliance with this configuration beside its directories. */
  async start(config: object, watchdogMs: number): Promise<void> {
    const socket = join(this.directory, 'notify');
    const receiver = spawn('perl', ['-e', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#receiver = receiver;
    createInterface({ input: receiver.stdout! }).on('line', (line) => this.notifications.push(line));
    await this.until('the notify socket', () => this.notifications.length > 0);
    this.notifications.length = 0;
    const file = join(this.directory, 'selvage.json');
    const directories = { dataDirectory: this.#make('lib'), logDirectory: this.#make('log'), runDirectory: this.#make('run') };
    writeFileSync(file, JSON.stringify({ ...config, ...directories }));
    const env = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: `${watchdogMs * 1000}`, SELVAGE_TEST_STANDSTILL: this.directory };
    const command = [process.execPath, '--disable-warning=ExperimentalWarning', '--import', HOOK, MAIN, '--config', file];
    this.#appliance = spawn('unshare', ['--net', '--', 'sh', '-c', 'WATCHDOG_PID=$$ exec "$@"', 'start', ...command], { env, stdio: ['ignore', 'ignore', 'ignore'] });
  }

  #make(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path);
    return path;
  }

  /** The lines of one of the appliance's log files. */
  log(channel: string): string {
    return readFileSync(join(this.directory, 'log', `versa-${channel}.log`), 'utf8');
  }

  /** Makes a thread stand still and waits until it does. */
  async halt(thread: 'forwarder' | 'control'): Promise<void> {
    writeFileSync(join(this.directory, thread), '');
    if (thread === 'control') this.#appliance!.kill('SIGUSR2');
    await this.until(`${thread} stands still`, () => existsSync(join(this.directory, `${thread}-stands`)));
  }

  release(thread: 'forwarder' | 'control'): void {
    rmSync(join(this.directory, thread));
  }

  signsOfLife(): number {
    return this.notifications.filter((line) => line === 'WATCHDOG=1').length;
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (let waitedMs = 0; !holds(); waitedMs += POLL_MS) {
      if (waitedMs > PATIENCE_MS) throw new Error(`never: ${what}; notifications: ${this.notifications.join(' | ')}`);
      await sleep(POLL_MS);
    }
  }

  /** Asks the appliance to stop; resolves with its exit code. */
  async stop(): Promise<number | null> {
    const appliance = this.#appliance!;
    const exit = once(appliance, 'exit');
    appliance.kill('SIGTERM');
    return (await exit)[0] as number | null;
  }

  end(): void {
    for (const child of [this.#appliance, this.#receiver]) child?.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }
}
