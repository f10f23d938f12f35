import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendPacket, createBurst, Next } from '../../drivers/burst.ts';
import { captureDatagrams, captureFile, captureLink, outerHeader } from '../../drivers/capture.ts';
import { Direction, interfaceBlock, packetBlock, PcapngWriter, sectionHeaderBlock, type CaptureLimits, type CaptureSink } from '../../drivers/pcapng.ts';
import type { DatagramPort, Link } from '../../drivers/port.ts';
import { concat, toHex } from '../../platform/bytes.ts';
import { OperationalError } from '../../platform/errors.ts';
import { pattern } from './port-contract.ts';

const LIMITS: CaptureLimits = { maxBytes: 100_000, snapLength: 65_535, unixMs: () => 1_700_000_000_123 };

class Memory implements CaptureSink {
  readonly blocks: Uint8Array[] = [];
  closed = 0;

  write(bytes: Uint8Array): void {
    this.blocks.push(bytes);
  }

  close(): void {
    this.closed++;
  }
}

interface Shown {
  readonly interfaceId: number;
  readonly milliseconds: number;
  readonly direction: number;
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** Reads enhanced packet blocks by the draft's figures, with checks of every length. */
function packetsIn(capture: Uint8Array): Shown[] {
  const view = new DataView(capture.buffer, capture.byteOffset, capture.length);
  const shown: Shown[] = [];
  for (let at = 0; at < capture.length; ) {
    const [type, total] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    assert.equal(total % 4, 0);
    assert.equal(view.getUint32(at + total - 4, true), total, 'both lengths of a block agree');
    if (type === 6) {
      const [kept, length] = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
      const microseconds = view.getUint32(at + 12, true) * 2 ** 32 + view.getUint32(at + 16, true);
      const direction = view.getUint32(at + 28 + Math.ceil(kept / 4) * 4 + 4, true);
      const bytes = capture.slice(at + 28, at + 28 + kept);
      shown.push({ interfaceId: view.getUint32(at + 8, true), milliseconds: microseconds / 1000, direction, length, bytes });
    }
    at += total;
  }
  return shown;
}

/** A port that reads one given packet and refuses every second one that it should send. */
function fakePort(packet: Uint8Array): Pick<Link, 'name' | 'fd' | 'read' | 'write' | 'close'> {
  return {
    name: 'fake',
    fd: -1,
    read: (burst) => {
      const i = appendPacket(burst, packet);
      burst.address.set([192, 0, 2, 7], i * 16);
      burst.port[i] = 4790;
      return 1;
    },
    write: (burst, select) => {
      let sent = 0;
      for (let i = 0; i < burst.count; i++) {
        if (burst.next[i] !== select) continue;
        burst.next[i] = i % 2 === 0 ? Next.done : Next.drop;
        sent += i % 2 === 0 ? 1 : 0;
      }
      return sent;
    },
    close: () => undefined,
  };
}

describe('pcapng', () => {
  it('writes section, interface and packet blocks as the draft draws them', () => {
    assert.equal(toHex(sectionHeaderBlock()), '0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000');
    assert.equal(toHex(interfaceBlock('tun0', 65_535)), '010000002000000065000000ffff000002000400' + toHex(Buffer.from('tun0')) + '0000000020000000');
    assert.equal(
      toHex(packetBlock(3, 0x1_0000_0001 / 1000, Direction.outbound, [Uint8Array.of(0x45), Uint8Array.of(1, 2, 3, 4)], 100)),
      '06000000' + '34000000' + '03000000' + '01000000' + '01000000' + '05000000' + '05000000' + '4501020304000000' + '0200040002000000' + '00000000' + '34000000',
    );
  });

  it('keeps at most the snap length of a packet, across its parts', () => {
    for (const snapLength of [0, 1, 3, 4, 6, 7]) {
      const [shown] = packetsIn(packetBlock(0, 5, Direction.inbound, [pattern(4, 1), pattern(2, 2)], snapLength));
      assert.deepEqual(shown!.bytes, concat(pattern(4, 1), pattern(2, 2)).slice(0, snapLength));
      assert.equal(shown!.length, 6);
    }
  });

  it('stops at its limit and counts what it missed', () => {
    const sink = new Memory();
    const writer = new PcapngWriter(sink, { ...LIMITS, maxBytes: 400 });
    const id = writer.addInterface('x');
    for (let i = 0; i < 20; i++) writer.packet(id, Direction.inbound, [pattern(50, i)]);
    assert.ok(writer.bytes <= 400);
    assert.equal(writer.packets, packetsIn(concat(...sink.blocks)).length);
    assert.ok(writer.packets >= 2);
    assert.equal(writer.packets + writer.missed, 20);
    writer.close();
    writer.close();
    writer.packet(id, Direction.inbound, [pattern(1, 1)]);
    assert.equal(sink.closed, 1);
    assert.equal(writer.missed + writer.packets, 21);
  });

  it('ends the capture and not the port when the sink fails', () => {
    const full = Object.assign(new Error('no space'), { code: 'ENOSPC' });
    let writes = 0;
    const sink: CaptureSink = {
      write: () => {
        if (++writes > 2) throw full;
      },
      close: () => undefined,
    };
    const writer = new PcapngWriter(sink, LIMITS);
    const link = captureLink({ ...fakePort(pattern(30, 1)), kind: 'tun' }, writer);
    assert.equal(link.read(createBurst()), 1);
    assert.equal(writer.failure, full);
    assert.equal(link.read(createBurst()), 1);
    assert.equal(writer.missed, 2);
    assert.equal(writes, 3);
  });

  it('makes a file of its own, for its owner only', () => {
    const folder = mkdtempSync(join(tmpdir(), 'selvage-capture-'));
    const path = join(folder, 'x.pcapng');
    const writer = new PcapngWriter(captureFile(path), LIMITS);
    writer.packet(writer.addInterface('x'), Direction.inbound, [pattern(60, 1)]);
    writer.close();
    assert.equal(packetsIn(readFileSync(path)).length, 1);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.throws(() => captureFile(path), (error: unknown) => error instanceof OperationalError && error.code === 'EEXIST');
    rmSync(folder, { recursive: true });
    assert.ok(!existsSync(path));
  });
});

describe('capture of a port', () => {
  it('shows what a link read, and of what it wrote only what was sent', () => {
    const sink = new Memory();
    const writer = new PcapngWriter(sink, LIMITS);
    const link = captureLink({ ...fakePort(pattern(30, 9)), kind: 'tun' }, writer);
    const burst = createBurst();
    appendPacket(burst, pattern(40, 1));
    assert.equal(link.read(burst), 1);
    for (let i = 0; i < 4; i++) appendPacket(burst, pattern(20 + i, i));
    burst.next.fill(Next.seal, 2, 5);
    burst.next[5] = Next.done;
    assert.equal(link.write(burst, Next.seal), 2);
    const shown = packetsIn(concat(...sink.blocks));
    assert.deepEqual(shown.map((s) => [s.direction, s.length, s.milliseconds]), [
      [Direction.inbound, 30, 1_700_000_000_123],
      [Direction.outbound, 20, 1_700_000_000_123],
      [Direction.outbound, 22, 1_700_000_000_123],
    ]);
    assert.deepEqual(shown[0]!.bytes, pattern(30, 9));
  });

  it('gives datagrams the headers of their direction', () => {
    const sink = new Memory();
    const writer = new PcapngWriter(sink, LIMITS);
    const inner: DatagramPort = { ...fakePort(pattern(10, 9)), kind: 'udp', local: { address: '192.0.2.1', port: 500 } };
    const port = captureDatagrams(inner, writer);
    assert.deepEqual([port.kind, port.local, port.name], ['udp', inner.local, 'fake']);
    const burst = createBurst();
    port.read(burst);
    burst.next[0] = Next.seal;
    port.write(burst, Next.seal);
    const [inbound, outbound] = packetsIn(concat(...sink.blocks));
    assert.equal(toHex(inbound!.bytes.subarray(12, 28)), 'c0000207' + 'c0000201' + '12b601f4' + '0012' + toHex(inbound!.bytes.subarray(26, 28)));
    assert.equal(toHex(outbound!.bytes.subarray(12, 26)), 'c0000201' + 'c0000207' + '01f412b6' + '0012');
  });

  it('computes the checksums of the headers that it adds', () => {
    // RFC 1071: with its checksum in place, the sum over what it covers is all ones.
    const v4 = { protocol: 'udp', source: Uint8Array.of(192, 0, 2, 1), destination: Uint8Array.of(192, 0, 2, 2), sourcePort: 500, destinationPort: 500, trafficClass: 0xb8 } as const;
    const sum = (bytes: Uint8Array, start = 0): number => {
      let total = start;
      for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
      while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
      return total;
    };
    for (const length of [0, 1, 9, 1400]) {
      const header = outerHeader(v4, pattern(length, 3));
      assert.equal(sum(header.subarray(0, 20)), 0xffff);
      const pseudo = sum(concat(v4.source, v4.destination), 17 + 8 + length);
      assert.equal(sum(concat(header.subarray(20), pattern(length, 3)), pseudo), 0xffff);
      const v6 = { ...v4, source: pattern(16, 1), destination: pattern(16, 2) };
      const header6 = outerHeader(v6, pattern(length, 3));
      assert.equal(header6.length, 48);
      assert.equal(toHex(header6.subarray(0, 4)), '6b800000');
      assert.equal(sum(concat(header6.subarray(40), pattern(length, 3)), sum(concat(v6.source, v6.destination), 17 + 8 + length)), 0xffff);
      assert.equal(outerHeader({ ...v4, protocol: 'esp' }, pattern(length, 3)).length, 20);
    }
  });
});
