// A million packets each way through the JavaScript of the data plane, in a process of its own that lets itself be
// collected (--expose-gc); prints how often memory was collected meanwhile, as JSON.
import { GCProfiler } from 'node:v8';
import { createBurst } from '../../drivers/burst.ts';
import { Forwarder } from '../../firmware/dataplane/forwarder.ts';
import { instant } from '../../platform/time.ts';
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
const incoming = inbound(sample.caught);
const into = collections(incoming, 1);
const received = incoming.readCounters().tunnels.reduce((sum, { rxPackets }) => sum + rxPackets, 0);
process.stdout.write(`${JSON.stringify({ out, superOut, into, received })}\n`);
