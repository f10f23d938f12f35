// The machine under the appliance: what it is, when periodic jobs run, and its signals.
import { readFileSync, statSync } from 'node:fs';
import { arch, availableParallelism, uptime } from 'node:os';
import cron from 'node-cron';
import si from 'systeminformation';
import { OperationalError, UsageError } from './errors.ts';
import type { Random } from './random.ts';
import { randomBelow } from './random.ts';
import type { CancelTimer, Clock } from './time.ts';
import { after } from './time.ts';

export interface HostFacts {
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly architecture: string;
  readonly memoryBytes: number;
  readonly cores: number;
}

const MACHINE_ID = '/etc/machine-id';
/** What firmware puts where no serial number is. */
const NO_VALUE = /^(?:-|none|unknown|default string|to be filled by o\.e\.m\.|not specified|not available|system serial number|0+)?$/i;

/** Facts of this machine; `overrides` come from the configuration and from virtual labs. Rejects with OperationalError. */
export async function readHostFacts(overrides: Partial<HostFacts> = {}): Promise<HostFacts> {
  const [system, memory, cpu] = await Promise.all([si.system(), si.mem(), si.cpu()]);
  return {
    serial: overrides.serial ?? chooseSerial(system.serial, system.uuid, readIfThere(MACHINE_ID)),
    manufacturer: known(overrides.manufacturer ?? system.manufacturer) ?? 'unknown',
    model: known(overrides.model ?? system.model) ?? 'unknown',
    architecture: overrides.architecture ?? arch(),
    memoryBytes: overrides.memoryBytes ?? memory.total,
    cores: overrides.cores ?? cpu.cores,
  };
}

/** systemd's earliest possible time is the time of this file; images have the time of their build there. */
const CLOCK_EPOCH = '/usr/lib/clock-epoch';
const DATA_STATE = '/run/selvage-image/data';

/** When the image of this host was built, Unix milliseconds; undefined where no image says so. */
export function imageBuiltUnixMs(file = CLOCK_EPOCH): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs;
}

/** `usable`, `repaired`, or what an image found instead of a data partition; undefined on other hosts. Written by the image's boot script. */
export function dataPartitionState(file = DATA_STATE): string | undefined {
  return known(readIfThere(file));
}

/** Since the host's boot. */
export function uptimeMs(): number {
  return uptime() * 1000;
}

/** That this process may use. */
export function processorCount(): number {
  return availableParallelism();
}

/** DMI serial, else DMI UUID, else the machine id; only letters, digits, dot, underscore and dash remain. */
export function chooseSerial(...candidates: readonly (string | undefined)[]): string {
  for (const candidate of candidates) {
    const serial = known(candidate)?.replaceAll(/[^A-Za-z0-9._-]/g, '');
    if (serial !== undefined && serial !== '') return serial;
  }
  throw new OperationalError('serial-unknown', 'this machine has no serial number, no UUID and no machine id', `create ${MACHINE_ID} with systemd-machine-id-setup, or set "serial" in the configuration file`);
}

function known(value: string | undefined): string | undefined {
  const text = value?.trim();
  return text === undefined || NO_VALUE.test(text) ? undefined : text;
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

export interface Job {
  /** Five or six fields, as crontab(5). */
  readonly expression: string;
  /** The run starts up to this much later, so that a thousand boxes do not call at the same second. */
  readonly jitterMs: number;
  readonly run: () => Promise<void>;
  readonly onError: (error: unknown) => void;
}

/** Runs a job by the wall clock; a run that is still going makes the next one wait for its own time. */
export function scheduleJob(job: Job, clock: Clock, random: Random): CancelTimer {
  if (!cron.validate(job.expression)) throw new UsageError(`${JSON.stringify(job.expression)} is not a cron expression`);
  let waiting: CancelTimer | undefined;
  let running = false;
  const start = (): void => {
    if (running || waiting !== undefined) return;
    waiting = clock.at(after(clock.now(), randomBelow(random, job.jitterMs + 1)), () => {
      waiting = undefined;
      running = true;
      job
        .run()
        .catch(job.onError)
        .finally(() => {
          running = false;
        });
    });
  };
  const task = cron.schedule(job.expression, start);
  return () => {
    waiting?.();
    void task.destroy();
  };
}

export interface SignalHandlers {
  /** SIGTERM and SIGINT; only the first counts, the second ends the process as usual. */
  readonly onStop: (signal: string) => void;
  /** SIGHUP: re-read and re-open. */
  readonly onReload: () => void;
}

/** Installs the handlers; returns what removes them. */
export function handleSignals(handlers: SignalHandlers, source: NodeJS.Process = process): () => void {
  const stop = (signal: string): void => {
    source.off('SIGTERM', stop).off('SIGINT', stop);
    handlers.onStop(signal);
  };
  source.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', handlers.onReload);
  return () => {
    source.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', handlers.onReload);
  };
}
