// The shipped Wireshark dissector on frames whose every octet is written here.
import { strict as assert } from 'node:assert';
import { SeededRandom } from '../../platform/random.ts';
import { espPacket, ipv4Packet, pcapOf, udpDatagram } from './packet-capture.ts';
import type { EspKey } from './packet-capture.ts';
import { dissect } from './tshark.ts';
import type { DissectedPacket } from './tshark.ts';

const SOURCE = '192.0.2.1';
const DESTINATION = '198.51.100.2';
const GRE_MPLS = Buffer.from('00008847', 'hex');
/** Label 1024, TC 5, bottom of stack, TTL 64. */
const MPLS_ENTRY = Buffer.from('00400b40', 'hex');
const ETHERNET_ENTRY = Buffer.from('00011140', 'hex');

function overlay(nextProtocol: number, payload: Uint8Array): Uint8Array {
  // Flags I and P; flags 2 SD-WAN and IPv4; work queue 7; VNI 0x112; TC 2.
  const header = Buffer.from([0x0c, 0x81, 0x07, nextProtocol, 0x00, 0x01, 0x12, 0x20]);
  return ipv4Packet(17, SOURCE, DESTINATION, udpDatagram(4790, 4790, Buffer.concat([header, payload])));
}

/** One word after the first: path 3, flags 0, sequence 0x0102. */
function extension(nextProtocol: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([0x00, 0x01, 0x00, nextProtocol, 0x03, 0x00, 0x01, 0x02]), payload]);
}

function innerPacket(): Uint8Array {
  return ipv4Packet(17, '10.1.0.10', '10.2.0.10', udpDatagram(1111, 2222, Buffer.from('inner payload')));
}

function one(packet: Uint8Array, keys: readonly EspKey[] = []): DissectedPacket {
  const [dissected] = dissect(pcapOf([packet]), keys.map((key) => ({ ...key, source: SOURCE, destination: DESTINATION })));
  return dissected!;
}

describe('the Wireshark dissector', function () {
  this.timeout(60_000);
  const labelled = Buffer.concat([GRE_MPLS, MPLS_ENTRY, innerPacket()]);
  const key: EspKey = { spi: 0x10000001, keyAndSalt: new SeededRandom('tshark').bytes(36) };

  it('shows a clear frame down to the inner packet', () => {
    const packet = one(overlay(0xfb, extension(0xfd, labelled)));
    for (const protocol of ['vxlan', 'selvage_ext', 'gre', 'mpls']) assert.ok(packet.protocols.includes(protocol), `${protocol} in ${packet.protocols.join(':')}`);
    assert.deepEqual(packet.values('mpls.label'), ['1024']);
    assert.deepEqual(packet.values('ip.dst'), [DESTINATION, '10.2.0.10']);
    assert.deepEqual(packet.values('udp.dstport'), ['4790', '2222']);
  });

  it('names the bits that VXLAN-GPE reserves, and the extension', () => {
    const packet = one(overlay(0xfb, extension(0xfd, labelled)));
    assert.deepEqual(packet.values('vxlan.vni'), ['274']);
    assert.deepEqual(packet.values('selvage.flags2'), ['0x81']);
    assert.deepEqual(packet.values('selvage.flags2.sdwan'), ['1']);
    assert.deepEqual(packet.values('selvage.flags2.v6'), ['0']);
    assert.deepEqual(packet.values('selvage.wq_id'), ['7']);
    assert.deepEqual(packet.values('selvage.tc'), ['2']);
    assert.deepEqual(packet.values('selvage_ext.next_proto'), ['0xfd']);
    assert.deepEqual(packet.values('selvage_ext.path_id'), ['3']);
    assert.deepEqual(packet.values('selvage_ext.sequence'), ['258']);
  });

  for (const extended of [false, true]) {
    it(`decrypts ESP with ${extended ? 'extended' : '32-bit'} sequence numbers and shows GRE, MPLS and the inner packet`, () => {
      const sequence = extended ? 0x1_0000_0005n : 5n;
      const packet = one(overlay(0xfb, extension(0xfc, espPacket(key, sequence, extended, 47, labelled))), [key]);
      for (const protocol of ['vxlan', 'selvage_ext', 'esp', 'gre', 'mpls']) assert.ok(packet.protocols.includes(protocol), `${protocol} in ${packet.protocols.join(':')}`);
      assert.deepEqual(packet.values('esp.sequence'), ['5']);
      assert.deepEqual(packet.values('ip.src'), [SOURCE, '10.1.0.10']);
    });
  }

  it('shows no content of ESP under another key', () => {
    const wrong = { spi: key.spi, keyAndSalt: new SeededRandom('other').bytes(36) };
    const packet = one(overlay(0xfb, extension(0xfc, espPacket(key, 5n, false, 47, labelled))), [wrong]);
    assert.ok(packet.protocols.includes('esp'));
    assert.deepEqual(packet.values('ip.src'), [SOURCE]);
  });

  it('reads ESP, GRE and MPLS straight behind the VXLAN header', () => {
    assert.deepEqual(one(overlay(0xfc, espPacket(key, 9n, false, 47, labelled)), [key]).values('ip.dst'), [DESTINATION, '10.2.0.10']);
    assert.deepEqual(one(overlay(0xfd, labelled)).values('ip.dst'), [DESTINATION, '10.2.0.10']);
    const packet = one(overlay(0xfe, Buffer.concat([MPLS_ENTRY, innerPacket()])));
    assert.deepEqual(packet.values('ip.dst'), [DESTINATION, '10.2.0.10']);
    assert.deepEqual(packet.values('selvage.wq_id'), ['7']);
  });

  it('skips a longer extension and reads label 17 as inner Ethernet', () => {
    const ethernet = Buffer.concat([Buffer.from('0200000000010200000000020800', 'hex'), innerPacket()]);
    const longer = Buffer.concat([Buffer.from('000200fd0000000011223344', 'hex'), GRE_MPLS, ETHERNET_ENTRY, ethernet]);
    const packet = one(overlay(0xfb, longer));
    assert.deepEqual(packet.values('selvage_ext.more'), ['11:22:33:44']);
    assert.deepEqual(packet.values('eth.src'), ['02:00:00:00:00:02']);
    assert.deepEqual(packet.values('ip.dst'), [DESTINATION, '10.2.0.10']);
  });

  it('says so when an extension is longer than its packet', () => {
    const packet = one(overlay(0xfb, Buffer.from('00ff00fd00000000', 'hex')));
    assert.equal(packet.values('selvage_ext.short').length, 1);
  });
});
