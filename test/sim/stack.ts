// The IP stack of one virtual router or host: devices with addresses, longest-prefix routes, UDP sockets, reliable
// streams, and forwarding between devices. No fragmentation and no ICMP: what does not fit is dropped and recorded.
import { MemoryDatagramHub } from '../../drivers/memory.ts';
import type { DatagramKind } from '../../drivers/memory.ts';
import type { SocketAddress, VrPlan } from '../../drivers/port.ts';
import { addressBytes, addressText, parsePrefix } from '../../firmware/wire/address.ts';
import { PROTOCOL_ESP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../firmware/wire/ip.ts';
import type { SeededRandom } from '../../platform/random.ts';
import type { Clock } from '../../platform/time.ts';
import type { Flow } from './flow.ts';
import type { Packet } from './packet.ts';
import { buildPacket, buildUdp, hopped, parsePacket, payloadOf } from './packet.ts';
import { StreamTable } from './streams.ts';

export interface DeviceDriver {
  /** `nextHop` is the gateway's address, or the destination itself. */
  transmit(bytes: Uint8Array, nextHop: string): void;
  /** Addresses without prefix length. */
  setAddresses(addresses: readonly string[]): void;
}

interface Device {
  readonly driver: DeviceDriver;
  addresses: readonly string[];
  mtu: number;
}

interface Route {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly device: string;
  readonly via: string | undefined;
  readonly source: string | undefined;
}

export type UdpReceiver = (bytes: Uint8Array, remote: SocketAddress) => void;

export interface StackContext {
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly flow: Flow;
}

const DEFAULT_MTU = 1500;
const EPHEMERAL_PORTS = 49_152;

export class Stack {
  /** Name of node and VR, for ladders. */
  readonly name: string;
  readonly streams: StreamTable;
  /** The forwarder's UDP and raw ESP ports in this VR. */
  readonly hub = new MemoryDatagramHub();
  /** Called when something waits for one of those ports. */
  onPortReadable: (() => void) | undefined;
  readonly #context: StackContext;
  readonly #devices = new Map<string, Device>();
  readonly #receivers = new Map<string, UdpReceiver>();
  readonly #local = new Set<string>();
  readonly #routeCache = new Map<string, Route | undefined>();
  #planned: VrPlan['routes'] = [];
  #routes: readonly Route[] = [];
  #forwarding = false;
  #nextPort = EPHEMERAL_PORTS;

  constructor(name: string, context: StackContext) {
    this.name = name;
    this.#context = context;
    this.streams = new StreamTable(this, context);
    this.hub.onDatagram = ({ kind, bytes, from, to }) => {
      this.#output(kind === 'esp' ? buildPacket(PROTOCOL_ESP, from.address, to.address, bytes) : buildUdp(from, to, bytes));
      return false;
    };
  }

  addDevice(name: string, driver: DeviceDriver, mtu = DEFAULT_MTU): void {
    this.#devices.set(name, { driver, addresses: [], mtu });
    this.#rebuild();
  }

  removeDevice(name: string): DeviceDriver | undefined {
    const device = this.#devices.get(name);
    device?.driver.setAddresses([]);
    this.#devices.delete(name);
    this.#rebuild();
    return device?.driver;
  }

  hasDevice(name: string): boolean {
    return this.#devices.has(name);
  }

  /** Replaces addresses, MTUs and routes. Throws for a device that is not there, as the kernel would refuse it. */
  configure(plan: VrPlan): void {
    for (const { device } of plan.devices) if (!this.#devices.has(device)) throw new Error(`${plan.vr} has no device ${device}`);
    for (const [name, device] of this.#devices) {
      const wanted = plan.devices.find((each) => each.device === name);
      device.addresses = wanted?.addresses ?? [];
      device.mtu = wanted?.mtu ?? device.mtu;
      device.driver.setAddresses(device.addresses.map(withoutLength));
    }
    this.#planned = plan.routes;
    this.#forwarding = plan.forwarding;
    this.#rebuild();
  }

  /** A packet that a device received. */
  receive(packet: Packet): void {
    if (this.#local.has(packet.destination)) return this.#input(packet);
    const next = this.#forwarding ? hopped(packet) : undefined;
    if (next === undefined) return this.#lost(packet, 'not for this stack');
    this.#output(next);
  }

  /** Sends a UDP datagram; undefined when it went out, else why not. */
  sendUdp(local: SocketAddress, remote: SocketAddress, payload: Uint8Array): string | undefined {
    const source = isWildcard(local.address) ? this.sourceFor(remote.address) : local.address;
    if (source === undefined) return 'ENETUNREACH';
    return this.#output(buildUdp({ address: source, port: local.port }, remote, payload));
  }

  sendSegment(source: string, destination: string, segment: Uint8Array): void {
    this.#output(buildPacket(PROTOCOL_TCP, source, destination, segment));
  }

  /** The address that the stack would send from; undefined when there is no route. */
  sourceFor(destination: string): string | undefined {
    if (this.#local.has(destination)) return destination;
    const route = this.#route(destination);
    if (route === undefined) return undefined;
    const same = (address: string): boolean => address.includes(':') === destination.includes(':');
    const own = this.#devices.get(route.device)?.addresses.map(withoutLength).find(same);
    return route.source ?? own ?? [...this.#local].find(same);
  }

  /** Returns what closes it, or undefined when the address is in use. Port 0 picks one. */
  bind(local: SocketAddress, receiver: UdpReceiver): { readonly local: SocketAddress; close(): void } | undefined {
    const port = local.port === 0 ? this.freePort() : local.port;
    const key = `${canonical(local.address)} ${port}`;
    if (this.#receivers.has(key)) return undefined;
    this.#receivers.set(key, receiver);
    return { local: { address: local.address, port }, close: () => void this.#receivers.delete(key) };
  }

  freePort(): number {
    return this.#nextPort++;
  }

  #input(packet: Packet): void {
    if (packet.protocol === PROTOCOL_TCP) return this.streams.receive(packet);
    const remote = { address: packet.source, port: packet.sourcePort ?? 0 };
    if (packet.protocol === PROTOCOL_UDP && packet.destinationPort !== undefined) {
      const to = { address: packet.destination, port: packet.destinationPort };
      const receiver = this.#receiver(to);
      if (receiver !== undefined) return receiver(payloadOf(packet), remote);
      return this.#toPort('udp', packet, remote, to);
    }
    if (packet.protocol === PROTOCOL_ESP) this.#toPort('esp', packet, remote, { address: packet.destination, port: 0 });
  }

  #receiver({ address, port }: SocketAddress): UdpReceiver | undefined {
    return this.#receivers.get(`${address} ${port}`) ?? this.#receivers.get(`${address.includes(':') ? '::' : '0.0.0.0'} ${port}`) ?? this.#receivers.get(`:: ${port}`);
  }

  #toPort(kind: DatagramKind, packet: Packet, from: SocketAddress, to: SocketAddress): void {
    if (this.hub.deliver({ kind, bytes: payloadOf(packet), from, to })) this.onPortReadable?.();
    else this.#lost(packet, 'no socket, or its queue is full');
  }

  #output(bytes: Uint8Array): string | undefined {
    const packet = parsePacket(bytes);
    if (packet === undefined) return 'EINVAL';
    if (this.#local.has(packet.destination)) {
      this.#context.clock.at(this.#context.clock.now(), () => this.#input(packet));
      return undefined;
    }
    const route = this.#route(packet.destination);
    const device = route === undefined ? undefined : this.#devices.get(route.device);
    if (route === undefined || device === undefined) return this.#refuse(packet, 'ENETUNREACH');
    if (bytes.length > device.mtu) return this.#refuse(packet, 'EMSGSIZE');
    device.driver.transmit(bytes, route.via ?? packet.destination);
    return undefined;
  }

  #refuse(packet: Packet, errno: string): string {
    this.#lost(packet, errno);
    return errno;
  }

  #lost(packet: Packet, cause: string): void {
    this.#context.flow.lost(this.#context.clock.now(), this.name, packet.destination, packet, cause);
  }

  #route(destination: string): Route | undefined {
    if (this.#routeCache.has(destination)) return this.#routeCache.get(destination);
    const octets = addressBytes(destination);
    const route = this.#routes.find((each) => covers(each, octets));
    this.#routeCache.set(destination, route);
    return route;
  }

  #rebuild(): void {
    this.#routeCache.clear();
    this.#local.clear();
    const routes: Route[] = [];
    for (const [name, { addresses }] of this.#devices) {
      for (const address of addresses) {
        this.#local.add(canonical(withoutLength(address)));
        routes.push({ ...parsePrefix(address), device: name, via: undefined, source: withoutLength(address) });
      }
    }
    for (const { prefix, device, via, source } of this.#planned) {
      const prefixes = prefix !== 'default' ? [prefix] : via === undefined ? ['0.0.0.0/0', '::/0'] : [via.includes(':') ? '::/0' : '0.0.0.0/0'];
      if (this.#devices.has(device)) routes.push(...prefixes.map((each) => ({ ...parsePrefix(each), device, via, source })));
    }
    this.#routes = routes.sort((a, b) => b.length - a.length);
  }
}

function withoutLength(prefix: string): string {
  return prefix.split('/')[0]!;
}

function canonical(address: string): string {
  return addressText(addressBytes(address));
}

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function covers(route: Route, address: Uint8Array): boolean {
  if (route.bytes.length !== address.length) return false;
  const whole = route.length >> 3;
  for (let i = 0; i < whole; i++) if (route.bytes[i] !== address[i]) return false;
  const rest = route.length & 7;
  return rest === 0 || (((route.bytes[whole]! ^ address[whole]!) >> (8 - rest)) & 0xff) === 0;
}
