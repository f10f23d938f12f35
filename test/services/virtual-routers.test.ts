// What the forwarder is told while the kernel is brought to a plan.
import { deepStrictEqual, rejects } from 'node:assert/strict';
import type { CircuitConfiguration } from '../../firmware/configuration.ts';
import type { ForwardingState } from '../../firmware/model.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import type { Site } from '../../firmware/services/service.ts';
import { VirtualRouters } from '../../firmware/services/virtual-routers.ts';
import { circuitPlan, stagingPlan } from '../../firmware/services/vr-plan.ts';
import { SinkLog } from '../../platform/log.ts';
import { ManualClock } from './manual-clock.ts';

const FIRST: CircuitConfiguration = { id: 1, name: 'vni-0/0', transport: 'A', addresses: ['192.0.2.1/24'], gateways: [] };
const SECOND: CircuitConfiguration = { id: 2, name: 'vni-0/1', transport: 'B', addresses: ['198.51.100.1/24'], gateways: [] };

/** `outsides` and `insides` are what each version of the forwarding state had. */
function make(): { routers: VirtualRouters; forwarding: ForwardingService; outsides: string[]; insides: string[]; handle: ForwarderHandle; kernel: { fails: boolean; calls: string[]; applied: string[] } } {
  const [outsides, insides]: string[][] = [[], []];
  const kernel = {
    fails: false,
    calls: [] as string[],
    applied: [] as string[],
    ensureVr: async () => undefined,
    adoptDevice: async (vr: string, device: string, as: string) => void kernel.calls.push(`adopt ${device} ${vr} ${as}`),
    releaseDevice: async (vr: string, as: string, device: string) => void kernel.calls.push(`release ${vr} ${as} ${device}`),
    removeVr: async (vr: string) => {
      if (kernel.fails) throw new Error('refused by the kernel');
      kernel.calls.push(`remove ${vr}`);
    },
    apply: async ({ vr }: { vr: string }) => {
      if (kernel.fails) throw new Error('refused by the kernel');
      kernel.applied.push(vr);
    },
  };
  const site = { clock: new ManualClock(), log: new SinkLog([], () => 0), kernel } as unknown as Site;
  const apply = (state: ForwardingState): void => {
    outsides!.push(state.outsides.flatMap((o) => o.addresses).join(' '));
    insides!.push(state.insides.map((i) => i.name).join(' '));
  };
  const handle = { apply } as unknown as ForwarderHandle;
  const forwarding = new ForwardingService(site, handle);
  const routers = new VirtualRouters(site, forwarding, new Map([['vni-0/0', 'eth0'], ['vni-0/1', 'eth1']]));
  return { routers, forwarding, outsides: outsides!, insides: insides!, handle, kernel };
}

describe('services/virtual-routers', () => {
  it('keeps the ports of unchanged circuits open while a newer configuration is applied', async () => {
    const { routers, forwarding, outsides } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    await routers.apply('circuits', circuitPlan([FIRST], idFor));
    outsides.length = 0;
    await routers.apply('circuits', circuitPlan([FIRST, SECOND], idFor));
    deepStrictEqual(outsides, ['192.0.2.1', '192.0.2.1 198.51.100.1']);
  });

  it('opens the ports of addresses that the network gave without waiting for the kernel, which has them', async () => {
    const { routers, forwarding, outsides, kernel } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    const circuit: CircuitConfiguration = { ...FIRST, addresses: [], automatic: ['dhcp', 'slaac'] };
    await routers.apply('circuits', circuitPlan([circuit], idFor, () => ['192.0.2.50/24', '2001:db8::a/64']));
    outsides.length = 0;
    await routers.apply('circuits', circuitPlan([circuit], idFor, () => ['2001:db8::a/64']));
    deepStrictEqual(outsides, ['2001:db8::a']);
    kernel.fails = true;
    await rejects(routers.apply('circuits', circuitPlan([circuit], idFor, () => [])));
    kernel.fails = false;
    outsides.length = 0;
    await routers.apply('circuits', circuitPlan([circuit], idFor, () => ['192.0.2.50/24']));
    deepStrictEqual(outsides, ['', '192.0.2.50'], 'after a refusal the kernel comes first again');
  });

  it('keeps them open when the kernel refuses the newer configuration', async () => {
    const { routers, forwarding, outsides, kernel } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    await routers.apply('circuits', circuitPlan([FIRST], idFor));
    kernel.fails = true;
    await rejects(routers.apply('circuits', circuitPlan([FIRST, SECOND], idFor)));
    deepStrictEqual(outsides.at(-1), '192.0.2.1');
  });

  it('removes a part also when its plan is still being applied', async () => {
    // apply(staging) begins --> remove(staging) --> apply(staging) goes on
    const { routers, forwarding, insides } = make();
    const applied = routers.apply('staging', stagingPlan('Provider', 1, '172.30.0.2', [], (key) => forwarding.idFor(key)));
    routers.remove('staging');
    await applied;
    await routers.apply('circuits', circuitPlan([], (key) => forwarding.idFor(key)));
    deepStrictEqual(insides.at(-1), '');
  });

  it('removes a virtual router that no plan has any more, once, and gives its ports back first', async () => {
    const { routers, forwarding, kernel } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    await routers.apply('circuits', circuitPlan([FIRST, SECOND], idFor));
    await routers.apply('circuits', circuitPlan([FIRST], idFor));
    kernel.calls.length = 0;
    await routers.prune();
    await routers.prune();
    deepStrictEqual(kernel.calls, ['remove B-Transport-VR']);
    await routers.apply('circuits', circuitPlan([FIRST, SECOND], idFor));
    deepStrictEqual(kernel.calls.at(-1), 'adopt eth1 B-Transport-VR vni-0_1');
  });

  it('moves a port whose circuit has another transport now', async () => {
    const { routers, forwarding, kernel } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    await routers.apply('circuits', circuitPlan([FIRST], idFor));
    await routers.apply('circuits', circuitPlan([{ ...FIRST, transport: 'B' }], idFor));
    deepStrictEqual(kernel.calls, ['adopt eth0 A-Transport-VR vni-0_0', 'release A-Transport-VR vni-0_0 eth0', 'adopt eth0 B-Transport-VR vni-0_0']);
  });

  it('keeps a virtual router that another plan has, and one that the kernel does not let go until it does', async () => {
    const { routers, forwarding, kernel } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    const staging = stagingPlan('Provider', 1, undefined, [], idFor);
    await routers.apply('staging', staging);
    await routers.apply('tenants', staging);
    routers.remove('staging');
    await routers.prune();
    deepStrictEqual(kernel.calls, []);
    routers.remove('tenants');
    kernel.fails = true;
    await routers.prune();
    kernel.fails = false;
    await routers.prune();
    deepStrictEqual(kernel.calls, ['remove Provider-Control-VR']);
  });

  it('gives a virtual router its addresses and routes again when a device of it was made anew', async () => {
    const { routers, forwarding, handle, kernel } = make();
    const idFor = (key: string): number => forwarding.idFor(key);
    await routers.apply('circuits', circuitPlan([FIRST, SECOND], idFor));
    kernel.applied.length = 0;
    handle.onEvent({ kind: 'device-renewed', vr: 'B-Transport-VR' });
    await routers.prune();
    deepStrictEqual(kernel.applied, ['B-Transport-VR']);
    // One that the kernel refuses is logged, and later plans are applied.
    kernel.fails = true;
    handle.onEvent({ kind: 'device-renewed', vr: 'B-Transport-VR' });
    await routers.prune();
    kernel.fails = false;
    await routers.apply('circuits', circuitPlan([FIRST], idFor));
    deepStrictEqual(kernel.applied.at(-1), 'A-Transport-VR');
  });
});
