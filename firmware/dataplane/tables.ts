// Everything that the stages read and write, in one plain object; `insides` and `fib` are replaced by every new state.
import type { Burst } from '../../drivers/burst.ts';
import type { CounterPage } from './counters.ts';
import type { EventQueue } from './events.ts';
import type { Fib } from './fib.ts';
import type { InsideTable } from './insides.ts';
import type { PortTable } from './ports.ts';
import type { ProvisionalEndpoints } from './provisional.ts';
import type { SaTable } from './sa-table.ts';
import type { TunnelTable } from './tunnel.ts';

export interface Tables {
  readonly page: CounterPage;
  readonly ports: PortTable;
  readonly tunnels: TunnelTable;
  readonly sas: SaTable;
  readonly provisional: ProvisionalEndpoints;
  readonly events: EventQueue;
  /** Packets that a stage makes besides those it was given: fragments, copies for SPI collisions. */
  readonly extra: Burst;
  insides: InsideTable;
  fib: Fib;
  /** ICMP errors that may still be sent, and when that was last topped up. */
  icmpTokens: number;
  icmpToppedUpAt: number;
}
