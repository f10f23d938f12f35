// A TlsEngine for simulations: the flights of TLS 1.2 and 1.3 with their certificates, no security at all. Records are
// JSON texts; the exported octets are a function of the flights.
import { fromHex, fromUtf8, toHex, utf8 } from './bytes.ts';
import type { TlsEngine, TlsOptions, TlsSession, TlsStep, TlsVersion } from './tls-engine.ts';

const NOTHING = new Uint8Array(0);
const ALERT = utf8('{"flight":"alert"}');

interface Flight {
  readonly flight: 'hello' | 'server' | 'client' | 'finished' | 'data' | 'alert' | 'nonsense';
  readonly version?: TlsVersion;
  /** Hexadecimal, like `data`. */
  readonly chain?: readonly string[];
  readonly data?: string;
}

type Derive = (length: number, ...parts: readonly Uint8Array[]) => Uint8Array;

function say(flight: Flight): Uint8Array {
  return utf8(JSON.stringify(flight));
}

function step(bytes: Uint8Array, more: Partial<TlsStep> = {}): TlsStep {
  return { bytes, received: NOTHING, session: undefined, failure: undefined, ...more };
}

class FakeTls implements TlsEngine {
  readonly #options: TlsOptions;
  readonly #derive: Derive;
  /** Of both ends, in the order of the flights. */
  readonly #transcript: Uint8Array[] = [];
  #version: TlsVersion;
  #peerChain: readonly Uint8Array[] = [];
  #hasFailed = false;

  constructor(options: TlsOptions, derive: Derive) {
    this.#options = options;
    this.#derive = derive;
    this.#version = options.newestVersion ?? '1.3';
  }

  step(bytes: Uint8Array, done: (step: TlsStep) => void): void {
    const flight = bytes.length === 0 ? undefined : readFlight(bytes);
    const taken = this.#hasFailed ? undefined : this.#options.role === 'server' ? this.#serve(flight, bytes) : this.#follow(flight, bytes);
    this.#hasFailed = taken === undefined;
    done(taken ?? step(flight?.flight === 'alert' ? NOTHING : ALERT, { failure: `TLS fails: ${flight?.flight === 'alert' ? 'alert' : 'unexpected message'}` }));
  }

  get #ownChain(): string[] {
    return this.#options.chain.map(toHex);
  }

  #serve(flight: Flight | undefined, bytes: Uint8Array): TlsStep | undefined {
    if (flight?.flight === 'hello' && this.#transcript.length === 0) {
      if (flight.version === '1.2') this.#version = '1.2';
      const answer = say({ flight: 'server', version: this.#version, chain: this.#ownChain });
      this.#transcript.push(bytes, answer);
      return step(answer);
    }
    if (flight?.flight !== 'client' || this.#transcript.length !== 2) return undefined;
    this.#transcript.push(bytes);
    this.#peerChain = flight.chain?.map(fromHex) ?? [];
    const last = say(this.#version === '1.2' ? { flight: 'finished' } : { flight: 'data', data: toHex(this.#options.greeting) });
    return step(last, { session: this.#session() });
  }

  #follow(flight: Flight | undefined, bytes: Uint8Array): TlsStep | undefined {
    if (flight === undefined) {
      this.#transcript.push(say({ flight: 'hello', version: this.#version }));
      return step(this.#transcript[0]!);
    }
    const said = this.#transcript.length;
    if (flight.flight === 'server' && said === 1) {
      if (flight.version === '1.2') this.#version = '1.2';
      const answer = say({ flight: 'client', chain: this.#ownChain });
      this.#transcript.push(bytes, answer);
      this.#peerChain = flight.chain?.map(fromHex) ?? [];
      return step(answer, this.#version === '1.3' ? { session: this.#session() } : {});
    }
    if (flight.flight === 'finished' && said === 3 && this.#version === '1.2') return step(NOTHING, { session: this.#session() });
    return flight.flight === 'data' && said === 3 ? step(NOTHING, { received: fromHex(flight.data ?? '') }) : undefined;
  }

  #session(): TlsSession {
    const { exporters, exportedBytes } = this.#options;
    const { label, context = NOTHING } = exporters[this.#version];
    return { version: this.#version, peerChain: this.#peerChain, exported: this.#derive(exportedBytes, utf8(label), context, ...this.#transcript) };
  }

  close(): void {
    this.#hasFailed = true;
  }
}

function readFlight(bytes: Uint8Array): Flight {
  try {
    const flight = JSON.parse(fromUtf8(bytes)) as Flight;
    const { chain = [], data = '' } = flight;
    for (const hex of [...chain, data]) fromHex(hex);
    return flight;
  } catch {
    return { flight: 'nonsense' };
  }
}

export function openFakeTls(options: TlsOptions, derive: Derive): TlsEngine {
  return new FakeTls(options, derive);
}
