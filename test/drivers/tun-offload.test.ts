// TCP between two namespaces through two TUN devices and a relay of bursts: super-packets are cut on reading and joined
// on writing, and TCP must not notice.
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { createBurst, Next, type Burst } from '../../drivers/burst.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices, NativeOpener } from '../../drivers/native/sockets.ts';
import type { Link, StreamSocket } from '../../drivers/port.ts';
import { NodeNetwork } from '../../drivers/portable/sockets.ts';
import { SeededRandom } from '../../platform/random.ts';
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

interface Relay {
  packets: number;
  largestBurst: number;
}

/** Carries what one device gives to the other until `done`; `touch` may spoil packets. */
async function relay(links: readonly [Link, Link], done: () => boolean, touch: (burst: Burst, i: number) => void): Promise<Relay> {
  const told: Relay = { packets: 0, largestBurst: 0 };
  for (let turn = 0; turn < 20_000 && !done(); turn++) {
    for (const [from, to] of [links, [links[1], links[0]]] as const) {
      const burst = createBurst();
      const read = from.read(burst);
      for (let i = 0; i < read; i++) {
        assertSound(burst.bytes.subarray(burst.offset[i]!, burst.offset[i]! + burst.length[i]!));
        touch(burst, i);
        burst.next[i] = Next.route;
      }
      assert.equal(to.write(burst, Next.route), read);
      told.packets += read;
      told.largestBurst = Math.max(told.largestBurst, read);
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
      assert.ok(told.largestBurst > 40, `bursts grew to ${told.largestBurst}`);
      const joined = receivedPackets(a) + receivedPackets(b);
      assert.ok(joined < told.packets / 2, `${told.packets} packets arrived as ${joined}`);
    });
  }

  it('does not hide a broken checksum by joining', async () => {
    let spoiled = 0;
    await transfer('10.3.0.1', '10.3.0.2', (burst, i) => {
      if (burst.length[i]! < 1000) return;
      if (++spoiled % 300 === 0) burst.bytes[burst.offset[i]! + 600]! ^= 0x40;
    });
    assert.ok(spoiled > 600);
  });
});
