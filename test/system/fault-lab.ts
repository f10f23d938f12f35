// A lab for faults: Director, a Controller and two branches as real processes inside an enclosure, with hands for a
// test to break them and eyes for what operators see of it.
import { strict as assert } from 'node:assert';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import type { DropView } from '../../firmware/views.ts';
import { SystemClock } from '../../platform/time.ts';
import type { TaskView } from '../../provisioning/director/tasks.ts';
import { HostProcess, jsonOf } from '../../provisioning/lab/host-process.ts';
import { LabNetwork } from '../../provisioning/lab/network.ts';
import { Onboarding, serialOf } from '../../provisioning/lab/onboarding.ts';
import { operatorShell } from '../../provisioning/lab/operator-shell.ts';
import type { OperatorShell } from '../../provisioning/lab/operator-shell.ts';
import type { StreamCounts } from '../../provisioning/lab/ping-stream.ts';
import { labTopology } from '../../provisioning/lab/topology.ts';
import { waitFor } from '../../provisioning/lab/wait-for.ts';

export const CONTROLLER = 'controller-1';
export const DIRECTOR = 'director';

const PING_STREAM = join(import.meta.dirname, '../../provisioning/lab/ping-stream.ts');
const STREAM_PORT = 7100;
const PATIENCE_MS = 30_000;
const PAUSE_MS = 100;

/** One sentence about the product, and the proof of it in the lab. */
export interface Fact {
  readonly name: string;
  prove(lab: FaultLab): Promise<void>;
}

/** A stream of numbered datagrams between two LAN hosts, counted at the sender. */
export interface Stream {
  /** Datagrams that have come back so far, as last reported. */
  received(): number;
  /** Ends the stream and returns its final counts. */
  end(): Promise<StreamCounts>;
}

export class FaultLab {
  readonly network: LabNetwork;
  readonly onboarding: Onboarding;
  readonly shell: OperatorShell;
  readonly clock = new SystemClock();
  #nextStreamPort = STREAM_PORT;

  private constructor(network: LabNetwork, runDirectory: string) {
    this.network = network;
    this.shell = operatorShell(network);
    this.onboarding = new Onboarding({ network, runDirectory, exportKeys: false, print: () => {} });
  }

  /** The wires and hosts; no firmware runs yet. */
  static async create(runDirectory: string): Promise<FaultLab> {
    const network = await LabNetwork.create(labTopology(), { natPolicy: 'drop', runDirectory });
    network.startHosts();
    return new FaultLab(network, runDirectory);
  }

  /** Asks until `look` finds what it looks for (undefined = not yet); fails with what was awaited and the last error. */
  async until<T>(what: string, look: () => T | undefined | Promise<T | undefined>, timeoutMs = PATIENCE_MS): Promise<T> {
    const state = await waitFor<T>({ clock: this.clock, timeoutMs, pauseMs: PAUSE_MS }, async () => {
      const value = await look();
      return value === undefined || value === false ? { ok: false, cause: 'not yet' } : { ok: true, value };
    });
    assert.ok(state.ok, `${what}: ${state.ok ? '' : state.cause}`);
    return state.value;
  }

  // ------------------------------------------------------------------------------------------- Director's view

  async task(branch: string): Promise<TaskView | undefined> {
    return (await this.onboarding.director.tasks()).find((task) => task.serial === serialOf(branch));
  }

  /** Waits until the branch's Task is FAILED with a cause that fits; the cause has a next step. */
  async taskFails(branch: string, cause: RegExp): Promise<TaskView> {
    let last: TaskView | undefined;
    try {
      return await this.until(`the Task of ${branch} fails with ${cause.source}`, async () => {
        last = await this.task(branch);
        const error = last?.errorMessages.at(-1);
        if (last?.status !== 'FAILED' || error === undefined || !cause.test(error.message)) return undefined;
        assert.notEqual(error.nextStep, '');
        return last;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; the Task is ${JSON.stringify(last)}`, { cause: error });
    }
  }

  // ------------------------------------------------------------------------------------------- a node's files

  /** What the node has written to a log channel. */
  log(node: string, channel: string): string {
    const file = join(this.network.node(node).directory, 'log', `versa-${channel}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Lines of a log that fit, oldest first, after the first `since` octets of it. */
  lines(node: string, channel: string, pattern: RegExp, since = 0): string[] {
    return this.log(node, channel)
      .slice(since)
      .split('\n')
      .filter((line) => pattern.test(line));
  }

  async logSays(node: string, channel: string, pattern: RegExp, since = 0): Promise<string> {
    return this.until(`versa-${channel}.log of ${node} says ${pattern.source}`, () => this.lines(node, channel, pattern, since)[0]);
  }

  /** Replaces the branch's prestaging record, as a technician with another stick would. */
  writeRecord(branch: string, record: PrestagingRecord): void {
    writeFileSync(join(this.network.node(branch).directory, 'lib', 'prestaging.json'), JSON.stringify(record), { mode: 0o600 });
  }

  record(branch: string): PrestagingRecord {
    return JSON.parse(readFileSync(join(this.network.node(branch).directory, 'lib', 'prestaging.json'), 'utf8')) as PrestagingRecord;
  }

  /** The process id of the node's firmware, as its own shell tells it. */
  async processId(node: string): Promise<number> {
    return (await this.shell.ask<{ processId: number }>(node, 'show system status')).processId;
  }

  async drops(node: string): Promise<ReadonlyMap<string, number>> {
    const rows = await this.shell.ask<readonly DropView[]>(node, 'show counters drops');
    return new Map(rows.map(({ reason, packets }) => [reason, packets]));
  }

  /** Waits until every reason has grown by at least this much since `before`. */
  async dropsGrow(node: string, before: ReadonlyMap<string, number>, by: Readonly<Record<string, number>>): Promise<void> {
    let now: ReadonlyMap<string, number> = before;
    const missing = (): string[] =>
      Object.entries(by).flatMap(([reason, least]) => {
        const grown = (now.get(reason) ?? 0) - (before.get(reason) ?? 0);
        return grown >= least ? [] : [`${reason} grew by ${grown} of ${least}`];
      });
    await this.until('drops are counted', async () => {
      now = await this.drops(node);
      return missing().length === 0 ? true : undefined;
    }, 5_000).catch(() => assert.fail(`${node}: ${missing().join(', ')}; counted are ${JSON.stringify([...now])}`));
  }

  // ------------------------------------------------------------------------------------------- traffic

  /** Waits until a LAN host is answered by the one it should reach, and by nobody else. */
  async reaches(fromHost: string, address: string, name: string, timeoutMs = PATIENCE_MS): Promise<void> {
    await this.until(`${fromHost} reaches ${name} at ${address}`, async () => ((await this.network.ask(fromHost, address, 'udp', 1_000)) === name ? true : undefined), timeoutMs);
  }

  /** Both tenants, both directions, both families. */
  async allReach(timeoutMs = PATIENCE_MS): Promise<void> {
    for (const tenant of [2, 3]) {
      await this.reaches(`tenant${tenant}-branch1`, '10.2.0.10', `tenant${tenant}-branch2`, timeoutMs);
      await this.reaches(`tenant${tenant}-branch2`, 'fd00:1::10', `tenant${tenant}-branch1`, timeoutMs);
    }
  }

  /** Starts a stream and waits until it flows. */
  async stream(fromHost: string, toHost: string, address: string, perSecond: number): Promise<Stream> {
    const port = this.#nextStreamPort++;
    const tool = [process.execPath, '--disable-warning=ExperimentalWarning', PING_STREAM];
    const echo = new HostProcess(toHost, [...tool, 'echo', String(port)]);
    await this.until(`the echo in ${toHost}`, () => (echo.stdout === '' ? undefined : true));
    const ping = new HostProcess(fromHost, [...tool, 'ping', address, String(port), String(perSecond)]);
    const received = (): number => {
      const last = ping.stdout.trimEnd().split('\n').at(-1) ?? '';
      return last === '' ? 0 : (JSON.parse(last) as StreamCounts).received;
    };
    await this.until(`the stream from ${fromHost} flows`, () => (received() > 0 ? true : undefined));
    return {
      received,
      end: async () => {
        ping.endInput();
        const counts = jsonOf(ping, await ping.ended(this.clock, PATIENCE_MS)) as StreamCounts;
        echo.endInput();
        await echo.ended(this.clock, PATIENCE_MS);
        return counts;
      },
    };
  }
}
