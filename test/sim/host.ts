// A node's host as services see it: network, kernel and forwarder devices over the stacks of its virtual routers.
import { MemoryLink } from '../../drivers/memory.ts';
import type { ConnectOptions, DatagramOptions, DatagramPort, DatagramSocket, Devices, Kernel, Link, Listener, ListenOptions, Network, SocketAddress, StreamSocket, VrPlan } from '../../drivers/port.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { InternalError, OperationalError } from '../../platform/errors.ts';
import type { NodeClock } from './clock.ts';
import type { Flow } from './flow.ts';
import type { Attachment, LinkQuality, Wire } from './netem.ts';
import type { DeviceDriver } from './stack.ts';
import { Stack } from './stack.ts';
import { parsePacket } from './packet.ts';

/** The TUN end that the forwarder holds: what it writes goes to the stack at once. */
class StackLink extends MemoryLink {
  readonly #toStack: (bytes: Uint8Array) => void;

  constructor(name: string, toStack: (bytes: Uint8Array) => void) {
    super(name);
    this.#toStack = toStack;
  }

  override send(packet: Uint8Array): void {
    this.#toStack(packet.slice());
  }
}

export interface HostContext {
  readonly node: string;
  readonly clock: NodeClock;
  readonly random: SeededRandom;
  readonly flow: Flow;
}

export class SimHost implements Network, Kernel, Devices {
  readonly kind = 'memory';
  /** Called once per moment in which something waits for the forwarder: the place to run `breathe`. */
  onReadable: (() => void) | undefined;
  readonly #context: HostContext;
  readonly #main: Stack;
  readonly #vrs = new Map<string, Stack>();
  #wakeAsked = false;

  constructor(context: HostContext) {
    this.#context = context;
    this.#main = this.#newStack('');
  }

  /** The stack of a VR; undefined = the process's own. Throws when there is none. */
  stack(vr: string | undefined): Stack {
    const stack = vr === undefined ? this.#main : this.#vrs.get(vr);
    if (stack === undefined) throw new OperationalError('vr-unknown', `virtual router ${vr} does not exist on ${this.#context.node}`, 'call ensureVr first');
    return stack;
  }

  get vrs(): readonly string[] {
    return [...this.#vrs.keys()];
  }

  /** Plugs a device of the process's own namespace into a wire; a service adopts it into a VR later. */
  plug(device: string, wire: Wire, quality?: LinkQuality): Attachment {
    let current = this.#main;
    const attachment = wire.attach(this.#context.node, (packet) => current.receive(packet), quality);
    const driver: DeviceDriver & { moveTo(stack: Stack): void } = {
      transmit: (bytes, nextHop) => attachment.send(bytes, nextHop),
      setAddresses: (addresses) => attachment.setAddresses(addresses),
      moveTo: (stack) => {
        current = stack;
      },
    };
    this.#main.addDevice(device, driver);
    return attachment;
  }

  // ------------------------------------------------------------------------------------------- Network

  openDatagram(options: DatagramOptions): DatagramSocket {
    const stack = this.stack(options.vr);
    const bound = stack.bind(options.local, (bytes, remote) => options.onDatagram(bytes, remote));
    if (bound === undefined) this.#later(() => options.onError(errno('EADDRINUSE', options.local)));
    let open = bound !== undefined;
    return {
      local: bound?.local ?? options.local,
      send: (bytes, remote) => {
        if (!open) return;
        const refused = stack.sendUdp(bound!.local, remote, bytes);
        if (refused !== undefined) this.#later(() => open && options.onError(errno(refused, remote)));
      },
      close: () => {
        open = false;
        bound?.close();
      },
    };
  }

  connectStream(options: ConnectOptions): StreamSocket {
    return this.stack(options.vr).streams.connect(options);
  }

  listenStream(options: ListenOptions): Listener {
    const listener = this.stack(options.vr).streams.listen(options);
    if (listener !== undefined) return listener;
    this.#later(() => options.onError(errno('EADDRINUSE', options.local)));
    return { close() {} };
  }

  // -------------------------------------------------------------------------------------------- Kernel

  async ensureVr(vr: string): Promise<void> {
    if (!this.#vrs.has(vr)) this.#vrs.set(vr, this.#newStack(vr));
  }

  async adoptDevice(vr: string, device: string, as: string): Promise<void> {
    const stack = this.stack(vr);
    if (stack.hasDevice(as)) return;
    const driver = this.#main.removeDevice(device);
    if (driver === undefined) throw new OperationalError('device-unknown', `${this.#context.node} has no device ${device}`, 'plug the device in first');
    if ('moveTo' in driver) (driver as { moveTo(stack: Stack): void }).moveTo(stack);
    stack.addDevice(as, driver);
  }

  async releaseDevice(vr: string, as: string, device: string): Promise<void> {
    const driver = this.stack(vr).removeDevice(as);
    if (driver === undefined) return;
    if ('moveTo' in driver) (driver as { moveTo(stack: Stack): void }).moveTo(this.#main);
    this.#main.addDevice(device, driver);
  }

  async apply(plan: VrPlan): Promise<void> {
    this.stack(plan.vr).configure(plan);
  }

  async removeVr(vr: string): Promise<void> {
    this.#vrs.get(vr)?.streams.vanish();
    this.#vrs.delete(vr);
  }

  // ------------------------------------------------------------------------------------------- Devices

  openTun(vr: string, device: string, mtu: number): Link {
    const stack = this.stack(vr);
    if (stack.hasDevice(device)) throw new InternalError(`${device} is open already in ${vr}`);
    const near = new StackLink(device, (bytes) => this.#later(() => fromTun(stack, device, bytes)));
    const far = new MemoryLink(`${device} host end`);
    near.connect(far);
    const transmit = (bytes: Uint8Array): void => {
      far.send(bytes);
      this.#wake();
    };
    stack.addDevice(device, { transmit, setAddresses() {} }, mtu);
    const close = near.close.bind(near);
    near.close = () => {
      close();
      stack.removeDevice(device);
    };
    return near;
  }

  openUdp(vr: string, local: SocketAddress): DatagramPort {
    return this.stack(vr).hub.open('udp', local);
  }

  openEsp(vr: string, address: string): DatagramPort {
    return this.stack(vr).hub.open('esp', { address, port: 0 });
  }

  // ----------------------------------------------------------------------------------------------------

  /** The power fails: sockets, streams and VRs are gone without a word. */
  vanish(): void {
    for (const stack of [this.#main, ...this.#vrs.values()]) stack.streams.vanish();
    this.#vrs.clear();
    this.onReadable = undefined;
  }

  #newStack(vr: string): Stack {
    const { node, clock, random, flow } = this.#context;
    const name = vr === '' ? node : `${node} ${vr}`;
    const stack = new Stack(name, { clock, random: random.fork(`stack ${vr}`), flow });
    stack.onPortReadable = () => this.#wake();
    return stack;
  }

  #wake(): void {
    if (this.#wakeAsked) return;
    this.#wakeAsked = true;
    this.#later(() => {
      this.#wakeAsked = false;
      this.onReadable?.();
    });
  }

  #later(run: () => void): void {
    this.#context.clock.at(this.#context.clock.now(), run);
  }
}

function fromTun(stack: Stack, device: string, bytes: Uint8Array): void {
  const packet = parsePacket(bytes);
  if (packet !== undefined && stack.hasDevice(device)) stack.receive(packet);
}

function errno(code: string, address: SocketAddress): Error {
  return Object.assign(new Error(`${code}: ${address.address}:${address.port}`), { code });
}
