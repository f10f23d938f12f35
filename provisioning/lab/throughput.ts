// TCP throughput between two LAN hosts by iperf3, one direction after the other.
import type { IpAddress } from '../../firmware/model.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Clock } from '../../platform/time.ts';
import { HostProcess } from './host-process.ts';
import type { Outcome } from './host-process.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { waitFor } from './wait-for.ts';

const PORT = 5201;
const DURATION_SECONDS = 3;
const START_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A stalled transfer never ends by itself. */
const RUN_TIMEOUT_MS = 30_000;
/** Less than this is no overlay that anyone would use. */
const LEAST_GBPS = 0.01;

export interface Throughput {
  readonly from: string;
  readonly to: string;
  readonly gbps: number;
  readonly retransmits: number;
  /** Why there is no number; empty when there is one. */
  readonly cause: string;
}

interface Iperf3Report {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bits_per_second: number }; readonly sum_sent?: { readonly retransmits?: number } };
}

/** What iperf3's JSON says. Throws OperationalError with iperf3's own error. */
export function readIperf3({ code, stdout, stderr }: Outcome): { gbps: number; retransmits: number } {
  let report: Iperf3Report = {};
  try {
    report = JSON.parse(stdout) as Iperf3Report;
  } catch {
    // An iperf3 that was killed or never connected leaves no document; stderr and the code tell what happened.
  }
  const received = report.end?.sum_received?.bits_per_second;
  if (code !== 0 || received === undefined) {
    const said = report.error ?? (stderr.trim() || 'no report');
    throw new OperationalError('iperf3', `iperf3 ended with code ${code ?? 'none'}: ${said}`, 'Check that the hosts reach each other by TCP');
  }
  return { gbps: received / 1e9, retransmits: report.end?.sum_sent?.retransmits ?? 0 };
}

/** Never rejects: a transfer that fails has the cause in its result. */
export async function measureThroughput(clock: Clock, from: string, to: string, address: IpAddress): Promise<Throughput> {
  const server = new HostProcess(to, ['iperf3', '--server', '--one-off', '--forceflush', '--port', String(PORT), '--bind', address]);
  try {
    const listening = await waitFor({ clock, timeoutMs: START_TIMEOUT_MS, pauseMs: 20 }, async () =>
      server.stdout.includes('Server listening') ? { ok: true, value: undefined } : { ok: false, cause: `iperf3 does not listen: ${server.stderr.trim()}`, final: !server.isRunning },
    );
    if (!listening.ok) throw new OperationalError('iperf3', listening.cause, 'Run "npm run setup" as root');
    const options = ['--client', address, '--port', String(PORT), '--time', String(DURATION_SECONDS), '--connect-timeout', String(CONNECT_TIMEOUT_MS), '--json'];
    const client = new HostProcess(from, ['iperf3', ...options]);
    return { from, to, ...readIperf3(await client.ended(clock, RUN_TIMEOUT_MS)), cause: '' };
  } catch (error) {
    return { from, to, gbps: 0, retransmits: 0, cause: (error as Error).message };
  } finally {
    server.signal('SIGKILL');
    await server.ended(clock, RUN_TIMEOUT_MS);
  }
}

export function judgeThroughput(measured: readonly Throughput[]): Verdict {
  return verdictOf(
    measured.flatMap(({ from, to, gbps, cause }) => {
      if (cause !== '') return [`${from} to ${to}: ${cause}`];
      return gbps >= LEAST_GBPS ? [] : [`${from} to ${to}: ${gbps.toFixed(4)} Gbit/s, at least ${LEAST_GBPS} expected`];
    }),
  );
}
