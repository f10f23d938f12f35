// A branch and a Controller through their whole life, while changed copies of their messages overtake them: changed on
// the way, or before they were sealed, so that they arrive authentic. A bystander must not notice.
import { decodeMessage } from '../../firmware/wire/ike/message.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';
import type { Packet } from '../ike/pair.ts';
import { LATENCY_MS } from '../ike/pair.ts';
import type { IkeWorld } from './ike-world.ts';
import { checkBystander, checkState, deliver, forge, openIkeWorld } from './ike-world.ts';
import { mutate, oneIn, pick } from './mutation.ts';
import type { FuzzTarget, Trail } from './target.ts';

const STEPS = 40;
/** Shorter than the way, so that a copy overtakes what it was made of. */
const STEP_MS = LATENCY_MS / 2;
const QUIET_MS = 180_000;

function overtake(dice: SeededRandom, trail: Trail, fuzz: IkeWorld, { from, send }: Packet): void {
  const { world, branch, controller, suites } = fuzz;
  const suite = suites.get(from);
  const to = [branch, controller].find((node) => node !== from && node.address === send.remote.address);
  if (suite === undefined || to === undefined || oneIn(dice, 3)) return;
  const bytes = oneIn(dice, 4) ? mutate(dice, send.bytes) : forge(dice, suite, send.bytes);
  if (bytes !== undefined) deliver(world, to, from.address, trail.add(bytes));
}

/** What operators and clocks do to the branch; it connects again when it is not connected. */
function act(dice: SeededRandom, { world, branch, controller }: IkeWorld): void {
  const [sa] = branch.endpoint.snapshot().ikeSas.filter(({ state }) => state !== 'closed' && state !== 'deleting');
  if (sa === undefined) return world.initiate(branch, controller, 'to-controller');
  const turn = randomBelow(dice, 12);
  if (turn === 0) world.input(branch, { kind: 'terminate', ikeSa: sa.ikeSa, reason: 'the fuzzer asked for it' });
  else if (turn <= 2) world.input(branch, { kind: 'rekey-ike', ikeSa: sa.ikeSa });
  else if (turn <= 6 && sa.children[0] !== undefined) world.input(branch, { kind: 'rekey-child', child: sa.children[0].child });
  else if (turn === 7) world.input(branch, { kind: 'observed-endpoint', ikeSa: sa.ikeSa, endpoint: { address: '203.0.113.9', port: 4500 } });
  else if (turn === 8) world.run(40_000);
}

/** One life of the branch in a fresh world, in which one of so many messages is overtaken. */
export function fuzzLife(dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail, fuzz: IkeWorld, oneOf = 1): void {
  const { world } = fuzz;
  world.fate = () => (oneIn(dice, 12) ? [] : [LATENCY_MS]);
  for (let step = 0, seen = world.packets.length; step < STEPS; step++) {
    if (step % 4 === 0) act(dice, fuzz);
    if (corpus.length > 0 && oneIn(dice, 20)) inject(fuzz, trail.add(mutate(dice, pick(dice, corpus), corpus)));
    world.run(STEP_MS);
    const fresh = world.packets.slice(seen);
    seen = world.packets.length;
    for (const packet of fresh) if (oneIn(dice, oneOf)) overtake(dice, trail, fuzz, packet);
    checkState(fuzz);
  }
  conclude(fuzz);
}

/** Time passes without the fuzzer; then everything must be as it should. */
function conclude(fuzz: IkeWorld): void {
  const { world } = fuzz;
  world.fate = () => [LATENCY_MS];
  world.run(QUIET_MS);
  checkState(fuzz);
  checkBystander(fuzz);
}

/** An authentic request of the branch: exchange type, type of the first payload, payload chain. Nothing while it is not up. */
function inject({ world, branch, controller, suites }: IkeWorld, input: Uint8Array): void {
  const sealed = world.packets.filter(({ from, send }) => from === branch && decodeMessage(send.bytes).sealed !== undefined);
  const last = sealed.at(-1)?.send.bytes;
  const suite = suites.get(branch)!;
  const record = last === undefined ? undefined : suite.recordOf(last);
  if (last === undefined || record === undefined || input.length < 2) return;
  const { header } = decodeMessage(last);
  const request = { ...header, exchange: input[0]!, response: false, messageId: header.messageId + 1 };
  const bytes = suite.reseal(record, request, { firstPayload: input[1]!, inner: input.slice(2), fragment: undefined }, new Uint8Array(8).fill(0xff));
  deliver(world, controller, branch.address, bytes);
}

/** The branch begins to connect, and says this after so many ms. */
export function replayInput(fuzz: IkeWorld, bytes: Uint8Array, afterMs: number): void {
  fuzz.world.initiate(fuzz.branch, fuzz.controller, 'to-controller');
  fuzz.world.run(afterMs);
  inject(fuzz, bytes);
  conclude(fuzz);
}

export const IKE: FuzzTarget = {
  name: 'ike',
  about: 'messages of a branch and its Controller, changed on the way or sealed after the change',
  promise: 'no crash, no hang, no state growth, and another peer of the Controller keeps its SAs',
  run: (dice, corpus, trail) => fuzzLife(dice, corpus, trail, openIkeWorld(dice.uint32())),
  replay: (bytes) => replayInput(openIkeWorld(1), bytes, 100),
};
