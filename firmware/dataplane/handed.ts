// What other workers handed over: read from their rings and forwarded as if this worker had read it from the port itself.
import type { AeadEngine } from '../../drivers/aead.ts';
import { Next, type Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import { Reason } from './counters.ts';
import { FROM_INSIDE, FROM_OUTSIDE } from './handover.ts';
import { acceptInside } from './inside.ts';
import { acceptOutside } from './outside.ts';
import type { WorkerPort } from './ring.ts';
import { countDrops } from './send.ts';
import type { Tables } from './tables.ts';

/** Runs of packets with one origin in one breath; other ports have their turn then. */
const MOST_RUNS = 8;

/** Forwards what one other worker handed over. Returns how many rows were read. */
export function forwardHanded(port: WorkerPort, burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): number {
  let moved = 0;
  tables.handed = true;
  port.begin();
  for (let run = 0; run < MOST_RUNS; run++) {
    burst.count = 0;
    const read = port.read(burst);
    if (read === 0) break;
    moved += read;
    forwardRun(burst, tables, aead, now);
  }
  port.end();
  tables.handed = false;
  return moved;
}

/** The first packet's origin is that of all. */
function forwardRun(burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): void {
  const { insides, ports } = tables;
  const kind = burst.tunnel[0]!;
  const id = burst.inside[0]!;
  if (kind === FROM_INSIDE) {
    const row = insides.rowOf(id);
    if (row < 0) dropAll(burst, Reason['no-inside'], tables, now);
    else acceptInside(burst, row, tables, aead, now);
    return;
  }
  const index = ports.find('vxlan', id, burst.family[0]!);
  const slot = ports.slots[index];
  if (slot === undefined) dropAll(burst, Reason['no-path'], tables, now);
  else acceptOutside(burst, slot, ports.nextOf(index), kind === FROM_OUTSIDE ? Reason['aead-failed'] : Reason['spi-collision-miss'], tables, aead, now);
}

function dropAll(burst: Burst, reason: number, tables: Tables, now: Instant): void {
  for (let i = 0; i < burst.count; i++) {
    burst.next[i] = Next.drop;
    burst.reason[i] = reason;
  }
  countDrops(burst, false, tables, now);
}
