// Sinks of the appliance: a file per channel, and the journal. A sink that cannot write counts and goes on, because a
// full disk must not stop the forwarding of packets.
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { formatEvent, formatLine } from './log-line.ts';
import type { LogChannel, LogLevel, LogRecord, LogSink } from './log.ts';

const FILE_MODE = 0o640;

/** `<directory>/versa-<channel>.log`; rotated by logrotate, which then asks for `reopen`. */
export class FileSink implements LogSink {
  readonly #directory: string;
  readonly #files = new Map<LogChannel, number>();
  #lost = 0;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o755 });
  }

  /** Records that could not be written. */
  get lost(): number {
    return this.#lost;
  }

  write(record: LogRecord): void {
    try {
      writeSync(this.#open(record.channel), `${formatLine(record)}\n`);
    } catch {
      this.#lost++;
    }
  }

  reopen(): void {
    this.close();
  }

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
    this.#files.clear();
  }

  #open(channel: LogChannel): number {
    const open = this.#files.get(channel);
    if (open !== undefined) return open;
    const fd = openSync(join(this.#directory, `versa-${channel}.log`), 'a', FILE_MODE);
    this.#files.set(channel, fd);
    return fd;
  }
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warning', 'error'];

/** The priorities of sd-daemon(3). */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { debug: 7, info: 6, warning: 4, error: 3 };

export interface JournalOptions {
  /** Less important records are left out. */
  readonly least: LogLevel;
  /** Where lines go; a descriptor, 2 for stderr. */
  readonly fd: number;
}

/** Lines for the journal: `<6>ipsec: IKE SA established peer=c1`. systemd adds the time. */
export class JournalSink implements LogSink {
  readonly #options: JournalOptions;

  constructor(options: JournalOptions = { least: 'info', fd: 2 }) {
    this.#options = options;
  }

  write(record: LogRecord): void {
    if (LEVELS.indexOf(record.level) < LEVELS.indexOf(this.#options.least)) return;
    try {
      writeSync(this.#options.fd, `<${PRIORITIES[record.level]}>${record.channel}: ${formatEvent(record)}\n`);
    } catch {
      // Nobody reads stderr any more; the files still have the record.
    }
  }

  reopen(): void {}
  close(): void {}
}
