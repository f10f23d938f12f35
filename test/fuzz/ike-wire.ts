// Datagrams of strangers: every message of a conversation, changed, at the decoders and at a Controller's socket.
import { decodeChain, decodeHeader, decodeMessage } from '../../firmware/wire/ike/message.ts';
import { ExchangeType } from '../../firmware/wire/ike/numbers.ts';
import { sealedBody, withoutPadding } from '../../firmware/wire/ike/sealed.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { LATENCY_MS, pskProfile } from '../ike/pair.ts';
import type { IkeWorld } from './ike-world.ts';
import { checkBystander, checkState, deliver, openIkeWorld } from './ike-world.ts';
import { mutate, oneIn, pick } from './mutation.ts';
import type { FuzzTarget, Trail } from './target.ts';
import { decodes } from './target.ts';

const DATAGRAMS = 100;
const ANSWERS = 12;
const EXCHANGE_AT = 18;
const FLAGS_AT = 19;
const RESPONSE = 0x20;
const LENGTH_AT = 24;
const HEADER_BYTES = 28;
/** Longer than the life of a half-open SA. */
const QUIET_MS = 60_000;

function decodeAll(bytes: Uint8Array): void {
  decodes(() => {
    const { sealed } = decodeMessage(bytes);
    if (sealed !== undefined) withoutPadding(sealedBody(bytes, sealed).sealed);
  });
  if (bytes.length > 1) decodes(() => decodeChain(bytes, 1, bytes[0]!));
}

/** The messages of a whole conversation. */
function conversation({ world, branch, controller }: IkeWorld): Uint8Array[] {
  world.initiate(branch, controller, 'to-controller');
  world.run(100);
  const [sa] = branch.endpoint.snapshot().ikeSas;
  world.input(branch, { kind: 'rekey-child', child: sa!.children[0]!.child });
  world.run(100);
  world.input(branch, { kind: 'rekey-ike', ikeSa: sa!.ikeSa });
  world.run(100);
  return world.packets.map(({ send }) => send.bytes);
}

/** A good length in the header lets more than the header be tried. */
function withGoodLength(bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  if (bytes.length >= HEADER_BYTES) new DataView(bytes.buffer).setUint32(LENGTH_AT, bytes.length);
  return bytes;
}

/** Answers of strangers to the IKE_SA_INIT of a box that nobody else answers. */
function answer({ world, controller }: IkeWorld, inputs: readonly Uint8Array[]): void {
  const newcomer = world.add('newcomer', '192.0.2.9', { profiles: [pskProfile('to-controller', 'b9@acme.example', 'c1@acme.example')] });
  world.fate = ({ from }) => (from === newcomer ? [] : [LATENCY_MS]);
  world.initiate(newcomer, controller, 'to-controller');
  const spi = decodeHeader(world.packets.at(-1)!.send.bytes).header.spiInitiator;
  for (const input of inputs) {
    const bytes = input.slice();
    bytes.set(spi.subarray(0, bytes.length));
    deliver(world, newcomer, controller.address, bytes);
  }
  world.run(QUIET_MS);
  world.fate = () => [LATENCY_MS];
}

function run(dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail): void {
  const fuzz = openIkeWorld(dice.uint32());
  const seeds = [...conversation(fuzz), ...corpus];
  for (let i = 0; i < DATAGRAMS; i++) {
    const mutant = mutate(dice, pick(dice, seeds), seeds);
    const bytes = trail.add(oneIn(dice, 8) ? mutant : withGoodLength(mutant));
    decodeAll(bytes);
    // From the branch's own address, too: strangers can forge that.
    deliver(fuzz.world, fuzz.controller, oneIn(dice, 2) ? fuzz.branch.address : `203.0.113.${randomBelow(dice, 4)}`, bytes);
    fuzz.world.run(randomBelow(dice, 50));
  }
  const answers = seeds.filter((bytes) => bytes[EXCHANGE_AT] === ExchangeType.IKE_SA_INIT && (bytes[FLAGS_AT]! & RESPONSE) !== 0);
  answer(fuzz, Array.from({ length: ANSWERS }, () => trail.add(withGoodLength(mutate(dice, pick(dice, answers), seeds)))));
  conclude(fuzz);
}

function conclude(fuzz: IkeWorld): void {
  checkState(fuzz);
  fuzz.world.run(QUIET_MS);
  checkState(fuzz);
  checkBystander(fuzz);
}

export const IKE_WIRE: FuzzTarget = {
  name: 'ike-wire',
  about: 'IKE datagrams of strangers, at the decoders and at a Controller',
  promise: 'no crash (decoders throw WireError only), no hang, no state growth, and other SAs are untouched',
  run,
  replay(bytes) {
    decodeAll(bytes);
    const fuzz = openIkeWorld(1);
    deliver(fuzz.world, fuzz.controller, '203.0.113.1', bytes);
    // What spoils the state of an exchange shows at the second copy.
    answer(fuzz, [bytes, bytes]);
    conclude(fuzz);
  },
};
