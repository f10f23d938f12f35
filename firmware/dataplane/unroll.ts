// Super-packets whose parts must be looked at one by one: they do not fit their tunnel, or go where nothing is sealed.
import { BURST_PACKETS, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import { partsOf, writePart } from '../../drivers/super-packet.ts';
import { countDrop, Reason } from './counters.ts';
import type { Tables } from './tables.ts';

/** Appends the parts of the super-packet in row `i` to `tables.extra`, to be routed anew; the row is done. What finds no room is counted. */
export function unroll(burst: Burst, i: number, tables: Tables): void {
  const { extra } = tables;
  const at = burst.offset[i]!;
  const parts = partsOf(burst, i, at);
  for (let part = 0; part < parts; part++) {
    if (extra.count === BURST_PACKETS) {
      countDrop(tables.page, Reason['fragment-burst-full'], parts - part);
      break;
    }
    const j = extra.count++;
    const start = slotStart(j);
    extra.offset[j] = start;
    extra.length[j] = writePart(burst, i, at, part, extra.bytes, start);
    extra.segment[j] = 0;
    extra.mark[j] = 0;
    extra.reason[j] = 0;
    extra.next[j] = Next.route;
  }
  burst.next[i] = Next.done;
}
