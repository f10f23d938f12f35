// The network alone: every node calls its neighbours over lossy links, some from behind a NAT, until all have answered.
import type { DatagramSocket } from '../../drivers/port.ts';
import type { Site } from '../../firmware/services/service.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { after } from '../../platform/time.ts';
import { GOOD_LINK } from './netem.ts';
import type { Scenario } from './scenario.ts';
import type { World } from './world.ts';

const PORT = 4790;
const CALL_MS = 1000;
const LIMIT_MS = 120_000;
const NEIGHBOURS = 4;
/** Every one of so many nodes is behind a NAT of its own. */
const NAT_EVERY = 5;
const LOSSY = { ...GOOD_LINK, loss: 0.05, jitterMs: 5, reorder: 0.02, duplicate: 0.01 };

/** Calls every peer until it has answered. */
class Caller {
  readonly missing: Set<string>;
  readonly #site: Site;
  readonly #socket: DatagramSocket;

  constructor(site: Site, local: string, peers: readonly string[]) {
    this.#site = site;
    this.missing = new Set(peers);
    this.#socket = site.network.openDatagram({
      vr: undefined,
      local: { address: local, port: PORT },
      onDatagram: (bytes, remote) => {
        if (fromUtf8(bytes) === 'call') this.#socket.send(utf8('answer'), remote);
        else this.missing.delete(remote.address);
      },
      onError: (error) => site.log.channel('service').warning('datagram not sent', { cause: error.message }),
    });
    this.#call();
  }

  #call(): void {
    for (const address of this.missing) this.#socket.send(utf8('call'), { address, port: PORT });
    if (this.missing.size > 0) this.#site.clock.at(after(this.#site.clock.now(), CALL_MS), () => this.#call());
  }
}

function isBehindNat(index: number): boolean {
  return index % NAT_EVERY === NAT_EVERY - 1;
}

function addressOf(index: number): string {
  return isBehindNat(index) ? '192.168.0.2' : `10.${index >>> 16}.${(index >>> 8) & 0xff}.${index & 0xff}`;
}

async function addCaller(world: World, index: number, nodes: number): Promise<Caller> {
  const node = world.addNode(`n${index}`);
  const address = addressOf(index);
  const wire = isBehindNat(index) ? world.addNat(`nat${index}`, `172.${16 + (index >>> 16)}.${(index >>> 8) & 0xff}.${index & 0xff}`) : world.internet;
  node.plug('eth0', wire, LOSSY);
  node.host.stack(undefined).configure({ vr: '', devices: [{ device: 'eth0', addresses: [`${address}/32`], mtu: 1500 }], routes: [{ prefix: '0.0.0.0/0', device: 'eth0' }], forwarding: false });
  const neighbours = Array.from({ length: NEIGHBOURS }, (_, i) => (index + i + 1) % nodes);
  return new Caller(node.site, address, neighbours.filter((each) => each !== index && !isBehindNat(each)).map(addressOf));
}

export const UNDERLAY_SCENARIO: Scenario = {
  name: 'underlay',
  about: 'nodes, NATs and lossy links without any service of the product',
  async run(world, { nodes }) {
    const callers: Caller[] = [];
    for (let i = 0; i < nodes; i++) callers.push(await addCaller(world, i, nodes));
    await world.settle(() => callers.every(({ missing }) => missing.size === 0), LIMIT_MS, 'an answer from every neighbour');
    return [];
  },
};
