// Octets that an established IKE SA with one child keeps at a responder, measured at many of them: the initiators are
// forgotten. Runs as a process with --expose-gc; prints one line of JSON.
import { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import type { IkeOutput } from '../../firmware/ike/endpoint.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import { benchProfile } from './ike-setting.ts';

const CREDENTIAL = { kind: 'psk', psk: '00112233445566778899aabbccddeeff' } as const;
const HALF_OPEN = { cookieThreshold: 100_000, total: 100_000, perNetwork: 100_000 };
const UNLIMITED = { perSecond: 1_000_000, burst: 1_000_000 };
const INIT_RATES = { perSource: UNLIMITED, perNetwork: UNLIMITED, total: UNLIMITED };
const RESPONDER = { address: '192.0.2.1', port: 500 };

interface Memory {
  readonly heap: number;
  readonly resident: number;
}

function memory(): Memory {
  for (let i = 0; i < 3; i++) (globalThis as unknown as { gc(): void }).gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, resident: rss };
}

class MemoryBench {
  readonly #clock = new SystemClock();
  readonly #options = { suite: new RealSuite(), random: new SystemRandom(), unixMs: () => this.#clock.unixMs(), halfOpen: HALF_OPEN, initRates: INIT_RATES };
  readonly #responder: IkeEndpoint;
  up = 0;

  constructor() {
    const profile = benchProfile('responder', { role: 'responder', identity: '', credential: CREDENTIAL, mlKem: false });
    this.#responder = new IkeEndpoint({ ...this.#options, profiles: [profile], responderProfile: () => profile });
  }

  handshake(number: number): void {
    const local = { address: `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`, port: 500 };
    const profile = benchProfile('initiator', { role: 'initiator', identity: `b${number}@bench.example`, credential: CREDENTIAL, mlKem: false });
    const initiator = new IkeEndpoint({ ...this.#options, profiles: [profile], responderProfile: () => undefined });
    initiator.handle({ kind: 'initiate', profile: 'initiator', socket: 'wan', nattSocket: 'natt', local, remote: RESPONDER }, this.#clock.now());
    for (let moved = true; moved; ) moved = this.#carry(initiator, this.#responder) || this.#carry(this.#responder, initiator);
  }

  #carry(from: IkeEndpoint, to: IkeEndpoint): boolean {
    let moved = false;
    const sends: Extract<IkeOutput, { kind: 'send' }>[] = [];
    for (let output = from.poll(); output !== undefined; output = from.poll()) {
      if (output.kind === 'send') sends.push(output);
      else if (output.kind === 'child-up' && from === this.#responder) this.up++;
    }
    for (const { natt, socket, local, remote, bytes } of sends) {
      to.handle({ kind: 'datagram', socket, natt, local: remote, remote: local, bytes: bytes.slice() }, this.#clock.now());
      moved = true;
    }
    return moved;
  }

  now(): number {
    return this.#clock.now();
  }
}

const count = Number(process.argv[2]);
const bench = new MemoryBench();
const warm = 200;
for (let i = 0; i < warm; i++) bench.handshake(i);
const before = memory();
/** The last handshakes are timed alone: by then all the others are there. */
const timed = Math.min(warm, count);
for (let i = 0; i < count - timed; i++) bench.handshake(warm + i);
const startMs = bench.now();
for (let i = count - timed; i < count; i++) bench.handshake(warm + i);
const msPerHandshake = (bench.now() - startMs) / timed;
const after = memory();
const perSa = (key: keyof Memory): number => Math.round((after[key] - before[key]) / count);
process.stdout.write(`${JSON.stringify({ sas: bench.up - warm, heapBytesPerSa: perSa('heap'), residentBytesPerSa: perSa('resident'), msPerHandshakeAtTheEnd: Number(msPerHandshake.toFixed(3)) })}\n`);
