// What a forwarder with many peers is as a process: its memory, and its rate beside one with a single peer.
import { median } from './median.ts';
import { TunnelLab, type Contestant } from './tunnel-lab.ts';
import { residentMegabytes, runTcp, serveTcp } from './tunnel-measures.ts';
import { startOurs } from './tunnel-peers.ts';

const ROUNDS = 3;
const SECONDS = 2;

export interface ProcessScale {
  readonly workers: number;
  /** Resident, of a process whose forwarder has carried TCP for all of its peers' tables. */
  readonly processMegabytes: number;
  /** What of that came with the forwarder: threads, tables, packet memory. */
  readonly forwarderMegabytes: number;
  /** TCP through the forwarder with many peers / with one, in turns. */
  readonly tcpRatioOfMostToOne: number;
}

/** Starts forwarders with one peer and with `peers`, and sends TCP through both; prints what it measures. */
export async function measureProcess(peers: number, workers: number): Promise<ProcessScale> {
  const lab = new TunnelLab();
  try {
    const few = await ready(lab, 1, workers);
    const many = await ready(lab, peers, workers);
    const rates = Array.from({ length: ROUNDS }, () => [few, many].map((end) => runTcp(lab, end, { seconds: SECONDS, streams: 1, reverse: false }).bitsPerSecond));
    const processMegabytes = residentMegabytes(many);
    const forwarderMegabytes = processMegabytes - many.residentBefore!;
    const ratio = median(rates.map(([one, most]) => most! / one!));
    process.stdout.write(`${workers} workers, ${peers} peers: ${processMegabytes.toFixed(0)} MB resident, ${forwarderMegabytes.toFixed(0)} of them the forwarder's; TCP ${ratio.toFixed(2)} of that with one peer\n`);
    return { workers, processMegabytes: Math.round(processMegabytes), forwarderMegabytes: Math.round(forwarderMegabytes), tcpRatioOfMostToOne: Number(ratio.toPrecision(3)) };
  } finally {
    await lab.close();
  }
}

async function ready(lab: TunnelLab, peers: number, workers: number): Promise<Contestant> {
  const contestant = await startOurs(lab, { workers, silentPeers: peers - 1 });
  await lab.awaitPath(contestant);
  serveTcp(lab, contestant);
  return contestant;
}
