// The tunnel bench: one TCP stream through two forwarders that share a veth pair, and the same stream over the veth pair
// alone, in turns. Both ends, both iperf3 and the kernel share the machine's cores: ratios count, not rates.
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { TestNetwork } from '../system/namespaces.ts';
import { median } from './median.ts';
import type { TunnelEnd } from './tunnel-end.ts';

const SCRIPT = fileURLToPath(new URL('tunnel-end.ts', import.meta.url));
const OUTSIDE = ['10.78.0.1', '10.78.0.2'] as const;
const INSIDE = ['10.255.0.1', '10.255.0.2'] as const;
const POLL_MS = 50;
const SETTLE_MS = 10_000;

export interface TunnelBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
}

interface Contestant {
  readonly name: 'ours' | 'veth';
  readonly namespaces: readonly [string, string];
  readonly server: string;
  /** Bit per second of every round, by direction. */
  readonly there: number[];
  readonly back: number[];
}

async function startEnd(network: TestNetwork, end: TunnelEnd): Promise<void> {
  const child = network.spawn(end.wanVr, [process.execPath, '--disable-warning=ExperimentalWarning', SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin!.write(`${JSON.stringify(end)}\n`);
  const line = await createInterface(child.stdout!)[Symbol.asyncIterator]().next();
  if (line.done === true) throw new OperationalError('bench', 'an end of the tunnel bench stopped', 'Read its error above');
}

async function awaitPath(network: TestNetwork, { namespaces, server, name }: Contestant): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    if (network.attempt(namespaces[0], ['ping', '-c', '1', '-W', '1', server], 3000).status === 0) return;
    if (waitedMs > SETTLE_MS) throw new OperationalError('bench', `${name}: ${server} does not answer`, 'Read the log of both ends above');
    await sleep(POLL_MS);
  }
}

function serve(network: TestNetwork, { namespaces, server }: Contestant): ChildProcess {
  return network.spawn(namespaces[1], ['iperf3', '-s', '-B', server], { stdio: 'ignore' });
}

function stream(network: TestNetwork, { namespaces, server, name }: Contestant, seconds: number, reverse: boolean): number {
  const result = network.attempt(namespaces[0], ['iperf3', '-J', '-c', server, '-t', String(seconds), ...(reverse ? ['-R'] : [])], (seconds + 20) * 1000);
  const bits = result.status === 0 ? (JSON.parse(result.stdout) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received.bits_per_second : 0;
  if (bits === 0) throw new OperationalError('bench', `iperf3 over ${name} failed: ${result.stdout.slice(-300)}${result.stderr}`, 'Check that iperf3 runs');
  return bits;
}

async function measure(network: TestNetwork, { rounds, seconds }: TunnelBenchOptions): Promise<readonly Contestant[]> {
  const [left, right] = [network.addNamespace('wan1'), network.addNamespace('wan2')];
  const [leftVr, rightVr] = [network.addNamespace('vr1'), network.addNamespace('vr2')];
  network.addVeth({ namespace: left, device: 'wan', addresses: [`${OUTSIDE[0]}/24`] }, { namespace: right, device: 'wan', addresses: [`${OUTSIDE[1]}/24`] });
  await startEnd(network, { end: 1, wanVr: left, vr: leftVr, local: OUTSIDE[0], remote: OUTSIDE[1], inside: INSIDE[0], otherInside: INSIDE[1] });
  await startEnd(network, { end: 2, wanVr: right, vr: rightVr, local: OUTSIDE[1], remote: OUTSIDE[0], inside: INSIDE[1], otherInside: INSIDE[0] });
  const contestants: readonly Contestant[] = [
    { name: 'ours', namespaces: [leftVr, rightVr], server: INSIDE[1], there: [], back: [] },
    { name: 'veth', namespaces: [left, right], server: OUTSIDE[1], there: [], back: [] },
  ];
  for (const contestant of contestants) {
    await awaitPath(network, contestant);
    serve(network, contestant);
  }
  await sleep(500);
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      contestant.there.push(stream(network, contestant, seconds, false));
      contestant.back.push(stream(network, contestant, seconds, true));
      const gigabits = (values: readonly number[]): string => (values.at(-1)! / 1e9).toFixed(2);
      process.stdout.write(`round ${round + 1}: ${contestant.name} ${gigabits(contestant.there)} Gbit/s there, ${gigabits(contestant.back)} back\n`);
    }
  }
  return contestants;
}

/** Prints its rounds; returns the summary. */
export async function benchTunnel(options: TunnelBenchOptions): Promise<Record<string, unknown>> {
  const network = new TestNetwork();
  try {
    const [ours, veth] = (await measure(network, options)) as [Contestant, Contestant];
    const gigabits = (values: readonly number[]): number => Number((median(values) / 1e9).toPrecision(3));
    const ratio = (direction: 'there' | 'back'): number => Number((median(ours[direction]) / median(veth[direction])).toPrecision(3));
    return {
      gigabitsPerSecond: { there: gigabits(ours.there), back: gigabits(ours.back) },
      vethGigabitsPerSecond: { there: gigabits(veth.there), back: gigabits(veth.back) },
      ratioToVeth: { there: ratio('there'), back: ratio('back') },
    };
  } finally {
    await network.close();
  }
}
