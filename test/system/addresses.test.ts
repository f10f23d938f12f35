// WAN circuits whose addresses come from a real DHCP server and real router advertisements, by the real client, in real
// virtual routers.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DhcpcdClients } from '../../drivers/dhcpcd.ts';
import { IprouteKernel } from '../../drivers/kernel.ts';
import type { CircuitConfiguration } from '../../firmware/configuration.ts';
import type { ForwardingState } from '../../firmware/model.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import type { Site } from '../../firmware/services/service.ts';
import { VirtualRouters } from '../../firmware/services/virtual-routers.ts';
import { ADDRESS_ALARM, WanCircuits } from '../../firmware/services/wan-circuits.ts';
import { Alarms } from '../../platform/alarms.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SystemRandom } from '../../platform/random.ts';
import { after as later, instant, sleep, SystemClock, type Clock } from '../../platform/time.ts';
import { AddressServer } from '../../provisioning/lab/address-server.ts';
import { TestNetwork } from './namespaces.ts';

const PATIENCE_MS = 20_000;
const DEVICE = 'vni-0_0';
/** Waits of the product take a tenth of their time; those of client and server do not. */
const HASTE = 10;

const system = new SystemClock();
const hasty: Clock = {
  now: () => instant(system.now() * HASTE),
  unixMs: () => system.unixMs(),
  at: (when, run) => system.at(instant(when / HASTE), run),
};


class Fixture {
  readonly network = new TestNetwork();
  readonly transport = this.network.namespace('w');
  readonly vr = this.network.addNamespace('w-Transport-VR');
  readonly server: AddressServer;
  readonly log = new MemorySink();
  readonly alarms: Alarms;
  readonly outsides: string[] = [];
  readonly changes: string[] = [];
  readonly #site: Site;
  circuits: WanCircuits;

  constructor() {
    const isp = this.network.addNamespace('isp');
    // As the product has made it when it moves a port in.
    this.network.run(this.vr, ['sysctl', '-q', '-w', 'net.ipv6.conf.default.accept_ra=0', 'net.ipv6.conf.all.accept_ra=0']);
    this.network.addVeth({ namespace: this.vr, device: DEVICE, addresses: [] }, { namespace: isp, device: 'inside', addresses: ['192.0.2.1/24', '2001:db8:9::1/64'] });
    this.server = new AddressServer({ place: isp, device: 'inside', gateway: '192.0.2.1', directory: this.network.directory });
    const log = new SinkLog([this.log], () => system.unixMs());
    this.alarms = new Alarms(log.channel('alarms'), () => system.unixMs());
    const random = new SystemRandom();
    this.#site = { clock: hasty, random, log, alarms: this.alarms, kernel: new IprouteKernel(), addressClients: new DhcpcdClients(this.leases, random) } as unknown as Site;
    this.circuits = this.#create(this.#site);
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (const end = later(system.now(), PATIENCE_MS); !holds(); await sleep(50)) {
      assert.ok(system.now() < end, `${what} did not come; ${this.kernelAddresses()}${JSON.stringify(this.circuits.view())} ${this.processIds().map((pid) => `${pid} ${nameOf(pid)}`).join()}`);
    }
  }

  get leases(): string {
    return join(this.network.directory, 'leases');
  }

  #create(site: Site): WanCircuits {
    const apply = ({ outsides }: ForwardingState): void => void this.outsides.push(outsides.flatMap((outside) => outside.addresses).join(' '));
    const forwarding = new ForwardingService(site, { apply } as unknown as ForwarderHandle);
    const routers = new VirtualRouters(site, forwarding, new Map([['vni-0/0', DEVICE]]));
    const circuits = new WanCircuits(site, routers, (key) => forwarding.idFor(key), () => this.changes.push(circuits.actual.flatMap((c) => c.addresses).join(' ')));
    return circuits;
  }

  /** The same box on a host where the client is not installed. */
  withoutProgram(): WanCircuits {
    return this.#create({ ...this.#site, addressClients: new DhcpcdClients(this.leases, new SystemRandom(), ['/nonexistent/dhcpcd']) });
  }

  circuit(automatic: CircuitConfiguration['automatic'], addresses: readonly string[] = []): CircuitConfiguration {
    return { id: 1, name: 'vni-0/0', transport: this.transport, addresses, gateways: [], ...(automatic && { automatic }) };
  }

  get addresses(): string {
    return this.circuits.actual.flatMap((circuit) => circuit.addresses).join(' ');
  }

  /** Of everything that runs in the port's virtual router. */
  processIds(): number[] {
    return this.network.run(this.vr, ['ip', 'netns', 'pids', this.vr]).split('\n').filter(Boolean).map(Number).filter((pid) => nameOf(pid) !== '' && nameOf(pid) !== 'ip');
  }

  kernelAddresses(): string {
    return this.network.run(this.vr, ['ip', '-br', 'addr', 'show', 'dev', DEVICE]);
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

describe('WAN circuits with addresses from their network', function () {
  this.timeout(60_000);
  let fixture: Fixture;
  let resolver: string;

  before(async () => {
    fixture = new Fixture();
    resolver = readFileSync('/etc/resolv.conf', 'utf8');
    await fixture.server.serve({ addresses: ['192.0.2.50'], prefix: { address: '2001:db8:9::/64', stateful: false } });
  });

  after(async () => {
    await fixture.circuits.stop();
    await fixture.server.stop();
    await fixture.network.close();
  });

  it('take IPv4 by DHCP and IPv6 by router advertisements, also after the kernel was brought to the plan again', async () => {
    const { circuits } = fixture;
    await circuits.open([fixture.circuit(['dhcp', 'slaac'])]);
    assert.deepEqual(circuits.view().map(({ family, method, state }) => `${family} ${method} ${state}`), ['IPv4 DHCP waiting', 'IPv6 SLAAC waiting']);
    await fixture.until('both addresses', () => /^192\.0\.2\.50\/24 2001:db8:9:0:[0-9a-f:]+\/64$/.test(fixture.addresses));
    await fixture.until('the ports', () => fixture.outsides.at(-1) === fixture.addresses.replaceAll(/\/\d+/g, ''));
    await fixture.until('word of it', () => fixture.changes.at(-1) === fixture.addresses);
    await circuits.open([fixture.circuit(['slaac', 'dhcp'])]);
    assert.match(fixture.kernelAddresses(), /192\.0\.2\.50\/24 2001:db8:9:0:/);
    const [ipv4, ipv6] = circuits.view();
    assert.equal(ipv4!.gateway, '192.0.2.1');
    assert.match(ipv6!.gateway, /^fe80:/);
    const seconds = (Date.parse(ipv4!.leaseEnds) - system.unixMs()) / 1000;
    assert.ok(seconds > 60 && seconds <= 125, ipv4!.leaseEnds);
    assert.equal(readFileSync('/etc/resolv.conf', 'utf8'), resolver, 'the resolver of the host is left alone');
  });

  it('keep their identity and their lease when the client is killed, which is started again', async () => {
    const before = fixture.addresses;
    const killed = fixture.processIds();
    assert.ok(killed.length > 0);
    for (const pid of killed) process.kill(pid, 'SIGKILL');
    await fixture.until('the client', () => fixture.processIds().some((pid) => !killed.includes(pid)));
    await fixture.until('the addresses', () => fixture.addresses === before);
    const [ended] = fixture.log.records.filter(({ sentence }) => sentence === 'address client has ended and is started again');
    assert.match(String(ended!.fields['cause']), /^dhcpcd ended with /);
    assert.match(readFileSync(join(fixture.leases, 'duid'), 'utf8'), /^00:04:/);
  });

  it('follow a server that gives another address', async () => {
    await fixture.server.serve({ addresses: ['192.0.2.60'], prefix: { address: '2001:db8:9::/64', stateful: false } });
    await fixture.until('the other address', () => fixture.addresses.startsWith('192.0.2.60/24 '));
    assert.doesNotMatch(fixture.kernelAddresses(), /192\.0\.2\.50/);
  });

  it('are down when the server refuses, with an alarm, and recover when it is back', async () => {
    const { circuits, alarms } = fixture;
    await fixture.server.serve({ addresses: [], prefix: { address: '2001:db8:9::/64', stateful: false } });
    await fixture.until('the alarm', () => alarms.active().some(({ name, object }) => name === ADDRESS_ALARM && object === 'vni-0/0 IPv4'));
    assert.deepEqual(alarms.active().map(({ severity, cause, nextStep }) => `${severity}: ${cause}; ${nextStep}`), ['minor: no DHCP server gives vni-0/0 an address; check the DHCP server of that network, or give the circuit a static IPv4 address']);
    assert.match(circuits.view()[0]!.cause, /^no DHCP server gives vni-0\/0 an address; check /);
    await fixture.until('ports of IPv6 alone', () => fixture.outsides.at(-1)!.startsWith('2001:'));
    await fixture.server.serve({ addresses: ['192.0.2.70'], prefix: { address: '2001:db8:9::/64', stateful: false } });
    await fixture.until('recovery', () => fixture.addresses.startsWith('192.0.2.70/24 '));
    await fixture.until('the end of the alarm', () => alarms.active().length === 0);
  });

  it('take their IPv6 address by DHCPv6 where router advertisements say so, beside a static IPv4 address', async () => {
    await fixture.server.serve({ addresses: ['192.0.2.70'], prefix: { address: '2001:db8:9::/64', stateful: true } });
    await fixture.circuits.open([fixture.circuit(['slaac'], ['192.0.2.7/24'])]);
    await fixture.until('the address', () => /^192\.0\.2\.7\/24 2001:db8:9::1[0-9a-f]{2}\/\d+$/.test(fixture.addresses));
    assert.doesNotMatch(fixture.kernelAddresses(), /192\.0\.2\.70/);
    assert.deepEqual(fixture.circuits.view().map(({ method, state }) => `${method} ${state}`), ['static up', 'SLAAC up']);
  });

  it('leave nothing behind when they become static', async () => {
    await fixture.circuits.open([fixture.circuit(undefined, ['192.0.2.7/24'])]);
    await fixture.until('the end of the client', () => fixture.processIds().length === 0);
    await fixture.until('the link-local address by the kernel', () => /192\.0\.2\.7\/24 fe80:/.test(fixture.kernelAddresses()));
    assert.equal(fixture.addresses, '192.0.2.7/24');
  });

  it('end their client with the appliance, in whatever way that ends', async () => {
    const script = join(import.meta.dirname, 'address-holder.ts');
    const holder = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, fixture.vr, DEVICE, fixture.leases], { stdio: 'ignore' });
    await fixture.until('the client', () => fixture.processIds().some((pid) => nameOf(pid) === 'dhcpcd'));
    holder.kill('SIGKILL');
    await fixture.until('its end', () => fixture.processIds().length === 0);
  });

  it('say what to install when the client is missing, and what is wrong when leases cannot be kept', async () => {
    const circuits = fixture.withoutProgram();
    await circuits.open([fixture.circuit(['dhcp'])]);
    await fixture.until('the cause', () => circuits.view()[0]?.cause === 'the DHCP client dhcpcd is not on this host; run: apt-get install dhcpcd-base');
    await circuits.stop();
    const ended: string[] = [];
    const clients = new DhcpcdClients('/etc/hostname/leases', new SystemRandom());
    clients.open({ vr: fixture.vr, device: DEVICE, families: [4], onGiven: () => undefined, onEnded: (cause) => ended.push(cause) });
    await fixture.until('the cause', () => ended.length > 0);
    assert.match(ended[0]!, /^the directory of leases cannot be written: /);
  });
});
