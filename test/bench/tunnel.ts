// The tunnel bench: what the forwarder carries beside the bare cable and other tunnels of user space, in turns. All
// ends, the load and the kernel share the machine's cores: ratios count, not rates.
import { UsageError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { median } from './median.ts';
import { TunnelLab, type Contestant } from './tunnel-lab.ts';
import { pings, residentMegabytes, runTcp, serveTcp, udpLadder, type TcpRun } from './tunnel-measures.ts';
import { PEERS } from './tunnel-peers.ts';

export const PARTS = ['tcp', 'streams', 'nouso', 'udp', 'ping', 'load'] as const;
export type Part = (typeof PARTS)[number];

const SETTLE_MS = 500;
const PINGS = 200;
const PARALLEL_STREAMS = 4;
const SMALL_PACKET_BYTES = 64;
const LARGE_PACKET_BYTES = 1400;

export interface TunnelBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly peers: readonly string[];
  readonly parts: readonly Part[];
}

/** Values of every round by measure, of one contestant. */
type Results = Map<string, number[]>;

interface Entrant {
  readonly contestant: Contestant;
  readonly results: Results;
}

export function chosenPeers(text: string): readonly string[] {
  const names = text === '' ? Object.keys(PEERS) : text.split(',');
  for (const name of names) if (!Object.hasOwn(PEERS, name)) throw new UsageError(`--peers ${name}; allowed: ${Object.keys(PEERS).join(', ')}`);
  return names;
}

export function chosenParts(text: string): readonly Part[] {
  const names = text === '' ? PARTS : text.split(',');
  for (const name of names) if (!PARTS.includes(name as Part)) throw new UsageError(`--only ${name}; allowed: ${PARTS.join(', ')}`);
  return names as readonly Part[];
}

function record({ contestant, results }: Entrant, measure: string, value: number): void {
  const values = results.get(measure) ?? [];
  values.push(value);
  results.set(measure, values);
  process.stdout.write(`  ${contestant.name.padEnd(13)} ${measure.padEnd(24)} ${value.toPrecision(4)}\n`);
}

function recordTcp(entrant: Entrant, measure: string, run: TcpRun): void {
  record(entrant, measure, run.bitsPerSecond / 1e9);
  if (entrant.contestant.pids !== undefined) record(entrant, `${measure}CpuSecondsPerGigabyte`, run.cpuSecondsPerGigabyte);
}

type Measure = (lab: TunnelLab, entrant: Entrant, seconds: number) => Promise<void>;

/** One visit of a contestant by part; parts are the outer loop, so that contestants are compared minute by minute. */
const MEASURES: Readonly<Record<Part, Measure>> = {
  tcp: async (lab, entrant, seconds) => {
    recordTcp(entrant, 'tcp', runTcp(lab, entrant.contestant, { seconds, streams: 1, reverse: false }));
    recordTcp(entrant, 'tcpReverse', runTcp(lab, entrant.contestant, { seconds, streams: 1, reverse: true }));
  },
  streams: async (lab, entrant, seconds) => {
    recordTcp(entrant, 'tcpFour', runTcp(lab, entrant.contestant, { seconds, streams: PARALLEL_STREAMS, reverse: false }));
    recordTcp(entrant, 'tcpFourReverse', runTcp(lab, entrant.contestant, { seconds, streams: PARALLEL_STREAMS, reverse: true }));
  },
  nouso: async (lab, entrant, seconds) => {
    const { contestant } = entrant;
    lab.setSegmentation(contestant.underlay, false);
    try {
      recordTcp(entrant, 'tcpNoUso', runTcp(lab, contestant, { seconds, streams: 1, reverse: false }));
    } finally {
      lab.setSegmentation(contestant.underlay, true);
    }
  },
  udp: async (_lab, entrant) => {
    record(entrant, 'udp64Kpps', await udpLadder(entrant.contestant, SMALL_PACKET_BYTES));
    record(entrant, 'udp1400Kpps', await udpLadder(entrant.contestant, LARGE_PACKET_BYTES));
  },
  ping: async (lab, entrant) => recordPings(entrant, 'ping', pings(lab, entrant.contestant, PINGS)),
  load: async (lab, entrant, seconds) => {
    const { namespaces, addresses } = entrant.contestant;
    const load = lab.network.spawn(namespaces[0], ['iperf3', '-c', addresses[1], '-t', String(seconds + 3)], { stdio: 'ignore' });
    const ended = new Promise((resolve) => load.once('exit', resolve));
    await sleep(SETTLE_MS);
    recordPings(entrant, 'pingLoaded', pings(lab, entrant.contestant, PINGS));
    await ended;
  },
};

function recordPings(entrant: Entrant, measure: string, times: readonly number[]): void {
  record(entrant, `${measure}P50`, times[times.length >> 1]!);
  record(entrant, `${measure}P99`, times[Math.floor(times.length * 0.99)]!);
}

async function enter(lab: TunnelLab, names: readonly string[]): Promise<readonly Entrant[]> {
  const entrants: Entrant[] = [];
  for (const name of names) {
    const contestant = await PEERS[name]!(lab);
    await lab.awaitPath(contestant);
    serveTcp(lab, contestant);
    process.stdout.write(`${name}: ${contestant.version}\n`);
    entrants.push({ contestant, results: new Map() });
  }
  await sleep(SETTLE_MS);
  return entrants;
}

function medians(entrants: readonly Entrant[]): Map<string, Record<string, number>> {
  const rounded = (value: number): number => Number(value.toPrecision(3));
  return new Map(entrants.map(({ contestant, results }) => [contestant.name, Object.fromEntries([...results].map(([measure, values]) => [measure, rounded(median(values))]))]));
}

/** Prints its rounds; returns the medians and the ratios. */
export async function benchTunnel({ rounds, seconds, peers, parts }: TunnelBenchOptions): Promise<Record<string, unknown>> {
  const lab = new TunnelLab();
  try {
    const entrants = await enter(lab, peers);
    for (let round = 1; round <= rounds; round++) {
      for (const part of parts) {
        process.stdout.write(`round ${round} of ${rounds}: ${part}\n`);
        for (const entrant of entrants) await MEASURES[part](lab, entrant, seconds);
      }
    }
    for (const entrant of entrants) if (entrant.contestant.pids !== undefined) record(entrant, 'residentMegabytes', residentMegabytes(entrant.contestant));
    const results = medians(entrants);
    return { versions: Object.fromEntries(entrants.map(({ contestant }) => [contestant.name, contestant.version])), medians: Object.fromEntries(results), ...ratios(results) };
  } finally {
    await lab.close();
  }
}

/** Ours to another contestant's measure; left out when one of them was not measured. */
function ratios(results: ReadonlyMap<string, Readonly<Record<string, number>>>): Record<string, number> {
  const found: Record<string, number> = {};
  const add = (name: string, measure: string, other: number | undefined): void => {
    const own = results.get('ours')?.[measure];
    if (own !== undefined && other !== undefined && other > 0) found[name] = Number((own / other).toPrecision(3));
  };
  const of = (peer: string, measure: string): number | undefined => results.get(peer)?.[measure];
  const best = (measure: string, choose: (...values: number[]) => number): number | undefined => {
    const values = [...results].filter(([name]) => name !== 'ours' && name !== 'veth').flatMap(([, { [measure]: value }]) => value ?? []);
    return values.length === 0 ? undefined : choose(...values);
  };
  for (const [measure, text] of [['tcp', 'tcp'], ['tcpReverse', 'tcpReverse'], ['tcpFour', 'tcpFour'], ['tcpFourReverse', 'tcpFourReverse'], ['tcpNoUso', 'tcpNoUso']] as const) {
    add(`${text}RatioToWireguardGo`, measure, of('wireguard-go', measure));
    add(`${text}RatioToVeth`, measure, of('veth', measure));
  }
  add('tcpRatioToLibipsec', 'tcp', of('libipsec', 'tcp'));
  add('udp64RatioToBest', 'udp64Kpps', best('udp64Kpps', Math.max));
  add('udp1400RatioToBest', 'udp1400Kpps', best('udp1400Kpps', Math.max));
  add('pingP50RatioToBest', 'pingP50', best('pingP50', Math.min));
  add('pingLoadedP50RatioToBest', 'pingLoadedP50', best('pingLoadedP50', Math.min));
  add('cpuPerGigabyteRatioToWireguardGo', 'tcpCpuSecondsPerGigabyte', of('wireguard-go', 'tcpCpuSecondsPerGigabyte'));
  return found;
}
