import { strict as assert } from 'node:assert';
import { appendPacket, AREAS, createBurst, HEADROOM, Next, packetAt, TAILROOM } from '../../drivers/burst.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices } from '../../drivers/native/sockets.ts';
import { describePort, type Link } from '../../drivers/port.ts';
import { adoptPort, createWaiter } from '../../drivers/threads.ts';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { ip, withNamespace } from './namespaces.ts';
import { readAll } from './port-contract.ts';

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An ICMP echo request (RFC 792) from 10.9.0.2 to 10.9.0.1. */
function echoRequest(sequence: number, length: number): Uint8Array {
  const packet = new Uint8Array(28 + length).fill(sequence, 28);
  const view = new DataView(packet.buffer);
  packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1]);
  view.setUint16(2, packet.length);
  view.setUint16(10, checksum(packet.subarray(0, 20)));
  packet[20] = 8;
  view.setUint16(26, sequence);
  view.setUint16(22, checksum(packet.subarray(20)));
  return packet;
}

const isEchoReply = (packet: Uint8Array): boolean => packet[0] === 0x45 && packet[9] === 1 && packet[20] === 0;

describe('TUN device in a namespace', () => {
  const vr = withNamespace('tun');
  let link: Link;
  beforeEach(() => {
    link = new NativeDevices(requireNative()).openTun(vr, 'core0', 1400);
    // The kernel's own neighbour discovery and multicast reports would mix with what the tests count.
    ip('netns', 'exec', vr, 'sysctl', '-q', '-w', 'net.ipv6.conf.core0.disable_ipv6=1');
    ip('-n', vr, 'addr', 'add', '10.9.0.1/24', 'dev', 'core0');
    link.read(createBurst());
  });
  afterEach(() => link.close());

  it('is up with its MTU, and gone when it is closed', () => {
    assert.match(ip('-n', vr, 'link', 'show', 'core0'), /UP.*mtu 1400/);
    link.close();
    assert.throws(() => ip('-n', vr, 'link', 'show', 'core0'));
  });

  it('leaves the namespace of its caller alone', () => {
    assert.throws(() => ip('link', 'show', 'core0'));
  });

  it('carries a ping: the host behind it answers a burst of echo requests', async () => {
    const out = createBurst();
    for (let i = 0; i < 100; i++) out.next[appendPacket(out, echoRequest(i, 10 * i))] = Next.seal;
    assert.equal(link.write(out, Next.seal), 100);
    const burst = await readAll(link, 100);
    for (let i = 0; i < 100; i++) {
      const reply = packetAt(burst, i);
      assert.ok(isEchoReply(reply), 'an echo reply');
      assert.equal(reply[27], i);
      assert.equal(reply.length, 28 + 10 * i);
    }
  });

  it('reads as many packets as it has areas for, with room around each, and leaves the rest for the next burst', async () => {
    const out = createBurst();
    for (let i = 0; i < AREAS + 50; i++) out.next[appendPacket(out, echoRequest(i, 8))] = Next.seal;
    link.write(out, Next.seal);
    const burst = createBurst();
    for (let turn = 0; turn < 200 && burst.count < AREAS; turn++) if (link.read(burst) === 0) await sleep(1);
    assert.equal(burst.count, AREAS);
    for (let i = 1; i < AREAS; i++) assert.ok(burst.offset[i]! - HEADROOM >= burst.offset[i - 1]! + burst.length[i - 1]! + TAILROOM);
    await readAll(link, 50);
  });

  it('drops what the kernel refuses with its errno and sends the rest', () => {
    const out = createBurst();
    out.next[appendPacket(out, echoRequest(1, 8))] = Next.seal;
    out.next[appendPacket(out, Uint8Array.of(0x15, 1, 2, 3))] = Next.seal;
    out.next[appendPacket(out, echoRequest(2, 8))] = Next.seal;
    out.next[appendPacket(out, echoRequest(3, 8))] = Next.seal;
    out.offset[3] = -1;
    assert.equal(link.write(out, Next.seal), 2);
    assert.deepEqual([...out.next.subarray(0, 4)], [Next.done, Next.drop, Next.done, Next.drop]);
    assert.deepEqual([...out.reason.subarray(0, 4)], [0, -22, 0, -14]);
  });

  it('is adopted by a description, and stays while either of both is open', async () => {
    const second = adoptPort(describePort(link));
    link.close();
    const out = createBurst();
    out.next[appendPacket(out, echoRequest(5, 8))] = Next.seal;
    assert.equal(second.write(out, Next.seal), 1);
    assert.equal(createWaiter([second.fd]).wait(2000), 1);
    assert.ok(isEchoReply(packetAt(await readAll(second, 1), 0)));
    second.close();
    assert.throws(() => ip('-n', vr, 'link', 'show', 'core0'));
  });

  it('names what is wrong when it cannot be opened', () => {
    const devices = new NativeDevices(requireNative());
    assert.throws(() => devices.openTun(vr, 'core0', 1400), (error: unknown) => error instanceof OperationalError && error.code === 'EBUSY');
    assert.throws(() => devices.openTun('no-such-vr', 'core0', 1400), (error: unknown) => error instanceof OperationalError && error.code === 'ENOENT');
    assert.throws(() => devices.openTun(vr, 'tvi-0/2', 1400), UsageError);
    assert.throws(() => devices.openTun(vr, 'core1', 9000), UsageError);
    assert.throws(() => devices.openTun('../etc', 'core1', 1400), UsageError);
  });
});
