// The host's namespaces, addresses and routes, by iproute2. The kernel itself is the record of what is there: every
// apply reads it first, so that a device that was made anew gets its addresses again.
import { OperationalError } from '../platform/errors.ts';
import { ipBatch, ipJson, run, setParameters } from './iproute.ts';
import type { Actual, ActualDevice, ActualRoute } from './kernel-diff.ts';
import { missingDevices, planLines, ROUTE_PROTOCOL } from './kernel-diff.ts';
import type { ActualRule } from './kernel-rules.ts';
import { ruleLines } from './kernel-rules.ts';
import { OWN_NAMESPACES } from './namespace.ts';
import type { NamespaceKeeper } from './namespace.ts';
import type { Kernel, VrPlan } from './port.ts';
import { checkVrName } from './vr-name.ts';

/** Overlay paths are asymmetric and addresses are ours alone, so neither reverse path checks nor DAD apply. */
const VR_PARAMETERS: Readonly<Record<string, string>> = {
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.default.rp_filter': '0',
  'net.ipv4.conf.all.send_redirects': '0',
  'net.ipv4.conf.default.send_redirects': '0',
  'net.ipv4.conf.all.promote_secondaries': '1',
  'net.ipv4.conf.default.promote_secondaries': '1',
  'net.ipv6.conf.all.accept_dad': '0',
  'net.ipv6.conf.default.accept_dad': '0',
  'net.ipv6.conf.all.accept_ra': '0',
  'net.ipv6.conf.default.accept_ra': '0',
};

/** Kernel by iproute2; every rejection is an OperationalError that names the command, its answer and the next step. */
export class IprouteKernel implements Kernel {
  readonly #former = new Map<string, VrPlan>();
  readonly #last = new Map<string, Promise<void>>();
  readonly #namespaces: NamespaceKeeper;

  constructor(namespaces: NamespaceKeeper = OWN_NAMESPACES) {
    this.#namespaces = namespaces;
  }

  ensureVr(vr: string): Promise<void> {
    return this.#inOrder(vr, async () => {
      await this.#namespaces.make(vr);
      await ipBatch(vr, ['link set dev lo up']);
      await setParameters(vr, VR_PARAMETERS);
    });
  }

  adoptDevice(vr: string, device: string, as: string): Promise<void> {
    return this.#inOrder(vr, async () => {
      const there = (await ipJson(vr, 'link', 'show')) as ActualDevice[];
      if (there.some((known) => known.ifname === as)) return;
      // Moving renames in the same step, so that the device never bears a name that the VR already has.
      await run('ip', ['link', 'set', 'dev', device, 'netns', vr, 'name', as]);
      await ipBatch(vr, [`link set dev ${as} up`]);
    });
  }

  releaseDevice(vr: string, as: string, device: string): Promise<void> {
    return this.#inOrder(vr, async () => {
      const there = (await ipJson(vr, 'link', 'show')) as ActualDevice[];
      if (!there.some((known) => known.ifname === as)) return;
      await run('ip', ['-n', vr, 'link', 'set', 'dev', as, 'netns', `${process.pid}`, 'name', device]);
    });
  }

  apply(plan: VrPlan): Promise<void> {
    return this.#inOrder(plan.vr, async () => {
      const actual = await this.#actual(plan.vr);
      const missing = missingDevices(plan, actual);
      if (missing.length > 0) {
        const text = `virtual router ${plan.vr} has no device ${missing.join(', ')}`;
        throw new OperationalError('DEVICE_MISSING', text, 'open the TUN device or adopt the port before its addresses are set');
      }
      const former = this.#former.get(plan.vr);
      await this.#applyRules(plan);
      if (former?.forwarding !== plan.forwarding) await this.#setForwarding(plan);
      await ipBatch(plan.vr, planLines(plan, former, actual));
      this.#former.set(plan.vr, plan);
    });
  }

  removeVr(vr: string): Promise<void> {
    return this.#inOrder(vr, async () => {
      this.#former.delete(vr);
      await this.#namespaces.remove(vr);
    });
  }

  async #actual(vr: string): Promise<Actual> {
    const ours = ['route', 'show', 'table', 'main', 'proto', `${ROUTE_PROTOCOL}`];
    const [devices, routes4, routes6] = await Promise.all([
      ipJson(vr, 'addr', 'show'),
      ipJson(vr, '-4', ...ours),
      ipJson(vr, '-6', ...ours),
    ]);
    return { devices: devices as ActualDevice[], routes4: routes4 as ActualRoute[], routes6: routes6 as ActualRoute[] };
  }

  async #applyRules(plan: VrPlan): Promise<void> {
    for (const family of ['-4', '-6'] as const) {
      const lines = ruleLines(plan, (await ipJson(plan.vr, family, 'rule', 'show')) as ActualRule[], family);
      if (lines.length > 0) await run('ip', ['-n', plan.vr, family, '-batch', '-'], `${lines.join('\n')}\n`);
    }
  }

  async #setForwarding(plan: VrPlan): Promise<void> {
    const value = plan.forwarding ? '1' : '0';
    // The kernel resets other parameters when forwarding changes, so ours follow it.
    await setParameters(plan.vr, { 'net.ipv4.ip_forward': value, 'net.ipv6.conf.all.forwarding': value, ...VR_PARAMETERS });
  }

  /** Work on one virtual router happens one after the other; a failure does not stop what follows. */
  async #inOrder(vr: string, work: () => Promise<void>): Promise<void> {
    const name = checkVrName(vr);
    const mine = (this.#last.get(name) ?? Promise.resolve()).then(work);
    const settled = mine.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(name, settled);
    void settled.then(() => {
      if (this.#last.get(name) === settled) this.#last.delete(name);
    });
    return mine;
  }
}
