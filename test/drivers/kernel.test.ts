import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { planLines, type Actual } from '../../drivers/kernel-diff.ts';
import { IprouteKernel } from '../../drivers/kernel.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices } from '../../drivers/native/sockets.ts';
import type { Link, VrPlan } from '../../drivers/port.ts';
import { namespacePath } from '../../drivers/vr-name.ts';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import { ip, namespaceName, withNamespace } from './namespaces.ts';

function failsWith(code: string, nextStep: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof OperationalError && error.code === code && nextStep.test(error.nextStep);
}

describe('kernel by iproute2', () => {
  const vr = withNamespace('kern');
  const plan: VrPlan = {
    vr,
    devices: [
      { device: 'core0', addresses: ['10.1.0.1/24', '2001:DB8:1:0::1/64'], mtu: 1400 },
      { device: 'wan0', addresses: ['192.0.2.9/32'], mtu: 1300 },
    ],
    routes: [
      { prefix: 'default', device: 'core0' },
      { prefix: '::/0', device: 'core0' },
      { prefix: '10.8.0.0/16', device: 'core0', via: '10.1.0.2', source: '10.1.0.1' },
      { prefix: '0.0.0.0/0', device: 'wan0', via: '192.0.2.1' },
      { prefix: '2001:db8:8::/48', device: 'core0', via: '2001:db8:1::2' },
      { prefix: '10.66.0.1/32', device: 'core0' },
    ],
    forwarding: true,
  };
  let links: Link[];
  let kernel: IprouteKernel;
  const openLinks = (): Link[] => ['core0', 'wan0'].map((device) => new NativeDevices(requireNative()).openTun(vr, device, 1500));
  beforeEach(() => {
    links = openLinks();
    kernel = new IprouteKernel();
  });
  afterEach(() => {
    for (const link of links) link.close();
  });

  const routes = (family: string): string => ip('-n', vr, family, 'route', 'show', 'proto', '213');
  const addresses = (device: string): string => ip('-n', vr, '-br', 'addr', 'show', 'dev', device);

  function assertPlanHolds(): void {
    assert.match(addresses('core0'), /10\.1\.0\.1\/24 2001:db8:1::1\/64/);
    assert.match(addresses('wan0'), /192\.0\.2\.9\/32/);
    assert.match(ip('-n', vr, 'link', 'show', 'wan0'), /mtu 1300/);
    const [v4, v6] = [routes('-4'), routes('-6')];
    assert.match(v4, /^default dev core0 .*metric 100/m);
    assert.match(v4, /^default via 192\.0\.2\.1 dev wan0 .*metric 101 onlink/m);
    assert.match(v4, /^10\.8\.0\.0\/16 via 10\.1\.0\.2 dev core0 .*src 10\.1\.0\.1/m);
    assert.match(v4, /^10\.66\.0\.1 dev core0/m);
    assert.match(v6, /^default dev core0/m);
    assert.match(v6, /^2001:db8:8::\/48 via 2001:db8:1::2 dev core0/m);
    assert.equal(v4.trim().split('\n').length, 4);
    assert.equal(v6.trim().split('\n').length, 2);
  }

  async function linesToApply(wanted: VrPlan): Promise<readonly string[]> {
    const ask = (...args: string[]): never => JSON.parse(ip('-n', vr, '-j', ...args) || '[]') as never;
    const actual: Actual = { devices: ask('addr', 'show'), routes4: ask('-4', 'route', 'show', 'proto', '213'), routes6: ask('-6', 'route', 'show', 'proto', '213') };
    return planLines(wanted, wanted, actual);
  }

  it('brings a new virtual router to its plan and then finds nothing to do', async () => {
    await kernel.apply(plan);
    assertPlanHolds();
    assert.deepEqual(await linesToApply(plan), []);
    await kernel.apply(plan);
    assertPlanHolds();
  });

  it('sets forwarding and the parameters of a router', async () => {
    const read = (name: string): string => ip('netns', 'exec', vr, 'sysctl', '-n', name).trim();
    await kernel.apply(plan);
    assert.deepEqual(['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv6.conf.default.accept_dad', 'net.ipv4.conf.all.rp_filter'].map(read), ['1', '1', '0', '0']);
    await kernel.apply({ ...plan, forwarding: false });
    assert.deepEqual(['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv4.conf.all.rp_filter'].map(read), ['0', '0', '0']);
    assert.match(ip('-n', vr, '-br', 'link', 'show', 'lo'), /UNKNOWN|UP/);
  });

  it('confines what enters by a device to named prefixes, follows the plan, and leaves rules of others', async () => {
    const rules = (family: string): string[] => ip('-n', vr, family, 'rule').trim().split('\n').map((line) => line.replace(/\s+/g, ' ').trim()).filter((line) => /^1[01]00:/.test(line));
    ip('-n', vr, 'rule', 'add', 'pref', '500', 'lookup', 'main');
    await kernel.apply({ ...plan, confined: [{ device: 'core0', to: ['192.0.2.1/32', '2001:db8:9::/64'] }] });
    assert.deepEqual(rules('-4'), ['1000: from all to 192.0.2.1 iif core0 lookup main', '1100: from all iif core0 prohibit']);
    assert.deepEqual(rules('-6'), ['1000: from all to 2001:db8:9::/64 iif core0 lookup main', '1100: from all iif core0 prohibit']);
    await kernel.apply({ ...plan, confined: [{ device: 'core0', to: ['192.0.2.2/32'] }] });
    assert.deepEqual(rules('-4'), ['1000: from all to 192.0.2.2 iif core0 lookup main', '1100: from all iif core0 prohibit']);
    assert.deepEqual(rules('-6'), ['1100: from all iif core0 prohibit']);
    await kernel.apply(plan);
    assert.deepEqual([...rules('-4'), ...rules('-6')], []);
    assert.match(ip('-n', vr, 'rule'), /500:/);
  });

  it('removes what a former plan had and leaves what is not ours', async () => {
    await kernel.apply(plan);
    ip('-n', vr, 'route', 'add', '10.77.0.0/16', 'dev', 'core0');
    await kernel.apply({ ...plan, devices: [{ device: 'core0', addresses: ['10.1.0.7/24'], mtu: 1400 }], routes: [] });
    assert.match(addresses('core0'), /10\.1\.0\.7\/24/);
    assert.doesNotMatch(addresses('core0'), /10\.1\.0\.1|2001:db8/);
    assert.doesNotMatch(addresses('wan0'), /192\.0\.2\.9/);
    assert.equal(routes('-4') + routes('-6'), '');
    assert.match(ip('-n', vr, 'route'), /10\.77\.0\.0\/16/);
  });

  it('keeps the routes of a device whose address is exchanged', async () => {
    await kernel.apply(plan);
    const [core, wan] = [plan.devices[0]!, plan.devices[1]!];
    const kept = plan.routes.filter((route) => route.source === undefined && route.via === undefined);
    await kernel.apply({ ...plan, devices: [{ ...core, addresses: ['10.4.0.1/24'] }, wan], routes: kept });
    assert.match(addresses('core0'), /10\.4\.0\.1\/24/);
    assert.match(routes('-4'), /^default dev core0 .*metric 100/m);
    assert.match(routes('-4'), /^10\.66\.0\.1 dev core0/m);
    assert.match(routes('-6'), /^default dev core0/m);
  });

  it('knows its routes and addresses after a restart', async () => {
    await kernel.apply(plan);
    const restarted = new IprouteKernel();
    await restarted.apply({ ...plan, devices: [{ ...plan.devices[0]!, addresses: ['10.1.0.1/24'] }, plan.devices[1]!], routes: plan.routes.slice(0, 1) });
    assert.doesNotMatch(addresses('core0'), /2001:db8/);
    assert.equal(routes('-4').trim().split('\n').length, 1);
    assert.equal(routes('-6'), '');
  });

  it('gives a device that was made anew its addresses again', async () => {
    await kernel.apply(plan);
    for (const link of links) link.close();
    links = openLinks();
    await kernel.apply(plan);
    assertPlanHolds();
  });

  it('names the device that a plan wants and the router lacks', async () => {
    const wrong = { ...plan, devices: [{ device: 'tvi-0_9', addresses: [], mtu: 1400 }] };
    await assert.rejects(kernel.apply(wrong), failsWith('DEVICE_MISSING', /open the TUN device/));
  });

  it('names command, line and answer when iproute2 refuses', async () => {
    const wrong = { ...plan, routes: [{ prefix: '10.0.0.1/8', device: 'core0' }] };
    await assert.rejects(kernel.apply(wrong), (error: unknown) => {
      assert.ok(error instanceof OperationalError);
      assert.match(error.message, /^ip -n .* -batch - at "route replace 10\.0\.0\.1\/8 dev core0 .*" ended with 1: /);
      return failsWith('COMMAND_FAILED', /by hand/)(error);
    });
    await kernel.apply(plan);
    assertPlanHolds();
  });

  it('adopts a device under a new name, once, gives it back, once, and says when there is none', async () => {
    const cable = `sk${process.pid % 1_000_000}`;
    ip('link', 'add', `${cable}a`, 'type', 'veth', 'peer', 'name', `${cable}b`);
    await kernel.adoptDevice(vr, `${cable}a`, 'vni-0_0');
    await kernel.adoptDevice(vr, `${cable}a`, 'vni-0_0');
    assert.match(ip('-n', vr, 'link', 'show', 'vni-0_0'), /UP/);
    await assert.rejects(kernel.adoptDevice(vr, `${cable}x`, 'vni-0_1'), failsWith('COMMAND_FAILED', /device name/));
    await kernel.releaseDevice(vr, 'vni-0_0', `${cable}a`);
    await kernel.releaseDevice(vr, 'vni-0_0', `${cable}a`);
    assert.match(ip('link', 'show', `${cable}a`), new RegExp(`${cable}a@`));
    ip('link', 'del', `${cable}a`);
  });

  it('makes and removes a virtual router, twice each', async () => {
    const other = namespaceName('kern2');
    await Promise.all([kernel.ensureVr(other), kernel.ensureVr(other)]);
    assert.ok(existsSync(namespacePath(other)));
    await kernel.removeVr(other);
    await kernel.removeVr(other);
    assert.ok(!existsSync(namespacePath(other)));
    await assert.rejects(kernel.apply({ ...plan, vr: other }), failsWith('COMMAND_FAILED', /create the virtual router/));
    await assert.rejects(kernel.ensureVr('../x'), UsageError);
  });
});
