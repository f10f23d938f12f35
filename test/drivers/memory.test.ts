import assert from 'node:assert/strict';
import { appendPacket, BURST_PACKETS, createBurst, LARGEST_READ, Next, packetAt } from '../../drivers/burst.ts';
import { MemoryDatagramHub, memoryLinkPair, MEMORY_QUEUE_PACKETS, type MemoryDatagram } from '../../drivers/memory.ts';
import { InternalError } from '../../platform/errors.ts';
import { datagramPortContract, pattern } from './port-contract.ts';

const hub = new MemoryDatagramHub();
datagramPortContract({ name: 'in-memory', addresses: ['192.0.2.1', '2001:db8::1'], buffered: 256, open: (local) => hub.open('udp', local) });

describe('in-memory link', () => {
  it('reads in bursts what the other end wrote, cut to what a slot holds', () => {
    const [near, far] = memoryLinkPair('core0');
    for (let i = 0; i < 300; i++) far.send(pattern(i === 0 ? 3000 : 40, i));
    const burst = createBurst();
    burst.count = BURST_PACKETS - 256;
    assert.equal(near.read(burst), 256);
    for (const column of [burst.offset, burst.length]) column.copyWithin(0, BURST_PACKETS - 256);
    assert.equal(burst.length[0], LARGEST_READ);
    assert.deepEqual(packetAt(burst, 255), pattern(40, 255));
    burst.count = 0;
    assert.equal(near.read(burst), 300 - 256);
  });

  it('writes what is selected to the other end', () => {
    const [near, far] = memoryLinkPair('core0');
    const burst = createBurst();
    for (let i = 0; i < 3; i++) appendPacket(burst, pattern(10, i));
    burst.next[1] = 20;
    assert.equal(near.write(burst, 20), 1);
    assert.deepEqual([...burst.next.subarray(0, 3)], [Next.drop, Next.done, Next.drop]);
    assert.deepEqual(far.take(), pattern(10, 1));
    assert.equal(far.take(), undefined);
  });

  it('loses what its queue does not hold, and what is sent after close', () => {
    const [near, far] = memoryLinkPair('core0');
    for (let i = 0; i < MEMORY_QUEUE_PACKETS + 3; i++) far.send(pattern(1, 0));
    assert.equal(far.lost, 3);
    assert.equal(near.waiting, MEMORY_QUEUE_PACKETS);
    near.close();
    far.send(pattern(1, 0));
    assert.equal(far.lost, 4);
  });
});

describe('in-memory hub', () => {
  it('lets a network take datagrams over and deliver them later under other addresses', () => {
    const net = new MemoryDatagramHub();
    const a = net.open('esp', { address: '10.0.0.1', port: 0 });
    const b = net.open('esp', { address: '10.0.0.2', port: 0 });
    const held: MemoryDatagram[] = [];
    net.onDatagram = (datagram) => (held.push(datagram), false);
    const burst = createBurst();
    appendPacket(burst, pattern(30, 1));
    burst.family[0] = 4;
    burst.address.set([10, 0, 0, 2], 0);
    burst.next[0] = 20;
    a.write(burst, 20);
    assert.equal(b.waiting, 0);
    assert.ok(net.deliver({ ...held[0]!, from: { address: '203.0.113.1', port: 0 } }));
    const got = createBurst();
    assert.equal(b.read(got), 1);
    assert.deepEqual([...got.address.subarray(0, 4)], [203, 0, 113, 1]);
    b.close();
    assert.ok(!net.deliver(held[0]!));
  });

  it('refuses an address that is in use or none', () => {
    const net = new MemoryDatagramHub();
    net.open('udp', { address: '10.0.0.1', port: 500 });
    assert.throws(() => net.open('udp', { address: '10.0.0.1', port: 500 }), InternalError);
    assert.throws(() => net.open('udp', { address: 'example', port: 500 }), InternalError);
  });
});
