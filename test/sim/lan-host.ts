// A computer on a LAN: answers UDP port 7 with its own name, and asks others for theirs.
import type { Segment, WireContext } from './netem.ts';
import { Stack } from './stack.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';

const ECHO_PORT = 7;

export interface LanHostOptions {
  /** With prefix length, at most one per family. */
  readonly addresses: readonly string[];
  /** The box's LAN addresses. */
  readonly gateways: readonly string[];
}

export class LanHost {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly #stack: Stack;
  readonly #answers = new Map<string, string>();
  readonly #ask: (destination: string) => void;

  constructor(name: string, context: WireContext, segment: Segment, options: LanHostOptions) {
    this.name = name;
    this.addresses = options.addresses.map((address) => address.split('/')[0]!);
    this.#stack = new Stack(name, { ...context, random: context.random.fork(`host ${name}`) });
    const attachment = segment.attach(name, (packet) => this.#stack.receive(packet));
    this.#stack.addDevice('eth0', { transmit: (bytes, nextHop) => attachment.send(bytes, nextHop), setAddresses: (addresses) => attachment.setAddresses(addresses) });
    this.#stack.configure({
      vr: name,
      devices: [{ device: 'eth0', addresses: options.addresses, mtu: 1500 }],
      routes: options.gateways.map((via) => ({ prefix: 'default', device: 'eth0', via })),
      forwarding: false,
    });
    const any = '::';
    this.#stack.bind({ address: any, port: ECHO_PORT }, (bytes, remote) => {
      const local = this.#stack.sourceFor(remote.address);
      if (local !== undefined) this.#stack.sendUdp({ address: local, port: ECHO_PORT }, remote, utf8(`${fromUtf8(bytes)} ${this.name}`));
    });
    const asking = this.#stack.bind({ address: any, port: 0 }, (bytes, remote) => {
      const [asker, answer] = fromUtf8(bytes).split(' ');
      if (asker === this.name && answer !== undefined) this.#answers.set(remote.address, answer);
    })!;
    this.#ask = (destination) => void this.#stack.sendUdp(asking.local, { address: destination, port: ECHO_PORT }, utf8(this.name));
  }

  /** Sends one question; `answerOf` has the answer once it is there. */
  ask(destination: string): void {
    this.#answers.delete(destination);
    this.#ask(destination);
  }

  /** The name of whoever answered from this address to the last question. */
  answerOf(destination: string): string | undefined {
    return this.#answers.get(destination);
  }
}
