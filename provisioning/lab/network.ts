// Makes a topology real inside the lab's enclosure: a named namespace per router, NAT box and host, a node with its
// own view per appliance and Director, and a veth pair per wire.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, SpawnSyncReturns } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../../platform/errors.ts';
import { AddressServer } from './address-server.ts';
import { hostCommand } from './host-command.ts';
import { LabNode } from './lab-node.ts';
import { natRules } from './nat-box.ts';
import { withoutPrefix } from './topology.ts';
import type { LabTopology, NatPolicy, Place, WireEnd } from './topology.ts';

const LAN_HOST = fileURLToPath(new URL('lan-host.ts', import.meta.url));

/** Where the LAN hosts answer with their name, over TCP and UDP. */
export const HOST_PORT = 7007;

export interface NetworkOptions {
  readonly natPolicy: NatPolicy;
  /** Where the nodes keep their files and the hosts their output. */
  readonly runDirectory: string;
}

export class LabNetwork {
  readonly topology: LabTopology;
  readonly #nodes: ReadonlyMap<string, LabNode>;
  readonly #runDirectory: string;
  readonly #addressServers = new Map<string, AddressServer>();

  private constructor(topology: LabTopology, nodes: ReadonlyMap<string, LabNode>, runDirectory: string) {
    this.topology = topology;
    this.#nodes = nodes;
    this.#runDirectory = runDirectory;
  }

  /** Builds everything; what an appliance's devices carry is left to its firmware. */
  static async create(topology: LabTopology, options: NetworkOptions): Promise<LabNetwork> {
    mkdirSync(options.runDirectory, { recursive: true });
    const nodes = new Map<string, LabNode>();
    const made = topology.places.filter(hasOwnView).map((place) => LabNode.create(place.name, options.runDirectory));
    for (const node of await Promise.all(made)) nodes.set(node.name, node);
    const network = new LabNetwork(topology, nodes, options.runDirectory);
    network.#addNamespaces();
    network.#addWires();
    for (const place of topology.places) network.#configure(place, options.natPolicy);
    await network.#serveAddresses();
    return network;
  }

  /** A node by name; throws UsageError for a name that the topology does not have. */
  node(name: string): LabNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new UsageError(`There is no node ${name}; nodes are ${[...this.#nodes.keys()].join(', ')}`);
    return node;
  }

  /** What gives an appliance its WAN address; throws UsageError where nothing does. */
  addressServer(appliance: string): AddressServer {
    const server = this.#addressServers.get(appliance);
    if (server === undefined) throw new UsageError(`${appliance} has static addresses`);
    return server;
  }

  nodes(): LabNode[] {
    return [...this.#nodes.values()];
  }

  /** Runs a command in any place, appliance or not, and returns its outcome. */
  attempt(place: string, command: readonly string[], timeoutMs: number): SpawnSyncReturns<string> {
    const node = this.#nodes.get(place);
    if (node !== undefined) return node.attempt(command, timeoutMs);
    return spawnSync('ip', ['netns', 'exec', place, ...command], { encoding: 'utf8', timeout: timeoutMs });
  }

  /** Starts the LAN hosts' servers; they end with the lab. */
  startHosts(): ChildProcess[] {
    return this.topology.places
      .filter((place) => place.kind === 'host')
      .map((place) => {
        const log = openSync(join(this.#runDirectory, `${place.name}.log`), 'a');
        const server = [process.execPath, LAN_HOST, 'serve', place.name, String(HOST_PORT)];
        const child = spawn('ip', ['netns', 'exec', place.name, ...server], { stdio: ['ignore', log, log] });
        closeSync(log);
        return child;
      });
  }

  /** Asks, from one host, who is at an address; resolves with the name, or undefined when nobody answers in time. */
  ask(fromHost: string, address: string, transport: 'tcp' | 'udp', timeoutMs: number): Promise<string | undefined> {
    const question = [process.execPath, LAN_HOST, 'ask', address, String(HOST_PORT), transport, String(timeoutMs)];
    return new Promise((resolve, reject) => {
      const child = spawn('ip', ['netns', 'exec', fromHost, ...question], { stdio: ['ignore', 'pipe', 'ignore'] });
      let said = '';
      child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString('utf8')));
      child.once('error', reject);
      child.once('close', (code) => resolve(code === 0 ? said.trim() : undefined));
    });
  }

  /** Takes a wire down or up at the named end, for tests of outages. */
  setWire(place: string, device: string, state: 'up' | 'down'): void {
    hostCommand('ip', [...this.#inPlace(place), 'link', 'set', device, state]);
  }

  async #serveAddresses(): Promise<void> {
    for (const { use, ends: [near, far] } of this.topology.wires) {
      if (use.kind !== 'wan' || use.automatic === undefined) continue;
      const gateway = withoutPrefix(far.addresses.find((address) => !address.includes(':'))!);
      const server = new AddressServer({ place: far.place, device: far.device, gateway, directory: this.#runDirectory });
      this.#addressServers.set(near.place, server);
      await server.serve({ addresses: near.addresses.map(withoutPrefix).filter((address) => !address.includes(':')) });
    }
  }

  #inPlace(place: string): string[] {
    const node = this.#nodes.get(place);
    if (node !== undefined) throw new UsageError(`${place} is a node: its devices belong to its firmware`);
    return ['-n', place];
  }

  #addNamespaces(): void {
    const plain = this.topology.places.filter((place) => !hasOwnView(place));
    hostCommand('ip', ['-batch', '-'], plain.map((place) => `netns add ${place.name}\n`).join(''));
    for (const place of this.topology.places) {
      const forwarding = place.kind === 'router' || place.kind === 'nat' ? 1 : 0;
      const settings = [
        `net.ipv4.ip_forward=${forwarding}`,
        `net.ipv6.conf.all.forwarding=${forwarding}`,
        'net.ipv6.conf.all.accept_dad=0',
        'net.ipv6.conf.default.accept_dad=0',
        // An outage of a wire must not cost the addresses of its ends.
        'net.ipv6.conf.default.keep_addr_on_down=1',
      ];
      const sysctl = ['sysctl', '-q', '-w', ...settings];
      const node = this.#nodes.get(place.name);
      if (node === undefined) hostCommand('ip', ['netns', 'exec', place.name, ...sysctl]);
      else node.run(sysctl);
    }
  }

  #addWires(): void {
    const target = (end: WireEnd): string => {
      const node = this.#nodes.get(end.place);
      return `netns ${node === undefined ? end.place : node.holderPid}`;
    };
    const lines = this.topology.wires.map(
      ({ ends: [a, b] }) => `link add name ${a.device} ${target(a)} type veth peer name ${b.device} ${target(b)}\n`,
    );
    hostCommand('ip', ['-batch', '-'], lines.join(''));
  }

  #configure(place: Place, natPolicy: NatPolicy): void {
    if (place.kind === 'appliance') return;
    const ends = this.topology.wires.flatMap((wire) => wire.ends).filter((end) => end.place === place.name);
    const batch = ['link set lo up'];
    for (const end of ends) {
      for (const address of end.addresses) batch.push(`address add ${address} dev ${end.device}${address.includes(':') ? ' nodad' : ''}`);
      batch.push(`link set ${end.device} up`);
    }
    for (const gateway of place.gateways) batch.push(`route add default via ${gateway}`);
    const input = `${batch.join('\n')}\n`;
    const node = this.#nodes.get(place.name);
    if (node === undefined) hostCommand('ip', ['-n', place.name, '-batch', '-'], input);
    else node.run(['ip', '-batch', '-'], input);
    if (place.kind === 'nat') hostCommand('ip', ['netns', 'exec', place.name, 'nft', '-f', '-'], natRules(natPolicy));
  }
}

function hasOwnView(place: Place): boolean {
  return place.kind === 'appliance' || place.kind === 'director';
}
