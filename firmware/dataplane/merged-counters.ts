// The counters of several workers as those of one forwarder.
import type { ForwarderCounters, TunnelCount } from '../model.ts';
import { DROP_REASONS } from './counters.ts';

/** `version` is what all of them have in force. */
export function mergeCounters(all: readonly ForwarderCounters[]): ForwarderCounters {
  const drops = new Map<string, number>();
  const tunnels = new Map<number, TunnelCount>();
  for (const counters of all) {
    for (const { reason, packets } of counters.drops) drops.set(reason, (drops.get(reason) ?? 0) + packets);
    for (const count of counters.tunnels) tunnels.set(count.tunnel, sum(tunnels.get(count.tunnel), count));
  }
  return {
    version: Math.min(...all.map(({ version }) => version)),
    handedOver: all.reduce((packets, { handedOver }) => packets + handedOver, 0),
    drops: DROP_REASONS.flatMap((reason) => (drops.has(reason) ? [{ reason, packets: drops.get(reason)! }] : [])),
    tunnels: [...tunnels.values()],
  };
}

function sum(a: TunnelCount | undefined, b: TunnelCount): TunnelCount {
  if (a === undefined) return b;
  return {
    tunnel: b.tunnel,
    txPackets: a.txPackets + b.txPackets,
    txBytes: a.txBytes + b.txBytes,
    rxPackets: a.rxPackets + b.rxPackets,
    rxBytes: a.rxBytes + b.rxBytes,
  };
}
