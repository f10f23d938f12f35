// The stages bench: nanoseconds per packet of every JavaScript stage, of sealing and opening, and of the cipher alone.
// One thread, nothing of the kernel. A stage is timed over whole bursts; the median of many bursts counts.
import type { AeadEngine } from '../../drivers/aead.ts';
import { createBurst, FIRST_PORT, Next } from '../../drivers/burst.ts';
import { nativeAead } from '../../drivers/threads.ts';
import { admitVxlan } from '../../firmware/dataplane/admit.ts';
import { classify } from '../../firmware/dataplane/classify.ts';
import { applyState, resolvePorts } from '../../firmware/dataplane/commands.ts';
import { createCounterPage } from '../../firmware/dataplane/counters.ts';
import { route } from '../../firmware/dataplane/inside.ts';
import { unwrap } from '../../firmware/dataplane/outside.ts';
import { addressPackets, countDrops, flush } from '../../firmware/dataplane/send.ts';
import { createTables, type Tables } from '../../firmware/dataplane/tables.ts';
import { wrap } from '../../firmware/dataplane/wrap.ts';
import { instant, SystemClock } from '../../platform/time.ts';
import { side, udpPacket, VNI } from '../dataplane/boxes.ts';
import { CatchDatagrams, IdleAead, ReplayDatagrams, ReplayLink } from '../dataplane/replayed.ts';
import { median } from './median.ts';

const BURSTS = 1500;
const WARM_UP = 500;
const ROWS = 256;
const SUPER_ROWS = 32;
const PARTS = 48;
const LAN = 103;
const ESP_AT = 16;
const SPI_OF_END_1 = 0x0200_1000 + 101;
const NANOSECONDS = 1e6;
const NOW = instant(1);

type Times = Map<string, number[]>;

/** Stages by name in their order; each is timed on its own over the same burst. */
type Stages = Readonly<Record<string, () => void>>;

function time(stages: Stages, packets: number): Record<string, number> {
  const clock = new SystemClock();
  const times: Times = new Map(Object.keys(stages).map((name) => [name, []]));
  for (let round = 0; round < WARM_UP + BURSTS; round++) {
    for (const [name, run] of Object.entries(stages)) {
      const before = clock.now();
      run();
      if (round >= WARM_UP) times.get(name)!.push(((clock.now() - before) * NANOSECONDS) / packets);
    }
  }
  return Object.fromEntries([...times].map(([name, values]) => [name, Number(median(values).toPrecision(3))]));
}

function tablesOf(end: 1 | 2, aead: AeadEngine, link: ReplayLink, port: CatchDatagrams | ReplayDatagrams): Tables {
  const tables = createTables(aead, createCounterPage(), createBurst());
  tables.ports.attachOutside(1, { vxlan: [port], natt: [], esp: [] });
  tables.ports.attachLink(LAN, link);
  applyState(tables, side({ end, remote: `192.0.2.${3 - end}`, rxOptions: { windowPackets: 4096 } }));
  resolvePorts(tables);
  return tables;
}

interface Outbound {
  readonly link: ReplayLink;
  readonly packets: number;
}

function outboundStages({ link, packets }: Outbound, aead: AeadEngine): Record<string, number> {
  const tables = tablesOf(1, aead, link, new CatchDatagrams());
  const row = tables.insides.rowOf(LAN);
  const burst = createBurst();
  const { read, ...rest } = time({
    read: () => void ((burst.count = 0), link.read(burst)),
    classify: () => classify(burst, tables.insides, row),
    route: () => route(burst, row, tables, NOW),
    wrap: () => wrap(burst, VNI, tables),
    seal: () => aead.seal(burst, Next.seal, Next.send, 1),
    address: () => addressPackets(burst, tables, NOW),
    flush: () => flush(burst, tables.ports),
    countDrops: () => countDrops(burst, true, tables, NOW),
  }, packets);
  void read;
  return rest;
}

/** One datagram as end 1 makes it. */
function sample(payload: number): Uint8Array {
  const sink = new CatchDatagrams();
  const tables = tablesOf(1, new IdleAead(), new ReplayLink(new Uint8Array(0), 0), sink);
  const burst = createBurst();
  new ReplayLink(udpPacket('10.1.0.5', '10.2.0.7', payload), 1).read(burst);
  classify(burst, tables.insides, tables.insides.rowOf(LAN));
  route(burst, tables.insides.rowOf(LAN), tables, NOW);
  wrap(burst, VNI, tables);
  for (let i = 0; i < burst.count; i++) if (burst.next[i] === Next.seal) burst.next[i] = Next.send;
  addressPackets(burst, tables, NOW);
  flush(burst, tables.ports);
  return sink.caught;
}

function inboundStages(payload: number): Record<string, number> {
  const aead = new IdleAead();
  const port = new ReplayDatagrams(sample(payload), ROWS, ESP_AT, SPI_OF_END_1);
  const tables = tablesOf(2, aead, new ReplayLink(new Uint8Array(0), 0), port);
  const slot = tables.ports.slots[0]!;
  const burst = createBurst();
  const { read, open, ...rest } = time({
    read: () => void port.read(burst),
    admit: () => admitVxlan(burst, slot, FIRST_PORT, tables, NOW),
    open: () => aead.open(burst, Next.open, Next.unwrap),
    unwrap: () => unwrap(burst, slot, tables, NOW),
    flush: () => flush(burst, tables.ports),
    countDrops: () => countDrops(burst, false, tables, NOW),
  }, ROWS);
  void [read, open];
  return rest;
}

/** Sealing and opening whole bursts of `octets` of text under one key. */
function cipher(aead: AeadEngine, octets: number): Record<string, number> {
  const handle = aead.install({ suite: 'aes-256-gcm-16', key: new Uint8Array(32).fill(1), salt: new Uint8Array(4), esn: true });
  const burst = createBurst();
  for (let i = 0; i < ROWS; i++) {
    burst.esp[i] = i * 2048;
    burst.espLength[i] = 32 + octets;
    burst.sa[i] = handle;
    burst.next[i] = Next.seal;
  }
  burst.count = ROWS;
  const times = time({
    seal: () => aead.seal(burst, Next.seal, Next.open, 1),
    open: () => aead.open(burst, Next.open, Next.seal, 1),
  }, ROWS);
  aead.remove(handle);
  return times;
}

const sum = (stages: Readonly<Record<string, number>>, except: readonly string[] = []): number =>
  Number(Object.entries(stages).reduce((total, [name, ns]) => total + (except.includes(name) ? 0 : ns), 0).toPrecision(3));

/** Nanoseconds per packet; prints a table and returns it. */
export async function benchStages(): Promise<Record<string, unknown>> {
  const aead = nativeAead();
  const single = udpPacket('10.1.0.5', '10.2.0.7', 1348 - 28);
  const large = udpPacket('10.1.0.5', '10.2.0.7', PARTS * 1320);
  const results = {
    outboundPacket: outboundStages({ link: new ReplayLink(single, ROWS), packets: ROWS }, aead),
    outboundSuperPacket: outboundStages({ link: new ReplayLink(large, SUPER_ROWS, 1320, 28), packets: SUPER_ROWS * PARTS }, aead),
    inboundPacket: inboundStages(1320),
    cipher64: cipher(aead, 64),
    cipher1400: cipher(aead, 1400),
  };
  for (const [name, stages] of Object.entries(results)) {
    process.stdout.write(`${name}: ${Object.entries(stages).map(([stage, ns]) => `${stage} ${ns}`).join(', ')} ns\n`);
  }
  return {
    aead: aead.name,
    nanosecondsPerPacket: results,
    javascript: { outboundPacket: sum(results.outboundPacket, ['seal']), outboundSuperPacket: sum(results.outboundSuperPacket, ['seal']), inboundPacket: sum(results.inboundPacket) },
  };
}
