// Brings the host to a Plan: namespaces, adopted ports, addresses and routes, and the matching part of the forwarding
// state, in the order that the kernel needs (a TUN device exists before it gets addresses, an address before a socket).
import type { Logger } from '../../platform/log.ts';
import { OperationalError } from '../../platform/errors.ts';
import { deviceName, type OutsideSpec } from '../model.ts';
import type { ForwardingService } from './forwarding.ts';
import type { Site } from './service.ts';
import type { Plan } from './vr-plan.ts';

/** Interface name (`vni-0/0`) -> device of the box that carries it (`eth0`). */
export type InterfaceMap = ReadonlyMap<string, string>;

export class VirtualRouters {
  readonly #site: Site;
  readonly #forwarding: ForwardingService;
  readonly #interfaces: InterfaceMap;
  readonly #log: Logger;
  /** Interface name -> the VR that has it. */
  readonly #adopted = new Map<string, string>();
  readonly #plans = new Map<string, Plan>();
  /** Every VR that this process has made, or found. */
  readonly #made = new Set<string>();
  /** What each owner's ports are in the forwarding state now. */
  readonly #outsides = new Map<string, readonly OutsideSpec[]>();
  /** What each owner's plan last brought the kernel to, without a refusal. */
  readonly #settled = new Map<string, string>();
  #last: Promise<void> = Promise.resolve();

  constructor(site: Site, forwarding: ForwardingService, interfaces: InterfaceMap) {
    this.#site = site;
    this.#forwarding = forwarding;
    this.#interfaces = interfaces;
    this.#log = site.log.channel('service');
    forwarding.onEvent((event) => event.kind === 'device-renewed' && this.#renew(event.vr));
  }

  /** Gives a virtual router everything again that its plans say, after the plans that were to be applied before. */
  #renew(vr: string): void {
    this.#last = this.#last.then(async () => {
      for (const plan of [...this.#plans.values()].flatMap(({ vrs }) => vrs).filter((each) => each.vr === vr)) {
        await this.#site.kernel.apply(plan).catch((error: Error) => {
          const nextStep = error instanceof OperationalError ? error.nextStep : 'it is tried again with the next configuration';
          this.#log.warning('virtual router could not be renewed', { vr, cause: error.message, nextStep });
        });
      }
    });
  }

  /** Applies one owner's plan; plans are applied one after the other. Rejects with an OperationalError of the kernel. */
  apply(owner: string, plan: Plan): Promise<void> {
    const run = this.#last.then(() => this.#apply(owner, plan));
    this.#last = run.catch(() => undefined);
    return run;
  }

  /** Takes one owner's part out of the forwarding state, after the plans that were to be applied before. */
  remove(owner: string): void {
    this.#last = this.#last.then(() => {
      this.#outsides.delete(owner);
      this.#plans.delete(owner);
      this.#settled.delete(owner);
      this.#forwarding.removePart(owner);
    });
  }

  /**
   * Removes the virtual routers that no plan has any more, after the plans that were to be applied before; their ports go
   * back to the box. To be called when nothing of the control plane uses them any longer. What the kernel refuses is
   * logged and tried again the next time.
   */
  prune(): Promise<void> {
    this.#last = this.#last.then(() => this.#prune());
    return this.#last;
  }

  async #prune(): Promise<void> {
    const wanted = new Set([...this.#plans.values()].flatMap((plan) => plan.vrs.map(({ vr }) => vr)));
    for (const vr of [...this.#made]) {
      if (wanted.has(vr)) continue;
      try {
        for (const [name, holder] of [...this.#adopted]) if (holder === vr) await this.#release(name);
        await this.#site.kernel.removeVr(vr);
      } catch (error) {
        const nextStep = error instanceof OperationalError ? error.nextStep : 'it is tried again with the next configuration';
        this.#log.warning('virtual router could not be removed', { vr, cause: (error as Error).message, nextStep });
        continue;
      }
      this.#made.delete(vr);
      this.#log.info('virtual router removed', { vr });
    }
  }

  async #apply(owner: string, plan: Plan): Promise<void> {
    const former = this.#plans.get(owner);
    this.#plans.set(owner, plan);
    for (const { vr } of plan.vrs) {
      await this.#site.kernel.ensureVr(vr);
      this.#made.add(vr);
    }
    for (const { name, vr } of former?.adoptions ?? []) {
      if (!plan.adoptions.some((now) => now.name === name && now.vr === vr)) await this.#release(name);
    }
    for (const { vr, name } of plan.adoptions) await this.#adopt(vr, name);
    // Ports whose addresses stay are not closed meanwhile, also when the kernel refuses the rest.
    const wanted = plan.part.outsides ?? [];
    const kept = (this.#outsides.get(owner) ?? []).filter((before) => wanted.some((now) => JSON.stringify(now) === JSON.stringify(before)));
    // What the network gave is in the kernel already: then nothing is waited for.
    const vrs = JSON.stringify(plan.vrs);
    const isReady = this.#settled.get(owner) === vrs;
    this.#settled.delete(owner);
    this.#publish(owner, plan, isReady ? wanted : kept);
    for (const vr of plan.vrs) await this.#site.kernel.apply(vr);
    this.#settled.set(owner, vrs);
    if (!isReady && wanted.length > kept.length) this.#publish(owner, plan, wanted);
    this.#log.info('virtual routers configured', { owner, vrs: plan.vrs.map((v) => v.vr).join(',') });
  }

  #publish(owner: string, plan: Plan, outsides: readonly OutsideSpec[]): void {
    this.#outsides.set(owner, outsides);
    this.#forwarding.setPart(owner, { ...plan.part, outsides });
    this.#forwarding.flush();
  }

  async #adopt(vr: string, name: string): Promise<void> {
    if (this.#adopted.has(name)) return;
    const device = this.#interfaces.get(name);
    if (device === undefined) {
      throw new OperationalError(
        'interface-unknown',
        `interface ${name} is configured but no device of this box is mapped to it`,
        `add { "name": "${name}", "device": ... } to "interfaces" of the appliance's configuration file`,
      );
    }
    await this.#site.kernel.adoptDevice(vr, device, deviceName(name));
    this.#adopted.set(name, vr);
  }

  async #release(name: string): Promise<void> {
    const vr = this.#adopted.get(name);
    if (vr === undefined) return;
    await this.#site.kernel.releaseDevice(vr, deviceName(name), this.#interfaces.get(name)!);
    this.#adopted.delete(name);
  }
}
