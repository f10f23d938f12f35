// IKE endpoints for fuzzing: a branch whose sealed contents the fuzzer can change and seal again, a Controller, and a
// bystander that is connected to the same Controller and must not notice anything.
import { equal, ok } from 'node:assert/strict';
import type { IkeEndpointOptions } from '../../firmware/ike/endpoint.ts';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { decodeHeader } from '../../firmware/wire/ike/message.ts';
import { encodeSealed } from '../../firmware/wire/ike/sealed.ts';
import { concat, toHex } from '../../platform/bytes.ts';
import type { ControlAead } from '../../platform/crypto.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';
import type { Node } from '../ike/pair.ts';
import { pskProfile, World } from '../ike/pair.ts';
import { mutate, oneIn, pick } from './mutation.ts';

const ICV_BYTES = 16;
const SALT_BYTES = 4;
const SK_HEADER_AT = 28;
/** Messages that a suite remembers. */
const MOST_RECORDS = 64;
/** Inputs of one case; more of them mean that machines keep each other busy for ever. */
const MOST_INPUTS = 20_000;
/** Outputs of one input: a Controller that follows a new configuration has some per SA. */
const MOST_OUTPUTS = 200;
/** IKE SAs at one endpoint: half-open ones of one network, rekeyed and ended ones that linger, and the bystander. */
const MOST_IKE_SAS = 120;
const MOST_CHILDREN = 8;
const EAP = 48;
const EAP_HEADER_BYTES = 4;
const EXCHANGES = [34, 35, 36, 37, 38, 43, 0, 255];
const PAYLOADS = [0, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 53, 200];

interface SealRecord {
  readonly aead: ControlAead;
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly additional: Uint8Array;
  readonly plaintext: Uint8Array;
}

/** Remembers what it sealed, so that a changed message can be given a valid tag. */
export class RecordingSuite extends RealSuite {
  readonly #records = new Map<string, SealRecord>();

  override aeadSeal(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, additional: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const sealed = super.aeadSeal(aead, key, nonce, additional, plaintext);
    this.#records.set(toHex(sealed.slice(-ICV_BYTES)), { aead, key: key.slice(), nonce: nonce.slice(), additional: additional.slice(), plaintext: plaintext.slice() });
    const [oldest] = this.#records.keys();
    if (this.#records.size > MOST_RECORDS) this.#records.delete(oldest!);
    return sealed;
  }

  recordOf(message: Uint8Array): SealRecord | undefined {
    return this.#records.get(toHex(message.slice(-ICV_BYTES)));
  }

  /** Seals other contents under the key and the header of a message that went out before. */
  reseal(record: SealRecord, header: ReturnType<typeof decodeHeader>['header'], content: Parameters<typeof encodeSealed>[1], iv: Uint8Array): Uint8Array {
    return encodeSealed(header, content, iv, (additional, octets, plaintext) =>
      super.aeadSeal(record.aead, record.key, concat(record.nonce.slice(0, SALT_BYTES), octets), additional, plaintext),
    );
  }
}

/** Mostly with a good length, so that what is inside of it is read. */
function mutateEap(dice: SeededRandom, body: Uint8Array): Uint8Array {
  const out = mutate(dice, oneIn(dice, 4) ? body : body.slice(EAP_HEADER_BYTES)).slice(0, 1500);
  if (out.length >= body.length && oneIn(dice, 8)) return out;
  const length = EAP_HEADER_BYTES + out.length;
  return concat(Uint8Array.of(body[0] ?? 1, oneIn(dice, 10) ? dice.uint32() & 0xff : (body[1] ?? 0), length >> 8, length & 0xff), out);
}

/** A payload chain with good lengths of which payloads are left out, doubled, put elsewhere, renamed or changed inside. */
function mutateChain(dice: SeededRandom, firstPayload: number, inner: Uint8Array): { firstPayload: number; inner: Uint8Array } {
  const payloads: { type: number; body: Uint8Array }[] = [];
  for (let at = 0, type = firstPayload; type !== 0 && at + 4 <= inner.length; ) {
    const length = Math.max(4, (inner[at + 2]! << 8) | inner[at + 3]!);
    payloads.push({ type, body: inner.slice(at + 4, at + length) });
    type = inner[at]!;
    at += length;
  }
  const eap = payloads.findIndex(({ type }) => type === EAP);
  const onlyEap = eap >= 0 && !oneIn(dice, 4);
  if (onlyEap) payloads[eap] = { type: EAP, body: mutateEap(dice, payloads[eap]!.body) };
  for (let steps = onlyEap ? 0 : 1 + randomBelow(dice, 3); steps > 0; steps--) {
    const at = randomBelow(dice, payloads.length + 1);
    const chosen = payloads[at] ?? { type: pick(dice, PAYLOADS), body: dice.bytes(randomBelow(dice, 40)) };
    const turn = randomBelow(dice, 5);
    if (turn === 0) payloads.splice(at, 1);
    else if (turn === 1) payloads.splice(at, 0, chosen);
    else if (turn === 2) payloads.push(...payloads.splice(at, 1));
    else if (turn === 3) payloads[Math.min(at, payloads.length)] = { ...chosen, type: pick(dice, PAYLOADS) };
    else payloads[Math.min(at, payloads.length)] = { ...chosen, body: mutate(dice, chosen.body).slice(0, 1000) };
  }
  const parts = payloads.map(({ body }, i) => concat(Uint8Array.of(payloads[i + 1]?.type ?? 0, 0, (body.length + 4) >> 8, (body.length + 4) & 0xff), body));
  return { firstPayload: payloads[0]?.type ?? 0, inner: concat(...parts) };
}

/** The message with other contents or another header under a valid tag; undefined when nobody sealed it. */
export function forge(dice: SeededRandom, suite: RecordingSuite, message: Uint8Array): Uint8Array | undefined {
  const record = suite.recordOf(message);
  if (record === undefined) return undefined;
  const { header } = decodeHeader(message);
  const firstPayload = record.additional[SK_HEADER_AT]!;
  const inner = record.plaintext.slice(0, -1);
  const content = oneIn(dice, 3) ? { firstPayload: oneIn(dice, 3) ? pick(dice, PAYLOADS) : firstPayload, inner: mutate(dice, inner) } : mutateChain(dice, firstPayload, inner);
  const fragment = oneIn(dice, 12) ? { number: 1 + randomBelow(dice, 4), total: pick(dice, [1, 2, 3, 64, 65, 65_535]) } : undefined;
  const changed = {
    ...header,
    exchange: oneIn(dice, 10) ? pick(dice, EXCHANGES) : header.exchange,
    messageId: oneIn(dice, 10) ? header.messageId + randomBelow(dice, 3) : header.messageId,
    response: oneIn(dice, 20) ? !header.response : header.response,
    fromInitiator: oneIn(dice, 40) ? !header.fromInitiator : header.fromInitiator,
  };
  return suite.reseal(record, changed, { ...content, fragment }, dice.bytes(8));
}

/** Counts inputs and their outputs: endless conversations and floods are findings. */
class BoundedWorld extends World {
  #inputs = 0;

  override input(node: Node, input: Parameters<World['input']>[1]): void {
    ok(++this.#inputs <= MOST_INPUTS, `${MOST_INPUTS} inputs do not bring the endpoints to rest`);
    const before = node.outputs.length;
    super.input(node, input);
    const outputs = node.outputs.length - before;
    ok(outputs <= MOST_OUTPUTS, `${outputs} outputs of one ${input.kind}`);
  }
}

export interface IkeWorld {
  readonly world: World;
  readonly branch: Node;
  readonly controller: Node;
  readonly bystander: Node;
  readonly suites: ReadonlyMap<Node, RecordingSuite>;
}

/** How branch and Controller know each other. */
export interface Cast {
  suite(): RecordingSuite;
  client(identity: string): Partial<IkeProfile>;
  readonly server: Partial<IkeProfile>;
  readonly serverOptions: Partial<IkeEndpointOptions>;
}

const PRE_SHARED: Cast = { suite: () => new RecordingSuite(), client: () => ({}), server: {}, serverOptions: {} };

/** The bystander is up already. */
export function openIkeWorld(seed: number, cast = PRE_SHARED): IkeWorld {
  const world = new BoundedWorld(seed, cast.suite());
  const branchSuite = cast.suite();
  const controllerSuite = cast.suite();
  const client = (identity: string): IkeProfile => pskProfile('to-controller', identity, 'c1@acme.example', cast.client(identity));
  const branch = world.add('branch', '192.0.2.1', { profiles: [client('b1@acme.example')], suite: branchSuite });
  const controller = world.add('controller', '192.0.2.2', { ...cast.serverOptions, profiles: [pskProfile('branches', 'c1@acme.example', undefined, cast.server)], suite: controllerSuite });
  const bystander = world.add('bystander', '198.51.100.3', { profiles: [client('b2@acme.example')] });
  world.initiate(bystander, controller, 'to-controller');
  world.run(500);
  equal(bystander.of('child-up').length, 1);
  return { world, branch, controller, bystander, suites: new Map([[branch, branchSuite], [controller, controllerSuite]]) };
}

export function deliver(world: World, to: Node, from: string, bytes: Uint8Array): void {
  world.input(to, { kind: 'datagram', socket: 'wan', natt: false, local: { address: to.address, port: 500 }, remote: { address: from, port: 500 }, bytes: bytes.slice() });
}

export function checkState({ branch, controller }: IkeWorld): void {
  for (const { name, endpoint } of [branch, controller]) {
    const { ikeSas } = endpoint.snapshot();
    ok(ikeSas.length <= MOST_IKE_SAS, `${name} holds ${ikeSas.length} IKE SAs`);
    for (const sa of ikeSas) ok(sa.children.length <= MOST_CHILDREN, `${name} holds ${sa.children.length} children of one IKE SA`);
  }
}

/** The bystander's SAs are as they were, and work: its child is replaced on request. */
export function checkBystander({ world, controller, bystander }: IkeWorld): void {
  equal(bystander.of('ike-down').length, 0, "the bystander's IKE SA went down");
  const [mine] = bystander.endpoint.snapshot().ikeSas;
  const theirs = controller.endpoint.snapshot().ikeSas.find((sa) => sa.spis === mine?.spis);
  ok(mine !== undefined && theirs !== undefined, "the bystander's IKE SA is gone");
  equal(theirs.children.length, 1);
  const before = bystander.of('child-up').length;
  world.input(bystander, { kind: 'rekey-child', child: mine.children[0]!.child });
  world.run(500);
  equal(bystander.of('child-up').length, before + 1, 'the bystander could not rekey its child');
}
