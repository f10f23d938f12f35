import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { forbidsThisNat } from '../../firmware/ike/mobility.ts';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import type { Retransmission } from '../../firmware/ike/window.ts';
import { DEFAULT_RETRANSMISSION } from '../../firmware/ike/window.ts';
import { NotifyType } from '../../firmware/wire/ike/numbers.ts';
import { notify } from '../../firmware/wire/ike/payloads.ts';
import { LATENCY_MS, pair } from './pair.ts';

const PATIENT: Retransmission = { ...DEFAULT_RETRANSMISSION, longestMs: 4000, tries: 30 };
const NAT = '198.51.100.1';
const ELSEWHERE = '203.0.113.5';
const FURTHER = '203.0.113.6';

type Moving = ReturnType<typeof pair> & { move(address: string, nat?: boolean): void; remap(shift: number): void };

/** The branch has one address at a time, with a NAT in front where asked. */
function moving(options: Parameters<typeof pair>[0] = {}): Moving {
  const made = pair(options);
  const { world, branch, controller } = made;
  let at = branch.address;
  let nat = false;
  let shift = 10_000;
  world.translate = (from, source) => (from === branch && nat ? { address: NAT, port: source.port + shift } : source);
  world.route = (destination) => {
    if (destination.address === controller.address) return { node: controller, local: destination };
    if (destination.address === at && !nat) return { node: branch, local: destination };
    return destination.address === NAT && nat && destination.port >= shift ? { node: branch, local: { address: at, port: destination.port - shift } } : undefined;
  };
  world.initiate(branch, controller, 'to-controller');
  world.run(1000);
  const move = (address: string, behindNat = false): void => {
    [at, nat] = [address, behindNat];
    world.input(branch, { kind: 'move', ikeSa: branch.of('ike-up').at(-1)!.ikeSa, socket: 'wan', nattSocket: 'natt', local: { address, port: 500 } });
  };
  return { ...made, move, remap: (to) => void (shift = to) };
}

function assertWhole({ world, branch, controller }: Moving): void {
  for (const node of [branch, controller]) {
    equal(node.of('ike-down').length, 0, world.story());
    equal(node.of('child-up').length - node.of('child-down').length, 1, world.story());
  }
}

describe('ike: mobility', () => {
  it('goes on from a new address with the same keys, after the responder has tested it', () => {
    const made = moving();
    const { world, branch, controller, move } = made;
    const before = world.packets.length;
    // INFORMATIONAL { N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*) } -->   <-- { N(NAT_DETECTION_*) }
    //                                      <-- { N(COOKIE2) }   { N(COOKIE2) } -->
    move(ELSEWHERE);
    world.run(1000);
    equal(world.packets.length - before, 4, world.story());
    deepStrictEqual(branch.of('endpoint').map(({ local, natt }) => [local.address, natt]), [[ELSEWHERE, false]]);
    deepStrictEqual(controller.of('endpoint').map(({ remote, natt }) => [remote.address, remote.port, natt]), [[ELSEWHERE, 4500, false]]);
    equal(controller.of('history').at(-1)?.entry.event, 'IKE Moved');
    assertWhole(made);
    world.input(controller, { kind: 'rekey-child', child: controller.of('child-up')[0]!.child });
    world.input(branch, { kind: 'rekey-ike', ikeSa: branch.of('ike-up')[0]!.ikeSa });
    world.run(60_000);
    assertWhole(made);
    equal(controller.of('ike-rekeyed').length > 0 && controller.of('child-up').at(-1)!.remote.address === ELSEWHERE, true);
  });

  it('turns UDP encapsulation on behind a NAT, and off again', () => {
    const made = moving();
    const { world, branch, controller, move } = made;
    move(ELSEWHERE, true);
    world.run(1000);
    deepStrictEqual([branch, controller].map((node) => node.of('endpoint').at(-1)!.natt), [true, true]);
    deepStrictEqual(controller.of('endpoint').at(-1)!.remote, { address: NAT, port: 14_500 });
    world.run(45_000);
    ok(branch.of('keepalive').length >= 2);
    const keepalives = branch.of('keepalive').length;
    move(FURTHER);
    world.run(45_000);
    deepStrictEqual([branch, controller].map((node) => node.of('endpoint').at(-1)!.natt), [false, false]);
    equal(branch.of('keepalive').length - keepalives <= 1, true);
    assertWhole(made);
  });

  it("finds out by itself that its NAT's mapping has changed", () => {
    const made = moving();
    const { world, controller, move, remap } = made;
    move(ELSEWHERE, true);
    world.run(1000);
    remap(20_000);
    world.run(45_000);
    deepStrictEqual(controller.of('endpoint').at(-1)!.remote, { address: NAT, port: 24_500 });
    assertWhole(made);
  });

  it('sends what is outstanding from the new address at once', () => {
    const made = moving();
    const { world, branch, controller, move } = made;
    world.fate = () => [];
    world.input(branch, { kind: 'rekey-child', child: branch.of('child-up')[0]!.child });
    world.run(500);
    world.fate = () => [LATENCY_MS];
    move(ELSEWHERE);
    world.run(200);
    equal(controller.of('child-up').length, 2, world.story());
    world.run(2000);
    assertWhole(made);
  });

  it('leaves the children where they are while nobody at the new address answers', () => {
    const made = moving();
    const { world, branch, controller } = made;
    // Somebody on the way puts another source address on the update: what the responder sends there is lost.
    world.translate = (from, source) => (from === branch ? { ...source, address: '203.0.113.66' } : source);
    world.input(branch, { kind: 'move', ikeSa: branch.of('ike-up')[0]!.ikeSa, socket: 'wan', nattSocket: 'natt', local: { address: branch.address, port: 500 } });
    world.run(20_000);
    deepStrictEqual(controller.of('endpoint'), []);
  });

  it('moves with an update only: any other message may come from anywhere', () => {
    const made = moving();
    const { world, branch, controller } = made;
    const plain = world.translate;
    world.translate = (from, source) => (from === branch ? { ...source, port: 5555 } : source);
    const direct = world.route;
    world.route = (destination) => (destination.port === 5555 ? { node: branch, local: { ...destination, port: 500 } } : direct(destination));
    world.input(branch, { kind: 'rekey-child', child: branch.of('child-up')[0]!.child });
    world.run(500);
    world.translate = plain;
    world.run(2000);
    equal(controller.of('child-up').length, 2, world.story());
    deepStrictEqual(controller.of('endpoint'), []);
    assertWhole(made);
  });

  const without: readonly (readonly [string, Partial<IkeProfile>, Partial<IkeProfile>])[] = [
    ['the responder does not want it', {}, { mobike: false }],
    ['the initiator does not want it', { mobike: false }, {}],
    ['the overlay is VXLAN', { vxlan: { vni: 7 } }, { vxlan: { vni: 7 } }],
  ];
  for (const [name, branchProfile, controllerProfile] of without) {
    it(`ends a connection that cannot move, so that it is made anew: ${name}`, () => {
      const { branch, controller, move } = moving({ branch: branchProfile, controller: controllerProfile });
      equal(controller.of('child-up').length, 1);
      move(ELSEWHERE);
      equal(branch.of('ike-down')[0]?.reason, 'our address changed, and the connection is without MOBIKE');
    });
  }

  it('leaves addresses to whoever began the connection', () => {
    const { world, controller } = moving();
    const before = world.packets.length;
    world.input(controller, { kind: 'move', ikeSa: controller.of('ike-up')[0]!.ikeSa, socket: 'wan', nattSocket: 'natt', local: { address: ELSEWHERE, port: 500 } });
    equal(world.packets.length, before);
    equal(controller.logged('IKE SA cannot move to another address').length, 1);
  });

  it('sees the NAT that a peer forbids (NO_NATS_ALLOWED)', () => {
    const path = { socket: 'wan', natt: false, local: { address: '192.0.2.2', port: 4500 }, remote: { address: '192.0.2.1', port: 4500 } };
    const data = Uint8Array.of(192, 0, 2, 1, 192, 0, 2, 2, 0x11, 0x94, 0x11, 0x94);
    equal(forbidsThisNat([notify(NotifyType.NO_NATS_ALLOWED, data)], path), false);
    equal(forbidsThisNat([notify(NotifyType.NO_NATS_ALLOWED, data)], { ...path, remote: { address: NAT, port: 4500 } }), true);
    equal(forbidsThisNat([notify(NotifyType.NO_NATS_ALLOWED, data)], { ...path, remote: { address: '192.0.2.1', port: 14_500 } }), true);
    equal(forbidsThisNat([], path), false);
  });

  for (let seed = 1; seed <= 30; seed++) {
    it(`settles moves amid rekeys, losses and delays (seed ${seed})`, () => {
      const made = moving({ seed, both: { retransmission: PATIENT } });
      const { world, branch, controller, move } = made;
      const dice = world.random.fork('dice');
      world.fate = () => (dice.uint32() % 5 === 0 ? [] : [LATENCY_MS + (dice.uint32() % 500)]);
      let last = branch.address;
      for (let i = 0; i < 6; i++) {
        const node = dice.uint32() % 2 === 0 ? branch : controller;
        const what = dice.uint32() % 4;
        if (what < 2) move((last = `203.0.113.${10 + i}`), what === 0);
        else if (what === 2) world.input(node, { kind: 'rekey-ike', ikeSa: node.of('ike-up')[0]!.ikeSa });
        else for (const { child } of node.endpoint.snapshot().ikeSas.flatMap((sa) => sa.children)) world.input(node, { kind: 'rekey-child', child });
        world.run(dice.uint32() % 1500);
      }
      move((last = '203.0.113.99'));
      world.run(60_000);
      world.fate = () => [LATENCY_MS];
      world.run(120_000);
      assertWhole(made);
      deepStrictEqual([branch.of('endpoint').at(-1)!.local.address, controller.of('endpoint').at(-1)!.remote.address], [last, last], world.story());
      deepStrictEqual([branch.of('endpoint').at(-1)!.natt, controller.of('endpoint').at(-1)!.natt], [false, false], world.story());
    });
  }
});
