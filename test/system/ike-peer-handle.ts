// The test's side of ike-peer.ts: starts it, waits for its events, keeps its log.
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sleep } from '../../platform/time.ts';
import type { PeerCommand, PeerConfiguration, PeerEvent } from './ike-peer.ts';
import type { TestNetwork } from './namespaces.ts';

const SCRIPT = fileURLToPath(new URL('ike-peer.ts', import.meta.url));
/** Compiled modules are kept between the many processes of a test run: a start takes a quarter of the time. */
export const COMPILE_CACHE = { NODE_COMPILE_CACHE: fileURLToPath(new URL('../../.selvage/compile-cache', import.meta.url)) };
const POLL_MS = 10;
/** Generous: whoever waits does so for something that must come, however slow the machine and the path. */
const EVENT_TIMEOUT_MS = 40_000;
const STOP_TIMEOUT_MS = 5_000;

export type EventOf<Kind extends PeerEvent['kind']> = Extract<PeerEvent, { readonly kind: Kind }>;

export class IkePeer {
  readonly #process: ChildProcess;
  readonly #story: string[] = [];
  #waiting: PeerEvent[] = [];

  constructor(network: TestNetwork, configuration: PeerConfiguration) {
    this.#process = network.spawn(configuration.wanVr, [process.execPath, '--disable-warning=ExperimentalWarning', SCRIPT], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...COMPILE_CACHE },
    });
    this.#process.stdin!.on('error', () => undefined); // it ended; whoever waits for an event says so
    createInterface(this.#process.stdout!).on('line', (line) => {
      const event = JSON.parse(line) as PeerEvent;
      this.#waiting.push(event);
      // What was asked for is no part of the story.
      if (event.kind !== 'snapshot' && event.kind !== 'counters') this.#story.push(line);
    });
    createInterface(this.#process.stderr!).on('line', (line) => this.#story.push(line));
    this.#process.stdin!.write(`${JSON.stringify(configuration)}\n`);
  }

  isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Events and log lines, oldest first. */
  story(): readonly string[] {
    return this.#story;
  }

  command(command: PeerCommand): void {
    this.#process.stdin!.write(`${command}\n`);
  }

  /** The oldest event of this kind (and nature) that nobody has waited for yet; throws when it does not come. */
  async event<Kind extends PeerEvent['kind']>(kind: Kind, timeoutMs = EVENT_TIMEOUT_MS, where: (event: EventOf<Kind>) => boolean = () => true): Promise<EventOf<Kind>> {
    for (let waitedMs = 0; waitedMs <= timeoutMs; waitedMs += POLL_MS) {
      const found = this.#waiting.find((event): event is EventOf<Kind> => event.kind === kind && where(event as EventOf<Kind>));
      if (found !== undefined) {
        this.#waiting = this.#waiting.filter((event) => event !== found);
        return found;
      }
      if (!this.isRunning()) throw new Error(`our end stopped while ${kind} was awaited`);
      await sleep(POLL_MS);
    }
    throw new Error(`our end reports no ${kind} within ${timeoutMs} ms`);
  }

  /** Waits for a line of the log. */
  async logged(pattern: RegExp, timeoutMs = EVENT_TIMEOUT_MS): Promise<void> {
    for (let waitedMs = 0; waitedMs <= timeoutMs; waitedMs += POLL_MS) {
      if (this.#story.some((line) => pattern.test(line))) return;
      await sleep(POLL_MS);
    }
    throw new Error(`our end's log shows no ${pattern}`);
  }

  /** Nobody waits for what has been reported so far. */
  forgetEvents(): void {
    this.#waiting = [];
  }

  /** Events of a kind that nobody has waited for. */
  unseen(kind: PeerEvent['kind']): readonly PeerEvent[] {
    return this.#waiting.filter((event) => event.kind === kind);
  }

  async counters(): Promise<EventOf<'counters'>['counters']> {
    this.command('counters');
    return (await this.event('counters')).counters;
  }

  /** How many connections are established (an IKE SA and what it is rekeyed to are one), and how many children there are. */
  async security(): Promise<{ connections: number; children: number }> {
    this.command('snapshot');
    const { ikeSas } = await this.event('snapshot');
    const established = ikeSas.filter((sa) => sa.state === 'established');
    return { connections: new Set(established.map((sa) => sa.ikeSa)).size, children: ikeSas.flatMap((sa) => sa.children).length };
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    while (this.isRunning()) await sleep(POLL_MS);
  }

  /** Ends it in order, then by force. */
  async stop(): Promise<void> {
    this.#process.stdin!.end();
    for (let waitedMs = 0; this.isRunning() && waitedMs < STOP_TIMEOUT_MS; waitedMs += POLL_MS) await sleep(POLL_MS);
    await this.kill();
  }
}
