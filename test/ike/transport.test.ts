import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { randomBelow, SeededRandom } from '../../platform/random.ts';
import type { Packet } from './pair.ts';
import { classicPair, LATENCY_MS, pair } from './pair.ts';

const EXCHANGE = 18;

function isSealed(packet: Packet): boolean {
  return packet.send.bytes[EXCHANGE] !== 34;
}

describe('ike: transport', () => {
  for (let lost = 0; lost < 4; lost++) {
    it(`survives the loss of packet ${lost + 1} of the first four`, () => {
      const { world, branch, controller } = pair();
      world.fate = (packet) => (packet.index === lost ? [] : [LATENCY_MS]);
      world.initiate(branch, controller, 'to-controller');
      world.run(5000);
      equal(branch.of('ike-up').length, 1, world.story());
      equal(controller.of('ike-up').length, 1);
      equal(controller.of('child-up').length, 1);
    });
  }

  it('answers repeated requests from its cache and makes nothing twice', () => {
    const { world, branch, controller } = classicPair();
    world.fate = () => [LATENCY_MS, LATENCY_MS + 1, LATENCY_MS + 50];
    world.initiate(branch, controller, 'to-controller');
    world.run(5000);
    equal(branch.of('child-up').length, 1);
    equal(controller.of('child-up').length, 1);
    const replies = world.packets.filter((packet) => packet.from === controller && isSealed(packet)).map((packet) => packet.send.bytes);
    ok(replies.length > 1);
    for (const reply of replies) deepStrictEqual(reply, replies[0]);
  });

  it('comes up for every one of 60 seeds under 30 % loss, duplication and reordering', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { world, branch, controller } = pair({ seed });
      const dice = new SeededRandom(`dice ${seed}`);
      world.fate = () => {
        if (randomBelow(dice, 10) < 3) return [];
        const copies = 1 + randomBelow(dice, 2);
        return Array.from({ length: copies }, () => LATENCY_MS + randomBelow(dice, 3000));
      };
      world.initiate(branch, controller, 'to-controller');
      world.run(180_000);
      const up = branch.of('ike-up').length;
      ok(up === 1 || branch.of('connect-failed').length === 1, `seed ${seed}\n${world.story()}`);
      equal(controller.of('child-up').length >= up, true, `seed ${seed}\n${world.story()}`);
    }
  });

  it('ignores a response that was already used, and requests from outside of the window', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const all = world.packets.slice();
    const before = [branch.endpoint.snapshot(), controller.endpoint.snapshot()];
    for (const { from, send } of all) {
      const to = from === branch ? controller : branch;
      world.input(to, { kind: 'datagram', socket: 'wan', natt: false, local: send.remote, remote: send.local, bytes: send.bytes });
    }
    world.run(1000);
    deepStrictEqual([branch.endpoint.snapshot(), controller.endpoint.snapshot()], before);
    equal(branch.of('child-up').length, 1);
    equal(controller.of('child-up').length, 1);
  });

  it('fragments what is larger than the configured size, both ways', () => {
    const { world, branch, controller } = classicPair({ branch: { fragmentBytes: 200 }, controller: { fragmentBytes: 150 } });
    // IKE_AUTH SKF 1..n -->   <-- SKF 1..m
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(branch.of('ike-up').length, 1, world.story());
    const sealed = world.packets.filter(isSealed);
    ok(sealed.length > 3);
    for (const { from, send } of sealed) ok(send.bytes.length <= (from === branch ? 200 : 150), `${send.bytes.length}`);
    equal(sealed[0]!.send.bytes[16], 53);
  });

  it('reassembles fragments in any order, with losses and repetitions', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { world, branch, controller } = pair({ seed, branch: { fragmentBytes: 130 }, controller: { fragmentBytes: 130 } });
      const dice = new SeededRandom(`fragments ${seed}`);
      world.fate = (packet) => (isSealed(packet) && randomBelow(dice, 10) === 0 ? [] : [LATENCY_MS + randomBelow(dice, 100), ...(randomBelow(dice, 4) === 0 ? [200] : [])]);
      world.initiate(branch, controller, 'to-controller');
      world.run(45_000);
      equal(branch.of('ike-up').length, 1, `seed ${seed}\n${world.story()}`);
      equal(controller.of('child-up').length, 1);
    }
  });

  it('repeats a fragmented reply once per repetition of the first fragment', () => {
    const { world, branch, controller } = classicPair({ branch: { fragmentBytes: 200 } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const request = world.packets.filter((packet) => packet.from === branch && isSealed(packet));
    ok(request.length > 2);
    const before = world.packets.length;
    for (const { send } of request) {
      world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: send.remote, remote: send.local, bytes: send.bytes });
    }
    equal(world.packets.length - before, world.packets.filter((packet) => packet.index < before && packet.from === controller && isSealed(packet)).length);
  });
});

describe('ike: NAT', () => {
  /** The branch is behind a NAT that maps it to 198.51.100.1 with ports 10000 + its own. */
  function behindNat(): ReturnType<typeof pair> & { move(port: number): void } {
    const made = classicPair();
    const { world, branch } = made;
    let shift = 10_000;
    world.translate = (from, source) => (from === branch ? { address: '198.51.100.1', port: source.port + shift } : source);
    const direct = world.route;
    world.route = (destination) => (destination.address === '198.51.100.1' && destination.port >= shift ? { node: branch, local: { address: branch.address, port: destination.port - shift } } : direct(destination));
    return { ...made, move: (port) => void (shift = port) };
  }

  it('floats to port 4500 and encapsulates ESP in UDP', () => {
    const { world, branch, controller } = behindNat();
    // IKE_SA_INIT 500 -->   <-- 500   IKE_AUTH 4500 -->   <-- 4500
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const [up] = branch.of('ike-up');
    ok(up !== undefined, world.story());
    deepStrictEqual(up.nat, { local: true, remote: false });
    deepStrictEqual([up.natt, up.socket, up.local.port, up.remote.port], [true, 'natt', 4500, 4500]);
    const [answered] = controller.of('ike-up');
    deepStrictEqual(answered!.nat, { local: false, remote: true });
    deepStrictEqual(answered!.remote, { address: '198.51.100.1', port: 14_500 });
    equal(answered!.natt, true);
    equal(controller.of('child-up')[0]?.natt, true);
    deepStrictEqual(controller.of('child-up')[0]?.remote, { address: '198.51.100.1', port: 14_500 });
  });

  it('keeps the NAT open every 20 s', () => {
    const { world, branch, controller } = behindNat();
    world.initiate(branch, controller, 'to-controller');
    world.run(65_000);
    equal(branch.of('keepalive').length, 3);
    equal(controller.of('keepalive').length, 0);
  });

  it('follows a peer whose NAT changed its port, on an authentic message only', () => {
    const { world, branch, controller, move } = behindNat();
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const forged = world.packets.find((packet) => packet.from === branch && isSealed(packet))!.send.bytes.slice();
    forged[forged.length - 1]! ^= 1;
    world.input(controller, { kind: 'datagram', socket: 'natt', natt: true, local: { address: controller.address, port: 4500 }, remote: { address: '203.0.113.66', port: 4500 }, bytes: forged });
    equal(controller.of('endpoint').length, 0);
    move(20_000);
    world.run(60_000);
    deepStrictEqual(controller.of('endpoint').at(-1)?.remote, { address: '198.51.100.1', port: 24_500 });
    equal(controller.of('ike-down').length, 0);
  });

  it('pretends a NAT where the peer can do UDP-encapsulated ESP only', () => {
    const { world, branch, controller } = pair({ branch: { forceUdpEncapsulation: true } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(branch.of('child-up')[0]?.natt, true);
    equal(controller.of('child-up')[0]?.natt, true);
  });
});
