import assert from 'node:assert/strict';
import { ESP_SHAPES } from '../../drivers/esp-suite.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeAead } from '../../drivers/native/aead.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { pair, settle, udpPacket } from './boxes.ts';

const ENGINES = { portable: () => new PortableAead(), native: () => new NativeAead(requireNative()) } as const;

for (const [engine, create] of Object.entries(ENGINES)) describe(`two boxes with the ${engine} AEAD`, () => {
  for (const kind of ['vxlan-esp', 'esp', 'esp-udp'] as const) {
    it(`carry packets of the encrypted TVI over ${kind}`, () => {
      const { a, b } = pair({ kind }, create);
      const packet = udpPacket('10.255.0.1', '10.255.0.2', 100);
      a.hosts.get(102)!.send(packet);
      settle(a, b);
      assert.deepEqual(b.hosts.get(102)!.take(), packet);
      assert.deepEqual({ ...a.drops(), ...b.drops() }, {});
    });
  }

  for (const suite of ['aes-128-cbc/hmac-sha256-128', 'aes-256-cbc/hmac-sha384-192', 'aes-256-cbc/hmac-sha512-256', 'aes-256-cbc/hmac-sha1-96'] as const) {
    it(`carry packets of every length with ${suite}, and drop what was changed`, () => {
      const options = { suite, salt: new Uint8Array(0), key: new Uint8Array(ESP_SHAPES[suite].keyBytes).fill(5) };
      const { a, b, hub } = pair({ txOptions: options, rxOptions: options }, create);
      for (let octets = 0; octets < 40; octets++) {
        const packet = udpPacket('10.1.0.5', '10.2.0.7', octets);
        a.hosts.get(103)!.send(packet);
        settle(a, b);
        assert.deepEqual(b.hosts.get(103)!.take(), packet);
      }
      assert.deepEqual({ ...a.drops(), ...b.drops() }, {});
      hub.onDatagram = ({ bytes }) => {
        bytes[bytes.length - 40]! ^= 1;
        return true;
      };
      a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 100));
      settle(a, b);
      assert.deepEqual(b.drops(), { 'aead-failed': 1 });
    });
  }

  it('carry LAN packets of both families over vxlan-esp, both ways', () => {
    const { a, b } = pair({}, create);
    for (const [from, to, source, target] of [
      [a, b, '10.1.0.5', '10.2.0.7'],
      [b, a, '10.2.0.7', '10.1.0.5'],
      [a, b, 'fd00:1::5', 'fd00:2::7'],
      [b, a, 'fd00:2::7', 'fd00:1::5'],
    ] as const) {
      const packet = udpPacket(source, target, 1200);
      from.hosts.get(103)!.send(packet);
      settle(a, b);
      assert.deepEqual(to.hosts.get(103)!.take(), packet);
    }
    assert.deepEqual({ ...a.drops(), ...b.drops() }, {});
    const count = a.forwarder.readCounters().tunnels.find((tunnel) => tunnel.tunnel === 110)!;
    assert.equal(count.txPackets, 2);
    assert.equal(count.rxPackets, 2);
    assert.deepEqual([count.txBytes, count.rxBytes], [1228 + 1248, 1228 + 1248]);
  });
});
