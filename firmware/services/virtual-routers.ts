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
  readonly #adopted = new Set<string>();
  /** What each owner's ports are in the forwarding state now. */
  readonly #outsides = new Map<string, readonly OutsideSpec[]>();
  #last: Promise<void> = Promise.resolve();

  constructor(site: Site, forwarding: ForwardingService, interfaces: InterfaceMap) {
    this.#site = site;
    this.#forwarding = forwarding;
    this.#interfaces = interfaces;
    this.#log = site.log.channel('service');
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
      this.#forwarding.removePart(owner);
    });
  }

  async #apply(owner: string, plan: Plan): Promise<void> {
    for (const { vr } of plan.vrs) await this.#site.kernel.ensureVr(vr);
    for (const { vr, name } of plan.adoptions) await this.#adopt(vr, name);
    // Ports whose addresses stay are not closed meanwhile, also when the kernel refuses the rest.
    const wanted = plan.part.outsides ?? [];
    const kept = (this.#outsides.get(owner) ?? []).filter((before) => wanted.some((now) => JSON.stringify(now) === JSON.stringify(before)));
    this.#publish(owner, plan, kept);
    for (const vr of plan.vrs) await this.#site.kernel.apply(vr);
    if (wanted.length > kept.length) this.#publish(owner, plan, wanted);
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
    this.#adopted.add(name);
  }
}
