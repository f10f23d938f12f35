// strongSwan as a counterpart: one charon per namespace with its own settings, control socket and log. ESP runs in
// user space (kernel-libipsec), so that no IPsec support of the kernel is needed.
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { outcomeOf } from './namespaces.ts';
import type { TestNetwork } from './namespaces.ts';

const POLL_MS = 20;
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 10_000;
const COMMAND_TIMEOUT_MS = 60_000;
const LOG_TIMEOUT_MS = 40_000;

/** kernel-libipsec stands before kernel-netlink: the first one that can do IPsec does it. */
const PLUGINS = ['random', 'nonce', 'openssl', 'pem', 'pkcs1', 'pkcs8', 'x509', 'pubkey', 'hmac', 'kdf', 'constraints', 'kernel-libipsec', 'kernel-netlink', 'socket-default', 'vici'];

/** The newer strongSwan lives in a root of its own; /dev gives it the TUN device. `$1` is the root, `$2` our directory. */
const IN_ROOT = `
mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && mount -t tmpfs tmpfs "$1/tmp" &&
mkdir -p "$1$2" && mount --bind "$2" "$1$2" && exec chroot "$1" env STRONGSWAN_CONF="$2/strongswan.conf" /usr/sbin/charon-systemd
`;

export interface StrongswanOptions {
  readonly network: TestNetwork;
  readonly namespace: string;
  /** The content of swanctl.conf. */
  readonly swanctl: string;
  /** Certificates and keys by their place under swanctl's directory, e.g. `x509/peer.pem`, `private/peer.pem`. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Plugins besides the usual ones, e.g. `eap-identity`, `eap-mschapv2`. */
  readonly plugins?: readonly string[];
  /** Further lines of the daemon's section of strongswan.conf, e.g. `reuse_ikesa = no`. */
  readonly settings?: string;
  /** Root file system of another release (debianRoot); undefined = this machine's strongSwan. */
  readonly root?: string;
  /** ESP without UDP where no NAT is in between; strongSwan 6.0 and newer. */
  readonly rawEsp?: boolean;
}

function settingsFile(directory: string, options: StrongswanOptions): string {
  const rawEsp = options.rawEsp === true ? 'raw_esp = yes' : '';
  return `
charon-systemd {
  load = ${[...PLUGINS, ...(options.plugins ?? [])].join(' ')}
  retransmit_tries = 3
  retransmit_timeout = 1.0
  plugins {
    vici {
      socket = unix://${directory}/vici
    }
    kernel-libipsec {
      allow_peer_ts = yes
      ${rawEsp}
    }
  }
  filelog {
    main {
      path = ${directory}/charon.log
      default = 1
      ike = 2
      enc = 1
      flush_line = yes
    }
  }
  ${options.settings ?? ''}
}
swanctl {
  load = random openssl pem pkcs1 pkcs8 x509 pubkey
}
`;
}

/** Whether somebody listens there: the file of the socket comes a little earlier. */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

export class Strongswan {
  readonly #directory: string;
  readonly #daemon: ChildProcess;

  private constructor(directory: string, daemon: ChildProcess) {
    this.#directory = directory;
    this.#daemon = daemon;
  }

  /** Starts the daemon and loads the configuration; throws OperationalError with the log when either fails. */
  static async start(options: StrongswanOptions): Promise<Strongswan> {
    const directory = mkdtempSync(join(options.network.directory, 'strongswan-'));
    writeFileSync(join(directory, 'strongswan.conf'), settingsFile(directory, options));
    writeFileSync(join(directory, 'swanctl.conf'), options.swanctl);
    for (const [name, content] of Object.entries(options.files ?? {})) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), content, { mode: 0o600 });
    }
    const command =
      options.root === undefined
        ? ['env', `STRONGSWAN_CONF=${directory}/strongswan.conf`, '/usr/sbin/charon-systemd']
        : ['unshare', '--mount', '--', 'sh', '-c', IN_ROOT, 'charon', options.root, directory];
    const log = openSync(join(directory, 'console.log'), 'a');
    const daemon = options.network.spawn(options.namespace, command, { stdio: ['ignore', log, log] });
    closeSync(log);
    const started = new Strongswan(directory, daemon);
    try {
      await started.#awaitSocket();
      await started.#swanctl(['--load-all', '--noprompt', '--file', join(directory, 'swanctl.conf')]);
    } catch (error) {
      await started.stop();
      throw error;
    }
    return started;
  }

  async #awaitSocket(): Promise<void> {
    for (let waitedMs = 0; !(await accepts(join(this.#directory, 'vici'))); waitedMs += POLL_MS) {
      if (!this.isRunning() || waitedMs > START_TIMEOUT_MS) throw this.#failure('charon did not start');
      await sleep(POLL_MS);
    }
  }

  async #swanctl(args: readonly string[]): Promise<string> {
    const env = { ...process.env, STRONGSWAN_CONF: join(this.#directory, 'strongswan.conf'), SWANCTL_DIR: this.#directory };
    const result = await outcomeOf('swanctl', [...args, '--uri', `unix://${this.#directory}/vici`], COMMAND_TIMEOUT_MS, env);
    if (result.status !== 0) throw this.#failure(`swanctl ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result.stdout;
  }

  #failure(cause: string): OperationalError {
    const console = readFileSync(join(this.#directory, 'console.log'), 'utf8');
    return new OperationalError('strongswan', `${cause}\n${console}\n${this.log()}`, 'Read the log of the counterpart above');
  }

  /** The daemon's own process. */
  get pid(): number {
    return this.#daemon.pid!;
  }

  isRunning(): boolean {
    return this.#daemon.exitCode === null && this.#daemon.signalCode === null;
  }

  /** Initiates a child SA and its IKE SA; resolves with the story, throws OperationalError when it fails. */
  initiate(child: string, timeoutSeconds = 20): Promise<string> {
    return this.#swanctl(['--initiate', '--child', child, '--timeout', String(timeoutSeconds)]);
  }

  /** `terminate({ ike: 'name' })` or `terminate({ child: 'name' })`. */
  terminate(what: { readonly ike: string } | { readonly child: string }): Promise<string> {
    return this.#swanctl(['--terminate', ...('ike' in what ? ['--ike', what.ike] : ['--child', what.child])]);
  }

  /** `rekey({ ike: 'name' })` or `rekey({ child: 'name' })`. */
  rekey(what: { readonly ike: string } | { readonly child: string }): Promise<string> {
    return this.#swanctl(['--rekey', ...('ike' in what ? ['--ike', what.ike] : ['--child', what.child])]);
  }

  /** Begins an IKE SA anew with this one's authentication, before or after ending it as the settings say. */
  reauthenticate(ike: string): Promise<string> {
    return this.#swanctl(['--rekey', '--reauth', '--ike', ike]);
  }

  /** Sends the peer of a connection that it began to another gateway. */
  redirect(ike: string, gateway: string): Promise<string> {
    return this.#swanctl(['--redirect', '--ike', ike, '--gateway', gateway]);
  }

  /** The SAs as `swanctl --list-sas` shows them, one block per IKE SA. */
  listSas(): Promise<string> {
    return this.#swanctl(['--list-sas']);
  }

  /** The version that runs, e.g. `6.0.1`. */
  async version(): Promise<string> {
    return /\d+\.\d+\.\d+/.exec(await this.#swanctl(['--version', '--daemon']))?.[0] ?? '';
  }

  log(): string {
    const path = join(this.#directory, 'charon.log');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Waits for a line of the log; throws OperationalError with the log when it does not come. */
  async awaitLog(pattern: RegExp, timeoutMs = LOG_TIMEOUT_MS): Promise<void> {
    for (let waitedMs = 0; !pattern.test(this.log()); waitedMs += POLL_MS) {
      if (waitedMs > timeoutMs) throw this.#failure(`the log shows no ${pattern}`);
      await sleep(POLL_MS);
    }
  }

  /** Ends the daemon as a crash would; `stop` still removes its files. */
  async kill(): Promise<void> {
    this.#daemon.kill('SIGKILL');
    while (this.isRunning()) await sleep(POLL_MS);
  }

  /** Ends the daemon in order, then by force, and removes its files. */
  async stop(): Promise<void> {
    for (let waitedMs = 0; this.isRunning(); waitedMs += POLL_MS) {
      if (waitedMs === 0) this.#daemon.kill('SIGTERM');
      if (waitedMs === STOP_TIMEOUT_MS) this.#daemon.kill('SIGKILL');
      await sleep(POLL_MS);
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
