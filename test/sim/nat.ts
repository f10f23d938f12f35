// A NAT box between a private segment and the internet (RFC 4787). IPv4 UDP and TCP are mapped; everything else,
// bare ESP included, stops here as it does in most boxes that people own.
import type { SocketAddress } from '../../drivers/port.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { after } from '../../platform/time.ts';
import type { Attachment, LinkQuality, Wire, WireContext } from './netem.ts';
import { GOOD_LINK } from './netem.ts';
import type { Packet } from './packet.ts';
import { parsePacket, readdressed } from './packet.ts';

export interface NatOptions {
  /** 'endpoint-independent': one public port per inside port. 'endpoint-dependent': one per inside port and remote. */
  readonly mapping: 'endpoint-independent' | 'endpoint-dependent';
  /** Who may send to a mapping: anybody, addresses that it sent to, or exact endpoints that it sent to. */
  readonly filtering: 'none' | 'address' | 'endpoint';
  /** A mapping that nothing left through for this long is forgotten. */
  readonly timeoutMs: number;
  /** Keeps the inside port where it is free. */
  readonly preservePorts: boolean;
}

export const HOME_NAT: NatOptions = { mapping: 'endpoint-independent', filtering: 'endpoint', timeoutMs: 60_000, preservePorts: false };

const FIRST_PORT = 20_000;
const LAST_PORT = 60_000;
const SEGMENT_DELAY_MS = 0.125;

interface Mapping {
  readonly protocol: number;
  readonly inside: SocketAddress;
  readonly publicPort: number;
  readonly key: string;
  readonly sentTo: Set<string>;
  lastOut: number;
}

export class NatBox implements Wire {
  readonly name: string;
  readonly options: NatOptions;
  readonly publicAddress: string;
  readonly outside: Attachment;
  readonly #context: WireContext;
  readonly #random: SeededRandom;
  readonly #inside = new Map<string, { readonly attachment: Attachment; readonly receive: (packet: Packet) => void }>();
  readonly #byKey = new Map<string, Mapping>();
  readonly #byPort = new Map<string, Mapping>();
  #nextPort = FIRST_PORT;

  constructor(name: string, context: WireContext, internet: Wire, publicAddress: string, options: NatOptions = HOME_NAT) {
    this.name = name;
    this.options = options;
    this.publicAddress = publicAddress;
    this.#context = context;
    this.#random = context.random.fork(`nat ${name}`);
    this.outside = internet.attach(name, (packet) => this.#inbound(packet));
    this.outside.setAddresses([publicAddress]);
  }

  /** Of a cable on this side only `up` and `loss` count; delay is the outside's. */
  attach(node: string, receive: (packet: Packet) => void, quality: LinkQuality = GOOD_LINK): Attachment {
    let own: readonly string[] = [];
    const setAddresses = (addresses: readonly string[]): void => {
      for (const address of own) this.#inside.delete(address);
      own = addresses;
      for (const address of addresses) this.#inside.set(address, { attachment, receive });
    };
    const send = (bytes: Uint8Array): void => {
      const packet = parsePacket(bytes.slice());
      if (packet === undefined) return;
      if (this.#isLost(attachment.quality)) this.#drop(packet, 'lost');
      else this.#outbound(packet);
    };
    const attachment: Attachment = { node, quality, setAddresses, send, detach: () => setAddresses([]) };
    return attachment;
  }

  /** As after a power cut: every mapping is gone, and new ones get other ports. */
  forgetMappings(): void {
    this.#byKey.clear();
    this.#byPort.clear();
  }

  get mappings(): number {
    return this.#byKey.size;
  }

  #outbound(packet: Packet): void {
    const { clock } = this.#context;
    if (packet.sourcePort === undefined || packet.source.includes(':')) return this.#drop(packet, 'not mapped by the NAT');
    const neighbour = this.#inside.get(packet.destination);
    if (neighbour !== undefined) return this.#toInside(packet, packet.destination);
    const mapping = this.#mappingFor(packet);
    mapping.lastOut = clock.now();
    mapping.sentTo.add(this.#filterKey(packet.destination, packet.destinationPort!));
    const source = { address: this.publicAddress, port: mapping.publicPort };
    const bytes = readdressed(packet, source, { address: packet.destination, port: packet.destinationPort! });
    this.outside.send(bytes, packet.destination);
  }

  #inbound(packet: Packet): void {
    const mapping = this.#byPort.get(`${packet.protocol} ${packet.destinationPort}`);
    if (mapping === undefined || this.#isOld(mapping)) return this.#drop(packet, 'no mapping in the NAT');
    if (this.options.filtering !== 'none' && !mapping.sentTo.has(this.#filterKey(packet.source, packet.sourcePort!))) return this.#drop(packet, 'filtered by the NAT');
    const inner = parsePacket(readdressed(packet, { address: packet.source, port: packet.sourcePort! }, mapping.inside));
    if (inner !== undefined) this.#toInside(inner, mapping.inside.address);
  }

  #toInside(packet: Packet, address: string): void {
    const { clock, flow } = this.#context;
    clock.at(after(clock.now(), SEGMENT_DELAY_MS), () => {
      const to = this.#inside.get(address);
      if (to === undefined) return this.#drop(packet, 'nobody has this address');
      if (this.#isLost(to.attachment.quality)) return this.#drop(packet, 'lost');
      flow.packet(clock.now(), this.name, to.attachment.node, packet);
      to.receive(packet);
    });
  }

  #isLost({ up, loss }: LinkQuality): boolean {
    return !up || (loss > 0 && this.#random.uint32() / 0x1_0000_0000 < loss);
  }

  #mappingFor(packet: Packet): Mapping {
    const remote = this.options.mapping === 'endpoint-dependent' ? ` ${packet.destination} ${packet.destinationPort}` : '';
    const key = `${packet.protocol} ${packet.source} ${packet.sourcePort}${remote}`;
    const known = this.#byKey.get(key);
    if (known !== undefined && !this.#isOld(known)) return known;
    if (known !== undefined) this.#byPort.delete(`${known.protocol} ${known.publicPort}`);
    const publicPort = this.#freePort(packet.protocol, packet.sourcePort!);
    const inside = { address: packet.source, port: packet.sourcePort! };
    const mapping: Mapping = { protocol: packet.protocol, inside, publicPort, key, sentTo: new Set(), lastOut: this.#context.clock.now() };
    this.#byKey.set(key, mapping);
    this.#byPort.set(`${packet.protocol} ${publicPort}`, mapping);
    return mapping;
  }

  #freePort(protocol: number, wanted: number): number {
    const isFree = (port: number): boolean => {
      const held = this.#byPort.get(`${protocol} ${port}`);
      if (held === undefined) return true;
      if (!this.#isOld(held)) return false;
      this.#byKey.delete(held.key);
      return this.#byPort.delete(`${protocol} ${port}`);
    };
    if (this.options.preservePorts && isFree(wanted)) return wanted;
    let port = this.#nextPort;
    while (!isFree(port)) port = port >= LAST_PORT ? FIRST_PORT : port + 1;
    this.#nextPort = port >= LAST_PORT ? FIRST_PORT : port + 1;
    return port;
  }

  #isOld(mapping: Mapping): boolean {
    return this.#context.clock.now() - mapping.lastOut > this.options.timeoutMs;
  }

  #filterKey(address: string, port: number): string {
    return this.options.filtering === 'address' ? address : `${address} ${port}`;
  }

  #drop(packet: Packet, cause: string): void {
    this.#context.flow.lost(this.#context.clock.now(), packet.source, this.name, packet, cause);
  }
}
