import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { decodeChain, decodeMessage } from '../../firmware/wire/ike/message.ts';
import { ExchangeType, NotifyType, PayloadType } from '../../firmware/wire/ike/numbers.ts';
import type { Payload } from '../../firmware/wire/ike/payloads.ts';
import { notify } from '../../firmware/wire/ike/payloads.ts';
import { encodeSealed, sealedBody, withoutPadding } from '../../firmware/wire/ike/sealed.ts';
import { concat } from '../../platform/bytes.ts';
import { FakeSuite } from '../../platform/crypto-fake.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { randomBelow, SeededRandom } from '../../platform/random.ts';
import type { Node, World } from './pair.ts';
import { classicPair, LATENCY_MS } from './pair.ts';

function deliver(world: World, to: Node, from: Pick<Node, 'address'>, bytes: Uint8Array): void {
  world.input(to, { kind: 'datagram', socket: 'wan', natt: false, local: { address: to.address, port: 500 }, remote: { address: from.address, port: 500 }, bytes });
}

function mutate(dice: SeededRandom, bytes: Uint8Array): Uint8Array {
  const out = bytes.slice(0, randomBelow(dice, 4) === 0 ? randomBelow(dice, bytes.length + 1) : bytes.length);
  const flips = 1 + randomBelow(dice, 6);
  for (let i = 0; i < flips && out.length > 0; i++) out[randomBelow(dice, out.length)] = dice.uint32() & 0xff;
  // Keep the length field right most of the time, so that more than the header is tried.
  if (out.length >= 28 && randomBelow(dice, 8) !== 0) new DataView(out.buffer).setUint32(24, out.length);
  return out;
}

/** A suite whose AEAD does not hide or protect anything: mutated messages reach the payload decoders and tasks. */
class OpenSuite extends RealSuite {
  override aeadSeal(_aead: unknown, _key: unknown, _nonce: unknown, _aad: unknown, plaintext: Uint8Array): Uint8Array {
    const out = new Uint8Array(plaintext.length + 16);
    out.set(plaintext);
    return out;
  }

  override aeadOpen(_aead: unknown, _key: unknown, _nonce: unknown, _aad: unknown, sealed: Uint8Array): Uint8Array {
    return sealed.slice(0, -16);
  }
}

describe('ike: hostile input', () => {
  it('is not disturbed by mutated copies of every message while it comes up', () => {
    for (let seed = 1; seed <= 15; seed++) {
      const { world, branch, controller } = classicPair({ seed, controllerOptions: { halfOpen: { cookieThreshold: 10_000, total: 10_000, perNetwork: 10_000 } } });
      const dice = new SeededRandom(`mutations ${seed}`);
      world.initiate(branch, controller, 'to-controller');
      for (let step = 0; step < 12; step++) {
        for (const { from, send } of world.packets.slice(0, 60)) {
          const to = from === branch ? controller : branch;
          const bytes = mutate(dice, send.bytes);
          // Nobody can protect IKE_SA_INIT: who can change it on the way, or answers first, denies service.
          if (bytes[18] !== 34) deliver(world, to, from, bytes);
          else if (from === branch) deliver(world, to, { address: `203.0.113.${step}` }, bytes);
        }
        world.run(5);
      }
      world.run(1000);
      equal(branch.of('ike-up').length, 1, `seed ${seed}\n${world.story()}`);
      equal(controller.of('child-up').length, 1);
    }
  });

  it('never throws for mutated contents of authentic messages', () => {
    for (let seed = 1; seed <= 15; seed++) {
      const suite = new OpenSuite();
      const { world, branch, controller } = classicPair({ seed, suite });
      const dice = new SeededRandom(`contents ${seed}`);
      world.initiate(branch, controller, 'to-controller');
      for (let step = 0; step < 60; step++) {
        const recent = world.packets.slice(-6);
        for (const { from, send } of recent) deliver(world, from === branch ? controller : branch, from, mutate(dice, send.bytes));
        const [sa] = branch.endpoint.snapshot().ikeSas;
        if (sa === undefined) world.initiate(branch, controller, 'to-controller');
        else if (step % 5 === 0) world.input(branch, { kind: 'rekey-ike', ikeSa: sa.ikeSa });
        else if (sa.children[0] !== undefined && step % 3 === 0) world.input(branch, { kind: 'rekey-child', child: sa.children[0].child });
        world.run(randomBelow(dice, 400));
      }
      ok(world.packets.length > 10);
    }
  });

  it('ends only the IKE SA of a peer that sends authentic nonsense', () => {
    const { controller, answer } = sendAuthentic(PayloadType.Nonce, chain(Uint8Array.of(1, 2, 3)));
    deepStrictEqual(answer, [notify(NotifyType.INVALID_SYNTAX)]);
    equal(controller.of('ike-down').length, 1);
  });

  it('answers UNSUPPORTED_CRITICAL_PAYLOAD inside SK and goes on', () => {
    const inner = chain(Uint8Array.of(1, 2, 3));
    inner[1] = 0x80;
    const { controller, answer } = sendAuthentic(200, inner);
    deepStrictEqual(answer, [notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, Uint8Array.of(200))]);
    equal(controller.of('ike-down').length, 0);
  });

  it('skips payloads that are neither known nor critical', () => {
    const { controller, answer } = sendAuthentic(200, chain(Uint8Array.of(1, 2, 3)));
    deepStrictEqual(answer, []);
    equal(controller.of('ike-down').length, 0);
  });

  it('comes up with the suite of the simulator too', () => {
    const { world, branch, controller } = classicPair({ suite: new FakeSuite() });
    world.fate = () => [LATENCY_MS];
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    equal(branch.of('ike-up').length, 1);
    equal(controller.of('child-up').length, 1);
  });
});

/** A chain of one payload. */
function chain(body: Uint8Array): Uint8Array {
  return Uint8Array.of(0, 0, 0, 4 + body.length, ...body);
}

/** Sends an INFORMATIONAL request with these insides from an established initiator; returns what the answer contains. */
function sendAuthentic(firstPayload: number, inner: Uint8Array): { controller: Node; answer: readonly Payload[] } {
  const { world, branch, controller } = classicPair({ suite: new OpenSuite() });
  world.initiate(branch, controller, 'to-controller');
  world.run(100);
  const { header } = decodeMessage(world.packets.at(-1)!.send.bytes);
  const request = { ...header, exchange: ExchangeType.INFORMATIONAL, fromInitiator: true, response: false, messageId: 2 };
  const bytes = encodeSealed(request, { firstPayload, inner, fragment: undefined }, new Uint8Array(8), (_additional, _iv, plaintext) => concat(plaintext, new Uint8Array(16)));
  deliver(world, controller, branch, bytes);
  const reply = world.packets.at(-1)!.send.bytes;
  const message = decodeMessage(reply);
  equal(message.header.messageId, 2);
  const plaintext = sealedBody(reply, message.sealed!).sealed.slice(0, -16);
  return { controller, answer: decodeChain(withoutPadding(plaintext), 0, message.sealed!.firstPayload).payloads };
}
