import assert from 'node:assert/strict';
import type { MemoryDatagram } from '../../drivers/memory.ts';
import { toHex } from '../../platform/bytes.ts';
import { pair, settle, udpPacket } from './boxes.ts';

const TVI_PACKET = udpPacket('10.255.0.1', '10.255.0.2', 32);

describe('UDP 4500', () => {
  it('hands IKE to the control plane without its marker, and sends it with the marker', () => {
    const { hub, a, b } = pair();
    const seen: string[] = [];
    hub.onDatagram = ({ bytes, from, to }) => (seen.push(`${from.port} ${to.port} ${toHex(bytes)}`), true);
    a.forwarder.sendIke(1, { address: b.address, port: 4500 }, Uint8Array.of(1, 2, 3));
    a.forwarder.sendNatKeepalive(1, { address: b.address, port: 4500 });
    settle(b);
    assert.deepEqual(seen, ['4500 4500 00000000010203', '4500 4500 ff']);
    assert.deepEqual(b.eventsOf('ike'), [{
      kind: 'ike', outside: 1, local: { address: b.address, port: 4500 }, remote: { address: a.address, port: 4500 }, bytes: Uint8Array.of(1, 2, 3),
    }]);
    assert.deepEqual(b.drops(), { 'natt-keepalive': 1 });
  });

  it('counts IKE that cannot be sent', () => {
    const { a } = pair();
    a.forwarder.sendIke(1, { address: '2001:db8::1', port: 4500 }, new Uint8Array(10));
    a.forwarder.sendIke(9, { address: '192.0.2.2', port: 4500 }, new Uint8Array(10));
    a.forwarder.sendIke(1, { address: '192.0.2.2', port: 4500 }, new Uint8Array(5000));
    assert.deepEqual(a.drops(), { 'ike-no-port': 2, 'ike-too-large': 1 });
  });

  it('accepts bare ESP for a tunnel of ESP in UDP without learning an endpoint from it', () => {
    const { hub, a, b } = pair({ kind: 'esp-udp' });
    let datagram: MemoryDatagram | undefined;
    hub.onDatagram = (each) => ((datagram = each), false);
    a.hosts.get(102)!.send(TVI_PACKET);
    settle(a);
    hub.onDatagram = undefined;
    hub.deliver({ ...datagram!, kind: 'esp', from: { address: '198.51.100.1', port: 0 }, to: { address: b.address, port: 0 } });
    settle(b);
    assert.deepEqual(b.hosts.get(102)!.take(), TVI_PACKET);
    assert.deepEqual(b.eventsOf('endpoint-moved'), []);
  });

  it('drops ESP of a VXLAN tunnel that comes without VXLAN', () => {
    const { hub, a, b } = pair();
    let datagram: MemoryDatagram | undefined;
    hub.onDatagram = (each) => ((datagram = each), false);
    a.hosts.get(102)!.send(TVI_PACKET);
    settle(a);
    hub.deliver({ ...datagram!, bytes: datagram!.bytes.slice(16), to: { address: b.address, port: 4500 } });
    settle(b);
    assert.deepEqual(b.drops(), { 'wrong-encapsulation': 1 });
  });
});
