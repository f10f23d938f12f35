// The seed's frame 2136: 1514 octets, IKE-less clear TVI traffic between two overlay addresses, octet by octet.
import assert from 'node:assert/strict';
import {
  ipDestinationAt, ipProtocol, ipSourceAt, ipTotalBytes, ipTtl, ipv4ChecksumGood, ipv4DontFragment, isIpv4, writeIpv4, writeIpv4Checksum,
  PROTOCOL_UDP,
} from '../../firmware/wire/ip.ts';
import { addressText } from '../../firmware/wire/address.ts';
import { greProtocol, isGre, writeGre, GRE_MPLS } from '../../firmware/wire/gre.ts';
import { mplsIsBottom, mplsLabel, mplsStackBytes, writeMpls } from '../../firmware/wire/mpls.ts';
import { isUdp, udpDestinationPort, udpLength, udpSourcePort, writeUdp, writeUdpChecksum, PORT_VXLAN_GPE } from '../../firmware/wire/udp.ts';
import { isVxlan, vxlanNextProtocol, vxlanPayload, vxlanVni, writeVxlanPrefix, VXLAN_NEXT_EXTENSION, VXLAN_NEXT_GRE } from '../../firmware/wire/vxlan.ts';
import { concat, fromHex, toHex } from '../../platform/bytes.ts';

const ETHERNET = fromHex('525400000005 525400000001 0800');
const OUTER_IP = 14;
const OUTER_UDP = 34;
const VXLAN = 42;
const GRE = 58;
const MPLS = 62;
const INNER_IP = 66;
const INNER_UDP = 86;
const DATA = 94;

/** Everything in front of the 1420 octets of data, by hand from RFC 791, RFC 768 and the layout of the VOS header. */
const GOLDEN_HEADERS = fromHex(`
  525400000005 525400000001 0800
  45 00 05dc 0000 4000 40 11 bfb9 c0a87a01 c0a87a05
  12b6 12b6 05c8 0000
  0c 81 00 fb 000112 00
  00 01 00 fd 00000000
  0000 8847
  00000140
  45 00 05a8 0000 4000 40 11 1f42 0aff0001 0aff0005
  fef1 fef1 0594 0000
`);

function writeIp(frame: Uint8Array, at: number, totalBytes: number, source: string, destination: string): void {
  writeIpv4(frame, at, totalBytes, PROTOCOL_UDP, 64, 0);
  frame.set(source.split('.').map(Number), at + 12);
  frame.set(destination.split('.').map(Number), at + 16);
  writeIpv4Checksum(frame, at);
}

function seedFrame(): Uint8Array {
  const frame = new Uint8Array(1514);
  frame.set(ETHERNET);
  frame.fill(0x12, DATA);
  writeIp(frame, OUTER_IP, 1500, '192.168.122.1', '192.168.122.5');
  writeUdp(frame, OUTER_UDP, PORT_VXLAN_GPE, PORT_VXLAN_GPE, 1480);
  writeVxlanPrefix(frame, VXLAN, 0x112, VXLAN_NEXT_GRE, 4);
  writeGre(frame, GRE, GRE_MPLS);
  writeMpls(frame, MPLS, 0, 0);
  writeIp(frame, INNER_IP, 1448, '10.255.0.1', '10.255.0.5');
  writeUdp(frame, INNER_UDP, 65265, 65265, 1428);
  return frame;
}

describe('the frame of the seed', () => {
  it('is built octet by octet', () => {
    const frame = seedFrame();
    assert.equal(toHex(frame.subarray(0, DATA)), toHex(GOLDEN_HEADERS));
    assert.equal(frame.length, 14 + 20 + 8 + 8 + 8 + 4 + 4 + 20 + 8 + 1420);
  });

  it('is read back layer by layer', () => {
    const frame = concat(GOLDEN_HEADERS, new Uint8Array(1420).fill(0x12));
    assert.ok(isIpv4(frame, OUTER_IP, 1500) && ipv4ChecksumGood(frame, OUTER_IP) && ipv4DontFragment(frame, OUTER_IP));
    assert.equal(ipProtocol(frame, OUTER_IP), PROTOCOL_UDP);
    assert.ok(isUdp(frame, OUTER_UDP, 1480));
    assert.deepEqual([udpSourcePort(frame, OUTER_UDP), udpDestinationPort(frame, OUTER_UDP)], [4790, 4790]);
    assert.ok(isVxlan(frame, VXLAN, 1472));
    assert.equal(vxlanVni(frame, VXLAN), 0x112);
    assert.equal(vxlanNextProtocol(frame, VXLAN), VXLAN_NEXT_EXTENSION);
    assert.equal(vxlanPayload(frame, VXLAN, 1472), ((GRE - VXLAN) << 8) | VXLAN_NEXT_GRE);
    assert.ok(isGre(frame, GRE, 1456));
    assert.equal(greProtocol(frame, GRE), GRE_MPLS);
    assert.equal(mplsStackBytes(frame, MPLS, 1452), 4);
    assert.equal(mplsLabel(frame, MPLS), 0);
    assert.ok(mplsIsBottom(frame, MPLS));
    assert.ok(isIpv4(frame, INNER_IP, 1448) && ipv4ChecksumGood(frame, INNER_IP));
    const at = (offset: number): string => addressText(frame.slice(offset, offset + 4));
    assert.equal(at(ipSourceAt(frame, INNER_IP)), '10.255.0.1');
    assert.equal(at(ipDestinationAt(frame, INNER_IP)), '10.255.0.5');
    assert.equal(ipTotalBytes(frame, INNER_IP), 1448);
    assert.equal(ipTtl(frame, INNER_IP), 64);
    assert.equal(udpLength(frame, INNER_UDP), 1428);
  });

  it('has a UDP checksum that a receiver accepts once it is written', () => {
    const frame = seedFrame();
    writeUdpChecksum(frame, INNER_IP, INNER_UDP);
    // A sum over everything including the checksum is all ones (RFC 768, RFC 1071), by an independent loop.
    const words = [...frame.subarray(INNER_IP + 12, INNER_IP + 20), 0, PROTOCOL_UDP, 1428 >> 8, 1428 & 0xff, ...frame.subarray(INNER_UDP)];
    let sum = 0;
    for (let i = 0; i < words.length; i += 2) sum += words[i]! * 256 + (words[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
    assert.equal(sum, 0xffff);
  });
});
