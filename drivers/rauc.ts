// RAUC's command, which speaks to RAUC's service over D-Bus. A box without RAUC has no slots.
import { existsSync } from 'node:fs';
import { OperationalError } from '../platform/errors.ts';
import { run } from './iproute.ts';

export interface SlotStatus {
  readonly name: 'A' | 'B';
  readonly booted: boolean;
  /** By the boot loader's variables: confirmed, and not only tried. */
  readonly good: boolean;
}

export interface RaucStatus {
  readonly compatible: string;
  readonly slots: readonly SlotStatus[];
}

const CONFIGURATION = '/etc/rauc/system.conf';
/** A slot is written to the medium; the slowest eMMC needs minutes. */
const INSTALL_TIMEOUT_MS = 1_800_000;
const CHECK_TIMEOUT_MS = 120_000;

interface StatusDocument {
  readonly compatible: string;
  readonly booted: string;
  readonly slots: readonly Readonly<Record<string, { readonly bootname?: string; readonly boot_status?: string }>>[];
}

function document<T>(text: string, what: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new OperationalError('rauc-answer', `rauc ${what} did not answer in JSON`, 'run the command by hand', error);
  }
}

/** Calls of RAUC. Each rejects with an OperationalError that repeats what RAUC said. */
export class Rauc {
  readonly #command: readonly [string, ...string[]];

  constructor(command: readonly [string, ...string[]] = ['rauc']) {
    this.#command = command;
  }

  /** Whether this host has slots. */
  static isPresent(): boolean {
    return existsSync(CONFIGURATION);
  }

  async status(): Promise<RaucStatus> {
    const { compatible, booted, slots } = document<StatusDocument>(await this.#rauc(['status', '--output-format=json'], CHECK_TIMEOUT_MS), 'status');
    const rows = slots.flatMap((slot) => Object.entries(slot)).flatMap(([name, { bootname, boot_status }]) => {
      if (bootname !== 'A' && bootname !== 'B') return [];
      return [{ name: bootname, booted: booted === bootname || booted === name, good: boot_status === 'good' } as const];
    });
    return { compatible, slots: rows };
  }

  /** Checks signature, purpose and length of a bundle, and returns what its signed manifest says. */
  async info(bundle: string): Promise<{ readonly compatible: string; readonly version: string }> {
    const { update } = document<{ readonly update?: { readonly compatible?: string; readonly version?: string } }>(await this.#rauc(['info', '--output-format=json-2', bundle], CHECK_TIMEOUT_MS), 'info');
    return { compatible: update?.compatible ?? '', version: update?.version ?? '' };
  }

  /** Writes the bundle to the slot that is not booted and makes that slot the next one to boot. */
  async install(bundle: string): Promise<void> {
    await this.#rauc(['install', bundle], INSTALL_TIMEOUT_MS);
  }

  async mark(state: 'good' | 'bad' | 'active', slot: 'booted' | 'other'): Promise<void> {
    await this.#rauc(['status', `mark-${state}`, slot], CHECK_TIMEOUT_MS);
  }

  async #rauc(args: readonly string[], timeoutMs: number): Promise<string> {
    const [command, ...prefix] = this.#command;
    return run(command, [...prefix, ...args], '', timeoutMs);
  }
}
