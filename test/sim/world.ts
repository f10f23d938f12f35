// A whole network in one process under virtual time. Everything that happens is a function of the seed.
import { SeededRandom } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import { VirtualClock } from './clock.ts';
import { Flow } from './flow.ts';
import type { LanHostOptions } from './lan-host.ts';
import { LanHost } from './lan-host.ts';
import type { NatOptions } from './nat.ts';
import { NatBox } from './nat.ts';
import { Internet, Segment } from './netem.ts';
import type { WireContext } from './netem.ts';
import type { NodeOptions } from './node.ts';
import { SimNode } from './node.ts';

/** Events of one moment; more means that two parts wake each other without end. */
const MOST_EVENTS_AT_ONCE = 1_000_000;
const SHOWN_LOG_LINES = 30;

export class World {
  readonly seed: number | string;
  readonly clock = new VirtualClock();
  readonly flow = new Flow();
  readonly random: SeededRandom;
  /** The transport domain that everybody has. */
  readonly internet: Internet;
  readonly #context: WireContext;
  readonly #nodes = new Map<string, SimNode>();

  constructor(seed: number | string) {
    this.seed = seed;
    this.random = new SeededRandom(seed);
    this.#context = { clock: this.clock, random: this.random, flow: this.flow };
    this.internet = new Internet('INTERNET', this.#context);
  }

  addNode(name: string, options?: NodeOptions): SimNode {
    const node = new SimNode(name, this.#context, options);
    this.#nodes.set(name, node);
    return node;
  }

  node(name: string): SimNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`the world has no node ${name}`);
    return node;
  }

  /** Another transport domain, not connected to the first. */
  addInternet(name: string): Internet {
    return new Internet(name, this.#context);
  }

  addSegment(name: string): Segment {
    return new Segment(name, this.#context);
  }

  /** A NAT on the internet; plug nodes into it as into any wire. */
  addNat(name: string, publicAddress: string, options?: NatOptions): NatBox {
    return new NatBox(name, this.#context, this.internet, publicAddress, options);
  }

  addLanHost(name: string, segment: Segment, options: LanHostOptions): LanHost {
    return new LanHost(name, this.#context, segment, options);
  }

  get now(): Instant {
    return this.clock.now();
  }

  /** Runs everything that is due until this instant. Rejects with seed and ladder when something throws. */
  async run(untilMs: number): Promise<void> {
    await this.#runWhile(untilMs, () => true);
    this.clock.advanceTo(untilMs);
  }

  /** Runs for this long. */
  async runFor(durationMs: number): Promise<void> {
    await this.run(after(this.now, durationMs));
  }

  /** Runs until `predicate` holds after some moment; rejects with seed, log and ladder when it does not within the limit. */
  async settle(predicate: () => boolean, limitMs: number, what = 'the expected state'): Promise<void> {
    if (!(await this.#until(predicate, limitMs))) throw this.#failure(`${what} was not reached within ${limitMs} ms of virtual time`);
  }

  /** Who answers at this address, asked once per 500 ms; undefined when nobody does within the limit. */
  async whoAnswers(host: LanHost, destination: string, limitMs = 2_000): Promise<string | undefined> {
    const end = this.now + limitMs;
    while (this.now < end) {
      host.ask(destination);
      if (await this.#until(() => host.answerOf(destination) !== undefined, Math.min(500, end - this.now))) break;
    }
    return host.answerOf(destination);
  }

  /** The same for two runs of one seed. */
  traceHash(): string {
    return this.flow.traceHash();
  }

  async #until(predicate: () => boolean, limitMs: number): Promise<boolean> {
    const end = after(this.now, limitMs);
    await this.#runWhile(end, () => !predicate());
    if (predicate()) return true;
    this.clock.advanceTo(end);
    return false;
  }

  async #runWhile(untilMs: number, goOn: () => boolean): Promise<void> {
    await settlePromises();
    while (goOn()) {
      const moment = this.clock.next();
      if (moment === undefined || moment > untilMs) return;
      this.#runMoment(moment);
      // What promises schedule for this very moment runs in the next round, before time moves.
      await settlePromises();
    }
  }

  #runMoment(moment: Instant): void {
    for (let events = 0; this.clock.next() === moment; events++) {
      if (events === MOST_EVENTS_AT_ONCE) throw this.#failure(`${MOST_EVENTS_AT_ONCE} events happened at one moment`);
      try {
        this.clock.step();
      } catch (error) {
        throw this.#failure(`an event threw: ${(error as Error).message}`, error);
      }
    }
  }

  #failure(what: string, cause?: unknown): Error {
    const lines = [...this.#nodes.values()].flatMap((node) => node.log.records.map((record) => ({ node: node.name, ...record })));
    const shown = lines.sort((a, b) => a.unixMs - b.unixMs).slice(-SHOWN_LOG_LINES).map(({ node, channel, sentence, fields }) => `  ${node} ${channel}: ${sentence} ${JSON.stringify(fields)}`);
    const text = [`seed ${this.seed}, at ${this.now} ms: ${what}`, 'last log records:', ...shown, this.flow.ladder()].join('\n');
    return new Error(text, cause === undefined ? undefined : { cause });
  }
}

export function createWorld(seed: number | string): World {
  return new World(seed);
}

/** Lets every promise that can go on do so. Services that only wait for each other and for the clock stay deterministic. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
