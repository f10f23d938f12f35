// Everything that the stages read and write, in one plain object; `insides` and `fib` are replaced by every new state.
import type { AeadEngine } from '../../drivers/aead.ts';
import type { Burst } from '../../drivers/burst.ts';
import { EMPTY_FORWARDING_STATE } from '../model.ts';
import { freeTunnelRows, takeFormerSequences, type CounterPage } from './counters.ts';
import { EventQueue } from './events.ts';
import { Fib } from './fib.ts';
import { InsideTable } from './insides.ts';
import { PathProbes } from './path-probes.ts';
import { PortTable } from './ports.ts';
import { ProvisionalEndpoints } from './provisional.ts';
import type { WorkerPort } from './ring.ts';
import { SaTable } from './sa-table.ts';
import { NEVER, TunnelTable } from './tunnel.ts';

export interface Tables {
  /** This worker's number. */
  readonly worker: number;
  readonly page: CounterPage;
  readonly ports: PortTable;
  readonly tunnels: TunnelTable;
  readonly sas: SaTable;
  readonly provisional: ProvisionalEndpoints;
  readonly events: EventQueue;
  /** The other workers of the box, by number. */
  readonly workers: Map<number, WorkerPort>;
  readonly probes: PathProbes;
  /** Packets that a stage makes besides those it was given: fragments, copies for SPI collisions. */
  readonly extra: Burst;
  insides: InsideTable;
  fib: Fib;
  /** `next` of the worker that has the clear TVIs and provisional endpoints; 0 = this one. */
  home: number;
  /** What is worked on now came from another worker. */
  handed: boolean;
  /** ICMP errors that may still be sent, and when that was last topped up. */
  icmpTokens: number;
  icmpToppedUpAt: number;
}

/** Empty tables that go on from the sequence numbers that a former forwarder left on the page. */
export function createTables(aead: AeadEngine, page: CounterPage, extra: Burst, worker = 0): Tables {
  const former = takeFormerSequences(page);
  freeTunnelRows(page);
  return {
    worker,
    page,
    ports: new PortTable(),
    tunnels: new TunnelTable(page),
    sas: new SaTable(aead, page, former),
    provisional: new ProvisionalEndpoints(),
    events: new EventQueue(),
    workers: new Map(),
    probes: new PathProbes(),
    extra,
    insides: new InsideTable(EMPTY_FORWARDING_STATE),
    fib: new Fib(0, []),
    home: 0,
    handed: false,
    icmpTokens: 0,
    icmpToppedUpAt: NEVER,
  };
}
