// A sender and a receiver of UDP for the tunnel bench, on the product's own ports: equal datagrams leave as segmented
// sends, so that the sender is not the bound. One JSON line on standard input; the receiver says `ready`, then counts
// until its input ends; the sender keeps a rate for a time. Both answer with one JSON line.
import { createInterface } from 'node:readline';
import { appendPacket, BURST_PACKETS, createBurst, FIRST_PORT } from '../../drivers/burst.ts';
import { openDrivers } from '../../drivers/open.ts';
import { createWaiter } from '../../drivers/threads.ts';
import { addressOctets } from '../../drivers/address.ts';
import { SystemClock } from '../../platform/time.ts';

export type UdpLoad =
  | { readonly role: 'receive'; readonly vr: string; readonly local: string; readonly port: number; readonly seconds: number; readonly sendSeconds: number }
  | { readonly role: 'send'; readonly vr: string; readonly local: string; readonly remote: string; readonly port: number; readonly payloadBytes: number; readonly packetsPerSecond: number; readonly seconds: number };

/** Datagrams of one segmented send at most. */
const SEGMENTS = 32;
/** After this silence nothing of a run is under way any more. */
const QUIET_MS = 400;
const TICK_MS = 1;
/** A sender that had to wait makes up for this much and leaves the rest out: a burst at the speed of memory is another load. */
const CATCH_UP_MS = 10;

const clock = new SystemClock();

/** Counts from the first datagram on, for as long as the sender takes, and then until it is quiet. */
function receive({ vr, local, port, seconds, sendSeconds }: Extract<UdpLoad, { role: 'receive' }>): Record<string, number> {
  const socket = openDrivers().devices.openUdp(vr, { address: local, port });
  const burst = createBurst();
  const waiter = createWaiter([socket.fd]);
  process.stdout.write('ready\n');
  let packets = 0;
  const givenUpAt = clock.now() + seconds * 1000;
  let sentAt = Infinity;
  for (let quietMs = 0; (packets === 0 ? clock.now() < givenUpAt : quietMs < QUIET_MS || clock.now() < sentAt);) {
    burst.count = 0;
    const read = socket.read(burst);
    if (packets === 0 && read > 0) sentAt = clock.now() + sendSeconds * 1000;
    packets += read;
    if (read > 0) quietMs = 0;
    else if (waiter.wait(QUIET_MS / 4) === 0) quietMs += QUIET_MS / 4;
  }
  socket.close();
  return { packets };
}

/** Sends what is due every millisecond; what the kernel refuses is not sent, nor what was due too long ago. */
function send({ vr, local, remote, port, payloadBytes, packetsPerSecond, seconds }: Extract<UdpLoad, { role: 'send' }>): Record<string, number> {
  const socket = openDrivers().devices.openUdp(vr, { address: local, port: 0 });
  const burst = createBurst();
  const address = addressOctets(remote)!;
  const payload = new Uint8Array(payloadBytes).fill(0x5a);
  for (let i = 0; i < BURST_PACKETS; i++) {
    appendPacket(burst, payload);
    burst.address.set(address, i * 16);
    burst.family[i] = 4;
    burst.port[i] = port;
  }
  const pause = createWaiter();
  const startedAt = clock.now();
  let sent = 0;
  const catchUp = Math.max(SEGMENTS, Math.ceil((packetsPerSecond * CATCH_UP_MS) / 1000));
  let offered = 0;
  for (;;) {
    const elapsedMs = clock.now() - startedAt;
    if (elapsedMs >= seconds * 1000) break;
    const scheduled = Math.floor((elapsedMs * packetsPerSecond) / 1000);
    offered = Math.max(offered, scheduled - catchUp);
    const due = scheduled - offered;
    if (due < SEGMENTS && elapsedMs + TICK_MS < seconds * 1000) {
      pause.wait(TICK_MS);
      continue;
    }
    burst.count = Math.min(due, SEGMENTS);
    burst.next.fill(FIRST_PORT, 0, burst.count);
    sent += socket.write(burst, FIRST_PORT);
    offered += burst.count;
  }
  socket.close();
  return { sent };
}

const line = await createInterface(process.stdin)[Symbol.asyncIterator]().next();
const load = JSON.parse(line.value as string) as UdpLoad;
process.stdout.write(`${JSON.stringify(load.role === 'send' ? send(load) : receive(load))}\n`);
process.exit(0);
