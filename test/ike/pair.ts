// Endpoints on a network in memory under virtual time, with a ladder of what was sent for failing tests.
import { decodeHeader } from '../../firmware/wire/ike/message.ts';
import { exchangeName } from '../../firmware/wire/ike/numbers.ts';
import type { IkeEndpointOptions, IkeInput, IkeOutput } from '../../firmware/ike/endpoint.ts';
import { CLASSIC_IKE_PROPOSAL, DEFAULT_CHILD_PROPOSAL } from '../../firmware/ike/algorithms.ts';
import { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import type { Endpoint } from '../../firmware/model.ts';
import { formatEndpoint } from '../../firmware/model.ts';
import type { TlsOutput } from '../../firmware/services/tls-sessions.ts';
import { TlsSessions } from '../../firmware/services/tls-sessions.ts';
import { utf8 } from '../../platform/bytes.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { Suite } from '../../platform/crypto.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { instant } from '../../platform/time.ts';

/** 2026-11-23. */
export const UNIX_MS = 1_795_392_000_000;
export const LATENCY_MS = 10;
const TLS_MS = 2;

type Send = Extract<IkeOutput, { kind: 'send' }>;
export type OutputOf<Kind extends IkeOutput['kind']> = Extract<IkeOutput, { kind: Kind }>;

export interface Packet {
  readonly from: Node;
  readonly send: Send;
  /** Counts from 0 over the whole run. */
  readonly index: number;
}

export class Node {
  readonly name: string;
  readonly address: string;
  readonly endpoint: IkeEndpoint;
  readonly outputs: IkeOutput[] = [];

  constructor(name: string, address: string, endpoint: IkeEndpoint) {
    this.name = name;
    this.address = address;
    this.endpoint = endpoint;
  }

  of<Kind extends IkeOutput['kind']>(kind: Kind): OutputOf<Kind>[] {
    return this.outputs.filter((output) => output.kind === kind) as OutputOf<Kind>[];
  }

  logged(sentence: string): Readonly<Record<string, unknown>>[] {
    return this.of('log').flatMap(({ event }) => (event.sentence === sentence ? [event.fields] : []));
  }
}

interface Flight {
  readonly at: number;
  readonly order: number;
  readonly input: Extract<IkeInput, { kind: 'datagram' | 'tls' }>;
  readonly to: Node;
}

export class World {
  now = 0;
  readonly suite: Suite;
  readonly random: SeededRandom;
  readonly nodes: Node[] = [];
  readonly ladder: string[] = [];
  readonly packets: Packet[] = [];
  /** What becomes of a packet: the delays of its copies in ms; none: it is lost. */
  fate: (packet: Packet) => number[] = () => [LATENCY_MS];
  /** How the receiver sees the sender (a NAT). */
  translate: (from: Node, source: Endpoint, destination: Endpoint) => Endpoint = (_from, source) => source;
  /** Whether a destination that is not a node's own address leads to one (the NAT's other direction). */
  route: (destination: Endpoint) => { node: Node; local: Endpoint } | undefined;
  readonly #flights: Flight[] = [];
  readonly #sessions = new Map<Node, TlsSessions>();
  #order = 0;

  constructor(seed: number | string = 1, suite: Suite = new RealSuite()) {
    this.random = new SeededRandom(seed);
    this.suite = suite;
    this.route = (destination) => {
      const node = this.nodes.find((entry) => entry.address === destination.address);
      return node === undefined ? undefined : { node, local: destination };
    };
  }

  add(name: string, address: string, options: Partial<IkeEndpointOptions> & Pick<IkeEndpointOptions, 'profiles'>): Node {
    let saId = 0;
    const endpoint = new IkeEndpoint({
      suite: this.suite,
      random: this.random.fork(name),
      unixMs: () => UNIX_MS + this.now,
      responderProfile: () => options.profiles[0],
      nextSaId: () => ++saId,
      ...options,
    });
    const node = new Node(name, address, endpoint);
    this.nodes.push(node);
    return node;
  }

  input(node: Node, input: IkeInput | { kind: 'timeout' }): void {
    node.endpoint.handle(input, this.now as Instant);
    for (let output = node.endpoint.poll(); output !== undefined; output = node.endpoint.poll()) {
      node.outputs.push(output);
      if (output.kind === 'send') this.#sent(node, output);
      if (output.kind === 'tls-open' || output.kind === 'tls-feed' || output.kind === 'tls-close') this.#tls(node, output);
    }
  }

  /** Its answers take a little time. */
  #tls(node: Node, output: TlsOutput): void {
    let sessions = this.#sessions.get(node);
    if (sessions === undefined) {
      sessions = new TlsSessions(this.suite, (input) => {
        if (input.kind === 'tls') this.#flights.push({ at: this.now + TLS_MS, order: this.#order++, input, to: node });
      });
      this.#sessions.set(node, sessions);
    }
    sessions.handle(output);
  }

  initiate(from: Node, to: Node | string, profile: string, port = 500): void {
    const remote = { address: typeof to === 'string' ? to : to.address, port };
    this.input(from, { kind: 'initiate', profile, socket: 'wan', nattSocket: 'natt', local: { address: from.address, port: 500 }, remote });
  }

  #sent(from: Node, send: Send): void {
    const packet = { from, send, index: this.packets.length };
    this.packets.push(packet);
    const delays = this.fate(packet);
    this.ladder.push(`${this.now} ${from.name} ${formatEndpoint(send.local)} -> ${formatEndpoint(send.remote)} ${describe(send.bytes)}${delays.length === 0 ? ' LOST' : ''}`);
    const source = this.translate(from, send.local, send.remote);
    const target = this.route(send.remote);
    if (target === undefined) return;
    const natt = target.local.port === 4500;
    for (const delay of delays) {
      const input = { kind: 'datagram', socket: natt ? 'natt' : 'wan', natt, local: target.local, remote: source, bytes: send.bytes.slice() } as const;
      this.#flights.push({ at: this.now + delay, order: this.#order++, input, to: target.node });
    }
  }

  /** Runs until `ms` have passed. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      this.#flights.sort((a, b) => a.at - b.at || a.order - b.order);
      const flight = this.#flights[0];
      const deadlines = this.nodes.map((node) => node.endpoint.deadline() ?? Number.POSITIVE_INFINITY);
      const next = Math.min(flight?.at ?? Number.POSITIVE_INFINITY, ...deadlines);
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if (flight !== undefined && flight.at <= this.now) {
        this.#flights.shift();
        this.input(flight.to, flight.input);
      } else {
        const late = this.nodes.filter((node) => (node.endpoint.deadline() ?? Number.POSITIVE_INFINITY) <= this.now);
        for (const node of late) this.input(node, { kind: 'timeout' });
      }
    }
    this.now = end;
  }

  get instant(): Instant {
    return instant(this.now);
  }

  /** For the message of a failing assertion. */
  story(): string {
    return this.ladder.join('\n');
  }
}

function describe(bytes: Uint8Array): string {
  const { header } = decodeHeader(bytes);
  return `${exchangeName(header.exchange)} ${header.response ? 'response' : 'request'} ${header.messageId} (${bytes.length})`;
}

export const KEY = utf8('a key of at least 128 bits: 7f8a');

export function pskProfile(name: string, local: string, remote: string | undefined, extra: Partial<IkeProfile> = {}): IkeProfile {
  return {
    name,
    tenant: 2,
    localIdentity: { kind: 'email', value: local },
    remoteIdentity: remote === undefined ? undefined : { kind: 'email', value: remote },
    localAuth: { kind: 'psk', key: KEY },
    remoteAuth: { kind: 'psk', key: KEY },
    ...extra,
  };
}

/** A branch and a Controller that share a key. */
export function pair(options: { branch?: Partial<IkeProfile>; controller?: Partial<IkeProfile>; controllerOptions?: Partial<IkeEndpointOptions>; both?: Partial<IkeEndpointOptions>; seed?: number; suite?: Suite } = {}): { world: World; branch: Node; controller: Node } {
  const world = new World(options.seed ?? 1, options.suite ?? new RealSuite());
  const branch = world.add('branch', '192.0.2.1', { profiles: [pskProfile('to-controller', 'b1@acme.example', 'c1@acme.example', options.branch)], ...options.both });
  const controller = world.add('controller', '192.0.2.2', { profiles: [pskProfile('branches', 'c1@acme.example', undefined, options.controller)], ...options.both, ...options.controllerOptions });
  return { world, branch, controller };
}

/** Without additional key exchanges: fewer messages, whose ids are those of RFC 7296 alone. */
export const CLASSIC = { proposals: [CLASSIC_IKE_PROPOSAL], childProposals: [DEFAULT_CHILD_PROPOSAL] } as const;

/** The same two, both CLASSIC. */
export function classicPair(options: Parameters<typeof pair>[0] = {}): ReturnType<typeof pair> {
  return pair({ ...options, branch: { ...CLASSIC, ...options.branch }, controller: { ...CLASSIC, ...options.controller } });
}
