// The scale bench: what a packet to a random peer costs in JavaScript while there are 1 to 1000 peers with ten routes
// each, and what the tables of the largest number take. One thread, nothing of the kernel, an AEAD that seals nothing.
// Then whole processes (scale-process.ts), with one worker and with one per processor.
import { createBurst, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import { classify } from '../../firmware/dataplane/classify.ts';
import { applyState, resolvePorts } from '../../firmware/dataplane/commands.ts';
import { createCounterPage } from '../../firmware/dataplane/counters.ts';
import { route } from '../../firmware/dataplane/inside.ts';
import { addressPackets, flush } from '../../firmware/dataplane/send.ts';
import { createTables, type Tables } from '../../firmware/dataplane/tables.ts';
import { wrap } from '../../firmware/dataplane/wrap.ts';
import type { ForwardingState } from '../../firmware/model.ts';
import { processorCount } from '../../platform/host.ts';
import { randomBelow, SeededRandom } from '../../platform/random.ts';
import { instant, SystemClock } from '../../platform/time.ts';
import { sa, side, udpPacket, VNI } from '../dataplane/boxes.ts';
import { CatchDatagrams, IdleAead, ReplayLink } from '../dataplane/replayed.ts';
import { median } from './median.ts';
import { measureProcess } from './scale-process.ts';

const PEERS = [1, 10, 100, 1000] as const;
const ROUTES_PER_PEER = 10;
const ROWS = 256;
const WARM_UP = 300;
const BURSTS = 1000;
const LAN = 103;
const ENCRYPTED = 102;
const NANOSECONDS = 1e6;
const MEGABYTE = 1e6;

/** Peer p has 10.a.b.0/28, 10.a.b.16/28 and so on. */
function prefixOf(peer: number, route: number): string {
  return `10.${64 + (peer >> 8)}.${peer & 255}.${route * 16}`;
}

function stateWith(peers: number): ForwardingState {
  const base = side({ end: 1, remote: '192.0.2.2' });
  const numbers = Array.from({ length: peers }, (_, peer) => peer);
  return {
    ...base,
    tunnels: numbers.map((peer) => ({
      id: 1000 + peer, tenant: 1, peer: `peer-${peer}`, kind: 'vxlan-esp', inside: ENCRYPTED, mtu: 1414, idleDummyMs: 0,
      paths: [{ outside: 1, remote: { address: `192.0.${peer >> 8}.${peer & 255}`, port: 4790 } }],
      tx: sa(10_000 + peer, 0x0300_0000 + peer), rx: [sa(20_000 + peer, 0x0400_0000 + peer)],
    })),
    routes: numbers.flatMap((peer) => Array.from({ length: ROUTES_PER_PEER }, (_, k) => ({ inside: LAN, prefix: `${prefixOf(peer, k)}/28`, tunnel: 1000 + peer, label: 1024 }))),
  };
}

function tablesWith(peers: number): Tables {
  const tables = createTables(new IdleAead(), createCounterPage(), createBurst());
  tables.ports.attachOutside(1, { vxlan: [new CatchDatagrams()], natt: [], esp: [] });
  tables.ports.attachLink(LAN, new ReplayLink(new Uint8Array(0), 0));
  applyState(tables, stateWith(peers));
  resolvePorts(tables);
  return tables;
}

/** A burst of packets to hosts of peers at random. */
function fill(burst: Burst, peers: number): readonly number[] {
  const random = new SeededRandom(`scale ${peers}`);
  burst.count = ROWS;
  return Array.from({ length: ROWS }, (_, i) => {
    const network = prefixOf(randomBelow(random, peers), randomBelow(random, ROUTES_PER_PEER));
    const host = network.replace(/\d+$/, (last) => String(Number(last) + 5));
    const packet = udpPacket('10.1.0.5', host, 500);
    burst.bytes.set(packet, slotStart(i));
    return packet.length;
  });
}

function nanoseconds(peers: number): number {
  const clock = new SystemClock();
  const tables = tablesWith(peers);
  const row = tables.insides.rowOf(LAN);
  const burst = createBurst();
  const lengths = fill(burst, peers);
  const times: number[] = [];
  for (let round = 0; round < WARM_UP + BURSTS; round++) {
    for (let i = 0; i < ROWS; i++) {
      burst.offset[i] = slotStart(i);
      burst.length[i] = lengths[i]!;
    }
    const before = clock.now();
    classify(burst, tables.insides, row);
    route(burst, row, tables, instant(round));
    wrap(burst, VNI, tables);
    for (let i = 0; i < ROWS; i++) if (burst.next[i] === Next.seal) burst.next[i] = Next.send;
    addressPackets(burst, tables, instant(round));
    flush(burst, tables.ports);
    if (round >= WARM_UP) times.push(((clock.now() - before) * NANOSECONDS) / ROWS);
    if (!burst.next.subarray(0, ROWS).every((next) => next === Next.done)) throw new Error('the scale bench lost packets');
  }
  return Number(median(times).toPrecision(3));
}

/** Prints and returns nanoseconds per packet by number of peers, and the memory of the largest. */
export async function benchScale(): Promise<Record<string, unknown>> {
  const found = Object.fromEntries(PEERS.map((peers) => {
    const ns = nanoseconds(peers);
    process.stdout.write(`${peers} peers, ${peers * ROUTES_PER_PEER} routes: ${ns} ns per packet\n`);
    return [peers, ns];
  }));
  const before = process.memoryUsage().rss;
  const kept = tablesWith(PEERS.at(-1)!);
  const tablesMegabytes = Number(((process.memoryUsage().rss - before) / MEGABYTE).toPrecision(3));
  const processes = [];
  for (const workers of new Set([1, processorCount()])) processes.push(await measureProcess(PEERS.at(-1)!, workers));
  return { nanosecondsPerPacket: found, ratioOfMostToOne: Number((found[PEERS.at(-1)!]! / found[1]!).toPrecision(3)), tunnels: kept.tunnels.rows, tablesMegabytes, processes };
}
