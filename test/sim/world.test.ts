import { deepStrictEqual, match, notStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict';
import { appendPacket, createBurst, FIRST_PORT, packetAt } from '../../drivers/burst.ts';
import type { Link, StreamSocket } from '../../drivers/port.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { after, instant } from '../../platform/time.ts';
import { VirtualClock } from './clock.ts';
import { ReachModel } from './model.ts';
import type { SimNode } from './node.ts';
import type { World } from './world.ts';
import { createWorld } from './world.ts';

/** A node with one WAN device in the process's own namespace. */
async function addBox(world: World, name: string, addresses: readonly string[], wire = world.internet as Parameters<SimNode['plug']>[1]): Promise<SimNode> {
  const node = world.addNode(name);
  node.plug('eth0', wire);
  await configureBox(node, addresses);
  return node;
}

async function configureBox(node: SimNode, addresses: readonly string[]): Promise<void> {
  await node.host.ensureVr('WAN');
  await node.host.adoptDevice('WAN', 'eth0', 'vni-0_0');
  await node.host.apply({
    vr: 'WAN',
    devices: [{ device: 'vni-0_0', addresses, mtu: 1500 }],
    routes: ['0.0.0.0/0', '::/0'].map((prefix) => ({ prefix, device: 'vni-0_0' })),
    forwarding: false,
  });
}

interface Received {
  readonly at: number;
  readonly text: string;
  readonly from: string;
}

function listen(world: World, node: SimNode, address: string, port = 500): { readonly received: Received[]; send(text: string, to: string, toPort?: number): void } {
  const received: Received[] = [];
  const socket = node.site.network.openDatagram({
    vr: 'WAN',
    local: { address, port },
    onDatagram: (bytes, remote) => received.push({ at: world.now, text: fromUtf8(bytes), from: `${remote.address} ${remote.port}` }),
    onError: (error) => received.push({ at: world.now, text: error.message, from: 'error' }),
  });
  return { received, send: (text, to, toPort = 500) => socket.send(utf8(text), { address: to, port: toPort }) };
}

describe('sim/clock', () => {
  it('runs events in order of time, and of asking when times are equal', () => {
    const clock = new VirtualClock();
    const order: string[] = [];
    for (const [at, name] of [[5, 'c'], [1, 'a'], [5, 'd'], [3, 'b']] as const) clock.at(instant(at), () => order.push(`${name}${clock.now()}`));
    const cancel = clock.at(instant(4), () => order.push('cancelled'));
    cancel();
    while (clock.step());
    deepStrictEqual(order, ['a1', 'b3', 'c5', 'd5']);
  });

  it('keeps order among many events', () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    for (let i = 0; i < 2000; i++) clock.at(instant((i * 7919) % 1009), () => seen.push(clock.now()));
    while (clock.step());
    deepStrictEqual(seen, [...seen].sort((a, b) => a - b));
    strictEqual(seen.length, 2000);
  });
});

describe('sim/world', () => {
  it('carries datagrams of both families with the delay of both links', async () => {
    const world = createWorld(1);
    const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24', '2001:db8::1/64']), '192.0.2.1');
    const boxB = await addBox(world, 'b', ['198.51.100.1/24', '2001:db8:1::1/64']);
    const b = listen(world, boxB, '198.51.100.1');
    const b6 = listen(world, boxB, '2001:db8:1::1');
    a.send('four', '198.51.100.1');
    const a6 = listen(world, world.node('a'), '2001:db8::1');
    a6.send('six', '2001:db8:1::1');
    await world.run(100);
    deepStrictEqual(b.received, [{ at: 20, text: 'four', from: '192.0.2.1 500' }]);
    deepStrictEqual(b6.received, [{ at: 20, text: 'six', from: '2001:db8::1 500' }]);
  });

  it('reports what the host refuses: a port in use, no route, too large', async () => {
    const world = createWorld(1);
    const box = await addBox(world, 'a', ['192.0.2.1/24']);
    const first = listen(world, box, '192.0.2.1');
    const second = listen(world, box, '192.0.2.1');
    first.send('x'.repeat(2000), '192.0.2.9');
    await world.runFor(1);
    match(second.received[0]!.text, /^EADDRINUSE/);
    match(first.received[0]!.text, /^EMSGSIZE/);
    await box.host.apply({ vr: 'WAN', devices: [{ device: 'vni-0_0', addresses: ['192.0.2.1/32'], mtu: 1500 }], routes: [], forwarding: false });
    first.send('x', '203.0.113.1');
    await world.runFor(1);
    match(first.received[1]!.text, /^ENETUNREACH/);
  });

  it('loses, doubles and reorders as much as it is told', async () => {
    const world = createWorld(7);
    const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24']), '192.0.2.1');
    const b = listen(world, await addBox(world, 'b', ['192.0.2.2/24']), '192.0.2.2');
    world.node('a').setQuality('eth0', { loss: 0.2, duplicate: 0.1, reorder: 0.1 });
    for (let i = 0; i < 2000; i++) world.clock.at(instant(i), () => a.send(String(i), '192.0.2.2'));
    await world.run(5000);
    const distinct = new Set(b.received.map(({ text }) => text)).size;
    ok(distinct > 1500 && distinct < 1700, `${distinct} arrived`);
    ok(b.received.length - distinct > 80, 'no duplicates');
    const late = b.received.filter(({ text }, i) => i > 0 && Number(text) < Number(b.received[i - 1]!.text)).length;
    ok(late > 50, `${late} arrived late`);
  });

  it('gives the same trace for the same seed and another for another', async () => {
    const trace = async (seed: number): Promise<string> => {
      const world = createWorld(seed);
      const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24']), '192.0.2.1');
      listen(world, await addBox(world, 'b', ['192.0.2.2/24']), '192.0.2.2');
      world.node('b').setQuality('eth0', { loss: 0.3, jitterMs: 5 });
      for (let i = 0; i < 50; i++) world.clock.at(instant(i * 10), () => a.send(String(i), '192.0.2.2'));
      await world.run(2000);
      return world.traceHash();
    };
    strictEqual(await trace(1), await trace(1));
    notStrictEqual(await trace(1), await trace(2));
  });

  it('keeps two nodes apart until the partition heals', async () => {
    const world = createWorld(1);
    const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24']), '192.0.2.1');
    const b = listen(world, await addBox(world, 'b', ['192.0.2.2/24']), '192.0.2.2');
    const c = listen(world, await addBox(world, 'c', ['192.0.2.3/24']), '192.0.2.3');
    world.internet.partition('b', 'a');
    a.send('one', '192.0.2.2');
    a.send('one', '192.0.2.3');
    await world.runFor(100);
    world.internet.heal('a', 'b');
    a.send('two', '192.0.2.2');
    await world.runFor(100);
    deepStrictEqual(b.received.map(({ text }) => text), ['two']);
    deepStrictEqual(c.received.map(({ text }) => text), ['one']);
  });

  it('translates behind a NAT, filters strangers, and forgets idle mappings', async () => {
    const world = createWorld(1);
    const nat = world.addNat('nat', '203.0.113.1', { mapping: 'endpoint-independent', filtering: 'endpoint', timeoutMs: 30_000, preservePorts: false });
    const inside = listen(world, await addBox(world, 'in', ['10.0.0.2/24'], nat), '10.0.0.2');
    const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24']), '192.0.2.1');
    const c = listen(world, await addBox(world, 'c', ['192.0.2.3/24']), '192.0.2.3');
    inside.send('hello', '192.0.2.1');
    await world.runFor(100);
    strictEqual(a.received[0]!.from, '203.0.113.1 20000');
    a.send('answer', '203.0.113.1', 20_000);
    c.send('stranger', '203.0.113.1', 20_000);
    await world.runFor(100);
    deepStrictEqual(inside.received.map(({ text, from }) => `${text} ${from}`), ['answer 192.0.2.1 500']);
    inside.send('hello', '192.0.2.3');
    await world.runFor(100);
    strictEqual(c.received[0]!.from, '203.0.113.1 20000');
    await world.runFor(31_000);
    a.send('late', '203.0.113.1', 20_000);
    await world.runFor(100);
    strictEqual(inside.received.length, 1);
    inside.send('again', '192.0.2.1');
    nat.forgetMappings();
    inside.send('moved', '192.0.2.1');
    await world.runFor(100);
    strictEqual(new Set(a.received.map(({ from }) => from)).size, 3);
  });

  it('gives each remote its own port behind an endpoint-dependent NAT', async () => {
    const world = createWorld(1);
    const nat = world.addNat('nat', '203.0.113.1', { mapping: 'endpoint-dependent', filtering: 'none', timeoutMs: 30_000, preservePorts: true });
    const inside = listen(world, await addBox(world, 'in', ['10.0.0.2/24'], nat), '10.0.0.2');
    const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24']), '192.0.2.1');
    const c = listen(world, await addBox(world, 'c', ['192.0.2.3/24']), '192.0.2.3');
    inside.send('hello', '192.0.2.1');
    inside.send('hello', '192.0.2.3');
    await world.runFor(100);
    deepStrictEqual([a.received[0]!.from, c.received[0]!.from], ['203.0.113.1 500', '203.0.113.1 20000']);
  });

  it('ends the timers and sockets of a node that loses power, and keeps its store', async () => {
    const world = createWorld(1);
    const box = await addBox(world, 'a', ['192.0.2.1/24']);
    const peer = listen(world, await addBox(world, 'b', ['192.0.2.2/24']), '192.0.2.2');
    const before = listen(world, box, '192.0.2.1');
    let fired = 0;
    box.site.clock.at(after(world.now, 500), () => fired++);
    box.site.store.write('boot', utf8('1'));
    const first = box.site.random.uint32();
    box.powerOff();
    peer.send('to nobody', '192.0.2.1');
    await world.run(1000);
    box.powerOn();
    await configureBox(box, ['192.0.2.1/24']);
    const afterwards = listen(world, box, '192.0.2.1');
    peer.send('to the new one', '192.0.2.1');
    await world.runFor(100);
    strictEqual(fired, 0);
    deepStrictEqual(box.site.store.read('boot'), utf8('1'));
    notStrictEqual(box.site.random.uint32(), first);
    deepStrictEqual([before.received.length, afterwards.received.map(({ text }) => text)], [0, ['to the new one']]);
  });

  it('names seed, state and ladder when something does not come true', async () => {
    const world = createWorld('s-42');
    const a = listen(world, await addBox(world, 'a', ['192.0.2.1/24']), '192.0.2.1');
    await addBox(world, 'b', ['192.0.2.2/24']);
    world.node('a').site.log.channel('ipsec').info('a sentence', { peer: 'b' });
    a.send('x', '192.0.2.2', 4790);
    await rejects(world.settle(() => false, 1000, 'peace'), (error: Error) => {
      match(error.message, /seed s-42, at 1000 ms: peace was not reached within 1000 ms/);
      match(error.message, /a ipsec: a sentence \{"peer":"b"\}/);
      match(error.message, /sequenceDiagram\n {2}participant n0 as a\n {2}participant n1 as b/);
      match(error.message, /n0->>n1: 0\.020 udp 500 > 4790, 29 octets/);
      return true;
    });
  });

  it('names the seed when a service throws in a timer', async () => {
    const world = createWorld(3);
    world.clock.at(instant(5), () => {
      throw new Error('broken');
    });
    await rejects(world.run(10), /seed 3, at 5 ms: an event threw: broken/);
  });

  it('runs promises to their end before time moves', async () => {
    const world = createWorld(1);
    const seen: string[] = [];
    world.clock.at(instant(1), () => {
      void (async () => {
        for (let i = 0; i < 20; i++) await Promise.resolve();
        world.clock.at(world.now, () => seen.push(`same moment ${world.now}`));
      })();
    });
    world.clock.at(instant(2), () => seen.push('later'));
    await world.run(10);
    deepStrictEqual(seen, ['same moment 1', 'later']);
  });
});

interface Wanted {
  readonly log: string[];
  stream: StreamSocket | undefined;
  bytes: number;
  sum: number;
}

function watched(): Wanted {
  return { log: [], stream: undefined, bytes: 0, sum: 0 };
}

function handlersOf(state: Wanted): NonNullable<StreamSocket['handlers']> {
  return {
    onConnected: () => state.log.push('connected'),
    onData: (bytes) => {
      state.bytes += bytes.length;
      for (const octet of bytes) state.sum = (Math.imul(state.sum, 31) + octet) | 0;
    },
    onClosed: (error) => state.log.push(error === undefined ? 'closed' : (error as NodeJS.ErrnoException).code!),
  };
}

describe('sim/streams', () => {
  async function pair(seed: number): Promise<{ world: World; client: Wanted; server: Wanted; connect(): StreamSocket }> {
    const world = createWorld(seed);
    const a = await addBox(world, 'a', ['192.0.2.1/24']);
    const b = await addBox(world, 'b', ['192.0.2.2/24']);
    const [client, server] = [watched(), watched()];
    b.site.network.listenStream({
      vr: 'WAN',
      local: { address: '192.0.2.2', port: 179 },
      onStream: (stream) => {
        server.stream = stream;
        stream.handlers = handlersOf(server);
      },
      onError: (error) => server.log.push(error.message),
    });
    const connect = (): StreamSocket =>
      a.site.network.connectStream({ vr: 'WAN', localAddress: undefined, remote: { address: '192.0.2.2', port: 179 }, handlers: handlersOf(client) });
    return { world, client, server, connect };
  }

  it('carries every octet in order both ways over a bad link', async () => {
    const { world, client, server, connect } = await pair(11);
    world.node('a').setQuality('eth0', { loss: 0.1, reorder: 0.1, duplicate: 0.1, jitterMs: 10 });
    const stream = connect();
    const data = world.random.bytes(100_000);
    stream.write(data);
    await world.settle(() => server.stream !== undefined, 10_000);
    server.stream!.write(data);
    await world.settle(() => server.bytes === data.length && client.bytes === data.length, 600_000, 'the whole transfer');
    strictEqual(server.sum, client.sum);
    strictEqual(server.sum, data.reduce((sum, octet) => (Math.imul(sum, 31) + octet) | 0, 0));
    stream.close();
    await world.runFor(60_000);
    deepStrictEqual([client.log.at(-1), server.log], ['closed', ['connected', 'closed']]);
  });

  it('says so when nobody listens, when nobody answers, and when the peer has forgotten', async () => {
    const { world, client, server, connect } = await pair(1);
    const refused = watched();
    world.node('a').site.network.connectStream({ vr: 'WAN', localAddress: undefined, remote: { address: '192.0.2.2', port: 80 }, handlers: handlersOf(refused) });
    await world.runFor(1000);
    deepStrictEqual(refused.log, ['ECONNREFUSED']);
    const stream = connect();
    await world.runFor(1000);
    deepStrictEqual([client.log, server.log], [['connected'], ['connected']]);
    world.node('b').powerOff();
    world.node('b').powerOn();
    await configureBox(world.node('b'), ['192.0.2.2/24']);
    stream.write(utf8('still there?'));
    await world.runFor(1000);
    deepStrictEqual([client.log, server.log], [['connected', 'ECONNRESET'], ['connected']]);
    world.internet.partition('a', 'b');
    client.log.length = 0;
    connect();
    await world.runFor(120_000);
    deepStrictEqual(client.log, ['ETIMEDOUT']);
  });

  it('tells both sides once when one closes with data under way', async () => {
    const { world, client, server, connect } = await pair(1);
    const stream = connect();
    stream.write(utf8('last words'));
    await world.runFor(1000);
    stream.write(utf8('and more'));
    stream.close();
    stream.close();
    stream.write(utf8('too late'));
    await world.runFor(10_000);
    deepStrictEqual([client.log, server.log, server.bytes], [['connected', 'closed'], ['connected', 'closed'], 18]);
  });

  it('gives up an attempt that is closed before it is open', async () => {
    const { world, client, server, connect } = await pair(1);
    connect().close();
    await world.runFor(10_000);
    deepStrictEqual([client.log, server.log], [['closed'], []]);
  });
});

/** Puts what comes from `core0` into UDP 4790 to the peer, and back: a forwarder without any security. */
async function runForwarder(node: SimNode, own: string, peer: string, lan: string): Promise<void> {
  const { host } = node;
  await host.ensureVr('Acme-LAN-VR');
  await host.adoptDevice('Acme-LAN-VR', 'eth1', 'vni-0_2');
  const link: Link = host.openTun('Acme-LAN-VR', 'core0', 1400);
  const port = host.openUdp('WAN', { address: own, port: 4790 });
  await host.apply({
    vr: 'Acme-LAN-VR',
    devices: [{ device: 'core0', addresses: [], mtu: 1400 }, { device: 'vni-0_2', addresses: [lan], mtu: 1500 }],
    routes: [{ prefix: 'default', device: 'core0' }],
    forwarding: true,
  });
  const octets = peer.split('.').map(Number);
  host.onReadable = () => {
    const inward = createBurst();
    port.read(inward);
    inward.next.fill(FIRST_PORT, 0, inward.count);
    link.write(inward, FIRST_PORT);
    const lanSide = createBurst();
    link.read(lanSide);
    const outward = createBurst();
    for (let i = 0; i < lanSide.count; i++) {
      const at = appendPacket(outward, packetAt(lanSide, i));
      outward.next[at] = FIRST_PORT;
      outward.family[at] = 4;
      outward.port[at] = 4790;
      outward.address.set(octets, at * 16);
    }
    port.write(outward, FIRST_PORT);
  };
}

describe('sim/host', () => {
  it('carries LAN traffic through TUN devices and the forwarder to the other site', async () => {
    const world = createWorld(1);
    const hosts = [];
    for (const [name, own, peer, net] of [['b1', '192.0.2.1', '192.0.2.2', 1], ['b2', '192.0.2.2', '192.0.2.1', 2]] as const) {
      const node = await addBox(world, name, [`${own}/24`]);
      const segment = world.addSegment(`lan-${name}`);
      node.plug('eth1', segment);
      await runForwarder(node, own, peer, `10.${net}.0.1/24`);
      hosts.push(world.addLanHost(`host-${name}`, segment, { addresses: [`10.${net}.0.10/24`], gateways: [`10.${net}.0.1`] }));
    }
    strictEqual(await world.whoAnswers(hosts[0]!, '10.2.0.10'), 'host-b2');
    strictEqual(await world.whoAnswers(hosts[1]!, '10.1.0.10'), 'host-b1');
    strictEqual(await world.whoAnswers(hosts[0]!, '10.3.0.10'), undefined);
    world.node('b2').powerOff();
    strictEqual(await world.whoAnswers(hosts[0]!, '10.2.0.10'), undefined);
  });

  it('delivers raw ESP to the port of its address', async () => {
    const world = createWorld(1);
    const [a, b] = [await addBox(world, 'a', ['192.0.2.1/24']), await addBox(world, 'b', ['192.0.2.2/24'])];
    const [from, to] = [a.host.openEsp('WAN', '192.0.2.1'), b.host.openEsp('WAN', '192.0.2.2')];
    const burst = createBurst();
    appendPacket(burst, utf8('0123456789abcdef'));
    burst.next[0] = FIRST_PORT;
    burst.family[0] = 4;
    burst.address.set([192, 0, 2, 2], 0);
    let woken = 0;
    b.host.onReadable = () => woken++;
    strictEqual(from.write(burst, FIRST_PORT), 1);
    await world.runFor(100);
    const got = createBurst();
    strictEqual(to.read(got), 1);
    deepStrictEqual([woken, fromUtf8(packetAt(got, 0)), [...got.address.subarray(0, 4)]], [1, '0123456789abcdef', [192, 0, 2, 1]]);
  });

  it('runs two transports that do not meet', async () => {
    const world = createWorld(1);
    const mpls = world.addInternet('MPLS');
    const a = listen(world, await addBox(world, 'a', ['172.16.0.1/24'], mpls), '172.16.0.1');
    const b = listen(world, await addBox(world, 'b', ['172.16.0.2/24'], mpls), '172.16.0.2');
    const c = listen(world, await addBox(world, 'c', ['172.16.0.2/24']), '172.16.0.2');
    a.send('x', '172.16.0.2');
    await world.runFor(100);
    deepStrictEqual([b.received.length, c.received.length], [1, 0]);
  });
});

describe('sim/model', () => {
  it('derives who must reach whom from what was done', () => {
    const model = new ReachModel();
    model.addSite({ name: 'b1', tenants: [2, 3], transports: ['INTERNET'] });
    model.addSite({ name: 'b2', tenants: [2], transports: ['INTERNET', 'MPLS'] });
    model.addSite({ name: 'b3', tenants: [2], transports: ['MPLS'] });
    const verdicts = (): string => model.pairs().filter(({ tenant }) => tenant === 2).map(({ from, to, verdict }) => `${from}>${to} ${verdict}`).join(', ');
    strictEqual(verdicts(), 'b1>b2 must, b1>b3 may, b2>b1 must, b2>b3 must, b3>b1 may, b3>b2 must');
    strictEqual(model.verdict('b1', 'b2', 3), 'must-not');
    model.partition('b2', 'b1');
    strictEqual(model.verdict('b1', 'b2', 2), 'may');
    model.heal('b1', 'b2');
    model.setCircuit('b2', 'INTERNET', false);
    strictEqual(model.verdict('b1', 'b2', 2), 'may');
    model.setCircuit('b1', 'INTERNET', false);
    strictEqual(model.verdict('b1', 'b2', 2), 'must-not');
    model.setCircuit('b1', 'INTERNET', true);
    model.setCircuit('b2', 'INTERNET', true);
    model.setPower('b2', false);
    strictEqual(model.verdict('b1', 'b2', 2), 'must-not');
    model.setPower('b2', true);
    model.revoke('b1');
    strictEqual(model.verdict('b1', 'b2', 2), 'must-not');
    strictEqual(model.verdict('b2', 'b3', 2), 'must');
  });
});
