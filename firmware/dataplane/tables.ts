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
import { SaTable } from './sa-table.ts';
import { NEVER, TunnelTable } from './tunnel.ts';

export interface Tables {
  readonly page: CounterPage;
  readonly ports: PortTable;
  readonly tunnels: TunnelTable;
  readonly sas: SaTable;
  readonly provisional: ProvisionalEndpoints;
  readonly events: EventQueue;
  readonly probes: PathProbes;
  /** Packets that a stage makes besides those it was given: fragments, copies for SPI collisions. */
  readonly extra: Burst;
  insides: InsideTable;
  fib: Fib;
  /** ICMP errors that may still be sent, and when that was last topped up. */
  icmpTokens: number;
  icmpToppedUpAt: number;
}

/** Empty tables that go on from the sequence numbers that a former forwarder left on the page. */
export function createTables(aead: AeadEngine, page: CounterPage, extra: Burst): Tables {
  const former = takeFormerSequences(page);
  freeTunnelRows(page);
  return {
    page,
    ports: new PortTable(),
    tunnels: new TunnelTable(page),
    sas: new SaTable(aead, page, former),
    provisional: new ProvisionalEndpoints(),
    events: new EventQueue(),
    probes: new PathProbes(),
    extra,
    insides: new InsideTable(EMPTY_FORWARDING_STATE),
    fib: new Fib(0, []),
    icmpTokens: 0,
    icmpToppedUpAt: NEVER,
  };
}
