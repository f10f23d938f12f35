import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import type { HalfOpenLimits } from '../../firmware/ike/half-open.ts';
import type { IkeProposal } from '../../firmware/ike/algorithms.ts';
import { decodeMessage } from '../../firmware/wire/ike/message.ts';
import { NotifyType } from '../../firmware/wire/ike/numbers.ts';
import { findNotify, findPayload } from '../../firmware/wire/ike/payloads.ts';
import { SeededRandom } from '../../platform/random.ts';
import { OracleInitiator } from '../oracle/ike-initiator.ts';
import type { Node, World } from './pair.ts';
import { classicPair, KEY, pair } from './pair.ts';

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
    const { world, branch, controller } = classicPair({ controllerOptions: { halfOpen: ALWAYS_COOKIE } });
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

  const floods: readonly (readonly [string, (i: number) => string, number])[] = [
    ['one address', () => '203.0.113.7', 5],
    ['one network', (i) => `203.0.113.${i & 255}`, 20],
    ['one IPv6 /64', (i) => `2001:db8::${i.toString(16)}`, 5],
    ['every network', (i) => `${1 + (i % 200)}.${i >> 8}.1.1`, 100],
  ];
  for (const [name, from, kept] of floods) {
    it(`leaves others able to establish while IKE_SA_INIT floods in from ${name}`, () => {
      const { world, branch, controller } = pair();
      world.initiate(branch, '192.0.2.77', 'to-controller');
      const template = world.packets[0]!.send.bytes;
      flood(world, controller, template, 5_000, from);
      // Half of the limit without a cookie; everything else costs a hash at most.
      equal(controller.endpoint.snapshot().ikeSas.length, kept);
      world.initiate(branch, controller, 'to-controller');
      for (let i = 0; i < 20; i++) {
        world.run(5);
        flood(world, controller, template, 200, (each) => from(each + 200 * i));
      }
      equal(controller.of('ike-up').length, 1, world.story());
      ok(controller.logged('IKE half-open limit reached').length + controller.logged('IKE_SA_INIT rate limit reached').length <= 45);
    });

    it(`leaves an independent initiator able to establish while IKE_SA_INIT floods in from ${name}`, () => {
      const { world, branch, controller } = pair();
      world.initiate(branch, '192.0.2.77', 'to-controller');
      flood(world, controller, world.packets[0]!.send.bytes, 5_000, from);
      const random = new SeededRandom('oracle');
      const oracle = new OracleInitiator('b9@acme.example', KEY, (length) => random.bytes(length));
      const answerTo = (bytes: Uint8Array): Uint8Array => {
        world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: { address: '192.0.2.50', port: 500 }, bytes: new Uint8Array(bytes) });
        return world.packets.at(-1)!.send.bytes;
      };
      let answer = answerTo(oracle.initRequest());
      const cookie = oracle.cookieOf(answer);
      if (cookie !== undefined) answer = answerTo(oracle.initRequest(cookie));
      oracle.takeInitAnswer(answer);
      ok(oracle.responderIsAuthentic(oracle.open(answerTo(oracle.authRequest(Uint8Array.of(1, 2, 3, 4))))));
    });
  }

  it('counts and drops what comes faster than its source may ask', () => {
    const { world, branch, controller } = pair({ controllerOptions: { initRates: { perSource: { perSecond: 1, burst: 2 }, perNetwork: { perSecond: 10, burst: 10 }, total: { perSecond: 10, burst: 10 } } } });
    world.initiate(branch, '192.0.2.77', 'to-controller');
    flood(world, controller, world.packets[0]!.send.bytes, 5, () => '203.0.113.7');
    deepStrictEqual(controller.of('dropped').map(({ reason }) => reason), ['rate-limited', 'rate-limited', 'rate-limited']);
    deepStrictEqual(controller.logged('IKE_SA_INIT rate limit reached')[0], { remote: '203.0.113.7:500', source: '203.0.113.7' });
  });

  it('limits half-open SAs in all, and forgets them after 30 s', () => {
    const { world, branch, controller } = pair({ controllerOptions: { halfOpen: { cookieThreshold: 1000, total: 20, perNetwork: 10 } } });
    world.initiate(branch, '192.0.2.77', 'to-controller');
    flood(world, controller, world.packets[0]!.send.bytes, 100, (i) => `10.${i}.0.1`);
    equal(controller.endpoint.snapshot().ikeSas.length, 20);
    equal(controller.of('dropped').filter(({ reason }) => reason === 'too-many-half-open').length, 80);
    equal(controller.logged('IKE half-open limit reached').length, 20);
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
