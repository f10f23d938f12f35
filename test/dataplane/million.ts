// A million packets each way through the JavaScript of the data plane, in a process of its own that lets itself be
// collected (--expose-gc); prints how often memory was collected meanwhile, as JSON.
import { GCProfiler } from 'node:v8';
import { createBurst } from '../../drivers/burst.ts';
import { createCounterPage } from '../../firmware/dataplane/counters.ts';
import { Forwarder } from '../../firmware/dataplane/forwarder.ts';
import { createRing, WorkerPort } from '../../firmware/dataplane/ring.ts';
import { instant, type Instant } from '../../platform/time.ts';
import { side, udpPacket } from './boxes.ts';
import { CatchDatagrams, IdleAead, ReplayDatagrams, ReplayLink } from './replayed.ts';

const PACKETS = 1_000_000;
const WARM_UP = 300_000;
const ROWS = 256;
const LAN = 103;
const ESP_AT = 16;
const SPI_OF_END_1 = 0x0200_1000 + 101;

const BURSTS = [createBurst(), createBurst()] as const;

function forwarderOf(end: 1 | 2): Forwarder {
  const forwarder = new Forwarder({ aead: new IdleAead(), onEvent: () => undefined, bursts: BURSTS });
  forwarder.apply(side({ end, remote: `192.0.2.${3 - end}`, rxOptions: { windowPackets: 4096 } }));
  return forwarder;
}

/** Packets from the LAN out; `rows` and `segment` as ReplayLink has them. */
function outbound(packet: Uint8Array, segment: number, sample: CatchDatagrams, rows = ROWS): Forwarder {
  const forwarder = forwarderOf(1);
  forwarder.attachOutside(1, { vxlan: [sample], natt: [], esp: [] });
  forwarder.attachInside(LAN, new ReplayLink(packet, rows, segment, 28));
  return forwarder;
}

/** Packets that one worker reads and another one sends. */
function handedOver(packet: Uint8Array, segment: number, rows: number): Forwarder {
  const rings = [createRing(1 << 20), createRing(1 << 20)] as const;
  const bell = { fd: -1, ring: () => undefined, silence: () => undefined };
  const state = side({ end: 1, remote: '192.0.2.2' });
  const workers = ([0, 1] as const).map((worker) => {
    const page = createCounterPage();
    const forwarder = new Forwarder({ aead: new IdleAead(), onEvent: () => undefined, bursts: BURSTS, counters: page, worker });
    const other = 1 - worker;
    forwarder.attachWorker(other, new WorkerPort({ name: 'other', from: rings[other]!, to: rings[worker], ownBell: bell, otherBell: bell, page }));
    forwarder.apply({ ...state, tunnels: state.tunnels.map((spec) => (spec.kind === 'vxlan-esp' ? { ...spec, worker: 1 } : spec)) });
    return forwarder;
  }) as [Forwarder, Forwarder];
  workers[0].attachInside(LAN, new ReplayLink(packet, rows, segment, 28));
  workers[1].attachOutside(1, { vxlan: [new CatchDatagrams()], natt: [], esp: [] });
  const breathe = (now: Instant): number => (workers[0].breathe(now), workers[1].breathe(now));
  return { breathe } as Forwarder;
}

function inbound(datagram: Uint8Array): Forwarder {
  const forwarder = forwarderOf(2);
  forwarder.attachOutside(1, { vxlan: [new ReplayDatagrams(datagram, ROWS, ESP_AT, SPI_OF_END_1)], natt: [], esp: [] });
  forwarder.attachInside(LAN, new ReplayLink(new Uint8Array(0), 0));
  return forwarder;
}

function carry(forwarder: Forwarder, packets: number, each: number): void {
  let now = 0;
  for (let moved = 0; moved < packets; moved += each * forwarder.breathe(instant(now++)));
}

function collections(forwarder: Forwarder, each: number): number {
  carry(forwarder, WARM_UP, each);
  // What preparing left behind is no matter of the packets.
  (globalThis as unknown as { gc(): void }).gc();
  const profiler = new GCProfiler();
  profiler.start();
  carry(forwarder, PACKETS, each);
  return profiler.stop()!.statistics.length;
}

const sample = new CatchDatagrams();
carry(outbound(udpPacket('10.1.0.5', '10.2.0.7', 1300), 0, sample, 1), 1, 1);
const out = collections(outbound(udpPacket('10.1.0.5', '10.2.0.7', 1300), 0, new CatchDatagrams()), 1);
const superOut = collections(outbound(udpPacket('10.1.0.5', '10.2.0.7', 48 * 1300), 1300, new CatchDatagrams(), 32), 48);
const handed = collections(handedOver(udpPacket('10.1.0.5', '10.2.0.7', 1300), 0, ROWS), 1);
const superHanded = collections(handedOver(udpPacket('10.1.0.5', '10.2.0.7', 48 * 1300), 1300, 8), 48);
const incoming = inbound(sample.caught);
const into = collections(incoming, 1);
const received = incoming.readCounters().tunnels.reduce((sum, { rxPackets }) => sum + rxPackets, 0);
process.stdout.write(`${JSON.stringify({ out, superOut, into, handed, superHanded, received })}\n`);
