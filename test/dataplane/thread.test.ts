// A forwarder on a worker thread over real devices: two namespaces joined by a cable, two TUN devices, one packet.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { connectNamespaces, ip, namespaceName, withNamespace } from '../drivers/namespaces.ts';
import { ThreadNode, threadState, until } from './thread-node.ts';

describe('forwarder thread', () => {
  const vrs = [withNamespace('fwd1'), withNamespace('fwd2')] as const;
  const nodes: ThreadNode[] = [];

  before(() => {
    connectNamespaces(namespaceName('fwd1'), namespaceName('fwd2'));
    nodes.push(new ThreadNode(), new ThreadNode());
  });

  after(async () => {
    for (const node of nodes) await node.handle.close();
  });

  it('opens its ports, applies a state and carries ping between two namespaces', async () => {
    for (const end of [1, 2] as const) {
      const node = nodes[end - 1]!;
      const vr = vrs[end - 1]!;
      node.handle.apply(threadState(end, vr));
      ip('-n', vr, 'addr', 'add', `10.255.0.${end}/32`, 'dev', `tvi-0_${end}`);
      ip('-n', vr, 'route', 'add', `10.255.0.${3 - end}/32`, 'dev', `tvi-0_${end}`);
    }
    await until('both states applied', () => nodes.every((node) => node.events.some((event) => event.kind === 'applied')));
    assert.deepEqual(nodes.flatMap((node) => node.sink.records), []);
    const output = execFileSync('ip', ['netns', 'exec', vrs[0], 'ping', '-c', '3', '-i', '0.05', '-W', '2', '10.255.0.2'], { encoding: 'utf8', timeout: 15_000 });
    assert.match(output, / 0% packet loss/);
    const { tunnels } = nodes[1]!.handle.counters();
    assert.equal(tunnels.find(({ tunnel }) => tunnel === 110)?.rxPackets, 3);
    await until('first packet reported', () => nodes.every((node) => node.events.some((event) => event.kind === 'first-packet')));
  });

  it('is started again after its thread died, with the last state and its sequence numbers', async () => {
    const [node] = nodes as [ThreadNode, ThreadNode];
    const good = threadState(1, vrs[0]);
    const before = node.handle.counters().tunnels.find(({ tunnel }) => tunnel === 110)!;
    const answers: string[] = [];
    node.handle.probe(() => answers.push('first thread'));
    await until('the thread answers a probe', () => answers.length === 1);
    node.handle.apply({ ...good, version: 2, tunnels: [undefined as never] });
    node.handle.probe(() => answers.push('second thread'));
    await until('death logged', () => node.sink.records.length > 0);
    assert.equal(node.sink.records[0]!.sentence, 'forwarder thread ended');
    node.handle.apply({ ...good, version: 3 });
    await until('version 3 applied', () => node.handle.counters().version === 3);
    await until('the probe of the dead thread is answered by its successor', () => answers.length === 2);
    const output = execFileSync('ip', ['netns', 'exec', vrs[0], 'ping', '-c', '2', '-i', '0.05', '-W', '2', '10.255.0.2'], { encoding: 'utf8', timeout: 15_000 });
    assert.match(output, / 0% packet loss/);
    assert.equal(before.txPackets, 3);
    assert.equal(nodes[1]!.handle.counters().drops.find(({ reason }) => reason === 'replay'), undefined);
  });

  it('takes a newer state while it waits, and lets go of ports that it no longer wants', async () => {
    const empty = { ...threadState(1, vrs[0]), version: 4, insides: [], outsides: [], tunnels: [], routes: [], labels: [] };
    nodes[0]!.handle.apply(empty);
    await until('version 4 applied', () => nodes[0]!.handle.counters().version === 4);
    await until('device gone', () => !ip('-n', vrs[0], '-o', 'link').includes('tvi-0_1'));
  });
});
