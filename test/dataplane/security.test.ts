// What must never get through.
import assert from 'node:assert/strict';
import { MemoryDatagramHub, type MemoryDatagram } from '../../drivers/memory.ts';
import { Box, LAN_LABEL, merge, pair, settle, side, udpPacket, VNI, type Pair } from './boxes.ts';

/** Sends one good packet from a to b and returns its datagram, undelivered. */
function captured({ hub, a }: Pair, inside = 103, packet = udpPacket('10.1.0.5', '10.2.0.7', 64)): MemoryDatagram {
  let seen: MemoryDatagram | undefined;
  hub.onDatagram = (datagram) => ((seen = datagram), false);
  a.hosts.get(inside)!.send(packet);
  a.breathe();
  hub.onDatagram = undefined;
  assert.ok(seen, 'a datagram left');
  return seen;
}

function receives({ hub, b }: Pair, datagram: MemoryDatagram): void {
  hub.deliver(datagram);
  settle(b);
}

describe('what the outside is not trusted with', () => {
  it('drops a replayed packet, also within one burst', () => {
    const boxes = pair();
    const datagram = captured(boxes);
    boxes.hub.deliver(datagram);
    boxes.hub.deliver(datagram);
    settle(boxes.b);
    receives(boxes, datagram);
    assert.equal(boxes.b.hosts.get(103)!.waiting, 1);
    assert.deepEqual(boxes.b.drops(), { replay: 2 });
  });

  it('drops a packet of which any octet of ESP was changed, without moving the window', () => {
    const boxes = pair();
    const datagram = captured(boxes);
    for (let at = 16; at < datagram.bytes.length; at++) {
      const bytes = datagram.bytes.slice();
      bytes[at]! ^= 0x80;
      receives(boxes, { ...datagram, bytes });
    }
    assert.equal(boxes.b.hosts.get(103)!.waiting, 0);
    receives(boxes, datagram);
    assert.equal(boxes.b.hosts.get(103)!.waiting, 1);
    const drops = boxes.b.drops();
    assert.equal(Object.values(drops).reduce((sum, n) => sum + n), datagram.bytes.length - 16);
    assert.deepEqual(Object.keys(drops).sort(), ['aead-failed', 'unknown-spi']);
  });

  it('drops a packet under another tenant\'s VNI after decryption', () => {
    const boxes = pair();
    const both = (end: 1 | 2, remote: string) => merge(side({ end, remote }), side({ end, remote, tenant: 2 }));
    boxes.b.forwarder.apply(both(2, boxes.a.address));
    const datagram = captured(boxes);
    const bytes = datagram.bytes.slice();
    bytes[6] = VNI + 1;
    receives(boxes, { ...datagram, bytes });
    assert.deepEqual(boxes.b.drops(), { 'vni-mismatch': 1 });
  });

  it('drops a label of another tenant, an unknown label and a source that the FIB does not route to the peer', () => {
    const boxes = pair();
    const { a, b } = boxes;
    b.forwarder.apply(merge(side({ end: 2, remote: a.address }), side({ end: 2, remote: a.address, tenant: 2 })));
    b.link(203);
    const withLabel = (label: number) => ({ ...side({ end: 1, remote: b.address }), routes: [{ inside: 103, prefix: '10.2.0.0/16', tunnel: 110, label }] });
    a.forwarder.apply(withLabel(LAN_LABEL + 200));
    receives(boxes, captured(boxes));
    a.forwarder.apply(withLabel(5000));
    receives(boxes, captured(boxes));
    a.forwarder.apply(withLabel(LAN_LABEL + 100));
    receives(boxes, captured(boxes, 103, udpPacket('10.9.0.5', '10.2.0.7', 64)));
    receives(boxes, captured(boxes, 103, udpPacket('10.2.0.5', '10.2.0.7', 64)));
    receives(boxes, captured(boxes));
    assert.equal(b.hosts.get(103)!.waiting, 1);
    assert.equal(b.hosts.get(203)!.waiting, 0);
    assert.deepEqual(b.drops(), { 'label-of-other-tenant': 1, 'unknown-label': 1, 'source-spoofed': 2 });
  });

  it('never mixes two tenants with the same prefixes, SPIs and addresses', () => {
    const hub = new MemoryDatagramHub();
    const a = new Box(hub, '192.0.2.1');
    const b = new Box(hub, '192.0.2.2');
    const states = ([1, 2] as const).map((end) => merge(
      side({ end, remote: `192.0.2.${3 - end}` }),
      side({ end, remote: `192.0.2.${3 - end}`, tenant: 2, txOptions: { spi: 0x0200_1064 + end }, rxOptions: { spi: 0x0200_1064 + 3 - end } }),
    ));
    for (const [i, box] of [a, b].entries()) {
      for (const inside of [101, 102, 103, 201, 202, 203]) box.link(inside);
      box.forwarder.apply(states[i]!);
    }
    for (let round = 0; round < 20; round++) {
      for (const tenant of [1, 2]) {
        const packet = udpPacket('10.1.0.5', '10.2.0.7', Uint8Array.of(tenant, round, 0, 0));
        a.hosts.get(tenant * 100 + 3)!.send(packet);
        settle(a, b);
        assert.deepEqual(b.hosts.get(tenant * 100 + 3)!.take(), packet);
      }
    }
    assert.deepEqual([101, 102, 201, 202].map((inside) => b.hosts.get(inside)!.waiting), [0, 0, 0, 0]);
    assert.deepEqual({ ...a.drops(), ...b.drops() }, {});
  });

  it('tells two SAs of one tenant with the same SPI apart by their tags', () => {
    const hub = new MemoryDatagramHub();
    const [a, b, c] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((address) => new Box(hub, address)) as [Box, Box, Box];
    for (const box of [a, b, c]) for (const inside of [101, 102, 103]) box.link(inside);
    a.forwarder.apply(side({ end: 1, remote: b.address }));
    const towardsB = side({ end: 2, remote: a.address });
    const tunnel = towardsB.tunnels[0]!;
    const other = { ...tunnel, id: 999, peer: 'peer-c', tx: undefined, paths: [{ outside: 1, remote: { address: c.address, port: 4790 } }], rx: [{ ...tunnel.rx[0]!, id: 777, key: new Uint8Array(32).fill(99) }] };
    b.forwarder.apply({
      ...towardsB,
      tunnels: [...towardsB.tunnels, other],
      routes: [...towardsB.routes, { inside: 103, prefix: '10.3.0.0/16', tunnel: 999, label: LAN_LABEL + 100 }],
    });
    c.forwarder.apply({
      ...side({ end: 1, remote: b.address }),
      tunnels: [{ ...side({ end: 1, remote: b.address }).tunnels[0]!, tx: { ...other.rx[0]!, id: 5 } }],
      routes: [{ inside: 103, prefix: '10.2.0.0/16', tunnel: 110, label: LAN_LABEL + 100 }],
    });
    for (const [box, source] of [[a, '10.1.0.5'], [c, '10.3.0.5'], [a, '10.1.0.6']] as const) {
      const packet = udpPacket(source, '10.2.0.7', 32);
      box.hosts.get(103)!.send(packet);
      settle(a, c, b);
      assert.deepEqual(b.hosts.get(103)!.take(), packet);
    }
    const reasons = Object.keys(b.drops());
    assert.deepEqual(reasons.filter((reason) => reason !== 'spi-collision-miss' && reason !== 'aead-failed'), []);
  });

  it('drops traffic of the LAN that a route would send clear', () => {
    const { a, b } = pair();
    const state = side({ end: 1, remote: b.address });
    a.forwarder.apply({ ...state, routes: [{ inside: 103, prefix: '10.2.0.0/16', tunnel: 111, label: 1124 }] });
    a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 64, [500, 500]));
    settle(a, b);
    assert.deepEqual(a.drops(), { 'wrong-encapsulation': 1 });
  });

  it('ignores routes and tunnels across tenants', () => {
    const { a, b } = pair();
    const two = merge(side({ end: 1, remote: b.address }), side({ end: 1, remote: b.address, tenant: 2 }));
    a.forwarder.apply({ ...two, routes: [{ inside: 203, prefix: '10.2.0.0/16', tunnel: 110, label: 0 }, { inside: 203, prefix: 'nonsense', tunnel: 210, label: 0 }] });
    assert.deepEqual(a.drops(), { 'route-ignored': 2 });
    a.forwarder.apply({ ...two, routes: [], tunnels: [{ ...two.tunnels[0]!, inside: 202 }] });
    assert.equal(a.drops()['tunnel-ignored'], 1);
  });
});
