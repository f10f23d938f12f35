// Has the kernel deliver what arrives on UDP 4790 to the worker that can open it, as far as it can know (owners.ts), and
// keeps it up to date.
import type { DatagramPort, ParallelDevices } from '../../drivers/port.ts';
import { equalBytes } from '../../platform/bytes.ts';
import type { Logger } from '../../platform/log.ts';
import { after, type CancelTimer, type Clock } from '../../platform/time.ts';
import type { Owners } from '../dataplane/owners.ts';
import { familyOf } from '../dataplane/ports.ts';
import { steeringProgram } from '../dataplane/steering.ts';

/** Peers that moved are told to the kernel together. */
const DELAY_MS = 250;

export interface WorkerSteeringOptions {
  readonly devices: ParallelDevices;
  readonly clock: Clock;
  readonly log: Logger;
  readonly owners: Owners;
  readonly workers: number;
  /** The sockets that share an address, one group after the other. */
  groups(): readonly (readonly DatagramPort[])[];
}

export class WorkerSteering {
  readonly #options: WorkerSteeringOptions;
  /** What the kernel has, by the first socket of a group. */
  readonly #programs = new WeakMap<DatagramPort, Uint8Array>();
  #refused = false;
  #timer: CancelTimer | undefined;

  constructor(options: WorkerSteeringOptions) {
    this.#options = options;
  }

  /** After a new state, and when sockets came. */
  update(): void {
    const { devices, log, owners, workers, groups } = this.#options;
    if (workers === 1 || this.#refused) return;
    for (const [first] of groups()) {
      const family = familyOf(first!.local.address) === 6 ? 6 : 4;
      const program = steeringProgram(family, owners.table(family), workers);
      const former = this.#programs.get(first!);
      if (former !== undefined && equalBytes(former, program)) continue;
      try {
        devices.steer(first!, program);
        this.#programs.set(first!, program);
      } catch (error) {
        this.#refused = true;
        log.warning('kernel does not choose among the workers', { cause: (error as Error).message, nextStep: 'nothing: workers hand packets over to each other' });
        return;
      }
    }
  }

  /** A peer was seen at another address. */
  moved(tunnel: number, address: string): void {
    const { clock, owners } = this.#options;
    if (!owners.moved(tunnel, address)) return;
    this.#timer ??= clock.at(after(clock.now(), DELAY_MS), () => {
      this.#timer = undefined;
      this.update();
    });
  }

  stop(): void {
    this.#timer?.();
  }
}
