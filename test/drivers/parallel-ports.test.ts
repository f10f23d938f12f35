// Ports for several workers: sockets that share an address, with the kernel told whom a packet is for, and TUN devices
// with several queues.
import { strict as assert } from 'node:assert';
import { appendPacket, createBurst, Next, packetAt, type Burst } from '../../drivers/burst.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices } from '../../drivers/native/sockets.ts';
import type { DatagramPort, Link } from '../../drivers/port.ts';
import { steeringKey, steeringProgram, workerOfKey } from '../../firmware/dataplane/steering.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { writeVxlanPrefix, VXLAN_NEXT_ESP } from '../../firmware/wire/vxlan.ts';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { udpPacket } from '../dataplane/boxes.ts';
import { connectNamespaces, ip, withNamespace } from './namespaces.ts';
import { addressed } from './port-contract.ts';

const WORKERS = 3;
const VNIS = [1, 0x112, 0xff_ffff];

const devices = (): NativeDevices => new NativeDevices(requireNative());

/** Octets that begin as a datagram of the VNI does. */
function vxlan(vni: number): Uint8Array {
  const bytes = new Uint8Array(100);
  writeVxlanPrefix(bytes, 0, vni, VXLAN_NEXT_ESP, 4);
  return bytes;
}

/** Waits until the ports have `count` packets in all. */
async function arrivals(ports: readonly (DatagramPort | Link)[], count: number, burst: Burst): Promise<number[]> {
  const counts = ports.map(() => 0);
  for (let round = 0; round < 200; round++) {
    for (const [i, port] of ports.entries()) {
      burst.count = 0;
      counts[i]! += port.read(burst);
    }
    if (counts.reduce((sum, n) => sum + n, 0) >= count) break;
    await sleep(5);
  }
  return counts;
}

describe('ports side by side', () => {
  const a = withNamespace('par-a');
  const b = withNamespace('par-b');
  const [out, scratch] = [createBurst(), createBurst()];
  before(() => {
    connectNamespaces(a, b);
    for (let host = 10; host < 16; host++) {
      ip('-n', a, 'addr', 'add', `192.0.2.${host}/24`, 'dev', 'wan0');
      ip('-n', a, 'addr', 'add', `2001:db8::${host}/64`, 'dev', 'wan0', 'nodad');
    }
  });

  const FAMILIES = [
    { family: 4, local: '192.0.2.2', remote: (host: number) => `192.0.2.${host}` },
    { family: 6, local: '2001:db8::2', remote: (host: number) => `2001:db8::${host}` },
  ] as const;
  for (const { family, local, remote } of FAMILIES) {
    it(`over IPv${family}: VNI and source address decide which socket gets a packet, not the source port`, async () => {
      const group = devices().openUdpGroup(b, { address: local, port: 4790 }, WORKERS);
      const named = steeringKey(VNIS[1]!, addressBytes(remote(12)));
      const elsewhere = (workerOfKey(named, WORKERS) + 1) % WORKERS;
      devices().steer(group[0]!, steeringProgram(family, new Map([[steeringKey(9, addressBytes(remote(12))), 0], [named, elsewhere]]), WORKERS));
      const used = new Set<number>();
      for (let host = 10; host < 16; host++) {
        for (const vni of VNIS) {
          const key = steeringKey(vni, addressBytes(remote(host)));
          const worker = key === named ? elsewhere : workerOfKey(key, WORKERS);
          used.add(worker);
          for (let n = 0; n < 3; n++) {
            const sender = devices().openUdp(a, { address: remote(host), port: 0 });
            out.count = 0;
            for (let i = 0; i < 4; i++) addressed(out, vxlan(vni), { address: local, port: 4790 });
            assert.equal(sender.write(out, Next.seal), 4);
            const expected = group.map((_, i) => (i === worker ? 4 : 0));
            assert.deepEqual(await arrivals(group, 4, scratch), expected, `VNI ${vni} from ${remote(host)}`);
            sender.close();
          }
        }
      }
      assert.equal(used.size, WORKERS);
      for (const port of group) port.close();
    });
  }

  it('without a program every packet still arrives at one of the sockets', async () => {
    const group = devices().openUdpGroup(b, { address: '192.0.2.2', port: 4790 }, WORKERS);
    for (let n = 0; n < 20; n++) {
      const sender = devices().openUdp(a, { address: '192.0.2.10', port: 0 });
      out.count = 0;
      addressed(out, vxlan(1), { address: '192.0.2.2', port: 4790 });
      sender.write(out, Next.seal);
      sender.close();
    }
    assert.equal((await arrivals(group, 20, scratch)).reduce((sum, count) => sum + count, 0), 20);
    for (const port of group) port.close();
  });

  it('refuses a program that the kernel refuses, and one that is none', () => {
    const [port] = devices().openUdpGroup(b, { address: '192.0.2.2', port: 0 }, 1);
    const endless = Uint8Array.of(0x05, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
    assert.throws(() => devices().steer(port!, endless), (error) => error instanceof OperationalError && error.code === 'EINVAL');
    assert.throws(() => requireNative().steer(port!.fd, new Uint8Array(7)), RangeError);
    assert.throws(() => requireNative().steer(port!.fd, new Uint8Array(0)), RangeError);
    assert.throws(() => requireNative().steer(port!.fd, new Uint8Array(8 * 4097)), RangeError);
    port!.close();
  });

  it('all sockets of a group have one port, also one that the kernel chose', () => {
    const group = devices().openUdpGroup(b, { address: '192.0.2.2', port: 0 }, WORKERS);
    assert.equal(new Set(group.map((port) => port.local.port)).size, 1);
    for (const port of group) port.close();
  });

  it('a flow’s packets come out of the queue of a TUN device that its packets were last written to', async () => {
    const queues = devices().openTunQueues(b, 'core1', 1400, WORKERS);
    ip('netns', 'exec', b, 'sysctl', '-q', '-w', 'net.ipv6.conf.core1.disable_ipv6=1');
    ip('-n', b, 'addr', 'add', '10.9.0.1/24', 'dev', 'core1');
    ip('-n', b, 'neigh', 'flush', 'dev', 'core1');
    const host = createBurst();
    for (let flow = 0; flow < 12; flow++) {
      const queue = flow % WORKERS;
      const [client, server] = [`10.9.0.${10 + flow}`, '10.9.0.1'];
      // A host behind the device answers what came for it from the socket that it came to.
      const socket = devices().openUdp(b, { address: server, port: 7000 + flow });
      out.count = 0;
      out.next[appendPacket(out, udpPacket(client, server, 30, [6000, 7000 + flow]))] = Next.seal;
      assert.equal(queues[queue]!.write(out, Next.seal), 1);
      for (let round = 0; round < 200 && host.count === 0; round++) {
        socket.read(host);
        if (host.count === 0) await sleep(5);
      }
      assert.equal(host.count, 1);
      out.count = 0;
      for (let n = 0; n < 5; n++) addressed(out, packetAt(host, 0), { address: client, port: 6000 });
      socket.write(out, Next.seal);
      const counts = await arrivals(queues, 1, scratch);
      assert.deepEqual(counts.map((count) => count > 0), queues.map((_, i) => i === queue), `flow ${flow}`);
      host.count = 0;
      socket.close();
    }
    for (const queue of queues) queue.close();
    assert.throws(() => ip('-n', b, 'link', 'show', 'core1'));
  });
});
