// @hot (handOver)  Packets whose tunnel belongs to another worker of this forwarder. They go there as they came, and
// everything that needs a key, a window or an endpoint happens there: an SA has one worker (docs/ARCHITECTURE.md).
import { Next, type Burst } from '../../drivers/burst.ts';
import { Reason } from './counters.ts';
import { markUsed } from './send.ts';
import type { Tables } from './tables.ts';

/** Where a packet came from: in the column `tunnel` on its way through a ring, with the id of the inside or outside in `inside`. */
export const FROM_INSIDE = 1;
export const FROM_OUTSIDE = 2;
/** A copy for another SA with the same SPI: most likely no tag will be good. */
export const COPY_FROM_OUTSIDE = 3;

const WRONG_WORKER = Reason['wrong-worker'];

/** Sends packet `i` through the port `next` to its worker. One that came so already goes nowhere: two states differ for a moment. */
export function handOver(burst: Burst, i: number, next: number, kind: number, id: number, tables: Tables): void {
  if (tables.handed) {
    burst.next[i] = Next.drop;
    burst.reason[i] = WRONG_WORKER;
    return;
  }
  burst.next[i] = next;
  burst.tunnel[i] = kind;
  burst.inside[i] = id;
  markUsed(tables.ports, next);
}
