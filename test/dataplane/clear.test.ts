// Clear VXLAN: IKE to and from the box's own clear address, nothing else.
import assert from 'node:assert/strict';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { concat } from '../../platform/bytes.ts';
import { pair, settle, side, udpPacket } from './boxes.ts';

const IKE = [500, 500] as const;
const CLEAR_PREFIX = fromHex('0c8100fb00011200 000100fd00000000 00008847 00000140');

function clearDatagram(packet: Uint8Array, prefix = CLEAR_PREFIX) {
  return { kind: 'udp' as const, bytes: concat(prefix, packet), from: { address: '198.51.100.9', port: 61_000 }, to: { address: '192.0.2.2', port: 4790 } };
}

describe('clear TVI', () => {
  for (const [from, to] of [['10.254.0.1', '10.254.0.2'], ['fd00:254::1', 'fd00:254::2']] as const) {
    it(`carries IKE from ${from}`, () => {
      const { hub, a, b } = pair();
      const sent: string[] = [];
      hub.onDatagram = ({ bytes }) => (sent.push(toHex(bytes.subarray(0, 24))), true);
      const packet = udpPacket(from, to, 300, IKE);
      a.hosts.get(101)!.send(packet);
      settle(a, b);
      assert.deepEqual(b.hosts.get(101)!.take(), packet);
      const version6 = from.includes(':');
      assert.deepEqual(sent, [`0c8${version6 ? 2 : 1}00fb00011200000100fd0000000000008847${version6 ? '00002' : '00000'}140`]);
    });
  }

  it('drops what is not IKE, or not from the box\'s own address, on its way out', () => {
    const { a, b } = pair();
    const host = a.hosts.get(101)!;
    host.send(udpPacket('10.254.0.1', '10.254.0.2', 20, [500, 179]));
    host.send(udpPacket('10.254.0.9', '10.254.0.2', 20, IKE));
    host.send(udpPacket('10.254.0.1', '224.0.0.1', 20, IKE));
    settle(a, b);
    assert.deepEqual(a.drops(), { 'clear-not-ike': 1, 'clear-foreign-source': 1, multicast: 1 });
    assert.equal(b.hosts.get(101)!.waiting, 0);
  });

  const refused: readonly [string, Uint8Array, string][] = [
    ['BGP', udpPacket('10.254.0.1', '10.254.0.2', 20, [179, 179]), 'clear-not-ike'],
    ['IKE to a LAN host', udpPacket('10.254.0.1', '10.2.0.7', 20, IKE), 'clear-not-for-us'],
    ['IKE to the encrypted TVI', udpPacket('10.254.0.1', '10.255.0.2', 20, IKE), 'clear-not-for-us'],
    ['IKE from the box\'s own address', udpPacket('10.254.0.2', '10.254.0.2', 20, IKE), 'source-spoofed'],
    ['IKE from multicast', udpPacket('224.0.0.1', '10.254.0.2', 20, IKE), 'source-spoofed'],
    ['a cut packet', udpPacket('10.254.0.1', '10.254.0.2', 20, IKE).subarray(0, 30), 'malformed-inner-ip'],
  ];
  for (const [what, packet, reason] of refused) {
    it(`drops ${what} that arrives clear`, () => {
      const { hub, b } = pair();
      hub.deliver(clearDatagram(packet));
      settle(b);
      assert.deepEqual(b.drops(), { [reason]: 1 });
      assert.deepEqual([...b.hosts.values()].map((host) => host.waiting), [0, 0, 0]);
    });
  }

  it('drops clear IKE under a LAN label or an unknown VNI', () => {
    const { hub, b } = pair();
    const packet = udpPacket('10.254.0.1', '10.254.0.2', 20, IKE);
    hub.deliver(clearDatagram(packet, fromHex('0c8100fb00011200 000100fd00000000 00008847 00464140')));
    hub.deliver(clearDatagram(packet, fromHex('0c8100fb00099900 000100fd00000000 00008847 00000140')));
    settle(b);
    assert.deepEqual(b.drops(), { 'clear-not-ike': 1, 'unknown-vni': 1 });
  });

  it('answers IKE to where it came from while the peer has no endpoint, and sends nothing else there', () => {
    const { hub, a, b } = pair();
    b.forwarder.apply({ ...side({ end: 2, remote: undefined }), version: 2 });
    const answers: { to: unknown; label: string }[] = [];
    hub.onDatagram = ({ to, bytes }) => (answers.push({ to, label: toHex(bytes.subarray(20, 24)) }), false);
    b.hosts.get(101)!.send(udpPacket('10.254.0.2', '10.254.0.1', 20, IKE));
    settle(b);
    assert.deepEqual(b.drops(), { 'no-path': 1 });
    hub.deliver(clearDatagram(udpPacket('10.254.0.1', '10.254.0.2', 20, IKE)));
    settle(b);
    b.hosts.get(101)!.send(udpPacket('10.254.0.2', '10.254.0.1', 20, IKE));
    b.hosts.get(103)!.send(udpPacket('10.2.0.2', '10.1.0.1', 20, IKE));
    settle(b);
    assert.deepEqual(answers, [{ to: { address: '198.51.100.9', port: 61_000 }, label: '00000140' }]);
    assert.equal(b.drops()['no-path'], 2);
    void a;
  });

  it('answers a peer that asks from another endpoint there and at its known one, for a while', () => {
    const { hub, b } = pair();
    hub.deliver(clearDatagram(udpPacket('10.254.0.1', '10.254.0.2', 20, IKE)));
    settle(b);
    const answered = () => {
      const to: string[] = [];
      hub.onDatagram = (datagram) => (to.push(datagram.to.address), false);
      b.hosts.get(101)!.send(udpPacket('10.254.0.2', '10.254.0.1', 20, IKE));
      settle(b);
      return to;
    };
    assert.deepEqual(answered(), ['192.0.2.1', '198.51.100.9']);
    b.nowMs += 30_001;
    assert.deepEqual(answered(), ['192.0.2.1']);
    const usual = clearDatagram(udpPacket('10.254.0.1', '10.254.0.2', 20, IKE));
    hub.deliver({ ...usual, from: { address: '192.0.2.1', port: 4790 } });
    settle(b);
    assert.deepEqual(answered(), ['192.0.2.1']);
    assert.deepEqual(b.drops(), {});
  });

  it('answers a peer that no route knows', () => {
    const { hub, b } = pair();
    b.forwarder.apply({ ...side({ end: 2, remote: undefined }), routes: [], version: 2 });
    hub.deliver(clearDatagram(udpPacket('10.254.77.1', '10.254.0.2', 20, IKE)));
    settle(b);
    let to: unknown;
    hub.onDatagram = (datagram) => ((to = datagram.to), false);
    b.hosts.get(101)!.send(udpPacket('10.254.0.2', '10.254.77.1', 20, IKE));
    settle(b);
    assert.deepEqual(to, { address: '198.51.100.9', port: 61_000 });
  });

  it('forgets the oldest of many sources, not the newest', () => {
    const { hub, b } = pair();
    b.forwarder.apply({ ...side({ end: 2, remote: undefined }), routes: [], version: 2 });
    for (let i = 0; i < 5000; i++) {
      hub.deliver(clearDatagram(udpPacket(`10.${i >> 8}.${i & 0xff}.1`, '10.254.0.2', 20, IKE)));
      if (i % 256 === 255 || i === 4999) settle(b);
    }
    let answers = 0;
    hub.onDatagram = () => (answers++, false);
    for (let i = 4990; i < 5000; i++) b.hosts.get(101)!.send(udpPacket('10.254.0.2', `10.${i >> 8}.${i & 0xff}.1`, 20, IKE));
    settle(b);
    assert.equal(answers, 10);
    b.hosts.get(101)!.send(udpPacket('10.254.0.2', '10.0.0.1', 20, IKE));
    settle(b);
    assert.equal(answers, 10);
  });
});
