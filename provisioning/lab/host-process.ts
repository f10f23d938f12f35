// Processes in the lab's plain places: LAN hosts, routers and NAT boxes.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { OperationalError } from '../../platform/errors.ts';
import { after } from '../../platform/time.ts';
import type { Clock } from '../../platform/time.ts';

export interface Outcome {
  /** Undefined: ended by a signal. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs, with what it has written so far. Its standard input is open until `endInput`. */
export class HostProcess {
  readonly command: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<Outcome>;
  #stdout = '';
  #stderr = '';

  /** Starts the command in the place's network; it is its own process and ends with the lab at the latest. */
  constructor(place: string, command: readonly string[]) {
    this.command = `${command[0]} in ${place}`;
    this.#child = spawn('ip', ['netns', 'exec', place, ...command], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout!.on('data', (bytes: Buffer) => (this.#stdout += bytes.toString('utf8')));
    this.#child.stderr!.on('data', (bytes: Buffer) => (this.#stderr += bytes.toString('utf8')));
    // A command that has ended needs no input any more.
    this.#child.stdin!.on('error', () => {});
    this.#ended = once(this.#child, 'close').then(
      ([code]) => ({ code: (code as number | null) ?? undefined, stdout: this.#stdout, stderr: this.#stderr }),
      (error: Error) => ({ code: undefined, stdout: '', stderr: error.message }),
    );
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  endInput(): void {
    this.#child.stdin!.end();
  }

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Resolves when the command has ended; kills it after the time. */
  async ended(clock: Clock, timeoutMs: number): Promise<Outcome> {
    const cancel = clock.at(after(clock.now(), timeoutMs), () => this.signal('SIGKILL'));
    const outcome = await this.#ended;
    cancel();
    return outcome;
  }
}

/** Runs a command in a place to its end; its outcome, whatever it is. */
export function runInPlace(clock: Clock, place: string, command: readonly string[], timeoutMs: number): Promise<Outcome> {
  const child = new HostProcess(place, command);
  child.endInput();
  return child.ended(clock, timeoutMs);
}

/** The one JSON document in what a command wrote last. Throws OperationalError naming the command. */
export function jsonOf(process: HostProcess, outcome: Outcome): unknown {
  const line = outcome.stdout.trimEnd().split('\n').at(-1) ?? '';
  try {
    return JSON.parse(line) as unknown;
  } catch {
    const said = outcome.stderr.trim() || line || 'nothing';
    throw new OperationalError('host-process', `${process.command} ended with code ${outcome.code ?? 'none'} and said: ${said}`, 'Repair what it names, then start the lab again');
  }
}
