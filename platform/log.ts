// Logging as data: a fixed sentence per event plus named fields (docs/LOGGING.md lists both).
// Machines emit LogEvent outputs; services hand them to a Logger; sinks decide where lines go.

export type LogLevel = 'debug' | 'info' | 'warning' | 'error';
export type FieldValue = string | number | boolean | undefined;
export type Fields = Readonly<Record<string, FieldValue>>;

export interface LogEvent {
  readonly level: LogLevel;
  readonly sentence: string;
  readonly fields: Fields;
}

/** Channels are the VOS log names: `ipsec` is written to versa-ipsec.log. */
export type LogChannel = 'ipsec' | 'bgp' | 'sdwan' | 'service' | 'ztp' | 'director' | 'forwarder' | 'alarms' | 'upgrade';

export interface LogRecord extends LogEvent {
  readonly unixMs: number;
  readonly channel: LogChannel;
}

export interface LogSink {
  write(record: LogRecord): void;
  /** Re-opens files after rotation; a no-op where there is nothing to re-open. */
  reopen(): void;
  close(): void;
}

export interface Logger {
  event(event: LogEvent): void;
  debug(sentence: string, fields?: Fields): void;
  info(sentence: string, fields?: Fields): void;
  warning(sentence: string, fields?: Fields): void;
  error(sentence: string, fields?: Fields): void;
}

export interface Log {
  channel(name: LogChannel): Logger;
}

export class SinkLog implements Log {
  readonly #sinks: readonly LogSink[];
  readonly #unixMs: () => number;

  constructor(sinks: readonly LogSink[], unixMs: () => number) {
    this.#sinks = sinks;
    this.#unixMs = unixMs;
  }

  /** After the files were rotated. */
  reopen(): void {
    for (const sink of this.#sinks) sink.reopen();
  }

  channel(name: LogChannel): Logger {
    const event = (e: LogEvent): void => {
      const record: LogRecord = { ...e, unixMs: this.#unixMs(), channel: name };
      for (const sink of this.#sinks) sink.write(record);
    };
    const at =
      (level: LogLevel) =>
      (sentence: string, fields: Fields = {}): void =>
        event({ level, sentence, fields });
    return { event, debug: at('debug'), info: at('info'), warning: at('warning'), error: at('error') };
  }
}

/** Keeps the newest records, for tests and for `show log`. */
export class MemorySink implements LogSink {
  readonly records: LogRecord[] = [];
  readonly #limit: number;

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  write(record: LogRecord): void {
    this.records.push(record);
    if (this.records.length > this.#limit) this.records.splice(0, this.records.length - this.#limit);
  }

  reopen(): void {}
  close(): void {}
}
