import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import type { CbcIkeProposal, ChildProposal, Integrity, IkeProposal } from '../../firmware/ike/algorithms.ts';
import { CBC_CHILD_PROPOSAL, CBC_IKE_PROPOSAL, CLASSIC_IKE_PROPOSAL, DEFAULT_CHILD_PROPOSAL, DEFAULT_IKE_PROPOSALS } from '../../firmware/ike/algorithms.ts';
import type { ChildUp } from '../../firmware/ike/input-output.ts';
import { Sealing } from '../../firmware/ike/sealing.ts';
import { decodeMessage } from '../../firmware/wire/ike/message.ts';
import { equalBytes } from '../../platform/bytes.ts';
import { FakeSuite } from '../../platform/crypto-fake.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SeededRandom } from '../../platform/random.ts';
import { LATENCY_MS, pair } from './pair.ts';

const INTEGRITIES: readonly Integrity[] = ['hmac-sha256-128', 'hmac-sha384-192', 'hmac-sha512-256'];
const HMAC_BYTES: Readonly<Record<Integrity, number>> = { 'hmac-sha256-128': 32, 'hmac-sha384-192': 48, 'hmac-sha512-256': 64, 'hmac-sha1-96': 20 };

function connect(proposals: readonly IkeProposal[], options: Parameters<typeof pair>[0] = {}): ReturnType<typeof pair> {
  const made = pair({ ...options, branch: { proposals, ...options.branch }, controller: { proposals, ...options.controller } });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(3000);
  return made;
}

describe('ike: AES-CBC with HMAC', () => {
  for (const encryption of ['aes-256-cbc', 'aes-192-cbc', 'aes-128-cbc'] as const) {
    for (const integrity of INTEGRITIES) {
      it(`protects an IKE SA and its rekeys with ${encryption} and ${integrity}`, () => {
        const proposal: CbcIkeProposal = { encryption: [encryption], integrity: [integrity], prf: ['sha256'], groups: [31] };
        const { world, branch, controller } = connect([proposal]);
        equal(branch.of('ike-up')[0]?.suite, `${encryption}/${integrity}/prf-sha256/group-31`, world.story());
        world.input(branch, { kind: 'rekey-ike', ikeSa: 1 });
        world.run(1000);
        world.input(controller, { kind: 'rekey-child', child: 1 });
        world.run(1000);
        equal(controller.of('ike-rekeyed').length, 1);
        equal(branch.of('child-up').length, 2, world.story());
      });
    }
  }

  it('follows an additional key exchange, in fragments, with either suite of the platform', () => {
    for (const suite of [new RealSuite(), new FakeSuite()]) {
      const { world, branch } = connect([{ ...CBC_IKE_PROPOSAL, additional: [36] }], { suite, branch: { fragmentBytes: 500 }, controller: { fragmentBytes: 500 } });
      equal(branch.of('ike-up')[0]?.suite, 'aes-256-cbc/hmac-sha384-192/prf-sha384/group-31/ml-kem-768', world.story());
      ok(world.packets.every(({ send }) => send.bytes.length <= 500));
    }
  });

  it('is taken with a peer that has no AEAD, and not otherwise', () => {
    const suiteWith = (theirs: readonly IkeProposal[]): string | undefined => connect(DEFAULT_IKE_PROPOSALS, { controller: { proposals: theirs } }).branch.of('ike-up')[0]?.suite;
    equal(suiteWith([CBC_IKE_PROPOSAL]), 'aes-256-cbc/hmac-sha384-192/prf-sha384/group-31');
    equal(suiteWith([CLASSIC_IKE_PROPOSAL, CBC_IKE_PROPOSAL]), 'aes-256-gcm-16/prf-sha384/group-31');
  });

  for (const integrity of INTEGRITIES) {
    it(`is agreed on for ESP with ${integrity}, in IKE_AUTH and in rekeys, with the same keys at both ends`, () => {
      const childProposals = [{ ...CBC_CHILD_PROPOSAL, encryption: ['aes-192-cbc'], integrity: [integrity] }] as const;
      const { world, branch, controller } = connect(DEFAULT_IKE_PROPOSALS, { branch: { childProposals }, controller: { childProposals } });
      world.input(controller, { kind: 'rekey-child', child: 1 });
      world.run(1000);
      const [mine, theirs] = [branch, controller].map((node) => node.of('child-up')) as [ChildUp[], ChildUp[]];
      deepStrictEqual(mine.map(({ inbound: { suite, key, salt } }) => [suite, key.length, salt.length]), Array(2).fill([`aes-192-cbc/${integrity}`, 24 + HMAC_BYTES[integrity], 0]), world.story());
      for (const [i, child] of mine.entries()) {
        deepStrictEqual([child.inbound.key, child.outbound.key], [theirs[i]!.outbound.key, theirs[i]!.inbound.key]);
        ok(!equalBytes(child.inbound.key, child.outbound.key));
      }
    });
  }

  it('is taken for ESP with a peer that has no AEAD there, and not otherwise', () => {
    const suiteWith = (childProposals: readonly ChildProposal[]): string | undefined => connect(DEFAULT_IKE_PROPOSALS, { controller: { childProposals } }).branch.of('child-up')[0]?.inbound.suite;
    equal(suiteWith([CBC_CHILD_PROPOSAL]), 'aes-256-cbc/hmac-sha256-128');
    equal(suiteWith([DEFAULT_CHILD_PROPOSAL, CBC_CHILD_PROPOSAL]), 'aes-256-gcm-16');
  });

  it('drops what was changed on the way, wherever, and takes the good message after it', () => {
    for (let at = 28; at < 200; at += 7) {
      let changed = 0;
      const made = pair({ branch: { proposals: [CBC_IKE_PROPOSAL] }, controller: { proposals: [CBC_IKE_PROPOSAL] } });
      made.world.fate = ({ send }) => {
        if (decodeMessage(send.bytes).header.exchange === 35 && changed++ === 0) {
          const copy = send.bytes.slice();
          copy[at]! ^= 1;
          Object.assign(send, { bytes: copy });
        }
        return [LATENCY_MS];
      };
      made.world.initiate(made.branch, made.controller, 'to-controller');
      made.world.run(3000);
      equal(made.controller.of('dropped').length, 1, `octet ${at}`);
      equal(made.branch.of('ike-up').length, 1, `octet ${at}`);
    }
  });

  it('decrypts nothing, and looks at no padding, before the HMAC is good', () => {
    class Watched extends RealSuite {
      decrypted = 0;

      override cbcDecrypt(...args: Parameters<RealSuite['cbcDecrypt']>): Uint8Array | undefined {
        this.decrypted++;
        return super.cbcDecrypt(...args);
      }
    }
    const suite = new Watched();
    const random = new SeededRandom('cbc');
    const key = { key: random.bytes(32), salt: new Uint8Array(0), integrity: random.bytes(32) };
    const sealing = new Sealing(suite, random, { encryption: 'aes-256-cbc', integrity: 'hmac-sha256-128' }, key, key);
    const header = { spiInitiator: random.bytes(8), spiResponder: random.bytes(8), exchange: 37, fromInitiator: true, response: false, messageId: 2 };
    const [good] = sealing.seal(header, [{ kind: 'Nonce', data: random.bytes(32) }], undefined);
    for (let at = 0; at < good!.length; at++) {
      const bad = good!.slice();
      bad[at]! ^= 0x80;
      try {
        equal(sealing.open(decodeMessage(bad), bad).kind, 'rejected');
      } catch (error) {
        equal((error as Error).name, 'WireError');
      }
      equal(suite.decrypted, 0, `octet ${at}`);
    }
    equal(sealing.open(decodeMessage(good!), good!).kind, 'whole');
    equal(suite.decrypted, 1);
    for (let length = 28; length < good!.length; length++) {
      const short = good!.slice(0, length);
      new DataView(short.buffer).setUint32(24, length);
      if (length >= 32) new DataView(short.buffer).setUint16(30, length - 28);
      try {
        equal(sealing.open(decodeMessage(short), short).kind, 'rejected');
      } catch (error) {
        equal((error as Error).name, 'WireError');
      }
    }
    equal(suite.decrypted, 1);
  });

  it('never uses an IV twice', () => {
    const { world } = connect([CBC_IKE_PROPOSAL]);
    const ivs = world.packets.flatMap(({ send }) => (decodeMessage(send.bytes).sealed === undefined ? [] : [Buffer.from(send.bytes.subarray(32, 48)).toString('hex')]));
    ok(ivs.length >= 2);
    deepStrictEqual(ivs.length, new Set(ivs).size);
  });
});
