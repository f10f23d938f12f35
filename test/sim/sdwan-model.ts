// An SD-WAN of two Controllers and any number of branches of two organisations, factory-fresh, each with an IPv4
// circuit (some behind NAT) and an IPv6 one; together with the model of who must reach whom.
import { ReachModel } from './model.ts';
import type { NatBox } from './nat.ts';
import type { Wire } from './netem.ts';
import { Sdwan } from './sdwan.ts';
import type { PlannedSite, SitePlan } from './sdwan-plan.ts';
import { INTERNET_TRANSPORT, planSdwan } from './sdwan-plan.ts';
import type { World } from './world.ts';

export const ORGANIZATIONS = ['Acme', 'Globex'] as const;
const REACH_MS = 60_000;
const NAT_EVERY = 4;

function isBehindNat(index: number): boolean {
  return index % NAT_EVERY === NAT_EVERY - 1;
}

function branch(index: number): PlannedSite {
  const organizations = [[ORGANIZATIONS[0]], [ORGANIZATIONS[1]], [...ORGANIZATIONS]][index % 3]!;
  const addresses = [isBehindNat(index) ? '192.168.1.2/24' : `100.64.${index >>> 8}.${index & 0xff}/10`];
  const second = { transport: INTERNET_TRANSPORT, addresses: [`2001:db8:b::${(index + 1).toString(16)}/64`] };
  return { name: `b${index + 1}`, role: 'branch', circuits: [{ transport: INTERNET_TRANSPORT, addresses }, second], organizations };
}

function controller(index: number): PlannedSite {
  return { name: `c${index}`, role: 'controller', circuits: [{ transport: INTERNET_TRANSPORT, addresses: [`192.0.2.${index}/24`, `2001:db8::${index}/64`] }], organizations: [] };
}

export class SdwanModel {
  readonly sdwan: Sdwan;
  readonly reach = new ReachModel();
  readonly #nats = new Map<string, NatBox>();

  /** Makes the plan; `sdwan.start()` makes the nodes. */
  constructor(world: World, branches: number) {
    const sites = [controller(1), controller(2), ...Array.from({ length: branches }, (_, i) => branch(i))];
    const tenants = (site: PlannedSite): number[] => ORGANIZATIONS.flatMap((name, i) => (site.organizations.includes(name) ? [i + 2] : []));
    for (const site of sites) if (site.role === 'branch') this.reach.addSite({ name: site.name, tenants: tenants(site), transports: [INTERNET_TRANSPORT] });
    this.sdwan = new Sdwan(world, planSdwan({ organizations: ORGANIZATIONS, sites }, world.random), { wireOf: (site, i) => this.#wireOf(world, site, i), staged: true });
  }

  get nats(): readonly NatBox[] {
    return [...this.#nats.values()];
  }

  /** The name under which the internet knows a branch: its own, or its NAT's. */
  outsideOf(branchName: string): string {
    return this.#nats.get(branchName)?.name ?? branchName;
  }

  /** What of the model does not hold, as sentences. */
  async compare(when: string): Promise<readonly string[]> {
    const broken: string[] = [];
    for (const [i, organization] of ORGANIZATIONS.entries()) {
      const pairs = this.reach.pairs().filter(({ tenant, verdict }) => tenant === i + 2 && verdict === 'must');
      const must = new Set(pairs.map(({ from, to }) => `${from}-${organization} > ${to}-${organization}`));
      for (const pair of await this.sdwan.unreached(organization, REACH_MS)) if (must.has(pair)) broken.push(`${pair}: no answer ${when}`);
    }
    return broken;
  }

  #wireOf(world: World, site: SitePlan, circuit: number): Wire {
    const index = Number(site.name.slice(1)) - 1;
    if (site.role === 'controller' || circuit > 0 || !isBehindNat(index)) return world.internet;
    const nat = world.addNat(`nat-${site.name}`, `198.51.${100 + (index >>> 8)}.${index & 0xff}`);
    this.#nats.set(site.name, nat);
    return nat;
  }
}
