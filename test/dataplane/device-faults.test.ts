// Devices that fail under a running forwarder: it goes on by itself, and what was lost meanwhile is counted.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { Burst } from '../../drivers/burst.ts';
import { Next } from '../../drivers/burst.ts';
import { MemoryDatagramHub, MemoryDatagramPort } from '../../drivers/memory.ts';
import { connectNamespaces, ip, namespaceName, withNamespace } from '../drivers/namespaces.ts';
import { Box, settle, side, udpPacket } from './boxes.ts';
import { ThreadNode, threadState, until } from './thread-node.ts';

const ENOBUFS = 105;

/** A port whose host has no buffers as often as it is told to. */
class ShortOfBuffers extends MemoryDatagramPort {
  refusals = 0;

  override write(burst: Burst, select: number): number {
    for (let i = 0; i < burst.count; i++) {
      if (burst.next[i] !== select || this.refusals === 0) continue;
      this.refusals--;
      burst.next[i] = Next.drop;
      burst.reason[i] = -ENOBUFS;
    }
    return super.write(burst, select);
  }
}

describe('ENOBUFS', () => {
  it('is counted, and the packets after it leave', () => {
    const hub = new MemoryDatagramHub();
    const [a, b] = [new Box(hub, '192.0.2.1'), new Box(hub, '192.0.2.2')];
    const port = new ShortOfBuffers(hub, 'udp', { address: '192.0.2.1', port: 4790 });
    a.forwarder.attachOutside(1, { vxlan: [port], natt: [], esp: [] });
    for (const box of [a, b]) for (const inside of [101, 102, 103]) box.link(inside);
    a.forwarder.apply(side({ end: 1, remote: b.address }));
    b.forwarder.apply(side({ end: 2, remote: a.address }));
    port.refusals = 3;
    for (let i = 0; i < 10; i++) a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', i));
    settle(a, b);
    assert.deepEqual(a.drops(), { 'send-no-buffers': 3 });
    assert.equal(b.hosts.get(103)!.waiting, 7);
  });
});

describe('devices of a running forwarder', () => {
  const vrs = [withNamespace('dev1'), withNamespace('dev2')] as const;
  const nodes: ThreadNode[] = [];

  const address = (end: 1 | 2): void => {
    const [vr, device] = [vrs[end - 1]!, `tvi-0_${end}`];
    ip('-n', vr, 'addr', 'add', `10.255.0.${end}/32`, 'dev', device);
    ip('-n', vr, 'route', 'add', `10.255.0.${3 - end}/32`, 'dev', device);
  };
  const lossOf = (count: number): string => {
    const { stdout } = spawnSync('ip', ['netns', 'exec', vrs[0], 'ping', '-q', '-c', `${count}`, '-i', '0.05', '-W', '1', '10.255.0.2'], { encoding: 'utf8', timeout: 30_000 });
    return /([0-9.]+%) packet loss/.exec(stdout)?.[1] ?? stdout;
  };
  const dropped = (reason: string): number => nodes[0]!.handle.counters().drops.find((each) => each.reason === reason)?.packets ?? 0;

  before(async () => {
    connectNamespaces(namespaceName('dev1'), namespaceName('dev2'));
    nodes.push(new ThreadNode(), new ThreadNode());
    for (const end of [1, 2] as const) {
      nodes[end - 1]!.handle.apply(threadState(end, vrs[end - 1]!));
      address(end);
    }
    await until('both states applied', () => nodes.every((node) => node.events.some((event) => event.kind === 'applied')));
    assert.equal(lossOf(3), '0%');
  });

  after(async () => {
    for (const node of nodes) await node.handle.close();
  });

  it('a link that is down costs packets, which are counted, and traffic goes on when it is up again', () => {
    ip('-n', vrs[0], 'link', 'set', 'wan0', 'down');
    assert.equal(lossOf(3), '100%');
    assert.equal(dropped('send-unreachable'), 3);
    ip('-n', vrs[0], 'link', 'set', 'wan0', 'up');
    assert.equal(lossOf(3), '0%');
  });

  it('a device that was removed is made anew, and its virtual router is told', async () => {
    ip('-n', vrs[0], 'link', 'del', 'tvi-0_1');
    // The far end does not know, and what it still sends has nowhere to go.
    await until('the device is there again', () => ip('-n', vrs[0], '-o', 'link').includes('tvi-0_1'));
    await until('the virtual router is told', () => nodes[0]!.events.some((event) => event.kind === 'device-renewed' && event.vr === vrs[0]));
    const [record] = nodes[0]!.sink.records;
    assert.equal(record?.sentence, 'forwarder device was removed and is made anew');
    address(1);
    assert.equal(lossOf(3), '0%');
    assert.equal(nodes[0]!.events.filter((event) => event.kind === 'device-renewed').length, 1);
  });
});
