// Ping streams under which a check does its work: running echo and sender of each direction, and their counts after.
import { fileURLToPath } from 'node:url';
import type { IpAddress } from '../../firmware/model.ts';
import type { Clock } from '../../platform/time.ts';
import { OperationalError } from '../../platform/errors.ts';
import { HostProcess, jsonOf } from './host-process.ts';
import type { StreamCounts } from './ping-stream.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { waitFor } from './wait-for.ts';

const PING_STREAM = fileURLToPath(new URL('ping-stream.ts', import.meta.url));
const ECHO_PORT = 7008;
/** A little above the rate that is promised, as a sleeping sender is always late. */
const PER_SECOND = 125;
export const LEAST_PER_SECOND = 100;
const START_TIMEOUT_MS = 20_000;
const END_TIMEOUT_MS = 20_000;
const POLL_MS = 50;
/** Echoes that must have come before the check begins. */
const FLOWING = 50;

export interface StreamPlan {
  readonly from: string;
  readonly to: string;
  readonly address: IpAddress;
}

export interface StreamResult extends StreamPlan {
  readonly sender: StreamCounts;
  readonly echo: StreamCounts;
}

interface RunningStream {
  readonly plan: StreamPlan;
  readonly echo: HostProcess;
  readonly sender: HostProcess;
}

function startProcess(place: string, args: readonly string[]): HostProcess {
  return new HostProcess(place, [process.execPath, '--disable-warning=ExperimentalWarning', PING_STREAM, ...args]);
}

/** The newest complete line of counts, or undefined before the first. */
function latest(process: HostProcess): StreamCounts | undefined {
  const line = process.stdout.split('\n').at(-2);
  return line === undefined ? undefined : (JSON.parse(line) as StreamCounts);
}

export class Load {
  readonly #clock: Clock;
  readonly #streams: readonly RunningStream[];

  private constructor(clock: Clock, streams: readonly RunningStream[]) {
    this.#clock = clock;
    this.#streams = streams;
  }

  /** Resolves when every stream flows. Throws OperationalError, with nothing left running, when one does not. */
  static async start(clock: Clock, plans: readonly StreamPlan[]): Promise<Load> {
    const running: HostProcess[] = [];
    const start = async (place: string, args: readonly string[], isReady: (counts: StreamCounts) => boolean): Promise<HostProcess> => {
      const child = startProcess(place, args);
      running.push(child);
      const ready = await waitFor({ clock, timeoutMs: START_TIMEOUT_MS, pauseMs: POLL_MS }, async () => {
        const counts = latest(child);
        if (counts !== undefined && isReady(counts)) return { ok: true, value: undefined };
        return { ok: false, cause: `${args.join(' ')} in ${place} has received ${counts?.received ?? 'nothing'} of ${counts?.sent ?? 0}: ${child.stderr.trim()}`, final: !child.isRunning };
      });
      if (!ready.ok) throw new OperationalError('load', ready.cause, 'Check reachability between the two hosts');
      return child;
    };
    try {
      const streams: RunningStream[] = [];
      for (const plan of plans) {
        const echo = await start(plan.to, ['echo', String(ECHO_PORT)], () => true);
        const sender = await start(plan.from, ['ping', plan.address, String(ECHO_PORT), String(PER_SECOND)], ({ received }) => received >= FLOWING);
        streams.push({ plan, echo, sender });
      }
      return new Load(clock, streams);
    } catch (error) {
      for (const child of running) child.signal('SIGKILL');
      throw error;
    }
  }

  /** Stops the senders, then the echoes, and collects what both ends counted. Throws OperationalError when one has died. */
  async stop(): Promise<StreamResult[]> {
    const senders = await this.#end(this.#streams.map(({ sender }) => sender));
    const echoes = await this.#end(this.#streams.map(({ echo }) => echo));
    return this.#streams.map(({ plan }, index) => ({ ...plan, sender: senders[index]!, echo: echoes[index]! }));
  }

  async #end(processes: readonly HostProcess[]): Promise<StreamCounts[]> {
    for (const process of processes) process.endInput();
    try {
      return await Promise.all(processes.map(async (process) => jsonOf(process, await process.ended(this.#clock, END_TIMEOUT_MS)) as StreamCounts));
    } catch (error) {
      for (const { echo, sender } of this.#streams) for (const process of [echo, sender]) process.signal('SIGKILL');
      throw error;
    }
  }
}

/** Datagrams and echoes that did not arrive, over all streams. */
export function lostPackets(results: readonly StreamResult[]): number {
  return results.reduce((sum, { sender, echo }) => sum + Math.max(0, sender.sent - echo.received) + Math.max(0, echo.sent - sender.received), 0);
}

/** Sent = received on both ends, nothing twice, nothing of another stream, at the promised rate. */
export function judgeLoad(results: readonly StreamResult[]): Verdict {
  return verdictOf(
    results.flatMap(({ from, to, sender, echo }) => {
      const causes: string[] = [];
      const way = `${from} to ${to}`;
      if (sender.sent !== echo.received) causes.push(`${way}: ${sender.sent} sent, ${echo.received} received`);
      if (echo.sent !== sender.received) causes.push(`${to} back to ${from}: ${echo.sent} sent, ${sender.received} received`);
      if (sender.duplicates + echo.duplicates > 0) causes.push(`${way}: ${echo.duplicates} datagrams and ${sender.duplicates} echoes came twice`);
      if (sender.foreign + echo.foreign > 0) causes.push(`${way}: ${sender.foreign + echo.foreign} datagrams were not of the stream`);
      const rate = sender.seconds > 0 ? sender.sent / sender.seconds : 0;
      if (rate < LEAST_PER_SECOND) causes.push(`${way}: ${rate.toFixed(1)} datagrams per second, at least ${LEAST_PER_SECOND} expected`);
      return causes;
    }),
  );
}
