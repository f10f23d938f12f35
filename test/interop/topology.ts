// The network of one case: both ends' namespaces, and between them a wire, or one NAT or two. The wire in the middle may
// be a bad one (lossy-link.ts).
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { strict as assert } from 'node:assert';
import { COMPILE_CACHE } from '../system/ike-peer-handle.ts';
import { TestNetwork } from '../system/namespaces.ts';
import type { VethEnd } from '../system/namespaces.ts';
import type { PathKind, Role } from './row.ts';

export type Side = 'ours' | 'theirs';

export const INSIDE = {
  ours: { ipv4: '10.101.0.1', ipv6: 'fd00:101::1' },
  theirs: { ipv4: '10.102.0.1', ipv6: 'fd00:102::1' },
} as const;

const DIRECT = {
  direct: { ours: '192.0.2.1', theirs: '192.0.2.2', bits: 24 },
  IPv6: { ours: '2001:db8::1', theirs: '2001:db8::2', bits: 64 },
} as const;
/** Behind NATs: an end, its NAT's two addresses, and the one that the initiator's NAT has later. */
const INITIATOR = { inner: '192.0.2.1', gateway: '192.0.2.254', outer: '198.51.100.1' };
const RESPONDER = { inner: '203.0.113.1', gateway: '203.0.113.254', outer: '198.51.100.2' };
export const INITIATOR_NAT_LATER = '198.51.100.3';

const LINK_SCRIPT = fileURLToPath(new URL('lossy-link.ts', import.meta.url));
export const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];

export interface TopologyOptions {
  readonly path: PathKind;
  readonly role: Role;
  /** Seed of the bad wire; undefined: a good one. */
  readonly lossySeed: string | undefined;
}

export class Topology {
  readonly network = new TestNetwork();
  readonly wan: Readonly<Record<Side, string>>;
  /** Where our end's TUN device is. */
  readonly vr: string;
  readonly #options: TopologyOptions;
  readonly #initiator: Side;

  private constructor(options: TopologyOptions) {
    this.#options = options;
    this.#initiator = options.role === 'initiator' ? 'ours' : 'theirs';
    this.wan = { ours: this.network.addNamespace('ours'), theirs: this.network.addNamespace('theirs') };
    this.vr = this.network.addNamespace('ours-vr');
    for (const inside of [`${INSIDE.theirs.ipv4}/32`, `${INSIDE.theirs.ipv6}/128`]) this.network.run(this.wan.theirs, ['ip', 'address', 'add', inside, 'dev', 'lo']);
  }

  static async make(options: TopologyOptions): Promise<Topology> {
    const topology = new Topology(options);
    try {
      await topology.#connect();
    } catch (error) {
      await topology.network.close();
      throw error;
    }
    return topology;
  }

  async #connect(): Promise<void> {
    const { path } = this.#options;
    if (path === 'direct' || path === 'IPv6') return this.#wire(this.#end('ours'), this.#end('theirs'));
    const responder = this.#initiator === 'ours' ? 'theirs' : 'ours';
    const near = this.#nat(this.#initiator, 'nat', INITIATOR, '');
    const far = path === 'NAT' ? this.#end(responder) : this.#nat(responder, 'far-nat', RESPONDER, `iifname "outer" udp dport { 500, 4500 } dnat to ${RESPONDER.inner};`);
    await this.#wire(near, far);
  }

  #end(side: Side): VethEnd {
    const { path } = this.#options;
    return { namespace: this.wan[side], device: 'wan', addresses: [`${this.address(side)}/${path === 'IPv6' ? DIRECT.IPv6.bits : DIRECT.direct.bits}`] };
  }

  /** Puts a NAT in front of an end; returns where the NAT is to be connected. */
  #nat(side: Side, label: string, addresses: typeof INITIATOR, forwarded: string): VethEnd {
    const nat = this.network.addNamespace(label);
    this.network.addVeth(this.#end(side), { namespace: nat, device: 'inner', addresses: [`${addresses.gateway}/24`] });
    this.network.run(this.wan[side], ['ip', 'route', 'add', 'default', 'via', addresses.gateway]);
    const chains = `
      chain in { type nat hook prerouting priority -100; ${forwarded} }
      chain out { type nat hook postrouting priority 100; oifname "outer" masquerade; }`;
    this.network.run(nat, ['nft', '-f', '-'], `table ip nat {${chains}\n}\n`);
    return { namespace: nat, device: 'outer', addresses: [`${addresses.outer}/24`] };
  }

  async #wire(a: VethEnd, b: VethEnd): Promise<void> {
    const { lossySeed } = this.#options;
    if (lossySeed === undefined) return this.network.addVeth(a, b);
    const script = [...NODE, LINK_SCRIPT, lossySeed, a.namespace, a.device, b.namespace, b.device];
    const link = this.network.spawn(a.namespace, script, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...COMPILE_CACHE } });
    await new Promise<void>((resolve, reject) => {
      createInterface(link.stdout!).once('line', () => resolve());
      link.once('exit', (code) => reject(new Error(`the lossy link ended with ${code}`)));
    });
    for (const end of [a, b]) for (const address of end.addresses) this.network.run(end.namespace, ['ip', 'address', 'add', address, 'dev', end.device]);
  }

  address(side: Side): string {
    const { path } = this.#options;
    if (path === 'direct' || path === 'IPv6') return DIRECT[path][side];
    if (side === this.#initiator) return INITIATOR.inner;
    return path === 'NAT' ? RESPONDER.outer : RESPONDER.inner;
  }

  /** How the other end sees this one. */
  seen(side: Side): string {
    const { path } = this.#options;
    if (path === 'direct' || path === 'IPv6') return DIRECT[path][side];
    return side === this.#initiator ? INITIATOR.outer : RESPONDER.outer;
  }

  /** One more address of an end, on the network that it is in. */
  addAddress(side: Side): string {
    const { path } = this.#options;
    const later = path === 'IPv6' ? `${this.address(side)}1` : this.address(side).replace(/\.(\d+)$/, '.1$1');
    const bits = path === 'IPv6' ? DIRECT.IPv6.bits : DIRECT.direct.bits;
    // Else the kernel takes the new address away together with the old one.
    this.network.run(this.wan[side], ['sysctl', '-q', '-w', 'net.ipv4.conf.all.promote_secondaries=1', 'net.ipv4.conf.wan.promote_secondaries=1']);
    this.network.run(this.wan[side], ['ip', 'address', 'add', `${later}/${bits}`, 'dev', 'wan', ...(path === 'IPv6' ? ['nodad'] : [])]);
    return later;
  }

  /** An end loses the address that it began with. */
  dropAddress(side: Side): void {
    const { path } = this.#options;
    this.network.run(this.wan[side], ['ip', 'address', 'delete', `${this.address(side)}/${path === 'IPv6' ? DIRECT.IPv6.bits : DIRECT.direct.bits}`, 'dev', 'wan']);
  }

  /** The initiator's NAT forgets its mappings and has another address from now on. */
  moveNat(): void {
    const { path } = this.#options;
    assert.ok(path === 'NAT' || path === 'double NAT', 'there is a NAT');
    const nat = this.network.namespace('nat');
    // Masquerading drops what it knows when its address goes.
    this.network.run(nat, ['ip', 'address', 'delete', `${INITIATOR.outer}/24`, 'dev', 'outer']);
    this.network.run(nat, ['ip', 'address', 'add', `${INITIATOR_NAT_LATER}/24`, 'dev', 'outer']);
  }
}
