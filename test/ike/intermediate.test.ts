import { deepStrictEqual, equal, match, ok } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { CLASSIC_IKE_PROPOSAL, DEFAULT_IKE_PROPOSALS } from '../../firmware/ike/algorithms.ts';
import { decodeMessage, encodeMessage } from '../../firmware/wire/ike/message.ts';
import { ExchangeType, NotifyType } from '../../firmware/wire/ike/numbers.ts';
import type { Payload } from '../../firmware/wire/ike/payloads.ts';
import { encodeSealed } from '../../firmware/wire/ike/sealed.ts';
import { concat } from '../../platform/bytes.ts';
import { FakeSuite } from '../../platform/crypto-fake.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { Encapsulation, KemId } from '../../platform/crypto.ts';
import type { Node, Packet, World } from './pair.ts';
import { LATENCY_MS, pair } from './pair.ts';

const HYBRID = { proposals: DEFAULT_IKE_PROPOSALS };
const CLASSIC = { proposals: [CLASSIC_IKE_PROPOSAL] };
const ONLY_HYBRID = { proposals: [DEFAULT_IKE_PROPOSALS[0]!] };
const HYBRID_SUITE = 'aes-256-gcm-16/prf-sha384/group-31/ml-kem-768';
const CLASSIC_SUITE = 'aes-256-gcm-16/prf-sha384/group-31';

function connect(options: Parameters<typeof pair>[0], prepare: (world: World, branch: Node) => void = () => undefined): ReturnType<typeof pair> {
  const made = pair(options);
  prepare(made.world, made.branch);
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(5000);
  return made;
}

function both(profile: Partial<IkeProfile>): Parameters<typeof pair>[0] {
  return { branch: profile, controller: profile };
}

function exchanges({ packets }: World): string[] {
  return packets.map(({ send }) => decodeMessage(send.bytes).header).map(({ exchange, response, messageId }) => `${exchange} ${response ? 'response' : 'request'} ${messageId}`);
}

function exchangeOf({ send }: Packet): number {
  return decodeMessage(send.bytes).header.exchange;
}

/** Changes what is in messages of IKE_SA_INIT on their way. */
function rewriteInit(world: World, change: (payloads: readonly Payload[]) => readonly Payload[]): void {
  world.fate = ({ send }) => {
    const { header, payloads } = decodeMessage(send.bytes);
    if (header.exchange === ExchangeType.IKE_SA_INIT) {
      const changed = encodeMessage(header, change(payloads));
      // The network hands out what is in the packet when it arrives.
      Object.assign(send, { bytes: changed });
    }
    return [LATENCY_MS];
  };
}

describe('ike: additional key exchange', () => {
  it('mixes ML-KEM-768 into the keys by default, in fragments', () => {
    // IKE_SA_INIT { SA(x25519, ADDKE1 ml-kem-768), KE, N(INTERMEDIATE_EXCHANGE_SUPPORTED) } --> <--
    // IKE_INTERMEDIATE { KE(encapsulation key) } -->   <-- { KE(ciphertext) }
    // IKE_AUTH -->   <--
    const { world, branch, controller } = connect(both({ ...HYBRID, fragmentBytes: 600 }));
    deepStrictEqual(exchanges(world), [
      '34 request 0', '34 response 0',
      '43 request 1', '43 request 1', '43 request 1', '43 response 1', '43 response 1', '43 response 1',
      '35 request 2', '35 response 2',
    ]);
    ok(world.packets.every(({ send }) => send.bytes.length <= 600));
    equal(branch.of('ike-up')[0]?.suite, HYBRID_SUITE);
    equal(controller.of('ike-up')[0]?.suite, HYBRID_SUITE);
    equal(controller.of('child-up').length, 1);
  });

  it('works in one piece and with the suite of the simulator', () => {
    for (const suite of [new RealSuite(), new FakeSuite()]) {
      const { world, branch } = connect({ ...both({ ...HYBRID, fragmentBytes: 1400 }), suite });
      equal(world.packets.length, 6);
      equal(branch.of('ike-up')[0]?.suite, HYBRID_SUITE);
    }
  });

  const fallbacks = [
    ['the responder does not want it', HYBRID, CLASSIC],
    ['the initiator does not want it', CLASSIC, HYBRID],
  ] as const;
  for (const [name, ours, theirs] of fallbacks) {
    it(`comes up without it when ${name}`, () => {
      const { world, branch, controller } = connect({ branch: ours, controller: theirs });
      equal(world.packets.length, 4);
      equal(branch.of('ike-up')[0]?.suite, CLASSIC_SUITE);
      equal(controller.of('child-up').length, 1);
    });
  }

  it('is left out by a responder that is not told of IKE_INTERMEDIATE, and AUTH shows who took that away', () => {
    const { world, branch } = connect(both(HYBRID), (made) => {
      rewriteInit(made, (payloads) => payloads.filter((payload) => payload.kind !== 'Notify' || payload.type !== NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED));
    });
    deepStrictEqual(exchanges(world), ['34 request 0', '34 response 0', '35 request 1', '35 response 1']);
    match(branch.of('connect-failed')[0]!.cause, /pre-shared key does not match|does not accept our identity/);
  });

  it('refuses a peer without it where only hybrid proposals are allowed', () => {
    const { controller, branch } = connect({ branch: CLASSIC, controller: ONLY_HYBRID });
    equal(controller.of('ike-up').length, 0);
    match(branch.of('connect-failed')[0]!.cause, /NO_PROPOSAL_CHOSEN/);
  });

  it('notices that somebody took the hybrid proposal out of IKE_SA_INIT', () => {
    const { controller, branch } = connect(both(HYBRID), (world) => {
      rewriteInit(world, (payloads) => payloads.map((payload) => (payload.kind === 'SA' && payload.proposals.length === DEFAULT_IKE_PROPOSALS.length ? { ...payload, proposals: payload.proposals.slice(1) } : payload)));
    });
    equal(branch.of('ike-up').length + controller.of('ike-up').length, 0);
    match(branch.of('connect-failed')[0]!.cause, /does not accept our identity or credential|pre-shared key does not match/);
  });

  it('repeats its answer to a repeated IKE_INTERMEDIATE although the keys have changed', () => {
    const lost = new Set<number>();
    const { world, branch, controller } = connect(both({ ...HYBRID, fragmentBytes: 1400 }), (world, from) => {
      world.fate = (packet) => {
        const { response } = decodeMessage(packet.send.bytes).header;
        if (exchangeOf(packet) !== ExchangeType.IKE_INTERMEDIATE || !response || packet.from === from || lost.size === 2) return [LATENCY_MS];
        lost.add(packet.index);
        return [];
      };
    });
    equal(lost.size, 2);
    equal(branch.of('ike-up').length, 1, world.story());
    equal(controller.of('child-up').length, 1);
  });

  it('comes up over a path that loses, repeats and reorders', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, branch, controller } = pair({ ...both({ ...HYBRID, fragmentBytes: 600 }), seed });
      const dice = world.random.fork('path');
      world.fate = () => (dice.uint32() % 6 === 0 ? [] : [LATENCY_MS, LATENCY_MS + (dice.uint32() % 40)]);
      world.initiate(branch, controller, 'to-controller');
      world.run(60_000);
      equal(branch.of('ike-up').length, 1, `seed ${seed}\n${world.story()}`);
      equal(controller.of('child-up').length, 1);
    }
  });
});

/** Both ends agree on keys, but one of them saw another message: what an attacker does who has broken every key. */
class TamperedSuite extends RealSuite {
  #tampered = false;

  /** The responder's own view of its ciphertext differs from what it sends. */
  override kemEncapsulate(kem: KemId, publicKey: Uint8Array): Encapsulation | undefined {
    const made = super.kemEncapsulate(kem, publicKey);
    this.#tampered = made !== undefined;
    return made;
  }

  override aeadOpen(...args: Parameters<RealSuite['aeadOpen']>): Uint8Array | undefined {
    const plaintext = super.aeadOpen(...args);
    // The reserved octet of the KE payload means nothing to the exchange, and is part of the message.
    if (this.#tampered && plaintext !== undefined && plaintext.length > 1000) {
      this.#tampered = false;
      const changed = plaintext.slice();
      changed[6]! ^= 1;
      return changed;
    }
    return plaintext;
  }
}

/** Its AEAD protects nothing. */
class OpenSuite extends RealSuite {
  override aeadSeal(_aead: unknown, _key: unknown, _nonce: unknown, _aad: unknown, plaintext: Uint8Array): Uint8Array {
    return concat(plaintext, new Uint8Array(16));
  }

  override aeadOpen(_aead: unknown, _key: unknown, _nonce: unknown, _aad: unknown, sealed: Uint8Array): Uint8Array {
    return sealed.slice(0, -16);
  }
}

describe('ike: tampering with IKE_INTERMEDIATE', () => {
  it('makes AUTH fail even for who can change a sealed message', () => {
    const { branch, controller } = connect({ ...both({ ...HYBRID, fragmentBytes: 1400 }), suite: new TamperedSuite() });
    equal(branch.of('ike-up').length, 0);
    equal(controller.of('ike-up').length, 0);
    match(controller.of('peer-refused')[0]!.cause, /pre-shared key does not match/);
  });

  it('drops a message that was changed on the way and takes the good one after it', () => {
    let changed = 0;
    const { branch } = connect(both(HYBRID), (world) => {
      world.fate = (packet) => {
        if (exchangeOf(packet) === ExchangeType.IKE_INTERMEDIATE && changed++ < 4) packet.send.bytes[packet.send.bytes.length - 20]! ^= 1;
        return [LATENCY_MS];
      };
    });
    ok(changed > 4);
    equal(branch.of('ike-up').length, 1);
  });

  it('refuses an IKE_AUTH that leaves the additional key exchange out', () => {
    const { world, branch, controller } = pair({ ...both(HYBRID), suite: new OpenSuite() });
    world.fate = (packet) => (exchangeOf(packet) === ExchangeType.IKE_INTERMEDIATE ? [] : [LATENCY_MS]);
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const { header } = decodeMessage(world.packets[1]!.send.bytes);
    const request = { ...header, exchange: ExchangeType.IKE_AUTH, fromInitiator: true, response: false, messageId: 1 };
    const bytes = encodeSealed(request, { firstPayload: 0, inner: new Uint8Array(0), fragment: undefined }, new Uint8Array(8), (_additional, _iv, plaintext) => concat(plaintext, new Uint8Array(16)));
    world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: { address: branch.address, port: 500 }, bytes });
    equal(controller.logged('IKE request refused')[0]?.['cause'], 'the peer left out the additional key exchange');
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
  });
});
