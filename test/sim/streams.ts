// Reliable byte streams of the simulated hosts: TCP's header and its three-way opening, but go-back-N with a fixed
// window and no congestion control. Good enough to lose nothing, simple enough to be the same every time.
//
//   SYN -->   <-- SYN ACK   ACK -->   data / ACK both ways   FIN -->   <-- ACK, FIN   ACK -->
import type { ConnectOptions, Listener, ListenOptions, SocketAddress, StreamHandlers, StreamSocket } from '../../drivers/port.ts';
import { read32, write16, write32 } from '../../firmware/wire/ip.ts';
import { concat } from '../../platform/bytes.ts';
import type { CancelTimer } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import type { Packet } from './packet.ts';
import type { Stack, StackContext } from './stack.ts';

const HEADER_BYTES = 20;
const SEGMENT_BYTES = 1200;
const WINDOW_SEGMENTS = 32;
const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 10_000;
const MOST_RETRIES = 8;
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

interface Segment {
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly data: Uint8Array;
}

/** A segment that waits to be acknowledged; SYN and FIN count as one octet. */
interface Unacknowledged {
  readonly sequence: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

function endOf(segment: Unacknowledged): number {
  return (segment.sequence + segment.data.length + ((segment.flags & (SYN | FIN)) === 0 ? 0 : 1)) >>> 0;
}

/** a < b in sequence space. */
function precedes(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

export class StreamTable {
  readonly #stack: Stack;
  readonly #context: StackContext;
  readonly #listeners = new Map<string, ListenOptions>();
  readonly #streams = new Map<string, SimStream>();

  constructor(stack: Stack, context: StackContext) {
    this.#stack = stack;
    this.#context = context;
  }

  connect(options: ConnectOptions): StreamSocket {
    const { remote, handlers } = options;
    const address = options.localAddress ?? this.#stack.sourceFor(remote.address);
    const local = { address: address ?? (remote.address.includes(':') ? '::' : '0.0.0.0'), port: this.#stack.freePort() };
    const stream = this.#create(local, remote);
    stream.handlers = handlers;
    if (address === undefined) this.#context.clock.at(this.#context.clock.now(), () => stream.fail('ENETUNREACH'));
    else stream.open();
    return stream;
  }

  /** Undefined when the address is in use. */
  listen(options: ListenOptions): Listener | undefined {
    const key = `${options.local.address} ${options.local.port}`;
    if (this.#listeners.has(key)) return undefined;
    this.#listeners.set(key, options);
    return { close: () => void this.#listeners.delete(key) };
  }

  receive(packet: Packet): void {
    const local = { address: packet.destination, port: packet.destinationPort! };
    const remote = { address: packet.source, port: packet.sourcePort! };
    const segment = parseSegment(packet);
    const stream = this.#streams.get(keyOf(local, remote));
    if (stream !== undefined) return stream.receive(segment);
    const listener = this.#listenerFor(local);
    if (segment.flags === SYN && listener !== undefined) return this.#create(local, remote).accept(segment, listener);
    if ((segment.flags & RST) === 0) this.#transmit(local, remote, { flags: RST | ACK, sequence: segment.acknowledged, acknowledged: (segment.sequence + segment.data.length + 1) >>> 0, data: new Uint8Array(0) });
  }

  /** Everything ends without a word to anybody, as when the power fails. */
  vanish(): void {
    for (const stream of this.#streams.values()) stream.vanish();
    this.#streams.clear();
    this.#listeners.clear();
  }

  get open(): number {
    return this.#streams.size;
  }

  #listenerFor({ address, port }: SocketAddress): ListenOptions | undefined {
    const any = address.includes(':') ? '::' : '0.0.0.0';
    return this.#listeners.get(`${address} ${port}`) ?? this.#listeners.get(`${any} ${port}`) ?? this.#listeners.get(`:: ${port}`);
  }

  #create(local: SocketAddress, remote: SocketAddress): SimStream {
    const key = keyOf(local, remote);
    const stream = new SimStream(this.#context, local, remote, {
      transmit: (segment) => this.#transmit(local, remote, segment),
      forget: () => void this.#streams.delete(key),
    });
    this.#streams.set(key, stream);
    return stream;
  }

  #transmit(local: SocketAddress, remote: SocketAddress, segment: Segment): void {
    const header = new Uint8Array(HEADER_BYTES);
    write16(header, 0, local.port);
    write16(header, 2, remote.port);
    write32(header, 4, segment.sequence);
    write32(header, 8, segment.acknowledged);
    header[12] = (HEADER_BYTES / 4) << 4;
    header[13] = segment.flags;
    write16(header, 14, 0xffff);
    this.#stack.sendSegment(local.address, remote.address, concat(header, segment.data));
  }
}

interface StreamOwner {
  transmit(segment: Segment): void;
  forget(): void;
}

class SimStream implements StreamSocket {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  handlers: StreamHandlers | undefined;
  readonly #context: StackContext;
  readonly #owner: StreamOwner;
  readonly #unsent: Unacknowledged[] = [];
  readonly #inFlight: Unacknowledged[] = [];
  #state: 'opening' | 'open' | 'ended' = 'opening';
  #next: number;
  #expected = 0;
  #retries = 0;
  #timer: CancelTimer | undefined;
  #finQueued = false;
  #peerFinished = false;
  #onAccepted: ((stream: StreamSocket) => void) | undefined;

  constructor(context: StackContext, local: SocketAddress, remote: SocketAddress, owner: StreamOwner) {
    this.local = local;
    this.remote = remote;
    this.#context = context;
    this.#owner = owner;
    this.#next = context.random.uint32();
  }

  open(): void {
    this.#queue(SYN, new Uint8Array(0));
  }

  accept(segment: Segment, listener: ListenOptions): void {
    this.#expected = (segment.sequence + 1) >>> 0;
    this.#onAccepted = (stream) => listener.onStream(stream);
    this.#queue(SYN | ACK, new Uint8Array(0));
  }

  write(bytes: Uint8Array): void {
    if (this.#state === 'ended' || this.#finQueued) return;
    for (let at = 0; at < bytes.length; at += SEGMENT_BYTES) this.#queue(ACK, bytes.slice(at, at + SEGMENT_BYTES));
  }

  close(): void {
    if (this.#state === 'ended' || this.#finQueued) return;
    if (this.#state === 'opening') return this.#abandon();
    this.#finQueued = true;
    this.#queue(FIN | ACK, new Uint8Array(0));
  }

  receive(segment: Segment): void {
    if (this.#state === 'ended') return;
    if ((segment.flags & RST) !== 0) return this.#reset();
    if (this.#state === 'opening' && (segment.flags & SYN) !== 0) this.#expected = (segment.sequence + 1) >>> 0;
    if ((segment.flags & ACK) !== 0) this.#acknowledge(segment.acknowledged);
    if (this.#hasEnded()) return;
    const carries = segment.data.length > 0 || (segment.flags & (SYN | FIN)) !== 0;
    if (carries) this.#take(segment);
  }

  fail(code: string): void {
    if (this.#state === 'ended') return;
    this.#end();
    this.handlers?.onClosed(Object.assign(new Error(`${code}: stream to ${this.remote.address}:${this.remote.port}`), { code }));
  }

  vanish(): void {
    this.#state = 'ended';
    this.#timer?.();
    this.handlers = undefined;
  }

  #reset(): void {
    if (this.#state === 'opening') return this.fail('ECONNREFUSED');
    // A peer that finished and had our FIN forgets the stream; its answer to our repetition is a reset.
    if (!this.#peerFinished) return this.fail('ECONNRESET');
    this.#end();
    this.handlers?.onClosed(undefined);
  }

  #abandon(): void {
    this.#end();
    this.#context.clock.at(this.#context.clock.now(), () => this.handlers?.onClosed(undefined));
  }

  /** A handler may end the stream between two steps; a method hides that from the compiler's flow analysis. */
  #hasEnded(): boolean {
    return this.#state === 'ended';
  }

  #take(segment: Segment): void {
    const isNext = segment.sequence === this.#expected && (segment.flags & SYN) === 0;
    if (isNext && segment.data.length > 0) {
      this.#expected = (this.#expected + segment.data.length) >>> 0;
      this.handlers?.onData(segment.data);
    }
    if (isNext && (segment.flags & FIN) !== 0) {
      this.#expected = (this.#expected + 1) >>> 0;
      this.#peerFinished = true;
    }
    if (this.#hasEnded()) return;
    this.#sendAck();
    if (!this.#peerFinished) return;
    this.close();
    this.#finishWhenDone();
  }

  #sendAck(): void {
    this.#owner.transmit({ flags: ACK, sequence: this.#next, acknowledged: this.#expected, data: new Uint8Array(0) });
  }

  #acknowledge(acknowledged: number): void {
    let progress = false;
    while (this.#inFlight.length > 0 && !precedes(acknowledged, endOf(this.#inFlight[0]!))) {
      this.#inFlight.shift();
      progress = true;
    }
    if (!progress) return;
    this.#retries = 0;
    this.#timer?.();
    this.#timer = undefined;
    if (this.#state === 'opening') this.#opened();
    if (this.#hasEnded()) return;
    this.#pump();
    this.#finishWhenDone();
  }

  #opened(): void {
    this.#state = 'open';
    this.#onAccepted?.(this);
    this.handlers?.onConnected();
  }

  #finishWhenDone(): void {
    const done = this.#finQueued && this.#inFlight.length === 0 && this.#unsent.length === 0;
    if (!done || this.#state !== 'open') return;
    this.#end();
    this.handlers?.onClosed(undefined);
  }

  #queue(flags: number, data: Uint8Array): void {
    const segment: Unacknowledged = { sequence: this.#next, flags, data };
    this.#next = endOf(segment);
    this.#unsent.push(segment);
    this.#pump();
  }

  #pump(): void {
    const opening = this.#state === 'opening';
    while (this.#unsent.length > 0 && this.#inFlight.length < (opening ? 1 : WINDOW_SEGMENTS)) {
      const segment = this.#unsent.shift()!;
      this.#inFlight.push(segment);
      this.#send(segment);
    }
    this.#arm();
  }

  #send(segment: Unacknowledged): void {
    this.#owner.transmit({ ...segment, acknowledged: this.#expected });
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#inFlight.length === 0) return;
    const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#retries);
    this.#timer = this.#context.clock.at(after(this.#context.clock.now(), wait), () => {
      this.#timer = undefined;
      if (++this.#retries > MOST_RETRIES) return this.fail('ETIMEDOUT');
      for (const segment of this.#inFlight) this.#send(segment);
      this.#arm();
    });
  }

  #end(): void {
    this.#state = 'ended';
    this.#timer?.();
    this.#owner.forget();
  }
}

function keyOf(local: SocketAddress, remote: SocketAddress): string {
  return `${local.address} ${local.port} ${remote.address} ${remote.port}`;
}

function parseSegment(packet: Packet): Segment {
  const { bytes, offset } = packet;
  const headerBytes = (bytes[offset + 12]! >>> 4) * 4;
  return { flags: bytes[offset + 13]! & 0x1f, sequence: read32(bytes, offset + 4) >>> 0, acknowledged: read32(bytes, offset + 8) >>> 0, data: bytes.slice(offset + headerBytes) };
}
