// The judge of the WAN on frames whose every octet is written here: it lets pass what is sealed, and nothing else.
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../platform/random.ts';
import { labTopology } from '../../provisioning/lab/topology.ts';
import { WanAuditor, auditCapture, fullAddress } from '../../provisioning/lab/wan-audit.ts';
import type { WanAudit } from '../../provisioning/lab/wan-audit.ts';
import { capturePoints } from '../../provisioning/lab/wan-capture.ts';
import type { CaptureEnd, CapturedWire } from '../../provisioning/lab/wan-capture.ts';
import { readWanPacket } from '../../provisioning/lab/wan-packet.ts';
import { espPacket, ipv4Packet, pcapOf, udpDatagram } from './packet-capture.ts';

const BRANCH_1 = '198.51.100.18';
const BRANCH_2 = '198.51.100.34';
const CONTROLLER = '198.51.100.2';
const random = new SeededRandom('wan-audit');
const ROLES = { branches: ['branch-1', 'branch-2'], controllers: ['controller-1'] };
const WHOLE: readonly CaptureEnd[] = [{ lost: 0, endedEarly: false }];
const GRE_MPLS = Buffer.from('0000884700400140', 'hex');

function ethernet(type: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.from('020000000001020000000002', 'hex');
  return Buffer.concat([header, Buffer.from([type >> 8, type & 255]), payload]);
}

function udp(source: string, destination: string, ports: readonly [number, number], payload: Uint8Array): Uint8Array {
  return ethernet(0x0800, ipv4Packet(17, source, destination, udpDatagram(...ports, payload)));
}

function esp(spi: number): Uint8Array {
  return espPacket({ spi, keyAndSalt: random.bytes(36) }, 1n, true, 47, random.bytes(80));
}

function overlay(source: string, destination: string, next: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.from([0x0c, 0x81, 0, 0xfb, 0, 1, 0x12, 0, 0, 1, 0, next, 0, 0, 0, 0]);
  return udp(source, destination, [4790, 4790], Buffer.concat([header, payload]));
}

function ike(): Uint8Array {
  const message = Buffer.from(random.bytes(120));
  message[17] = 0x20;
  return message;
}

function lanPacket(): Uint8Array {
  return ipv4Packet(17, '10.1.0.10', '10.2.0.10', udpDatagram(1111, 2222, Buffer.from('hello')));
}

function controlIke(): Uint8Array {
  return ipv4Packet(17, '10.202.0.1', '10.202.0.5', udpDatagram(500, 500, ike()));
}

/** fe80::1 to ff02::1, next header 58, a neighbour solicitation. */
const NEIGHBOUR = ethernet(0x86dd, Buffer.concat([Buffer.from('6000000000083aff', 'hex'), Buffer.from('fe80000000000000000000000000000', 'hex'), Buffer.alloc(17), Buffer.from('8700000000000000', 'hex')]));

function arp(sender: string, target: string): Uint8Array {
  const ip = (text: string): number[] => text.split('.').map(Number);
  return ethernet(0x0806, Buffer.concat([Buffer.from('0001080006040001', 'hex'), Buffer.alloc(6), Buffer.from(ip(sender)), Buffer.alloc(6), Buffer.from(ip(target))]));
}

const PASSING: readonly (readonly [string, string, Uint8Array])[] = [
  ['IKE on port 500', 'ike', udp(BRANCH_1, CONTROLLER, [500, 500], ike())],
  ['IKE behind NAT', 'ike-natt', udp(BRANCH_2, CONTROLLER, [4500, 4500], Buffer.concat([Buffer.alloc(4), ike()]))],
  ['a NAT keepalive', 'keepalive', udp(BRANCH_2, CONTROLLER, [4500, 4500], Buffer.from([0xff]))],
  ['ESP in UDP', 'esp-in-udp', udp(BRANCH_2, CONTROLLER, [4500, 4500], esp(0x2000_0001))],
  ['bare ESP', 'esp', ethernet(0x0800, ipv4Packet(50, BRANCH_1, CONTROLLER, esp(0x2000_0002)))],
  ['ESP in the overlay', 'overlay-esp', overlay(BRANCH_1, BRANCH_2, 0xfc, esp(0x2000_0003))],
  ['IKE in the clear overlay', 'overlay-ike', overlay(BRANCH_1, CONTROLLER, 0xfd, Buffer.concat([GRE_MPLS, controlIke()]))],
  ['ARP for a WAN address', 'arp', arp(BRANCH_1, '198.51.100.17')],
];

const REFUSED: readonly (readonly [string, RegExp, Uint8Array])[] = [
  ['TCP in clear', /IP protocol 6 in clear/, ethernet(0x0800, ipv4Packet(6, BRANCH_1, BRANCH_2, random.bytes(40)))],
  ['UDP on a port of nobody', /UDP from port 1111 to 53 in clear/, udp(BRANCH_1, BRANCH_2, [1111, 53], random.bytes(40))],
  ['what is no IKE on its port', /version 0x/, udp(BRANCH_1, CONTROLLER, [500, 500], Buffer.alloc(60, 1))],
  ['BGP in the clear overlay', /IP protocol 6 in clear inside the overlay/, overlay(BRANCH_1, CONTROLLER, 0xfd, Buffer.concat([GRE_MPLS, ipv4Packet(6, '10.202.0.1', '10.202.0.5', random.bytes(40))]))],
  ['an unknown next protocol', /next protocol 0x4/, overlay(BRANCH_1, CONTROLLER, 0x04, random.bytes(40))],
  ['a fragment', /fragment/, ((packet: Buffer) => ((packet[6] = 0x20), ethernet(0x0800, packet)))(Buffer.from(ipv4Packet(17, BRANCH_1, BRANCH_2, random.bytes(40))))],
  ['ESP too short to have a tag', /where ESP should be/, overlay(BRANCH_1, BRANCH_2, 0xfc, random.bytes(20))],
  ['an unknown Ethernet type', /Ethernet type 0x8847/, ethernet(0x8847, random.bytes(40))],
];

/** An ICMP error whose quotation ends in the middle of the quoted UDP header. */
const QUOTING = ethernet(0x0800, ipv4Packet(1, CONTROLLER, BRANCH_1, Buffer.concat([Buffer.from('0303000000000000', 'hex'), lanPacket().subarray(0, 24)])));

const LEAKS: readonly (readonly [string, RegExp, Uint8Array])[] = [
  ['a LAN packet on the wire', /10\.1\.0\.10/, ethernet(0x0800, lanPacket())],
  ['a LAN packet in GRE and MPLS', /10\.1\.0\.10/, overlay(BRANCH_1, BRANCH_2, 0xfd, Buffer.concat([GRE_MPLS, lanPacket()]))],
  ['a LAN packet in MPLS alone', /10\.1\.0\.10/, overlay(BRANCH_1, BRANCH_2, 0xfe, Buffer.concat([GRE_MPLS.subarray(4), lanPacket()]))],
  ['a LAN packet straight in VXLAN', /10\.1\.0\.10/, overlay(BRANCH_1, BRANCH_2, 0x01, lanPacket())],
  ['a LAN packet as inner Ethernet', /10\.1\.0\.10/, overlay(BRANCH_1, BRANCH_2, 0x03, ethernet(0x0800, lanPacket()))],
  ['ESP that encrypts nothing', /in the network of 10\.1\.0\.10\/24/, overlay(BRANCH_1, BRANCH_2, 0xfc, Buffer.concat([Buffer.from('2000000100000001', 'hex'), Buffer.alloc(8), GRE_MPLS, lanPacket(), Buffer.alloc(18)]))],
  ['an IPv6 LAN address in what looks sealed', /in the network of fd00:2::10\/64/, overlay(BRANCH_1, BRANCH_2, 0xfc, Buffer.concat([esp(0x2000_0004), Buffer.from('fd000002000000000000000000000010', 'hex')]))],
  ['what a host says', /tenant3-branch1/, overlay(BRANCH_1, BRANCH_2, 0xfc, Buffer.concat([esp(0x2000_0005), Buffer.from('tenant3-branch1\n')]))],
  ['a LAN address that ICMP quotes', /10\.1\.0\.10/, QUOTING],
  ['ARP for a LAN address', /10\.2\.0\.10/, arp(BRANCH_1, '10.2.0.10')],
];

function wires(): CapturedWire[] {
  return capturePoints(labTopology()).map((point) => ({ ...point, file: '' }));
}

function wireOf(sender: string): CapturedWire {
  return wires().find((wire) => wire.sender === sender && !wire.inside)!;
}

type Sent = readonly [sender: string, frame: Uint8Array];

function audit(frames: readonly Sent[], ends = WHOLE, inside: readonly Uint8Array[] = []): WanAudit {
  const auditor = new WanAuditor(labTopology(), wires(), ROLES);
  for (const [sender, frame] of frames) auditor.add(wireOf(sender), frame, frame.length);
  for (const frame of inside) auditor.add(wires().find((wire) => wire.inside)!, frame, frame.length);
  return auditor.result(ends);
}

function bothWays(): Sent[] {
  return Array.from({ length: 30 }, (_, i): Sent[] => [
    ['branch-1', overlay(BRANCH_1, BRANCH_2, 0xfc, esp(0x1000_0000 + (i & 1)))],
    ['branch-2', overlay(BRANCH_2, BRANCH_1, 0xfc, esp(0x1100_0000))],
  ]).flat();
}

describe('the judge of the WAN', () => {
  for (const [name, kind, frame] of PASSING) {
    it(`lets pass ${name}`, () => {
      assert.equal(readWanPacket(frame).kind, kind);
      assert.deepEqual(audit([...bothWays(), ['branch-1', frame]]).verdict, { held: true, cause: '' });
    });
  }

  it('lets pass DHCP between a branch and its NAT box, and nowhere else', () => {
    const frame = udp('0.0.0.0', '255.255.255.255', [68, 67], Buffer.alloc(300));
    assert.deepEqual(audit(bothWays(), WHOLE, [frame]).verdict, { held: true, cause: '' });
    assert.match(audit([...bothWays(), ['branch-1', frame]]).verdict.cause, /1 packets are nothing that belongs on the WAN: .*DHCP beyond the NAT box/);
  });

  it('lets pass neighbour discovery', () => assert.equal(readWanPacket(NEIGHBOUR).kind, 'icmp'));

  for (const [name, cause, frame] of REFUSED) {
    it(`refuses ${name}`, () => {
      const { verdict, unexpected } = audit([...bothWays(), ['branch-1', frame]]);
      assert.equal(unexpected.count, 1);
      assert.match(verdict.cause, cause);
    });
  }

  for (const [name, trace, frame] of LEAKS) {
    it(`finds ${name}`, () => {
      const { verdict, leaks } = audit([...bothWays(), ['branch-1', frame]]);
      assert.equal(leaks.count, 1);
      assert.match(leaks.first[0]!, trace);
      assert.equal(verdict.held, false);
    });
  }

  it('survives every truncation of every frame', () => {
    for (const [, , frame] of [...PASSING, ...REFUSED, ...LEAKS]) {
      for (let length = 0; length <= frame.length; length++) assert.ok(readWanPacket(frame.slice(0, length)).kind);
    }
  });

  it('fails when branches did not talk to each other directly', () => {
    assert.match(audit([]).verdict.cause, /only 0 packets went from branch-1 straight to branch-2/);
    const oneWay = bothWays().filter(([sender]) => sender === 'branch-1');
    assert.match(audit(oneWay).verdict.cause, /from branch-2 straight to branch-1/);
  });

  it('fails when the Controller sends packets of an SA between branches', () => {
    const relayed = overlay(CONTROLLER, BRANCH_2, 0xfc, esp(0x1000_0001));
    assert.match(audit([...bothWays(), ['controller-1', relayed]]).verdict.cause, /a Controller sent packets of SAs between branches/);
    const own = overlay(CONTROLLER, BRANCH_2, 0xfc, esp(0x1000_0007));
    assert.equal(audit([...bothWays(), ['controller-1', own]]).verdict.held, true);
  });

  it('fails when bulk traffic takes the way through the Controller', () => {
    const auditor = new WanAuditor(labTopology(), wires(), ROLES);
    for (const [sender, frame] of bothWays()) auditor.add(wireOf(sender), frame, 1_000_000);
    auditor.add(wireOf('controller-1'), overlay(CONTROLLER, BRANCH_2, 0xfc, esp(0x1000_0009)), 20_000_000);
    assert.match(auditor.result(WHOLE).verdict.cause, /20000000 octets went through the Controller's wire/);
  });

  it('fails for a capture that ended early or lost much', () => {
    assert.match(audit(bothWays(), [{ lost: 0, endedEarly: true }]).verdict.cause, /ended before the run did/);
    assert.match(audit(bothWays(), [{ lost: 3, endedEarly: false }]).verdict.cause, /lost 3 packets/);
  });

  it('knows every sender of the lab, on both sides of the NAT box', () => {
    const seen = wires().map(({ sender, place, device, addresses, inside }) => [sender, `${place} ${device}`, addresses.join(' '), inside]);
    assert.deepEqual(seen, [
      ['controller-1', 'internet controller-1', '198.51.100.2 2001:db8:0:1::2', false],
      ['branch-1', 'internet branch-1', '198.51.100.18 2001:db8:0:2::2', false],
      ['branch-2', 'internet nat-2', '198.51.100.34', false],
      ['branch-2', 'nat-2 inside', '192.168.2.2', true],
    ]);
  });

  it('writes IPv6 addresses as the reader does', () => {
    assert.equal(fullAddress('2001:db8:0:2::2'), '2001:db8:0:2:0:0:0:2');
    assert.equal(fullAddress('::1'), '0:0:0:0:0:0:0:1');
    assert.equal(fullAddress('fd00::'), 'fd00:0:0:0:0:0:0:0');
  });

  it('refuses a file that is cut, of another kind or missing', () => {
    const directory = mkdtempSync(join(tmpdir(), 'selvage-wan-'));
    try {
      const judge = (bytes: Uint8Array | undefined): string => {
        const file = join(directory, 'capture.pcap');
        rmSync(file, { force: true });
        if (bytes !== undefined) writeFileSync(file, bytes);
        return auditCapture(labTopology(), [{ ...wireOf('branch-1'), file }, { ...wireOf('branch-2'), file: empty }], WHOLE, ROLES).verdict.cause;
      };
      const ethernetPcap = (frames: readonly Uint8Array[]): Buffer => {
        const bytes = Buffer.from(pcapOf(frames));
        bytes.writeUInt32BE(1, 20);
        return bytes;
      };
      const empty = join(directory, 'empty.pcap');
      writeFileSync(empty, ethernetPcap([]));
      const whole = ethernetPcap([overlay(BRANCH_1, BRANCH_2, 0xfc, esp(0x1000_0000))]);
      assert.match(judge(whole), /^only 1 packets went from branch-1/);
      assert.match(judge(whole.subarray(0, whole.length - 1)), /the last record has \d+ of \d+ octets/);
      assert.match(judge(whole.subarray(0, 30)), /6 octets of a record header/);
      assert.match(judge(whole.subarray(0, 10)), /10 octets of file header/);
      assert.match(judge(pcapOf([])), /link type 101/);
      assert.match(judge(Buffer.from('not a capture, but long enough for one')), /magic/);
      assert.match(judge(undefined), /ENOENT/);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
