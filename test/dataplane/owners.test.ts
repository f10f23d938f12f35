// Which worker a tunnel belongs to, and what the kernel is told of it.
import assert from 'node:assert/strict';
import { Owners, shareOf } from '../../firmware/dataplane/owners.ts';
import { steeringKey, workerOfKey } from '../../firmware/dataplane/steering.ts';
import { EMPTY_FORWARDING_STATE, type ForwardingState, type TunnelSpec } from '../../firmware/model.ts';
import { addressBytes } from '../../firmware/wire/address.ts';
import { sa } from './boxes.ts';

const WORKERS = 4;

function tunnel(id: number, addresses: readonly string[], changes: Partial<TunnelSpec> = {}): TunnelSpec {
  return {
    id, tenant: 1, peer: `peer-${id}`, kind: 'vxlan-esp', inside: 1, mtu: 1400, idleDummyMs: 0, tx: sa(id, id), rx: [sa(10_000 + id, 10_000 + id)],
    paths: addresses.map((address) => ({ outside: 1, remote: { address, port: 4790 } })), ...changes,
  };
}

function stateOf(tunnels: readonly TunnelSpec[]): ForwardingState {
  return { ...EMPTY_FORWARDING_STATE, tenants: [{ tenant: 1, vni: 100 }, { tenant: 2, vni: 200 }], tunnels };
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
const addressOf = (id: number): string => `198.51.${id >> 8}.${id & 255}`;
const workersOf = (owners: Owners, tunnels: readonly TunnelSpec[]): (number | undefined)[] => owners.assign(stateOf(tunnels)).tunnels.map(({ worker }) => worker);

/** Where the kernel sends a tenant's packets from an address. */
function steered(owners: Owners, vni: number, address: string): number {
  const key = steeringKey(vni, addressBytes(address));
  return owners.table(address.includes(':') ? 6 : 4).get(key) ?? workerOfKey(key, WORKERS);
}

describe('owners of tunnels', () => {
  it('are chosen evenly while there are few, and for the tunnel’s whole life', () => {
    const owners = new Owners(WORKERS);
    const tunnels = numbers(8).map((id) => tunnel(id, [addressOf(id)]));
    const first = workersOf(owners, tunnels);
    assert.deepEqual(numbers(WORKERS).map((n) => first.filter((worker) => worker === n - 1).length), [2, 2, 2, 2]);
    assert.deepEqual(workersOf(owners, tunnels.toReversed()), first.toReversed());
    assert.deepEqual(workersOf(owners, tunnels.map((spec) => ({ ...spec, paths: [] }))), first);
  });

  it('are chosen anew for a tunnel that comes back, where there is least', () => {
    const owners = new Owners(2);
    const [a, b, c] = [1, 2, 3].map((id) => tunnel(id, [addressOf(id)])) as [TunnelSpec, TunnelSpec, TunnelSpec];
    assert.deepEqual(workersOf(owners, [a, b]), [0, 1]);
    assert.deepEqual(workersOf(owners, [b]), [1]);
    assert.deepEqual(workersOf(owners, [b, c]), [1, 0]);
  });

  it('are worker 0 for everything that has ports of its own: clear tunnels and ordinary IPsec', () => {
    const tunnels = [tunnel(1, ['192.0.2.1']), ...(['vxlan-clear', 'esp', 'esp-udp'] as const).map((kind, i) => tunnel(2 + i, [`192.0.2.${2 + i}`], { kind }))];
    assert.deepEqual(workersOf(new Owners(1), tunnels), [0, undefined, undefined, undefined]);
  });

  it('are the same for peers of a tenant behind one address, not for its tenants', () => {
    const tunnels = [tunnel(1, ['192.0.2.1']), tunnel(2, ['192.0.2.1']), tunnel(3, ['192.0.2.1'], { tenant: 2 })];
    const [first, second, third] = workersOf(new Owners(WORKERS), tunnels);
    assert.equal(first, second);
    assert.notEqual(first, third);
  });

  it('get their packets from the kernel, on every path, and where a peer was last seen', () => {
    const owners = new Owners(WORKERS);
    const tunnels = [...numbers(20).map((id) => tunnel(id, [addressOf(id), `2001:db8::${id}`])), tunnel(50, [])];
    const workers = workersOf(owners, tunnels);
    for (const id of numbers(20)) for (const address of [addressOf(id), `2001:db8::${id}`]) assert.equal(steered(owners, 100, address), workers[id - 1]);
    assert.equal(owners.moved(50, '203.0.113.9'), true);
    assert.equal(owners.moved(50, '203.0.113.9'), false);
    assert.equal(steered(owners, 100, '203.0.113.9'), workers[20]);
    owners.assign(stateOf([]));
    assert.equal(owners.moved(50, '203.0.113.10'), false);
    assert.equal(owners.table(4).size, 0);
  });

  it('of many tunnels need no large table', () => {
    const owners = new Owners(WORKERS);
    const workers = workersOf(owners, numbers(1000).map((id) => tunnel(id, [addressOf(id)])));
    for (const worker of numbers(WORKERS)) assert.ok(workers.filter((each) => each === worker - 1).length > 150);
    assert.ok(owners.table(4).size <= 64);
    for (const id of numbers(100)) assert.equal(steered(owners, 100, addressOf(id * 10)), workers[id * 10 - 1]);
  });

  it('alone are given the keys', () => {
    const state = new Owners(2).assign(stateOf([tunnel(1, ['192.0.2.1']), tunnel(2, ['192.0.2.2'])]));
    for (const worker of [0, 1]) {
      const { tunnels } = shareOf(state, worker);
      assert.deepEqual(tunnels[worker], state.tunnels[worker]);
      const foreign = tunnels[1 - worker]!;
      assert.deepEqual([foreign.tx, foreign.paths, foreign.rx.map(({ spi, key, salt }) => [spi, key.length, salt.length])], [undefined, [], [[10_002 - worker, 0, 0]]]);
    }
  });
});
