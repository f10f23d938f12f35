import assert from 'node:assert/strict';
import { MemoryDatagramHub, memoryLinkPair, type MemoryLink } from '../../drivers/memory.ts';
import type { Devices } from '../../drivers/port.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import type { ForwarderEvent } from '../../firmware/model.ts';
import { LocalForwarder } from '../../firmware/services/forwarder-thread.ts';
import { OperationalError } from '../../platform/errors.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { instant } from '../../platform/time.ts';
import { side, udpPacket } from './boxes.ts';

class World {
  readonly hub = new MemoryDatagramHub();
  readonly hosts = new Map<string, MemoryLink>();
  readonly sink = new MemorySink();
  readonly opened: string[] = [];
  readonly missing = new Set<string>();
  readonly devices: Devices = {
    kind: 'memory',
    openTun: (vr, device, mtu) => {
      this.opened.push(`tun ${vr} ${device} ${mtu}`);
      const [near, far] = memoryLinkPair(device);
      this.hosts.set(device, far);
      return near;
    },
    openUdp: (_vr, local) => {
      this.#check(local.address);
      this.opened.push(`udp ${local.address} ${local.port}`);
      return this.hub.open('udp', local);
    },
    openEsp: (_vr, address) => {
      this.#check(address);
      this.opened.push(`esp ${address}`);
      return this.hub.open('esp', { address, port: 0 });
    },
  };

  #check(address: string): void {
    if (this.missing.has(address)) throw new OperationalError('EADDRNOTAVAIL', `no ${address}`, 'give it an address');
  }

  forwarder(): LocalForwarder {
    const log = new SinkLog([this.sink], () => 0).channel('forwarder');
    return new LocalForwarder({ devices: this.devices, aead: new PortableAead(), log, capacity: { tunnels: 8, sas: 16 } });
  }
}

function stateOf(addresses: readonly string[]) {
  return { ...side({ end: 1, remote: '192.0.2.2' }), outsides: [{ id: 1, name: 'vni-0/0', vr: 'wan', addresses }] };
}

describe('local forwarder', () => {
  it('opens the ports of a state before apply returns, and forwards between them', () => {
    const world = new World();
    const forwarder = world.forwarder();
    const events: ForwarderEvent[] = [];
    forwarder.onEvent = (event) => events.push(event);
    forwarder.apply(stateOf(['192.0.2.1', '2001:db8::1']));
    assert.deepEqual(world.opened, [
      'tun vr tvi-1 1400', 'tun vr tvi-2 1400', 'tun vr tvi-3 1400',
      'udp 192.0.2.1 4790', 'udp 2001:db8::1 4790', 'udp 192.0.2.1 4500', 'udp 2001:db8::1 4500', 'esp 192.0.2.1', 'esp 2001:db8::1',
    ]);
    assert.deepEqual(events, [{ kind: 'applied', version: 1 }]);
    let sent = 0;
    world.hub.onDatagram = () => (sent++, false);
    world.hosts.get('tvi-3')!.send(udpPacket('10.1.0.5', '10.2.0.7', 64));
    assert.equal(forwarder.breathe(instant(0)), 1);
    assert.equal(sent, 1);
    assert.equal(forwarder.counters().version, 1);
  });

  it('opens only what is new, and closes what went away', () => {
    const world = new World();
    const forwarder = world.forwarder();
    forwarder.apply(stateOf(['192.0.2.1']));
    world.opened.length = 0;
    forwarder.apply({ ...stateOf(['192.0.2.1']), version: 2 });
    assert.deepEqual(world.opened, []);
    forwarder.apply({ ...stateOf(['192.0.2.3']), version: 3 });
    assert.deepEqual(world.opened, ['udp 192.0.2.3 4790', 'udp 192.0.2.3 4500', 'esp 192.0.2.3']);
    world.hub.open('udp', { address: '192.0.2.1', port: 4790 });
  });

  it('logs a port that cannot be opened once with its next step, and tries again', () => {
    const world = new World();
    const forwarder = world.forwarder();
    world.missing.add('192.0.2.1');
    forwarder.apply(stateOf(['192.0.2.1']));
    assert.equal(forwarder.counters().version, 1);
    forwarder.breathe(instant(0));
    assert.equal(forwarder.deadline(), 2000);
    forwarder.breathe(instant(2000));
    assert.deepEqual(world.sink.records.map(({ sentence, fields }) => [sentence, fields['nextStep']]), [
      ['forwarder port cannot be opened', 'give it an address'],
      ['forwarder port cannot be opened', 'give it an address'],
      ['forwarder port cannot be opened', 'give it an address'],
    ]);
    world.missing.clear();
    forwarder.breathe(instant(4000));
    assert.ok(world.opened.includes('esp 192.0.2.1'));
    assert.equal(forwarder.deadline(), undefined);
  });

  it('closes everything', async () => {
    const world = new World();
    const forwarder = world.forwarder();
    forwarder.apply(stateOf(['192.0.2.1']));
    await forwarder.close();
    world.hub.open('udp', { address: '192.0.2.1', port: 4790 });
    assert.equal(forwarder.breathe(instant(0)), 0);
  });
});
