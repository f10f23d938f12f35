// What survives a new state, a new thread and a moving peer; limits and idle tunnels.
import assert from 'node:assert/strict';
import type { MemoryDatagram } from '../../drivers/memory.ts';
import { createCounterPage } from '../../firmware/dataplane/counters.ts';
import { toHex } from '../../platform/bytes.ts';
import { Box, pair, sa, settle, side, udpPacket, type Pair } from './boxes.ts';

const PACKET = udpPacket('10.1.0.5', '10.2.0.7', 64);
const BACK = udpPacket('10.2.0.7', '10.1.0.5', 64);

function recorded({ hub }: Pair): MemoryDatagram[] {
  const all: MemoryDatagram[] = [];
  hub.onDatagram = (datagram) => (all.push(datagram), true);
  return all;
}

/** Low half of the ESP sequence number of a vxlan-esp datagram. */
function sequenceOf(datagram: MemoryDatagram): number {
  return new DataView(datagram.bytes.buffer, datagram.bytes.byteOffset).getUint32(20);
}

function sendLan(boxes: Pair, from: Box = boxes.a, packet = PACKET): void {
  from.hosts.get(103)!.send(packet);
  settle(boxes.a, boxes.b);
}

describe('a new state', () => {
  it('keeps sequence numbers, windows and counters of what persists, and is acknowledged', () => {
    const boxes = pair();
    const sent = recorded(boxes);
    sendLan(boxes);
    boxes.a.forwarder.apply({ ...side({ end: 1, remote: boxes.b.address }), version: 2 });
    boxes.b.forwarder.apply({ ...side({ end: 2, remote: boxes.a.address }), version: 2 });
    sendLan(boxes);
    assert.deepEqual(sent.map(sequenceOf), [1, 2]);
    boxes.hub.deliver(sent[0]!);
    settle(boxes.b);
    assert.deepEqual(boxes.b.drops(), { replay: 1 });
    assert.equal(boxes.b.forwarder.readCounters().tunnels.find(({ tunnel }) => tunnel === 110)?.rxPackets, 2);
    assert.deepEqual(boxes.a.eventsOf('applied').map(({ version }) => version), [1, 2]);
    assert.equal(boxes.b.eventsOf('first-packet').length, 1);
  });

  it('switches TX to a new SA while old and new receive, then forgets the old', () => {
    const boxes = pair();
    const { a, b } = boxes;
    const newTx = sa(500, 0x0200_5000);
    const tunnelOf = (end: 1 | 2) => side({ end, remote: (end === 1 ? b : a).address }).tunnels[0]!;
    const withTunnel = (end: 1 | 2, change: object, version: number) => {
      const state = side({ end, remote: (end === 1 ? b : a).address });
      return { ...state, version, tunnels: [{ ...state.tunnels[0]!, ...change }, state.tunnels[1]!] };
    };
    const sent = recorded(boxes);
    sendLan(boxes);
    b.forwarder.apply(withTunnel(2, { rx: [{ ...newTx, id: 501 }, ...tunnelOf(2).rx] }, 2));
    sendLan(boxes);
    a.forwarder.apply(withTunnel(1, { tx: newTx }, 2));
    sendLan(boxes);
    assert.equal(b.hosts.get(103)!.waiting, 3);
    assert.deepEqual(b.eventsOf('first-packet').map(({ spi }) => spi), [tunnelOf(2).rx[0]!.spi, 0x0200_5000]);
    b.forwarder.apply(withTunnel(2, { rx: [{ ...newTx, id: 501 }] }, 3));
    boxes.hub.deliver(sent[1]!);
    settle(b);
    assert.deepEqual(b.drops(), { 'unknown-spi': 1 });
  });

  it('leaves out an SA whose key does not fit, and keeps the rest', () => {
    const boxes = pair();
    boxes.a.forwarder.apply({ ...side({ end: 1, remote: boxes.b.address, tenant: 1, txOptions: { id: 900, key: new Uint8Array(16) } }), version: 2 });
    sendLan(boxes);
    sendLan(boxes, boxes.b, BACK);
    assert.deepEqual(boxes.a.drops(), { 'sa-ignored': 1, 'no-sa': 1 });
    assert.deepEqual(boxes.a.hosts.get(103)!.take(), BACK);
  });

  it('refuses more SAs of one SPI than it would try', () => {
    const { b } = pair();
    const state = side({ end: 2, remote: '192.0.2.1' });
    const tunnel = state.tunnels[0]!;
    const rx = Array.from({ length: 6 }, (_, i) => ({ ...tunnel.rx[0]!, id: 1000 + i }));
    b.forwarder.apply({ ...state, version: 2, tunnels: [{ ...tunnel, rx }, state.tunnels[1]!] });
    assert.deepEqual(b.drops(), { 'sa-ignored': 2 });
  });

  it('removes everything that it does not name', () => {
    const boxes = pair();
    boxes.b.forwarder.apply({ ...side({ end: 2, remote: boxes.a.address }), version: 2, tunnels: [], routes: [] });
    sendLan(boxes);
    sendLan(boxes, boxes.b, BACK);
    assert.deepEqual(boxes.b.drops(), { 'unknown-spi': 1, 'no-route': 1 });
    assert.deepEqual(boxes.b.forwarder.readCounters().tunnels, []);
  });

  it('goes on from the old sequence numbers when an SA comes back', () => {
    const boxes = pair();
    const { a, b } = boxes;
    const sent = recorded(boxes);
    sendLan(boxes);
    for (const [box, end, remote] of [[a, 1, b.address], [b, 2, a.address]] as const) {
      const state = side({ end, remote });
      box.forwarder.apply({ ...state, version: 2, tunnels: [], routes: [] });
      box.forwarder.apply({ ...state, version: 3 });
    }
    sendLan(boxes);
    assert.deepEqual(sent.map(sequenceOf), [1, 2]);
    boxes.hub.deliver(sent[0]!);
    settle(b);
    assert.deepEqual(b.drops(), { replay: 1 });
  });

  it('reads links that it does not name, so that nothing piles up', () => {
    const boxes = pair();
    boxes.a.forwarder.apply({ ...side({ end: 1, remote: undefined }), insides: [], tunnels: [], routes: [], labels: [] });
    sendLan(boxes);
    assert.deepEqual(boxes.a.drops(), {});
  });

  it('counts LAN packets of a peer without SA or path', () => {
    const boxes = pair();
    const state = side({ end: 1, remote: undefined });
    boxes.a.forwarder.apply(state);
    sendLan(boxes);
    boxes.a.forwarder.apply({ ...state, tunnels: [{ ...state.tunnels[0]!, tx: undefined }, state.tunnels[1]!] });
    sendLan(boxes);
    assert.deepEqual(boxes.a.drops(), { 'no-path': 1, 'no-sa': 1 });
  });
});

describe('a forwarder that was started again', () => {
  it('goes on from the sequence numbers on the page and takes no old packet', () => {
    const boxes = pair();
    const sent = recorded(boxes);
    for (let i = 0; i < 5; i++) sendLan(boxes);
    const a = new Box(new (boxes.hub.constructor as typeof import('../../drivers/memory.ts').MemoryDatagramHub)(), '192.0.2.1', boxes.a.page);
    const captured: MemoryDatagram[] = [];
    a.hub.onDatagram = (datagram) => (captured.push(datagram), false);
    a.link(103);
    a.forwarder.apply(side({ end: 1, remote: boxes.b.address }));
    a.hosts.get(103)!.send(PACKET);
    settle(a);
    assert.equal(sequenceOf(captured[0]!), 6);
    const b = new Box(new (boxes.hub.constructor as typeof import('../../drivers/memory.ts').MemoryDatagramHub)(), '192.0.2.2', boxes.b.page);
    b.link(103);
    b.forwarder.apply(side({ end: 2, remote: boxes.a.address }));
    for (const datagram of [...sent, captured[0]!]) b.hub.deliver(datagram);
    settle(b);
    assert.deepEqual(b.drops(), { replay: 5 });
    assert.equal(b.hosts.get(103)!.waiting, 1);
  });

  it('finds the sequence numbers after an orderly end too', () => {
    const boxes = pair();
    sendLan(boxes);
    const words = boxes.a.page.slice();
    boxes.a.forwarder.close();
    assert.deepEqual(boxes.a.page, words);
  });

  it('does not mistake a fresh page for a former one', () => {
    const page = createCounterPage({ tunnels: 2, sas: 2 });
    assert.deepEqual(new Box(pair().hub, '192.0.2.9', page).forwarder.readCounters(), { version: 0, handedOver: 0, drops: [], tunnels: [] });
  });
});

describe('an endpoint that moves', () => {
  it('is followed at once, reported once, and kept until the first path changes', () => {
    const boxes = pair();
    const { hub, a, b } = boxes;
    const sent = recorded(boxes);
    sendLan(boxes);
    b.nowMs += 5000;
    // A NAT between them gives a another port from now on.
    hub.onDatagram = (datagram) => {
      sent.push(datagram);
      if (datagram.from.address !== a.address) return true;
      hub.deliver({ ...datagram, from: { address: '203.0.113.7', port: 40_001 } });
      return false;
    };
    sendLan(boxes);
    sendLan(boxes);
    assert.deepEqual(b.eventsOf('endpoint-moved'), [{ kind: 'endpoint-moved', tunnel: 110, outside: 1, remote: { address: '203.0.113.7', port: 40_001 } }]);
    sendLan(boxes, b, BACK);
    assert.deepEqual(sent.at(-1)!.to, { address: '203.0.113.7', port: 40_001 });
    b.forwarder.apply({ ...side({ end: 2, remote: a.address }), version: 2 });
    sendLan(boxes, b, BACK);
    assert.deepEqual(sent.at(-1)!.to, { address: '203.0.113.7', port: 40_001 });
    b.forwarder.apply({ ...side({ end: 2, remote: '198.51.100.4' }), version: 3 });
    sendLan(boxes, b, BACK);
    assert.deepEqual(sent.at(-1)!.to, { address: '198.51.100.4', port: 4790 });
  });

  it('does not move for bad tags, replays or older packets', () => {
    const boxes = pair();
    const { hub, b } = boxes;
    const held: MemoryDatagram[] = [];
    hub.onDatagram = (datagram) => (held.push(datagram), false);
    for (let i = 0; i < 3; i++) sendLan(boxes);
    hub.deliver(held[2]!);
    settle(b);
    b.nowMs += 5000;
    const from = { address: '203.0.113.66', port: 666 };
    hub.deliver({ ...held[2]!, from });
    hub.deliver({ ...held[0]!, from });
    const broken = held[1]!.bytes.slice();
    broken[40]! ^= 1;
    hub.deliver({ ...held[1]!, from, bytes: broken });
    settle(b);
    assert.deepEqual(b.eventsOf('endpoint-moved'), []);
    assert.deepEqual(b.drops(), { replay: 1, 'aead-failed': 1 });
  });

  it('is learned for a peer without path', () => {
    const boxes = pair();
    boxes.b.forwarder.apply({ ...side({ end: 2, remote: undefined }), version: 2 });
    sendLan(boxes);
    sendLan(boxes, boxes.b, BACK);
    assert.equal(boxes.b.eventsOf('endpoint-moved').length, 1);
    assert.deepEqual(boxes.a.hosts.get(103)!.take(), BACK);
  });
});

describe('limits of an SA', () => {
  it('reports each soft limit once and drops at the hard one', () => {
    const boxes = pair({ txOptions: { softPackets: 3, softBytes: 500, hardPackets: 6 } });
    for (let i = 0; i < 10; i++) sendLan(boxes);
    assert.deepEqual(boxes.a.eventsOf('sa-limit').map(({ tunnel, limit }) => [tunnel, limit]), [[110, 'packets'], [110, 'bytes']]);
    assert.deepEqual(boxes.a.drops(), { 'sa-hard-limit': 4 });
    assert.equal(boxes.b.hosts.get(103)!.waiting, 6);
  });

  it('holds for receiving too', () => {
    const boxes = pair({ rxOptions: { softPackets: 2, hardPackets: 4 } });
    for (let i = 0; i < 6; i++) sendLan(boxes);
    assert.equal(boxes.b.eventsOf('sa-limit').length, 1);
    assert.deepEqual(boxes.b.drops(), { 'sa-hard-limit': 2 });
  });

  for (const esn of [true, false]) {
    it(`${esn ? 'goes on beyond' : 'stops before'} 2^32 packets ${esn ? 'with' : 'without'} ESN`, () => {
      const boxes = pair({ txOptions: { esn }, rxOptions: { esn } });
      const sent = recorded(boxes);
      for (const box of [boxes.a, boxes.b]) {
        for (let word = 0; word < box.page.length - 1; word++) {
          if (box.page[word] === (box === boxes.a ? 101 : 111)) box.page[word + 1] = 2 ** 32 - 3;
        }
      }
      for (let i = 0; i < 6; i++) sendLan(boxes);
      assert.equal(boxes.b.hosts.get(103)!.waiting, esn ? 6 : 2);
      assert.deepEqual(boxes.a.drops(), esn ? {} : { 'sa-hard-limit': 4 });
      if (esn) assert.equal(toHex(sent[3]!.bytes.subarray(20, 32)), '00000001' + '0000000100000001');
    });
  }
});

describe('an idle tunnel', () => {
  it('sends a dummy for a new SA and then every interval in which it sent nothing else', () => {
    const boxes = pair({ idleDummyMs: 2000 });
    const { a, b } = boxes;
    const sent = recorded(boxes);
    settle(a, b);
    assert.equal(sent.length, 2);
    assert.deepEqual(a.forwarder.deadline(), 3000);
    for (const now of [2999, 3000, 4000]) {
      a.nowMs = now;
      settle(a);
    }
    assert.equal(sent.length, 3);
    a.nowMs = 4500;
    a.hosts.get(103)!.send(PACKET);
    settle(a);
    a.nowMs = 6000;
    settle(a);
    assert.equal(sent.length, 4);
    a.nowMs = 6500;
    settle(a, b);
    assert.equal(sent.length, 5);
    assert.deepEqual(b.drops(), { dummy: 3 });
    assert.equal(b.eventsOf('first-packet').length, 1);
  });
});
