// A stream of numbered datagrams between two LAN hosts, counted at both ends. `echo PORT` sends back whatever comes;
// `ping ADDRESS PORT PER-SECOND` sends and expects the echoes. Each writes its counts as a JSON line twice a second, and
// the last line when its standard input ends; the sender then first waits for echoes that are still under way.
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { SystemClock, after, sleep } from '../../platform/time.ts';
import { UsageError } from '../../platform/errors.ts';

/** One end's own count. `received` leaves out duplicates. */
export interface StreamCounts {
  readonly sent: number;
  readonly received: number;
  readonly duplicates: number;
  /** Datagrams that are none of the stream's. */
  readonly foreign: number;
  /** Longest time between two arrivals while the stream ran. */
  readonly longestGapMs: number;
  readonly seconds: number;
}

const MAGIC = 0x53454c56;
const DATAGRAM_BYTES = 200;
const TICK_MS = 4;
const REPORT_MS = 500;
/** How long after the last arrival an echo may still come. */
const LAST_ECHO_MS = 3_000;
/** A day at 1000 per second would be more; a check ends within minutes. */
const LARGEST_SEQUENCE = 10_000_000;

class Counter {
  readonly #clock = new SystemClock();
  readonly #start = this.#clock.now();
  readonly #seen = new Set<number>();
  #lastArrival = this.#clock.now();
  #longestGapMs = 0;
  #duplicates = 0;
  #foreign = 0;
  sent = 0;

  /** True for a datagram of the stream, a duplicate included. */
  take(bytes: Uint8Array): boolean {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const sequence = bytes.length === DATAGRAM_BYTES && view.getUint32(0) === MAGIC ? view.getUint32(4) : LARGEST_SEQUENCE;
    if (sequence >= LARGEST_SEQUENCE) {
      this.#foreign++;
      return false;
    }
    const now = this.#clock.now();
    if (this.#seen.size > 0) this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastArrival);
    this.#lastArrival = now;
    if (this.#seen.has(sequence)) this.#duplicates++;
    this.#seen.add(sequence);
    return true;
  }

  get idleMs(): number {
    return this.#clock.now() - this.#lastArrival;
  }

  get elapsedMs(): number {
    return this.#clock.now() - this.#start;
  }

  counts(): StreamCounts {
    return {
      sent: this.sent,
      received: this.#seen.size,
      duplicates: this.#duplicates,
      foreign: this.#foreign,
      longestGapMs: Math.round(this.#longestGapMs),
      seconds: this.elapsedMs / 1000,
    };
  }

  report(): void {
    process.stdout.write(`${JSON.stringify(this.counts())}\n`);
  }
}

/** Reports until standard input ends; resolves then. */
async function reportUntilEnd(counter: Counter, tick: () => void): Promise<void> {
  let ended = false;
  process.stdin.resume();
  process.stdin.once('end', () => (ended = true));
  const clock = new SystemClock();
  let nextReport = after(clock.now(), REPORT_MS);
  while (!ended) {
    tick();
    if (clock.now() >= nextReport) {
      counter.report();
      nextReport = after(nextReport, REPORT_MS);
    }
    await sleep(TICK_MS);
  }
}

function bound(socket: Socket, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, () => {
      socket.off('error', reject);
      // ICMP errors of single datagrams show as losses, which are counted.
      socket.on('error', () => {});
      resolve();
    });
  });
}

async function echo(port: number): Promise<void> {
  const counter = new Counter();
  const socket = createSocket({ type: 'udp6', ipv6Only: false });
  socket.on('message', (bytes: Buffer, remote: RemoteInfo) => {
    if (counter.take(bytes)) socket.send(bytes, remote.port, remote.address, (error) => error === null && counter.sent++);
  });
  await bound(socket, port);
  counter.report();
  await reportUntilEnd(counter, () => {});
  counter.report();
}

async function ping(address: string, port: number, perSecond: number): Promise<void> {
  const counter = new Counter();
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  socket.on('message', (bytes: Buffer) => counter.take(bytes));
  await bound(socket, 0);
  const datagram = new Uint8Array(DATAGRAM_BYTES);
  const view = new DataView(datagram.buffer);
  view.setUint32(0, MAGIC);
  await reportUntilEnd(counter, () => {
    for (const due = Math.floor((counter.elapsedMs * perSecond) / 1000); counter.sent < due; counter.sent++) {
      view.setUint32(4, counter.sent);
      socket.send(datagram.slice(), port, address);
    }
  });
  const { seconds } = counter.counts();
  while (counter.counts().received < counter.sent && counter.idleMs < LAST_ECHO_MS) await sleep(TICK_MS);
  process.stdout.write(`${JSON.stringify({ ...counter.counts(), seconds })}\n`);
}

async function main([verb, ...rest]: readonly string[]): Promise<void> {
  if (verb === 'echo') await echo(Number(rest[0]));
  else if (verb === 'ping') await ping(rest[0]!, Number(rest[1]), Number(rest[2]));
  else throw new UsageError('Use: echo PORT, or ping ADDRESS PORT PER-SECOND');
}

if (import.meta.main) {
  await main(process.argv.slice(2));
  process.exit(0);
}
