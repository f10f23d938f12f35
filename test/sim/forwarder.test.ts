import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { createBurst, packetAt } from '../../drivers/burst.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import type { DatagramSocket, StreamSocket, VrPlan } from '../../drivers/port.ts';
import type { ForwarderEvent, ForwardingState } from '../../firmware/model.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { instant } from '../../platform/time.ts';
import { side } from '../dataplane/boxes.ts';
import { FakeAead } from './fake-aead.ts';
import { SimForwarder } from './forwarder.ts';
import type { LanHost } from './lan-host.ts';
import type { Wire } from './netem.ts';
import type { SimNode } from './node.ts';
import type { World } from './world.ts';
import { createWorld } from './world.ts';

const CONTROL_VR = 'Acme-Control-VR';
const LAN_VR = 'Acme-LAN-VR';
const TRANSPORT_VR = 'INTERNET-Transport-VR';

interface Branch {
  readonly node: SimNode;
  readonly host: LanHost;
  readonly forwarder: SimForwarder;
  readonly events: ForwarderEvent[];
}

interface BranchOptions {
  readonly end: 1 | 2;
  readonly own: string;
  /** Of the other end; undefined when it has to be learnt. */
  readonly remote: string | undefined;
  readonly wire: Wire;
  readonly realCiphers: boolean;
  readonly kind?: 'vxlan-esp' | 'esp' | 'esp-udp';
  readonly idleDummyMs?: number;
}

function stateOf({ end, own, remote, kind, idleDummyMs }: BranchOptions): ForwardingState {
  const state = side({ end, remote, ...(kind === undefined ? {} : { kind }), ...(idleDummyMs === undefined ? {} : { idleDummyMs }) });
  const names = { 'clear-tvi': ['tvi-0/2', CONTROL_VR], 'encrypted-tvi': ['tvi-0/3', CONTROL_VR], lan: ['core0', LAN_VR] } as const;
  return {
    ...state,
    insides: state.insides.map((inside) => ({ ...inside, name: names[inside.kind][0], vr: names[inside.kind][1] })),
    outsides: [{ id: 1, name: 'vni-0/0', vr: TRANSPORT_VR, addresses: [own] }],
  };
}

function plans({ end, own }: BranchOptions): readonly VrPlan[] {
  const other = 3 - end;
  return [
    { vr: TRANSPORT_VR, devices: [{ device: 'vni-0_0', addresses: [`${own}/24`], mtu: 1500 }], routes: [{ prefix: '0.0.0.0/0', device: 'vni-0_0' }], forwarding: false },
    {
      vr: CONTROL_VR,
      devices: [{ device: 'tvi-0_2', addresses: [`10.254.0.${end}/32`], mtu: 1400 }, { device: 'tvi-0_3', addresses: [`10.255.0.${end}/32`], mtu: 1400 }],
      routes: [{ prefix: `10.254.0.${other}/32`, device: 'tvi-0_2' }, { prefix: '10.255.0.0/24', device: 'tvi-0_3' }],
      forwarding: false,
    },
    {
      vr: LAN_VR,
      devices: [{ device: 'core0', addresses: [], mtu: 1400 }, { device: 'vni-0_2', addresses: [`10.${end}.0.1/24`, `fd00:${end}::1/64`], mtu: 1500 }],
      routes: ['0.0.0.0/0', '::/0'].map((prefix) => ({ prefix, device: 'core0' })),
      forwarding: true,
    },
  ];
}

async function addBranch(world: World, options: BranchOptions): Promise<Branch> {
  const { end, wire } = options;
  const node = world.addNode(`b${end}`);
  const segment = world.addSegment(`lan${end}`);
  node.plug('eth0', wire);
  node.plug('eth1', segment);
  for (const vr of [TRANSPORT_VR, CONTROL_VR, LAN_VR]) await node.host.ensureVr(vr);
  await node.host.adoptDevice(TRANSPORT_VR, 'eth0', 'vni-0_0');
  await node.host.adoptDevice(LAN_VR, 'eth1', 'vni-0_2');
  const events: ForwarderEvent[] = [];
  const forwarder = new SimForwarder(node, { aead: options.realCiphers ? new PortableAead() : new FakeAead(), capacity: { tunnels: 16, sas: 64 } });
  forwarder.onEvent = (event) => events.push(event);
  forwarder.apply(stateOf(options));
  for (const plan of plans(options)) await node.host.apply(plan);
  const host = world.addLanHost(`host${end}`, segment, { addresses: [`10.${end}.0.10/24`, `fd00:${end}::10/64`], gateways: [`10.${end}.0.1`, `fd00:${end}::1`] });
  return { node, host, forwarder, events };
}

async function addPair(world: World, change: Partial<BranchOptions> = {}): Promise<readonly [Branch, Branch]> {
  const common = { wire: world.internet, realCiphers: false, ...change };
  return [
    await addBranch(world, { end: 1, own: '192.0.2.1', remote: '192.0.2.2', ...common }),
    await addBranch(world, { end: 2, own: '192.0.2.2', remote: '192.0.2.1', ...common }),
  ];
}

describe('sim/forwarder', () => {
  for (const realCiphers of [true, false]) {
    it(`carries LAN traffic of both families with ${realCiphers ? 'real' : 'fake'} ciphers`, async () => {
      const world = createWorld(1);
      const [b1, b2] = await addPair(world, { realCiphers });
      strictEqual(await world.whoAnswers(b1.host, '10.2.0.10'), 'host2');
      strictEqual(await world.whoAnswers(b2.host, '10.1.0.10'), 'host1');
      strictEqual(await world.whoAnswers(b1.host, 'fd00:2::10'), 'host2');
      ok(b2.events.some((event) => event.kind === 'first-packet'));
    });
  }

  for (const kind of ['vxlan-esp', 'esp', 'esp-udp'] as const) {
    it(`carries datagrams between control VRs through ${kind} tunnels`, async () => {
      const world = createWorld(1);
      const [b1, b2] = await addPair(world, { kind });
      const received: string[] = [];
      const open = ({ node }: Branch, address: string): DatagramSocket =>
        node.site.network.openDatagram({
          vr: CONTROL_VR,
          local: { address, port: 500 },
          onDatagram: (bytes, remote) => received.push(`${fromUtf8(bytes)} from ${remote.address}`),
          onError: (error) => received.push(error.message),
        });
      const [one, two] = [open(b1, '10.255.0.1'), open(b2, '10.255.0.2')];
      one.send(utf8('hello'), two.local);
      two.send(utf8('hello'), one.local);
      await world.runFor(100);
      deepStrictEqual(received.sort(), ['hello from 10.255.0.1', 'hello from 10.255.0.2']);
    });
  }

  it('drops what arrives under a key that the receiver does not have', async () => {
    const world = createWorld(1);
    const [b1, b2] = await addPair(world);
    const state = stateOf({ end: 2, own: '192.0.2.2', remote: '192.0.2.1', wire: world.internet, realCiphers: false });
    const wrong = state.tunnels.map((tunnel) => ({ ...tunnel, rx: tunnel.rx.map((sa) => ({ ...sa, id: sa.id + 1000, key: sa.key.map((octet) => octet ^ 1) })) }));
    b2.forwarder.apply({ ...state, version: 2, tunnels: wrong });
    strictEqual(await world.whoAnswers(b1.host, '10.2.0.10'), undefined);
    ok(b2.forwarder.counters().drops.some(({ packets }) => packets > 0));
  });

  it('carries streams between control VRs through the encrypted TVI', async () => {
    const world = createWorld(5);
    const [b1, b2] = await addPair(world);
    b1.node.setQuality('eth0', { loss: 0.05 });
    let text = '';
    b2.node.site.network.listenStream({
      vr: CONTROL_VR,
      local: { address: '10.255.0.2', port: 179 },
      onStream: (stream) => {
        stream.handlers = { onConnected() {}, onData: (bytes) => stream.write(utf8(fromUtf8(bytes).toUpperCase())), onClosed() {} };
      },
      onError: (error) => {
        throw error;
      },
    });
    const stream: StreamSocket = b1.node.site.network.connectStream({
      vr: CONTROL_VR,
      localAddress: '10.255.0.1',
      remote: { address: '10.255.0.2', port: 179 },
      handlers: { onConnected: () => stream.write(utf8('bgp '.repeat(2000))), onData: (bytes) => (text += fromUtf8(bytes)), onClosed() {} },
    });
    await world.settle(() => text.length === 8000, 120_000, 'the echo');
    strictEqual(text, 'BGP '.repeat(2000));
  });

  it('learns the endpoint of a branch behind a NAT, and its new one after the NAT restarts', async () => {
    const world = createWorld(1);
    const nat = world.addNat('nat', '203.0.113.1');
    const b1 = await addBranch(world, { end: 1, own: '10.0.0.2', remote: '192.0.2.2', wire: nat, realCiphers: false });
    const b2 = await addBranch(world, { end: 2, own: '192.0.2.2', remote: undefined, wire: world.internet, realCiphers: false });
    strictEqual(await world.whoAnswers(b1.host, '10.2.0.10'), 'host2');
    const moved = (): readonly string[] => b2.events.flatMap((event) => (event.kind === 'endpoint-moved' ? [`${event.remote.address} ${event.remote.port}`] : []));
    deepStrictEqual(moved(), ['203.0.113.1 20000']);
    nat.forgetMappings();
    await world.runFor(5_000);
    strictEqual(await world.whoAnswers(b1.host, '10.2.0.10'), 'host2');
    strictEqual(new Set(moved()).size, 2);
  });

  it('breathes at the forwarder\'s own deadline', async () => {
    const world = createWorld(1);
    const [b1] = await addPair(world, { idleDummyMs: 2000 });
    const before = world.flow.delivered;
    await world.runFor(10_000);
    ok(world.flow.delivered - before >= 6, `${world.flow.delivered - before} dummies`);
    await b1.forwarder.close();
  });

  it('gives the same trace for the same seed with streams, NAT and forwarders', async () => {
    const trace = async (): Promise<string> => {
      const world = createWorld(9);
      const [b1] = await addPair(world);
      b1.node.setQuality('eth0', { loss: 0.2, jitterMs: 8, reorder: 0.1 });
      for (let i = 0; i < 20; i++) world.clock.at(instant(i * 100), () => b1.host.ask('10.2.0.10'));
      await world.run(10_000);
      return world.traceHash();
    };
    strictEqual(await trace(), await trace());
  });
});

describe('sim/fake-aead', () => {
  const ESP_BYTES = 80;

  function sealed(aead: FakeAead, sa: number, seqHi: number): ReturnType<typeof createBurst> {
    const burst = createBurst();
    burst.count = 1;
    burst.esp[0] = 192;
    burst.espLength[0] = ESP_BYTES;
    burst.offset[0] = 192;
    burst.length[0] = ESP_BYTES;
    burst.sa[0] = sa;
    burst.seqHi[0] = seqHi;
    burst.next[0] = 5;
    for (let i = 0; i < ESP_BYTES - 16; i++) burst.bytes[192 + i] = i;
    aead.seal(burst, 5, 6, 9);
    return burst;
  }

  it('opens what it sealed, under the same key and sequence number only', () => {
    const aead = new FakeAead();
    const make = (fill: number): number => aead.install({ suite: 'aes-256-gcm-16', key: new Uint8Array(32).fill(fill), salt: new Uint8Array(4), esn: true });
    const [a, b] = [make(1), make(2)];
    for (const [key, seqHi, good] of [[a, 7, true], [b, 7, false], [a, 8, false], [99, 7, false]] as const) {
      const burst = sealed(aead, a, 7);
      strictEqual(burst.next[0], 6);
      burst.next[0] = 5;
      burst.sa[0] = key;
      burst.seqHi[0] = seqHi;
      aead.open(burst, 5, 7, 9);
      deepStrictEqual([burst.next[0], burst.reason[0]], good ? [7, 0] : [0, 9]);
      if (good) deepStrictEqual([...packetAt(burst, 0).subarray(16, 20)], [16, 17, 18, 19]);
    }
  });

  it('refuses every flipped octet', () => {
    const aead = new FakeAead();
    const key = aead.install({ suite: 'chacha20-poly1305', key: new Uint8Array(32), salt: new Uint8Array(4), esn: false });
    for (let at = 0; at < ESP_BYTES; at++) {
      const burst = sealed(aead, key, 0);
      burst.bytes[192 + at]! ^= 0x40;
      burst.next[0] = 5;
      aead.open(burst, 5, 7, 9);
      strictEqual(burst.next[0], 0, `octet ${at}`);
    }
  });
});
