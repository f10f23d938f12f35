// One measurement each, over one contestant of the tunnel bench.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../../platform/errors.ts';
import type { Contestant, TunnelLab } from './tunnel-lab.ts';
import type { UdpLoad } from './udp-load.ts';

const LOAD_SCRIPT = fileURLToPath(new URL('udp-load.ts', import.meta.url));
const SECOND_TICKS = 100;
const UDP_PORT = 7000;
const UDP_OVERHEAD_BYTES = 28;
/** Thousand packets per second; bisected, so that a search takes few runs. */
const LADDER = [5, 10, 15, 20, 30, 40, 55, 75, 100, 130, 170, 220, 290, 380, 500, 650, 850, 1100, 1400] as const;
const UDP_SECONDS = 1;
/** Lost datagrams that a rung may have. */
const LOSS_ALLOWED = 0.01;
/** A sender that does not keep its rate has not tried the rung. */
const RATE_NEEDED = 0.97;

export interface TcpRun {
  readonly bitsPerSecond: number;
  /** Processor seconds of both ends of the tunnel per gigabyte of payload. */
  readonly cpuSecondsPerGigabyte: number;
}

export interface TcpOptions {
  readonly seconds: number;
  readonly streams: number;
  readonly reverse: boolean;
}

export function serveTcp({ network }: TunnelLab, { namespaces, addresses }: Contestant): ChildProcess {
  return network.spawn(namespaces[1], ['iperf3', '-s', '-B', addresses[1]], { stdio: 'ignore' });
}

/** User and system time of a process so far, in seconds. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / SECOND_TICKS;
}

export function processorTime({ pids }: Contestant): number {
  return pids === undefined ? 0 : processorSeconds(pids[0]) + processorSeconds(pids[1]);
}

/** Resident memory of the larger end, in MB. */
export function residentMegabytes({ pids = [] as unknown as [number, number] }: Contestant): number {
  const of = (pid: number): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  return Math.max(0, ...pids.map(of));
}

export function runTcp({ network }: TunnelLab, contestant: Contestant, { seconds, streams, reverse }: TcpOptions): TcpRun {
  const { name, namespaces, addresses } = contestant;
  const before = processorTime(contestant);
  const command = ['iperf3', '-J', '-c', addresses[1], '-t', String(seconds), '-P', String(streams), ...(reverse ? ['-R'] : [])];
  const result = network.attempt(namespaces[0], command, (seconds + 20) * 1000);
  const received = result.status === 0 ? (JSON.parse(result.stdout) as { end: { sum_received: { bits_per_second: number; bytes: number } } }).end.sum_received : undefined;
  if (received === undefined || received.bytes === 0) {
    throw new OperationalError('bench', `iperf3 over ${name} failed: ${result.stdout.slice(-300)}${result.stderr}`, 'Check that iperf3 runs');
  }
  return { bitsPerSecond: received.bits_per_second, cpuSecondsPerGigabyte: ((processorTime(contestant) - before) / received.bytes) * 1e9 };
}

export interface LoadProcess {
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string>;
}

export function startLoad(load: UdpLoad): LoadProcess {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', LOAD_SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.write(`${JSON.stringify(load)}\n`);
  return { child, lines: createInterface(child.stdout)[Symbol.asyncIterator]() };
}

/** The next JSON line that a load process writes. */
export async function nextLine({ lines }: LoadProcess): Promise<string> {
  const line = await lines.next();
  if (line.done === true) throw new OperationalError('bench', 'a UDP load stopped', 'Read its error above');
  return line.value;
}

/** What the UDP ladder takes of a contestant. */
type Way = Pick<Contestant, 'namespaces' | 'addresses'>;

async function holds(contestant: Way, payloadBytes: number, packetsPerSecond: number): Promise<boolean> {
  const { namespaces, addresses } = contestant;
  const receiver = startLoad({ role: 'receive', vr: namespaces[1], local: addresses[1], port: UDP_PORT, seconds: UDP_SECONDS + 3, sendSeconds: UDP_SECONDS });
  await nextLine(receiver);
  const sender = startLoad({ role: 'send', vr: namespaces[0], local: addresses[0], remote: addresses[1], port: UDP_PORT, payloadBytes, packetsPerSecond, seconds: UDP_SECONDS });
  const { sent } = JSON.parse(await nextLine(sender)) as { sent: number };
  const { packets } = JSON.parse(await nextLine(receiver)) as { packets: number };
  return sent >= packetsPerSecond * UDP_SECONDS * RATE_NEEDED && packets >= sent * (1 - LOSS_ALLOWED);
}

/** The highest rung, in thousand packets per second, that arrives with less than one per cent of loss; 0 = not even the first. */
export async function udpLadder(contestant: Way, packetBytes: number): Promise<number> {
  let held = -1;
  let failed = LADDER.length as number;
  while (failed - held > 1) {
    const middle = (held + failed) >> 1;
    if (await holds(contestant, packetBytes - UDP_OVERHEAD_BYTES, LADDER[middle]! * 1000)) held = middle;
    else failed = middle;
  }
  return held < 0 ? 0 : LADDER[held]!;
}

/** Round trips in microseconds, ascending. */
export function pings({ network }: TunnelLab, { namespaces, addresses, name }: Contestant, count: number): readonly number[] {
  const result = network.attempt(namespaces[0], ['ping', '-i', '0.01', '-c', String(count), '-W', '1', addresses[1]], 60_000);
  const times = [...result.stdout.matchAll(/time=([0-9.]+) ms/g)].map(([, text]) => Number(text) * 1000);
  if (times.length === 0) throw new OperationalError('bench', `nobody answers ping over ${name}: ${result.stderr}`, 'Read what the contestant wrote above');
  return times.sort((a, b) => a - b);
}
