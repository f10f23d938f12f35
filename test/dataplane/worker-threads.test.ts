// Several worker threads per box over real devices: two namespaces, four tenants, LANs with a queue for each worker.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { openDrivers, type Drivers } from '../../drivers/open.ts';
import { createWakeup } from '../../drivers/threads.ts';
import type { ForwarderEvent, ForwardingState } from '../../firmware/model.ts';
import { ThreadForwarder } from '../../firmware/services/forwarder-thread.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { sleep, SystemClock } from '../../platform/time.ts';
import { connectNamespaces, namespaceName, withNamespace } from '../drivers/namespaces.ts';
import { ENCRYPTED, LAN, merge, side, TUNNEL } from './boxes.ts';

const TENANTS = [1, 2, 3, 4];
const WORKERS = 2;
const STREAM_BYTES = 4 << 20;

const hostOf = (tenant: number, end: number): string => `10.${end * 10 + tenant}.0.1`;

class Node {
  readonly sink = new MemorySink();
  readonly events: { readonly event: ForwarderEvent; readonly at: number }[] = [];
  readonly handle: ThreadForwarder;

  constructor(drivers: Drivers, clock: SystemClock) {
    const log = new SinkLog([this.sink], () => 0).channel('forwarder');
    this.handle = new ThreadForwarder({ devices: drivers.devices, clock, log, createWakeup, workers: WORKERS, capacity: { tunnels: 16, sas: 32 } });
    this.handle.onEvent = (event) => this.events.push({ event, at: clock.now() });
  }

  applied(): number[] {
    return this.events.flatMap(({ event }) => (event.kind === 'applied' ? [event.version] : []));
  }

  /** Tunnels that each worker has carried packets for. */
  tunnelsByWorker(): number[][] {
    return this.handle.countersByWorker().map(({ tunnels }) => tunnels.filter(({ txPackets, rxPackets }) => txPackets + rxPackets > 0).map(({ tunnel }) => tunnel));
  }
}

function tenantState(tenant: number, end: 1 | 2, vr: string): ForwardingState {
  const state = side({ end, remote: `192.0.2.${3 - end}`, tenant });
  const [sealed, core] = [tenant * 100 + ENCRYPTED, tenant * 100 + LAN];
  return {
    ...state,
    insides: state.insides.filter(({ id }) => id === sealed || id === core).map((inside) => ({ ...inside, vr, name: inside.id === core ? `core${tenant}` : `tvi-0/${tenant}` })),
    outsides: [{ id: 1, name: 'vni-0/0', vr, addresses: [`192.0.2.${end}`] }],
    tunnels: state.tunnels.filter(({ kind }) => kind === 'vxlan-esp'),
    routes: [{ inside: core, prefix: `10.${(3 - end) * 10 + tenant}.0.0/16`, tunnel: tenant * 100 + TUNNEL, label: 1024 + tenant * 100 }],
  };
}

const stateOf = (end: 1 | 2, vr: string, version: number): ForwardingState => ({ ...merge(...TENANTS.map((tenant) => tenantState(tenant, end, vr))), version });

/** A thread that does nothing starts within this time; on a host that is busy with other things all threads take longer. */
const BARE_THREAD_MS = 80;

async function slownessOfHost(clock: SystemClock): Promise<number> {
  const before = clock.now();
  const thread = new Worker("require('node:worker_threads').parentPort.postMessage(1)", { eval: true });
  await once(thread, 'message');
  await thread.terminate();
  return Math.max(1, (clock.now() - before) / BARE_THREAD_MS);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.fail(`never: ${what}`);
}

/** Sends a stream from one end to the other; resolves when all of it arrived. */
function stream(drivers: Drivers, [from, to]: readonly [string, string], tenant: number): Promise<void> {
  const local = { address: hostOf(tenant, 2), port: 7000 };
  return new Promise((resolve, reject) => {
    let left = STREAM_BYTES;
    const listener = drivers.network.listenStream({
      vr: to, local, onError: reject,
      onStream: (accepted) => (accepted.handlers = {
        onConnected: () => undefined,
        onData: (bytes) => (left -= bytes.length),
        onClosed: (error) => (listener.close(), error === undefined && left === 0 ? resolve() : reject(error ?? new Error(`${left} octets of tenant ${tenant} are missing`))),
      }),
    });
    const socket = drivers.network.connectStream({
      vr: from, localAddress: hostOf(tenant, 1), remote: local,
      handlers: { onConnected: () => (socket.write(new Uint8Array(STREAM_BYTES)), socket.close()), onData: () => undefined, onClosed: (error) => error && reject(error) },
    });
  });
}

describe('several workers on threads', () => {
  const vrs = [withNamespace('many1'), withNamespace('many2')] as const;
  const clock = new SystemClock();
  const nodes: Node[] = [];
  let drivers: Drivers;

  before(() => {
    connectNamespaces(namespaceName('many1'), namespaceName('many2'));
    drivers = openDrivers();
    nodes.push(new Node(drivers, clock), new Node(drivers, clock));
  });

  after(async () => {
    for (const node of nodes) await node.handle.close();
  });

  const ping = (tenant: number, count: number, intervalS = 0.02): Promise<{ stdout: string }> =>
    promisify(execFile)('ip', ['netns', 'exec', vrs[0], 'ping', '-q', '-c', `${count}`, '-i', `${intervalS}`, '-W', '2', hostOf(tenant, 2)], { timeout: 20_000 }).catch((error) => error as { stdout: string });

  it('acknowledge a state once, when all of them have it', async () => {
    for (const end of [1, 2] as const) {
      const vr = vrs[end - 1]!;
      nodes[end - 1]!.handle.apply(stateOf(end, vr, 1));
      const lines = TENANTS.flatMap((tenant) => {
        const [own, other, device] = [hostOf(tenant, end), hostOf(tenant, 3 - end), `core${tenant}`];
        return [`addr add ${own}/32 dev ${device}`, `route add ${other}/32 dev ${device} src ${own}`];
      });
      execFileSync('ip', ['-n', vr, '-batch', '-'], { input: lines.join('\n'), timeout: 10_000 });
    }
    await until('both applied', () => nodes.every((node) => node.applied().length > 0));
    assert.deepEqual(nodes.map((node) => node.applied()), [[1], [1]]);
    assert.deepEqual(nodes.flatMap((node) => node.handle.countersByWorker().map(({ version }) => version)), [1, 1, 1, 1]);
    assert.deepEqual(nodes.flatMap((node) => node.sink.records), []);
  });

  it('share the tunnels of four tenants, carry all of their packets, and get most of them where they belong', async () => {
    for (const { stdout } of await Promise.all(TENANTS.map((tenant) => ping(tenant, 10)))) assert.match(stdout, / 0% packet loss/);
    await Promise.all(TENANTS.map((tenant) => stream(drivers, vrs, tenant)));
    for (const node of nodes) {
      const shares = node.tunnelsByWorker();
      assert.deepEqual(shares.map((tunnels) => tunnels.length), [2, 2]);
      assert.deepEqual(shares.flat().sort(), TENANTS.map((tenant) => tenant * 100 + TUNNEL));
      const { tunnels, handedOver, drops } = node.handle.counters();
      const packets = tunnels.reduce((sum, { txPackets, rxPackets }) => sum + txPackets + rxPackets, 0);
      assert.ok(handedOver < packets / 4, `${handedOver} of ${packets} packets were handed over`);
      assert.equal(drops.find(({ reason }) => reason === 'replay' || reason === 'unknown-spi' || reason === 'wrong-worker'), undefined);
    }
  });

  it('answer a probe when all of them did', async () => {
    let answered = 0;
    nodes[0]!.handle.probe(() => answered++);
    await until('answered', () => answered > 0);
    await sleep(20);
    assert.equal(answered, 1);
  });

  it('that die come back within a second with the whole state, and the others go on meanwhile', async () => {
    const [node] = nodes as [Node, Node];
    const [, lost] = node.tunnelsByWorker() as [number[], number[]];
    const state = stateOf(1, vrs[0], 2);
    const poisoned = state.tunnels.map((spec) => (spec.id === lost[0] ? { ...spec, tx: { ...spec.tx!, salt: undefined as never } } : spec));
    const owned = (tenant: number): boolean => lost.includes(tenant * 100 + TUNNEL);
    const others = TENANTS.filter((tenant) => !owned(tenant)).map((tenant) => ping(tenant, 100));
    const slowness = await slownessOfHost(clock);
    node.handle.apply({ ...state, tunnels: poisoned });
    node.handle.apply({ ...state, version: 3 });
    await until('death noticed', () => node.sink.records.length > 0);
    const died = clock.now();
    await until('state 3 applied', () => node.applied().includes(3));
    const tookMs = node.events.find(({ event }) => event.kind === 'applied' && event.version === 3)!.at - died;
    assert.ok(tookMs < 1000 * slowness, `it took ${tookMs} ms`);
    assert.deepEqual(node.applied(), [1, 3]);
    assert.deepEqual(node.sink.records.map(({ sentence, fields }) => [sentence, fields['worker']]), [['forwarder thread ended', 1]]);
    for (const { stdout } of await Promise.all(others)) assert.match(stdout, /100 received, 0% packet loss/);
    // Its successor goes on from its sequence numbers.
    for (const { stdout } of await Promise.all(TENANTS.filter(owned).map((tenant) => ping(tenant, 5)))) assert.match(stdout, / 0% packet loss/);
    assert.equal(nodes[1]!.handle.counters().drops.find(({ reason }) => reason === 'replay'), undefined);
  });
});
