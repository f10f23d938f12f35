// Drives a box by its serial console as a person would: waits for what it writes, types, and reads what a command says.
import type { Readable, Writable } from 'node:stream';
import type { WriteStream } from 'node:fs';
import { OperationalError } from '../platform/errors.ts';
import { SystemClock, after } from '../platform/time.ts';
import type { CancelTimer } from '../platform/time.ts';

const SHOWN_CHARACTERS = 1500;
const COMMAND_MS = 60_000;

interface Waiting {
  readonly pattern: RegExp;
  readonly resolve: (match: RegExpExecArray) => void;
  readonly reject: (error: Error) => void;
  readonly cancel: CancelTimer;
}

export class SerialConsole {
  readonly #clock = new SystemClock();
  readonly #input: Writable;
  /** What came since the last match. */
  #text = '';
  #waiting: Waiting | undefined;
  #ended = false;
  #commands = 0;

  constructor(output: Readable, input: Writable, log: WriteStream) {
    this.#input = input;
    input.on('error', () => {});
    output.on('data', (bytes: Buffer) => {
      log.write(bytes);
      this.#text += bytes.toString('latin1');
      this.#look();
    });
    output.on('close', () => {
      this.#ended = true;
      this.#look();
    });
  }

  /** Resolves when the pattern was written since the last match; rejects with what was written instead. */
  expect(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.at(after(this.#clock.now(), timeoutMs), () => this.#fail(`did not write ${pattern} within ${timeoutMs / 1000} s`));
      this.#waiting = { pattern, resolve, reject, cancel };
      this.#look();
    });
  }

  type(line: string): void {
    this.#input.write(`${line}\n`);
  }

  /** Logs in as root, who has no password on the console, and makes the terminal quiet. */
  async login(timeoutMs: number): Promise<void> {
    await this.expect(/login: $/, timeoutMs);
    this.type('root');
    await this.expect(/# $/, timeoutMs);
    // What the kernel says from now on would stand in the middle of an answer.
    this.type('dmesg --console-off; stty -echo; PS1=; TERM=dumb; echo ready-$((40 + 2))');
    await this.expect(/ready-42\r?\n/, COMMAND_MS);
  }

  /** Runs a command in the shell of `login`; resolves with what it wrote, whatever its exit code. */
  async run(command: string, timeoutMs = COMMAND_MS): Promise<string> {
    const mark = `end-${++this.#commands}`;
    this.type(`${command}; echo "${mark}:"`);
    const [said] = await this.expect(new RegExp(`${mark}:\\r?\\n`), timeoutMs);
    return said === '' ? '' : this.#before.replaceAll('\r', '').trim();
  }

  /** What stood before the last match. */
  #before = '';

  #look(): void {
    if (this.#waiting === undefined) return;
    const { pattern, resolve, cancel } = this.#waiting;
    const match = pattern.exec(this.#text);
    if (match !== null) {
      this.#waiting = undefined;
      cancel();
      this.#before = this.#text.slice(0, match.index);
      this.#text = this.#text.slice(match.index + match[0].length);
      resolve(match);
    } else if (this.#ended) {
      this.#fail('ended');
    }
  }

  #fail(what: string): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    waiting.cancel();
    waiting.reject(new OperationalError('console', `the virtual machine ${what}; last lines:\n${this.#text.slice(-SHOWN_CHARACTERS)}`, 'read the console log that was named'));
  }
}
