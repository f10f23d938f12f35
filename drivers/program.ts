// A program beside this process. Not node:child_process, which forks: that write-protects the memory of all threads, and a
// forwarder then faults on every page for tenths of a second (docs/PERFORMANCE.md, "A process that forks").
import { accessSync, constants as modes } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { OperationalError } from '../platform/errors.ts';
import { requireNative } from './native/addon.ts';

/** Debian's places for what only root runs; a service's PATH need not hold them. */
const SYSTEM_PATH = '/usr/sbin:/sbin';

/** What to install where a command is missing, when that has another name. */
const PACKAGES: Readonly<Record<string, string>> = { ip: 'iproute2', sysctl: 'procps', systemctl: 'systemd' };

/** One of both is null. */
export interface Ending {
  readonly code: number | null;
  readonly signal: string | null;
}

export class Program {
  /** A program that ends before it has read its input is no error of the stream. */
  readonly stdin: Socket;
  readonly stdout: Socket;
  readonly stderr: Socket;
  /** Its end; there may be output left to read. Never rejects. */
  readonly ended: Promise<Ending>;
  #handle: number | undefined;

  /**
   * Starts `command`, which is sought in PATH and where Debian keeps what only root runs. Throws an OperationalError with
   * errno's name as code when that fails.
   */
  constructor(command: string, args: readonly string[]) {
    const addon = requireNative();
    const path = `${process.env['PATH'] ?? ''}${delimiter}${SYSTEM_PATH}`;
    const environment = Object.entries({ ...process.env, LC_ALL: 'C', PATH: path }).map(([name, value]) => `${name}=${value}`);
    const { promise, resolve } = Promise.withResolvers<Ending>();
    this.ended = promise;
    const ended = (code: number, signal: number): void => {
      addon.close(started.handle);
      this.#handle = undefined;
      resolve({ code: code < 0 ? null : code, signal: signal < 0 ? null : nameOf(signal) });
    };
    const started = starting(command, () => addon.startProgram(find(command, path), [command, ...args], environment, ended));
    this.#handle = started.handle;
    this.stdin = new Socket({ fd: started.stdin, readable: false, writable: true });
    this.stdout = new Socket({ fd: started.stdout, readable: true, writable: false });
    this.stderr = new Socket({ fd: started.stderr, readable: true, writable: false });
    this.stdin.on('error', () => undefined);
  }

  /** Does nothing when it has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.#handle !== undefined) requireNative().signalProgram(this.#handle, constants.signals[signal]);
  }
}

function nameOf(signal: number): string {
  return Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`;
}

function starting<T>(command: string, start: () => T): T {
  try {
    return start();
  } catch (error) {
    const { code = 'UNKNOWN', message } = error as NodeJS.ErrnoException;
    const step = code === 'ENOENT' ? `run: apt-get install ${PACKAGES[command] ?? command}` : 'check the limits of this service';
    throw new OperationalError(code, `cannot run ${command}: ${message}`, step, error);
  }
}

/** As execvp(3): a name with a slash is a path. */
function find(command: string, path: string): string {
  if (command.includes('/')) return command;
  for (const directory of path.split(delimiter).filter(Boolean)) {
    const candidate = join(directory, command);
    try {
      accessSync(candidate, modes.X_OK);
      return candidate;
    } catch {
      // The next one.
    }
  }
  throw Object.assign(new Error(`there is no program ${command}`), { code: 'ENOENT' });
}
