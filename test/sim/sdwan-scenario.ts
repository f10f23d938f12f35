// Two Controllers and any number of branches of two organisations, factory-fresh, some behind NAT, some with IPv6, over
// imperfect links: they onboard, mesh, rekey on order, and lose and regain a Controller, and everybody still reaches
// whom the model says.
import { ReachModel } from './model.ts';
import { GOOD_LINK } from './netem.ts';
import type { Scenario } from './scenario.ts';
import { Sdwan } from './sdwan.ts';
import type { PlannedSite, SitePlan } from './sdwan-plan.ts';
import { INTERNET_TRANSPORT, planSdwan } from './sdwan-plan.ts';
import type { World } from './world.ts';

const ORGANIZATIONS = ['Acme', 'Globex'] as const;
const CONNECT_MS = 300_000;
const REACH_MS = 30_000;
const LINK = { ...GOOD_LINK, loss: 0.01, jitterMs: 3 };
const NAT_EVERY = 4;
const IPV6_EVERY = 3;

function isBehindNat(index: number): boolean {
  return index % NAT_EVERY === NAT_EVERY - 1;
}

function branch(index: number): PlannedSite {
  const organizations = [[ORGANIZATIONS[0]], [ORGANIZATIONS[1]], [...ORGANIZATIONS]][index % 3]!;
  const host = `${index >>> 8}.${index & 0xff}`;
  const addresses = [isBehindNat(index) ? '192.168.1.2/24' : `100.64.${host}/10`];
  const second = index % IPV6_EVERY === 1 ? [{ transport: INTERNET_TRANSPORT, addresses: [`2001:db8:b::${(index + 1).toString(16)}/64`] }] : [];
  return { name: `b${index + 1}`, role: 'branch', circuits: [{ transport: INTERNET_TRANSPORT, addresses }, ...second], organizations };
}

function controller(index: number): PlannedSite {
  return { name: `c${index}`, role: 'controller', circuits: [{ transport: INTERNET_TRANSPORT, addresses: [`192.0.2.${index}/24`, `2001:db8::${index}/64`] }], organizations: [] };
}

function build(world: World, branches: number): { readonly sdwan: Sdwan; readonly model: ReachModel } {
  const sites = [controller(1), controller(2), ...Array.from({ length: branches }, (_, i) => branch(i))];
  const plan = planSdwan({ organizations: ORGANIZATIONS, sites }, world.random);
  const model = new ReachModel();
  for (const site of sites) if (site.role === 'branch') model.addSite({ name: site.name, tenants: site.organizations.map((name) => ORGANIZATIONS.indexOf(name as 'Acme') + 2), transports: [INTERNET_TRANSPORT] });
  let nats = 0;
  const wireOf = (site: SitePlan): ReturnType<World['addNat']> | World['internet'] => {
    if (site.role === 'controller' || !isBehindNat(Number(site.name.slice(1)) - 1)) return world.internet;
    nats++;
    return world.addNat(`nat-${site.name}`, `198.51.${100 + (nats >>> 8)}.${nats & 0xff}`);
  };
  return { sdwan: new Sdwan(world, plan, { wireOf, staged: true }), model };
}

/** What of the model does not hold, as sentences. */
async function compare(sdwan: Sdwan, model: ReachModel, when: string): Promise<readonly string[]> {
  const broken: string[] = [];
  for (const [i, organization] of ORGANIZATIONS.entries()) {
    const must = new Set(model.pairs().filter(({ tenant, verdict }) => tenant === i + 2 && verdict === 'must').map(({ from, to }) => `${from}-${organization} > ${to}-${organization}`));
    for (const pair of await sdwan.unreached(organization, REACH_MS)) if (must.has(pair)) broken.push(`${pair}: no answer ${when}`);
  }
  return broken;
}

export const SDWAN_SCENARIO: Scenario = {
  name: 'sdwan',
  about: 'Controllers and branches of the product: onboarding, mesh, rekey, loss of a Controller',
  async run(world, { nodes }) {
    const { sdwan, model } = build(world, nodes);
    await sdwan.start();
    for (const { name } of sdwan.plan.sites) world.node(name).setQuality('eth0', LINK);
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'a connection of every branch');
    const broken = [...(await compare(sdwan, model, 'after onboarding'))];
    await world.runFor(1_000);
    for (const i of ORGANIZATIONS.keys()) sdwan.controller('c1').orderRekey(i + 2, { reason: 5, spreadSeconds: 5, deadlineSeconds: 60 });
    await world.runFor(20_000);
    broken.push(...(await compare(sdwan, model, 'after a rekey')));
    world.node('c1').powerOff();
    await world.runFor(30_000);
    broken.push(...(await compare(sdwan, model, 'while a Controller is down')));
    world.node('c1').powerOn();
    await sdwan.boot('c1');
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'the return of the Controller');
    broken.push(...(await compare(sdwan, model, 'after the return of the Controller')));
    return broken;
  },
};
