// Dummy packets on tunnels that send nothing: they show a peer that a new key works, and keep NAT bindings open.
import type { AeadEngine } from '../../drivers/aead.ts';
import { BURST_PACKETS, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import type { Instant } from '../../platform/time.ts';
import { sealAndSend } from './inside.ts';
import type { Tables } from './tables.ts';
import { wrapDummy } from './wrap.ts';

/** Sends what is due and returns when the next dummy may be due; undefined = no tunnel wants any. */
export function sendDummies(burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): Instant | undefined {
  const tunnels = tables.tunnels;
  let soonest = Number.POSITIVE_INFINITY;
  burst.count = 0;
  for (let row = 0; row < tunnels.rows; row++) {
    const idle = tunnels.idleDummyMs[row]!;
    if (idle === 0 || tunnels.txSa[row]! < 0 || tunnels.next[row] === 0) continue;
    // The same sum as the deadline below: a difference may round otherwise, and the caller would wait for the present.
    if (now >= tunnels.lastTx[row]! + idle) {
      if (burst.count === BURST_PACKETS) {
        soonest = now;
        break;
      }
      // At a hard limit nothing is sent any more; the tunnel must not stay due for ever.
      tunnels.lastTx[row] = now;
      append(burst, row, tables);
    }
    soonest = Math.min(soonest, tunnels.lastTx[row]! + idle);
  }
  if (burst.count > 0) sealAndSend(burst, tables, aead, now);
  return Number.isFinite(soonest) ? (soonest as Instant) : undefined;
}

/** An empty payload: the trailer alone says what it is. */
function append(burst: Burst, row: number, tables: Tables): void {
  const i = burst.count++;
  burst.offset[i] = slotStart(i);
  burst.length[i] = 0;
  burst.segment[i] = 0;
  burst.reason[i] = 0;
  burst.next[i] = Next.wrap;
  wrapDummy(burst, i, row, tables);
}
