import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { LATENCY_MS, pair } from './pair.ts';

function up(extra: Partial<IkeProfile> = {}): ReturnType<typeof pair> {
  const made = pair({ branch: extra, controller: extra });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(1000);
  return made;
}

describe('ike: liveness and deletion', () => {
  it('asks a silent peer whether it lives, and stays up while it answers', () => {
    const { world, branch, controller } = up({ dpdMs: 30_000 });
    const before = world.packets.length;
    // INFORMATIONAL { } -->   <-- { }
    world.run(300_000);
    ok(world.packets.length > before + 10);
    equal(branch.of('ike-down').length + controller.of('ike-down').length, 0);
  });

  it('declares a dead peer down, with its children', () => {
    const { world, branch } = up({ dpdMs: 30_000 });
    world.fate = () => [];
    world.run(90_000);
    equal(branch.of('ike-down')[0]?.reason, 'the peer did not answer 6 sendings');
    equal(branch.of('child-down').length, 1);
    equal(branch.of('history').at(-1)?.entry.event, 'Peer Down');
    equal(branch.logged('IKE peer does not answer')[0]?.['peer'], 'c1@acme.example');
    world.run(60_000);
    equal(branch.endpoint.snapshot().ikeSas.length, 0);
    equal(branch.endpoint.deadline(), undefined);
  });

  it('deletes the IKE SA at both ends', () => {
    const { world, branch, controller } = up();
    // INFORMATIONAL { D(IKE) } -->   <-- { }
    world.input(branch, { kind: 'terminate', ikeSa: branch.of('ike-up')[0]!.ikeSa, reason: 'the operator asked' });
    equal(branch.of('ike-down')[0]?.reason, 'the operator asked');
    equal(branch.of('child-down').length, 1);
    world.run(1000);
    equal(controller.of('ike-down')[0]?.reason, 'the peer deleted the IKE SA');
    equal(controller.of('child-down').length, 1);
    world.run(30_000);
    equal(branch.endpoint.snapshot().ikeSas.length + controller.endpoint.snapshot().ikeSas.length, 0);
    equal(controller.endpoint.deadline(), undefined);
  });

  it('answers a repeated Delete although the IKE SA is gone', () => {
    const { world, branch, controller } = up();
    let lost = 0;
    world.fate = (packet) => (packet.from === controller && lost++ === 0 ? [] : [LATENCY_MS]);
    world.input(branch, { kind: 'terminate', ikeSa: branch.of('ike-up')[0]!.ikeSa, reason: 'the operator asked' });
    world.run(5000);
    equal(branch.endpoint.snapshot().ikeSas.length, 0);
    equal(controller.of('ike-down').length, 1);
  });

  it('ends cleanly when both ends delete at once', () => {
    const { world, branch, controller } = up();
    for (const node of [branch, controller]) world.input(node, { kind: 'terminate', ikeSa: node.of('ike-up')[0]!.ikeSa, reason: 'the operator asked' });
    world.run(60_000);
    for (const node of [branch, controller]) {
      equal(node.of('ike-down').length, 1);
      equal(node.of('child-down').length, 1);
      equal(node.endpoint.snapshot().ikeSas.length, 0, world.story());
    }
  });

  it('can connect again at once after a termination', () => {
    const { world, branch, controller } = up();
    world.input(branch, { kind: 'terminate', ikeSa: branch.of('ike-up')[0]!.ikeSa, reason: 'the operator asked' });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('ike-up').length, 2);
    equal(controller.of('ike-up').length, 2);
  });

  it('says what was terminated before it was up', () => {
    const { world, branch } = pair();
    world.initiate(branch, '192.0.2.99', 'to-controller');
    world.input(branch, { kind: 'terminate', ikeSa: branch.endpoint.snapshot().ikeSas[0]!.ikeSa, reason: 'the operator asked' });
    equal(branch.of('connect-failed')[0]?.cause, 'the operator asked');
    equal(branch.endpoint.deadline(), undefined);
  });

  it('ends the SAs of a profile that is removed', () => {
    const { world, branch, controller } = up();
    world.input(branch, { kind: 'profiles', profiles: [] });
    equal(branch.of('ike-down')[0]?.reason, 'its profile was removed');
    world.run(1000);
    equal(controller.of('ike-down').length, 1);
  });

  it('tells the peer from where its packets come', () => {
    const { world, branch, controller } = up();
    const endpoint = { address: '2001:db8::7', port: 61_000 };
    // <-- INFORMATIONAL { N(OBSERVED_ENDPOINT) }   { } -->
    world.input(controller, { kind: 'observed-endpoint', ikeSa: controller.of('ike-up')[0]!.ikeSa, endpoint });
    world.run(1000);
    deepStrictEqual(branch.of('observed').map((output) => output.endpoint), [endpoint]);
  });

  it('asks the peer when somebody claims that it has forgotten us, and no more than that', () => {
    const { world, branch, controller } = up();
    const last = world.packets.find((packet) => packet.from === controller && packet.send.bytes[18] === 35)!.send.bytes;
    // Unprotected { N(INVALID_IKE_SPI) } from anybody
    const forged = new Uint8Array(36);
    forged.set(last.subarray(0, 28));
    forged.set([41, 0x20, 37, 0x20, 0, 0, 0, 9, 0, 0, 0, 36, 0, 0, 0, 8, 0, 0, 0, 4], 16);
    const before = world.packets.length;
    for (let i = 0; i < 5; i++) world.input(branch, { kind: 'datagram', socket: 'wan', natt: false, local: { address: branch.address, port: 500 }, remote: { address: controller.address, port: 500 }, bytes: forged });
    world.run(1000);
    equal(world.packets.length - before, 2);
    equal(branch.of('ike-down').length, 0);
  });
});
