// TCP between two namespaces through two TUN devices and a relay of bursts: super-packets are cut on reading and joined
// on writing, and TCP must not notice.
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { appendPacket, BURST_PACKETS, createBurst, Next, type Burst } from '../../drivers/burst.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices, NativeOpener } from '../../drivers/native/sockets.ts';
import type { Link, StreamSocket } from '../../drivers/port.ts';
import { innerPacketsAt } from '../../drivers/super-packet.ts';
import { NodeNetwork } from '../../drivers/portable/sockets.ts';
import { randomBelow, SeededRandom } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import { ip, withNamespace } from './namespaces.ts';

const MTU = 1400;
const TRANSFER_BYTES = 6_000_000;
const PROTOCOL_TCP = 6;

function sum16(bytes: Uint8Array, start: number): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65_536);
  return sum;
}

/** Lengths and checksums of IP and TCP agree with what the packet holds (RFC 791, RFC 8200, RFC 9293). */
function assertSound(packet: Uint8Array): void {
  assert.ok(packet.length <= MTU, `a packet of ${packet.length} octets`);
  const v4 = packet[0] === 0x45;
  const header = v4 ? 20 : 40;
  if (packet[v4 ? 9 : 6] !== PROTOCOL_TCP) return;
  const view = new DataView(packet.buffer, packet.byteOffset);
  assert.equal(v4 ? view.getUint16(2) : view.getUint16(4) + 40, packet.length);
  if (v4) assert.equal(sum16(packet.subarray(0, 20), 0), 0xffff, 'IPv4 checksum');
  const pseudo = sum16(packet.subarray(v4 ? 12 : 8, header), PROTOCOL_TCP + packet.length - header);
  assert.equal(sum16(packet.subarray(header), pseudo), 0xffff, 'TCP checksum');
}

/** One segment of a connection from 10.3.0.9 (2001:db8:3::9) with sound checksums. */
function tcpPacket(v4: boolean, sequence: number, payload: number): Uint8Array {
  const header = v4 ? 20 : 40;
  const packet = new Uint8Array(header + 20 + payload).fill(payload, header + 20);
  const view = new DataView(packet.buffer);
  if (v4) {
    packet.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0, 10, 3, 0, 9, 10, 3, 0, 1]);
    view.setUint16(2, packet.length);
    view.setUint16(10, ~sum16(packet.subarray(0, 20), 0) & 0xffff);
  } else {
    packet.set([0x60, 0, 0, 0, 0, 0, PROTOCOL_TCP, 64, 0x20, 1, 0xd, 0xb8, 0, 3], 0);
    packet[23] = 9;
    packet.set(packet.subarray(8, 24), 24);
    packet[39] = 1;
    view.setUint16(4, packet.length - 40);
  }
  view.setUint32(header, (4000 << 16) | 5201);
  view.setUint32(header + 4, sequence);
  packet.set([0x50, 0x10, 0xff, 0xff], header + 12);
  const pseudo = sum16(packet.subarray(v4 ? 12 : 8, header), PROTOCOL_TCP + packet.length - header);
  view.setUint16(header + 16, ~sum16(packet.subarray(header), pseudo) & 0xffff);
  return packet;
}

interface Relay {
  packets: number;
  largestSuper: number;
}

/** Carries what one device gives to the other until `done`; `touch` may spoil packets. */
async function relay(links: readonly [Link, Link], done: () => boolean, touch: (burst: Burst, i: number) => void): Promise<Relay> {
  const told: Relay = { packets: 0, largestSuper: 0 };
  const [read, burst] = [createBurst(), createBurst()];
  for (let turn = 0; turn < 20_000 && !done(); turn++) {
    for (const [from, to] of [links, [links[1], links[0]]] as const) {
      read.count = 0;
      from.read(read);
      for (let i = 0; i < read.count; i++) {
        burst.count = 0;
        for (const packet of innerPacketsAt(read, i)) {
          assertSound(packet);
          const k = appendPacket(burst, packet);
          touch(burst, k);
          burst.next[k] = Next.route;
        }
        assert.equal(to.write(burst, Next.route), burst.count);
        told.packets += burst.count;
        told.largestSuper = Math.max(told.largestSuper, burst.count);
      }
    }
    await sleep(0);
  }
  assert.ok(done(), 'the transfer ends');
  return told;
}

describe('TCP through TUN devices', () => {
  const a = withNamespace('tcp-a');
  const b = withNamespace('tcp-b');
  let links: [Link, Link];
  beforeEach(() => {
    links = [a, b].map((vr) => new NativeDevices(requireNative()).openTun(vr, 'core0', MTU)) as [Link, Link];
    for (const [vr, host] of [[a, 1], [b, 2]] as const) {
      ip('-n', vr, 'addr', 'add', `10.3.0.${host}/24`, 'dev', 'core0');
      ip('-n', vr, 'addr', 'add', `2001:db8:3::${host}/64`, 'dev', 'core0', 'nodad');
    }
  });
  afterEach(() => {
    for (const link of links) link.close();
  });

  function receivedPackets(vr: string): number {
    const [device] = JSON.parse(ip('-n', vr, '-j', '-s', 'link', 'show', 'core0')) as [{ stats64: { rx: { packets: number } } }];
    return device.stats64.rx.packets;
  }

  /** Sends both ways at once; resolves when both ends have everything, and compares it. */
  async function transfer(near: string, far: string, touch: (burst: Burst, i: number) => void = () => undefined): Promise<Relay> {
    const network = new NodeNetwork(new NativeOpener(requireNative()));
    const content = new SeededRandom(7).bytes(TRANSFER_BYTES);
    const wanted = createHash('sha256').update(content).digest('hex');
    const hashes = [createHash('sha256'), createHash('sha256')];
    const received = [0, 0];
    const streams: StreamSocket[] = [];
    const failures: Error[] = [];
    const take = (side: 0 | 1, stream: StreamSocket): void => {
      streams.push(stream);
      stream.handlers = {
        onConnected: () => stream.write(content),
        onData: (bytes) => {
          received[side]! += bytes.length;
          hashes[side]!.update(bytes);
        },
        onClosed: (error) => error === undefined || failures.push(error),
      };
    };
    const accept = (stream: StreamSocket): void => {
      take(1, stream);
      stream.write(content);
    };
    const listener = network.listenStream({ vr: b, local: { address: far, port: 5201 }, onStream: accept, onError: (error) => failures.push(error) });
    const handlers = { onConnected: (): void => undefined, onData: (): void => undefined, onClosed: (): void => undefined };
    take(0, network.connectStream({ vr: a, localAddress: near, remote: { address: far, port: 5201 }, handlers }));
    const told = await relay(links, () => failures.length > 0 || received.every((bytes) => bytes >= TRANSFER_BYTES), touch);
    for (const stream of streams) stream.close();
    listener.close();
    assert.deepEqual(failures, []);
    assert.deepEqual(received, [TRANSFER_BYTES, TRANSFER_BYTES]);
    assert.deepEqual(hashes.map((hash) => hash.digest('hex')), [wanted, wanted]);
    return told;
  }

  for (const [family, near, far] of [['IPv4', '10.3.0.1', '10.3.0.2'], ['IPv6', '2001:db8:3::1', '2001:db8:3::2']] as const) {
    it(`carries ${family} both ways in sound packets, which the host receives joined`, async () => {
      const told = await transfer(near, far);
      assert.ok(told.packets > (2 * TRANSFER_BYTES) / MTU, 'the burst held single packets');
      assert.ok(told.largestSuper > 20, `super-packets grew to ${told.largestSuper}`);
      const joined = receivedPackets(a) + receivedPackets(b);
      assert.ok(joined < told.packets / 2, `${told.packets} packets arrived as ${joined}`);
    });
  }

  it('gives every packet of a hostile burst a fate', () => {
    const random = new SeededRandom(11);
    const burst = createBurst();
    for (let round = 0; round < 100; round++) {
      burst.count = 0;
      let sequence = random.uint32();
      for (let i = 0; i < BURST_PACKETS; i++) {
        const v4 = randomBelow(random, 4) > 0;
        const packet = tcpPacket(v4, sequence, randomBelow(random, 900));
        sequence += packet.length - (v4 ? 40 : 60);
        if (randomBelow(random, 3) === 0) packet[randomBelow(random, packet.length)] = randomBelow(random, 256);
        appendPacket(burst, randomBelow(random, 10) === 0 ? packet.subarray(0, randomBelow(random, packet.length)) : packet);
        if (randomBelow(random, 50) === 0) burst.offset[i] = random.uint32() | 0;
        if (randomBelow(random, 50) === 0) burst.length[i] = random.uint32() | 0;
        burst.next[i] = randomBelow(random, 8) === 0 ? Next.control : Next.route;
      }
      const selected = burst.next.filter((next) => next === Next.route).length;
      const sent = links[0].write(burst, Next.route);
      const fates = burst.next.filter((next) => next === Next.done).length;
      assert.equal(sent, fates);
      assert.equal(sent + burst.next.filter((next, i) => next === Next.drop && burst.reason[i]! < 0).length, selected);
    }
  });

  it('does not hide a broken checksum by joining', async () => {
    let spoiled = 0;
    await transfer('10.3.0.1', '10.3.0.2', (burst, i) => {
      if (burst.length[i]! < 1000) return;
      if (++spoiled % 300 === 0) burst.bytes[burst.offset[i]! + 600]! ^= 0x40;
    });
    assert.ok(spoiled > 600);
  });
});
