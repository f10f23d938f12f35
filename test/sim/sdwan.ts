// A whole SD-WAN of the product's own services in a simulated world. Director is played by the scenario: it hands out
// the documents of a plan.
import { createBurst } from '../../drivers/burst.ts';
import type { Burst } from '../../drivers/burst.ts';
import type { BranchHooks } from '../../firmware/services/branch.ts';
import { BranchControl } from '../../firmware/services/branch.ts';
import type { BranchConnect, BranchFailed } from '../../firmware/services/controller.ts';
import { ControllerControl } from '../../firmware/services/controller.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import { VirtualRouters } from '../../firmware/services/virtual-routers.ts';
import { after } from '../../platform/time.ts';
import { SimForwarder } from './forwarder.ts';
import type { LanHost } from './lan-host.ts';
import type { Wire } from './netem.ts';
import type { SimNode } from './node.ts';
import type { SdwanPlan, SitePlan } from './sdwan-plan.ts';
import type { World } from './world.ts';

/** How long Director takes to configure a branch that has connected for the first time. */
const DIRECTOR_MS = 500;

export interface SdwanOptions {
  /** What circuit `index` of a site is plugged into. */
  readonly wireOf: (site: SitePlan, index: number) => Wire;
  /** Branches start from their prestaging record, instead of with their configuration. */
  readonly staged: boolean;
}

interface Running {
  readonly control: BranchControl | ControllerControl;
  readonly forwarder: SimForwarder;
}

export class Sdwan {
  readonly plan: SdwanPlan;
  readonly connected: BranchConnect[] = [];
  readonly failed: BranchFailed[] = [];
  readonly #world: World;
  readonly #options: SdwanOptions;
  readonly #running = new Map<string, Running>();
  readonly #hosts = new Map<string, LanHost>();
  readonly #bursts: readonly [Burst, Burst] = [createBurst(), createBurst()];

  constructor(world: World, plan: SdwanPlan, options: SdwanOptions) {
    this.#world = world;
    this.plan = plan;
    this.#options = options;
  }

  /** Makes every node with its cables and LAN hosts, and starts Controllers, then branches. */
  async start(): Promise<void> {
    for (const site of this.plan.sites) this.#addNode(site);
    for (const role of ['controller', 'branch'] as const) {
      for (const site of this.plan.sites) if (site.role === role) await this.boot(site.name);
    }
  }

  /** Starts the services of a node that is on. */
  async boot(name: string): Promise<void> {
    const site = this.site(name);
    const node = this.#world.node(name);
    const forwarder = new SimForwarder(node, { bursts: this.#bursts, capacity: { tunnels: 2 * this.plan.sites.length * 4 + 64, sas: 8 * this.plan.sites.length * 4 + 64 } });
    const forwarding = new ForwardingService(node.site, forwarder);
    const routers = new VirtualRouters(node.site, forwarding, site.interfaces);
    await forwarding.start();
    if (site.role === 'controller') await this.#bootController(site, node, forwarding, routers, forwarder);
    else await this.#bootBranch(site, node, forwarding, routers, forwarder);
  }

  site(name: string): SitePlan {
    const site = this.plan.sites.find((each) => each.name === name);
    if (site === undefined) throw new Error(`the plan has no site ${name}`);
    return site;
  }

  get branches(): readonly string[] {
    return this.plan.sites.filter(({ role }) => role === 'branch').map(({ name }) => name);
  }

  branch(name: string): BranchControl {
    return this.#control(name) as BranchControl;
  }

  controller(name: string): ControllerControl {
    return this.#control(name) as ControllerControl;
  }

  forwarder(name: string): SimForwarder {
    return this.#running.get(name)!.forwarder;
  }

  host(branch: string, organization: string): LanHost {
    return this.#hosts.get(`${branch} ${organization}`)!;
  }

  /** Every branch has its control tunnels and BGP sessions. */
  isConnected(): boolean {
    return this.branches.every((name) => {
      const running = this.#running.get(name);
      const status = running === undefined ? undefined : (running.control as BranchControl).controlStatus();
      return status?.controlTunnels === 'up' && status.bgp === 'up';
    });
  }

  /** What is missing for `isConnected`, for messages. */
  missing(): string {
    return this.branches.map((name) => `${name}: ${this.branch(name).controlStatus().detail}`).join('\n');
  }

  /** Ordered pairs of hosts of one organisation, at branches that are on, of which the first gets no answer from the second. */
  async unreached(organization: string, limitMs = 3_000): Promise<readonly string[]> {
    const members = this.branches.filter((name) => this.#hosts.has(`${name} ${organization}`) && this.#world.node(name).isOn);
    const pairs = members.flatMap((from) => members.filter((to) => to !== from).map((to) => ({ from: this.host(from, organization), to: this.host(to, organization) })));
    const answered = (): boolean => pairs.every(({ from, to }) => from.answerOf(to.addresses[0]!) === to.name);
    const end = this.#world.now + limitMs;
    for (const { from, to } of pairs) from.ask(to.addresses[0]!);
    while (!answered() && this.#world.now < end) {
      await this.#world.runFor(250);
      for (const { from, to } of pairs) if (from.answerOf(to.addresses[0]!) === undefined) from.ask(to.addresses[0]!);
    }
    return pairs.filter(({ from, to }) => from.answerOf(to.addresses[0]!) !== to.name).map(({ from, to }) => `${from.name} > ${to.name}`);
  }

  #control(name: string): BranchControl | ControllerControl {
    const running = this.#running.get(name);
    if (running === undefined) throw new Error(`${name} does not run`);
    return running.control;
  }

  #addNode(site: SitePlan): void {
    const node = this.#world.addNode(site.name);
    site.configuration.circuits.forEach((circuit, i) => node.plug(site.interfaces.get(circuit.name)!, this.#options.wireOf(site, i)));
    for (const { organization, device, network } of site.lans) {
      const segment = this.#world.addSegment(`${site.name} ${organization}`);
      node.plug(device, segment);
      const host = this.#world.addLanHost(`${site.name}-${organization}`, segment, { addresses: [`${network}.10/24`], gateways: [`${network}.1`] });
      this.#hosts.set(`${site.name} ${organization}`, host);
    }
  }

  async #bootController(site: SitePlan, node: SimNode, forwarding: ForwardingService, routers: VirtualRouters, forwarder: SimForwarder): Promise<void> {
    const control = new ControllerControl(node.site, forwarding, routers, {
      certificateSeen: () => undefined,
      branchConnect: (facts) => this.#configure(facts),
      branchFailed: (facts) => this.failed.push(facts),
    });
    this.#running.set(site.name, { control, forwarder });
    await control.start();
    await control.applyConfiguration(site.configuration, site.identity);
    await control.applyDirectory(this.plan.directory);
  }

  async #bootBranch(site: SitePlan, node: SimNode, forwarding: ForwardingService, routers: VirtualRouters, forwarder: SimForwarder): Promise<void> {
    const hooks: BranchHooks = {
      stagingUp: () => undefined,
      stagingDown: (cause) => this.#world.flow.note(this.#world.now, site.name, `staging down: ${cause}`),
      revocationOrdered: () => undefined,
      certificateSeen: () => undefined,
      changed: () => undefined,
    };
    const control = new BranchControl(node.site, forwarding, routers, hooks);
    this.#running.set(site.name, { control, forwarder });
    await control.start();
    // A box that was configured once keeps its configuration over a reboot.
    const isFresh = this.#options.staged && !this.connected.some(({ serial }) => serial === site.configuration.device.serial);
    if (isFresh) await control.startStaging(site.prestaging!);
    else await control.applyConfiguration(site.configuration, site.identity);
  }

  /** Director's part of onboarding: the branch that connected gets its configuration. */
  #configure(facts: BranchConnect): void {
    const site = this.plan.sites.find(({ configuration }) => configuration.device.serial === facts.serial);
    if (site === undefined || this.connected.some(({ serial }) => serial === facts.serial)) return;
    this.connected.push(facts);
    const node = this.#world.node(site.name);
    node.site.clock.at(after(this.#world.now, DIRECTOR_MS), () => {
      this.branch(site.name)
        .applyConfiguration(site.configuration, site.identity)
        .catch((error: Error) => this.#world.flow.note(this.#world.now, site.name, `configuration failed: ${error.message}`));
    });
  }
}
