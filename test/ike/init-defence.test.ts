import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import type { HalfOpenLimits } from '../../firmware/ike/half-open.ts';
import type { IkeProposal } from '../../firmware/ike/algorithms.ts';
import { decodeMessage } from '../../firmware/wire/ike/message.ts';
import { NotifyType } from '../../firmware/wire/ike/numbers.ts';
import { findNotify, findPayload } from '../../firmware/wire/ike/payloads.ts';
import type { Node, World } from './pair.ts';
import { pair } from './pair.ts';

const ALWAYS_COOKIE: HalfOpenLimits = { cookieThreshold: 0, total: 1000, perNetwork: 10 };

function proposals(...groups: IkeProposal['groups']): readonly IkeProposal[] {
  return [{ encryption: ['aes-256-gcm-16'], prf: ['sha256'], groups }];
}

/** An IKE_SA_INIT as if from elsewhere: same bytes but for the SPI. */
function flood(world: World, target: Node, template: Uint8Array, count: number, network: (i: number) => string): void {
  for (let i = 0; i < count; i++) {
    const bytes = template.slice();
    bytes[0] = 1 + (i >> 8);
    bytes[1] = i;
    world.input(target, { kind: 'datagram', socket: 'wan', natt: false, local: { address: target.address, port: 500 }, remote: { address: network(i), port: 500 }, bytes });
  }
}

describe('ike: defence of IKE_SA_INIT', () => {
  it('asks for a cookie and keeps no state before it is shown', () => {
    const { world, branch, controller } = pair({ controllerOptions: { halfOpen: ALWAYS_COOKIE } });
    // { SA, KE, Ni } -->   <-- { N(COOKIE) }   { N(COOKIE), SA, KE, Ni } -->   <-- { SA, KE, Nr }
    world.initiate(branch, controller, 'to-controller');
    world.run(15);
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
    world.run(100);
    equal(branch.of('ike-up').length, 1, world.story());
    equal(world.packets.length, 6);
    const [first, again] = [world.packets[0]!, world.packets[2]!].map((packet) => decodeMessage(packet.send.bytes));
    ok(again!.payloads[0]?.kind === 'Notify' && again!.payloads[0].type === NotifyType.COOKIE);
    equal(again!.payloads[0].data.length, 33);
    deepStrictEqual(findPayload(again!.payloads, 'Nonce'), findPayload(first!.payloads, 'Nonce'));
    equal(again!.header.messageId, 0);
  });

  it('retries with the group that the peer wants', () => {
    const { world, branch, controller } = pair({ branch: { proposals: proposals(31, 19) }, controller: { proposals: proposals(19) } });
    // { SA, KE(31), Ni } -->   <-- { N(INVALID_KE_PAYLOAD, 19) }   { SA, KE(19), Ni } -->
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(branch.of('ike-up')[0]?.suite, 'aes-256-gcm-16/prf-sha256/group-19');
    equal(world.packets.length, 6);
  });

  it('keeps the cookie through INVALID_KE_PAYLOAD', () => {
    const { world, branch, controller } = pair({ branch: { proposals: proposals(31, 20) }, controller: { proposals: proposals(20) }, controllerOptions: { halfOpen: ALWAYS_COOKIE } });
    // -->   <-- { N(COOKIE) }   { N(COOKIE), KE(31) } -->   <-- { N(INVALID_KE_PAYLOAD) }   { N(COOKIE), KE(20) } -->
    world.initiate(branch, controller, 'to-controller');
    world.run(200);
    equal(branch.of('ike-up').length, 1, world.story());
    equal(world.packets.length, 8);
  });

  it('gives up on a group that it does not offer', () => {
    const { world, branch, controller } = pair({ branch: { proposals: proposals(31) }, controller: { proposals: proposals(19) } });
    world.initiate(branch, controller, 'to-controller');
    world.run(10_000);
    equal(branch.of('connect-failed').length, 1);
    equal(branch.of('ike-up').length, 0);
  });

  it('does not take a cookie from another address', () => {
    const { world, branch, controller } = pair({ controllerOptions: { halfOpen: ALWAYS_COOKIE } });
    world.initiate(branch, controller, 'to-controller');
    world.run(25);
    const withCookie = world.packets[2]!.send.bytes;
    world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: { address: '203.0.113.9', port: 500 }, bytes: withCookie });
    const answer = decodeMessage(world.packets.at(-1)!.send.bytes);
    ok(findNotify(answer.payloads, NotifyType.COOKIE) !== undefined);
  });

  it('forgets a cookie secret after two of its lives', () => {
    const { world, branch, controller } = pair({ controllerOptions: { halfOpen: ALWAYS_COOKIE } });
    world.fate = (packet) => (packet.index >= 2 ? [130_000] : [10]);
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    const before = world.packets.length;
    world.run(140_000);
    const answer = world.packets.slice(before).find((packet) => packet.from === controller);
    ok(answer !== undefined && findNotify(decodeMessage(answer.send.bytes).payloads, NotifyType.COOKIE) !== undefined);
  });

  it('limits half-open SAs of one network and turns to cookies at half of that', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, '192.0.2.77', 'to-controller');
    flood(world, controller, world.packets[0]!.send.bytes, 50, (i) => `203.0.113.${i}`);
    equal(controller.endpoint.snapshot().ikeSas.length, 5);
    equal(world.packets.filter((packet) => packet.from === controller).length, 50);
    // Another network is served as before.
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(controller.of('ike-up').length, 1, world.story());
  });

  it('limits half-open SAs in all, and forgets them after 30 s', () => {
    const { world, branch, controller } = pair({ controllerOptions: { halfOpen: { cookieThreshold: 1000, total: 20, perNetwork: 10 } } });
    world.initiate(branch, '192.0.2.77', 'to-controller');
    flood(world, controller, world.packets[0]!.send.bytes, 100, (i) => `10.${i}.0.1`);
    equal(controller.endpoint.snapshot().ikeSas.length, 20);
    equal(controller.logged('IKE half-open limit reached').length, 80);
    world.run(31_000);
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
    flood(world, controller, world.packets[0]!.send.bytes, 1, () => '10.0.0.1');
    equal(controller.endpoint.snapshot().ikeSas.length, 1);
  });

  it('does not count authenticated peers as half-open', () => {
    const { world, branch, controller } = pair({ controllerOptions: { halfOpen: { cookieThreshold: 1000, total: 1, perNetwork: 2 } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    flood(world, controller, world.packets[0]!.send.bytes, 1, () => '10.0.0.1');
    equal(controller.endpoint.snapshot().ikeSas.length, 2);
  });

  it('counts what it drops by reason: no IKE message, an unknown SPI, an altered message, and one out of its turn', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const sealed = world.packets.findLast((packet) => packet.from === branch)!.send.bytes;
    const arrive = (bytes: Uint8Array): string[] => {
      const before = controller.of('dropped').length;
      world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: { address: branch.address, port: 500 }, bytes });
      return controller.of('dropped').slice(before).map(({ reason }) => reason);
    };
    const changed = (at: number, value: number): Uint8Array => {
      const bytes = sealed.slice();
      bytes[at] = value;
      return bytes;
    };
    deepStrictEqual(arrive(Uint8Array.of(1, 2, 3)), ['malformed']);
    deepStrictEqual(arrive(changed(8, sealed[8]! ^ 1)), ['unknown-spi']);
    deepStrictEqual(arrive(changed(sealed.length - 1, sealed.at(-1)! ^ 1)), ['unauthentic']);
    deepStrictEqual(arrive(changed(23, 77)), ['unexpected']);
  });
});
