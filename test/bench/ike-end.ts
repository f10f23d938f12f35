// One end of the IKE bench as a process of its own: an endpoint on UDP sockets. A responder says `ready` and runs until it
// is killed. An initiator makes its IKE SAs, prints one line of JSON and ends.
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import type { IkeInput, IkeOutput } from '../../firmware/ike/endpoint.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SystemRandom } from '../../platform/random.ts';
import type { CancelTimer } from '../../platform/time.ts';
import { SystemClock } from '../../platform/time.ts';
import type { BenchEnd } from './ike-setting.ts';
import { benchProfile } from './ike-setting.ts';

const IKE_PORT = 500;
const NATT_PORT = 4500;
const NON_ESP_MARKER_BYTES = 4;
const HALF_OPEN = { cookieThreshold: 100_000, total: 100_000, perNetwork: 100_000 };
const UNLIMITED = { perSecond: 1_000_000, burst: 1_000_000 };
const INIT_RATES = { perSource: UNLIMITED, perNetwork: UNLIMITED, total: UNLIMITED };

class BenchEndpoint {
  readonly #clock = new SystemClock();
  readonly #endpoint: IkeEndpoint;
  readonly #end: BenchEnd;
  readonly #onOutput: (output: IkeOutput) => void;
  readonly #sockets = new Map<number, Socket>();
  #cancel: CancelTimer | undefined;

  constructor(end: BenchEnd, onOutput: (output: IkeOutput) => void) {
    this.#end = end;
    this.#onOutput = onOutput;
    const profiles = Array.from({ length: end.role === 'initiator' ? end.handshakes : 1 }, (_, i) => benchProfile(`p${i}`, end));
    this.#endpoint = new IkeEndpoint({
      suite: new RealSuite(), random: new SystemRandom(), unixMs: () => this.#clock.unixMs(), profiles, halfOpen: HALF_OPEN, initRates: INIT_RATES,
      responderProfile: () => (end.role === 'responder' ? profiles[0] : undefined),
    });
  }

  async open(): Promise<void> {
    for (const port of [IKE_PORT, NATT_PORT]) {
      const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 21 });
      socket.on('message', (bytes, from) => this.#received(port, bytes, from.address, from.port));
      await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(port, this.#end.local, resolve));
      this.#sockets.set(port, socket);
    }
  }

  #received(port: number, datagram: Uint8Array, address: string, remotePort: number): void {
    const natt = port === NATT_PORT;
    if (natt && (datagram.length < NON_ESP_MARKER_BYTES || datagram.subarray(0, NON_ESP_MARKER_BYTES).some((octet) => octet !== 0))) return;
    const bytes = new Uint8Array(natt ? datagram.subarray(NON_ESP_MARKER_BYTES) : datagram);
    this.push({ kind: 'datagram', socket: natt ? 'natt' : 'wan', natt, local: { address: this.#end.local, port }, remote: { address, port: remotePort }, bytes });
  }

  push(input: IkeInput | { kind: 'timeout' }): void {
    this.#endpoint.handle(input, this.#clock.now());
    for (let output = this.#endpoint.poll(); output !== undefined; output = this.#endpoint.poll()) {
      if (output.kind === 'send') this.#send(output);
      else this.#onOutput(output);
    }
    this.#cancel?.();
    const deadline = this.#endpoint.deadline();
    this.#cancel = deadline === undefined ? undefined : this.#clock.at(deadline, () => this.push({ kind: 'timeout' }));
  }

  #send({ bytes, natt, remote }: Extract<IkeOutput, { kind: 'send' }>): void {
    const datagram = natt ? [new Uint8Array(NON_ESP_MARKER_BYTES), bytes] : [bytes];
    this.#sockets.get(natt ? NATT_PORT : IKE_PORT)!.send(datagram, remote.port, remote.address);
  }

  initiate(profile: string): void {
    const { local, remote } = this.#end;
    this.push({ kind: 'initiate', profile, socket: 'wan', nattSocket: 'natt', local: { address: local, port: IKE_PORT }, remote: { address: remote, port: IKE_PORT } });
  }

  now(): number {
    return this.#clock.now();
  }
}

async function initiate(end: BenchEnd): Promise<void> {
  let begun = 0;
  let up = 0;
  const failures: string[] = [];
  let done: () => void;
  const finished = new Promise<void>((resolve) => (done = resolve));
  const next = (): void => {
    if (begun < end.handshakes) endpoint.initiate(`p${begun++}`);
    else if (up + failures.length === end.handshakes) done();
  };
  const endpoint = new BenchEndpoint(end, (output) => {
    if (output.kind === 'connect-failed') failures.push(output.cause);
    else if (output.kind === 'child-up') up++;
    else return;
    // The endpoint is in the middle of its outputs.
    setImmediate(next);
  });
  await endpoint.open();
  const begin = endpoint.now();
  for (let i = 0; i < end.concurrency; i++) next();
  await finished;
  process.stdout.write(`${JSON.stringify({ established: up, failures: failures.slice(0, 3), ms: endpoint.now() - begin })}\n`);
}

const line = await createInterface(process.stdin)[Symbol.asyncIterator]().next();
const end = JSON.parse(line.value as string) as BenchEnd;
if (end.role === 'initiator') {
  await initiate(end);
  process.exit(0);
} else {
  await new BenchEndpoint(end, () => undefined).open();
  process.stdout.write('ready\n');
}
