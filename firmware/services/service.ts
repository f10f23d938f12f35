// A service joins pure machines to ports. A role is a list of services (firmware/roles.ts).
import type { Alarms } from '../../platform/alarms.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Log } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { TimeFloor } from '../../platform/time-floor.ts';
import type { Clock } from '../../platform/time.ts';
import type { Store } from '../../platform/store.ts';
import type { AddressClients, Kernel, Network } from '../../drivers/port.ts';

/** What a service may touch: the real host, or a node of the simulator. */
export interface Site {
  /** Device name. */
  readonly name: string;
  readonly clock: Clock;
  /** Where the host's clock is not believed unseen, what vouches for the time (then `clock` follows it). */
  readonly timeFloor?: TimeFloor;
  readonly random: Random;
  readonly suite: Suite;
  readonly log: Log;
  /** Conditions that an operator should know about now. */
  readonly alarms: Alarms;
  readonly store: Store;
  readonly network: Network;
  readonly kernel: Kernel;
  /** Hosts without have static circuits only. */
  readonly addressClients?: AddressClients;
}

export interface ServiceStatus {
  readonly state: 'up' | 'starting' | 'down';
  /** When not up: cause and next step, one sentence each. */
  readonly detail: string;
}

export interface Service {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  status(): ServiceStatus;
}
