// One row per refusal: what the peer did, what it is answered, and which cause the log names.
import { deepStrictEqual, equal, match, ok } from 'node:assert/strict';
import { CLASSIC_IKE_PROPOSAL, DEFAULT_CHILD_PROPOSAL } from '../../firmware/ike/algorithms.ts';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { decodeMessage, encodeMessage, firstTypeOf, writeChain } from '../../firmware/wire/ike/message.ts';
import { ExchangeType, NotifyType, Protocol } from '../../firmware/wire/ike/numbers.ts';
import type { Payload } from '../../firmware/wire/ike/payloads.ts';
import { notify } from '../../firmware/wire/ike/payloads.ts';
import { transform } from '../../firmware/wire/ike/proposal.ts';
import { encodeSealed } from '../../firmware/wire/ike/sealed.ts';
import { ANY_IPV4 } from '../../firmware/wire/ike/selector.ts';
import { concat, utf8, Writer } from '../../platform/bytes.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import type { Node, World } from './pair.ts';
import { CLASSIC, LATENCY_MS, pair, pskProfile } from './pair.ts';

/** Its AEAD protects nothing, so that a test can say anything in the name of an authenticated peer. */
class OpenSuite extends RealSuite {
  override aeadSeal(_aead: unknown, _key: unknown, _nonce: unknown, _aad: unknown, plaintext: Uint8Array): Uint8Array {
    return concat(plaintext, new Uint8Array(16));
  }

  override aeadOpen(_aead: unknown, _key: unknown, _nonce: unknown, _aad: unknown, sealed: Uint8Array): Uint8Array {
    return sealed.slice(0, -16);
  }
}

interface Scene {
  readonly world: World;
  readonly branch: Node;
  readonly controller: Node;
  /** Another peer of the controller, which is up already. */
  readonly bystander: Node;
}

interface Row {
  readonly name: string;
  /** What differs at the peer, and at us. */
  readonly peer?: Partial<IkeProfile>;
  readonly ours?: Partial<IkeProfile>;
  readonly bystander?: Partial<IkeProfile>;
  readonly answer: keyof typeof NotifyType;
  readonly cause: RegExp;
  /** Once the peer is up. */
  act?(scene: Scene): void;
  /** Before it connects. */
  prepare?(scene: Scene): void;
}

const OTHER_KEY = { kind: 'psk', key: utf8('some other key, as long as that') } as const;
const GCM = transform(1, 20, 256);
const NONCE: Payload = { kind: 'Nonce', data: new Uint8Array(32).fill(7) };

function groups(...ids: (15 | 16 | 20 | 31)[]): Pick<IkeProfile, 'proposals'> {
  return { proposals: [{ ...CLASSIC_IKE_PROPOSAL, groups: ids }] };
}

function childGroups(...ids: (15 | 16 | 20 | 31)[]): Pick<IkeProfile, 'childProposals'> {
  return { childProposals: [{ ...DEFAULT_CHILD_PROPOSAL, groups: ids, pfs: 'required' }] };
}

function offer(protocol: number, spi: Uint8Array): Payload {
  return { kind: 'SA', proposals: [{ number: 1, protocol, spi, transforms: [GCM, transform(5, 0)] }] };
}

function childRequest(spi: number, ...first: Payload[]): Payload[] {
  return [...first, offer(Protocol.ESP, Uint8Array.of(9, 0, 0, spi)), NONCE, { kind: 'TSi', selectors: [ANY_IPV4] }, { kind: 'TSr', selectors: [ANY_IPV4] }];
}

function deliver({ world, branch, controller }: Scene, bytes: Uint8Array): void {
  world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: { address: branch.address, port: 500 }, bytes });
}

/** The octets of a sealed request of the peer with this message id. */
function sealed({ branch }: Scene, exchange: number, messageId: number, firstPayload: number, inner: Uint8Array): Uint8Array {
  const [spiInitiator, spiResponder] = branch.of('ike-up')[0]!.spis.split('/').map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));
  const header = { spiInitiator: spiInitiator!, spiResponder: spiResponder!, exchange, fromInitiator: true, response: false, messageId };
  return encodeSealed(header, { firstPayload, inner, fragment: undefined }, new Uint8Array(8), (_additional, _iv, plaintext) => concat(plaintext, new Uint8Array(16)));
}

/** What the peer says in its own name, from its first free message id on. */
function say(scene: Scene, exchange: number, ...messages: readonly Payload[][]): void {
  messages.forEach((payloads, i) => {
    const writer = new Writer();
    writeChain(writer, payloads);
    deliver(scene, sealed(scene, exchange, 2 + i, firstTypeOf(payloads), writer.finish()));
  });
}

function rekeyIke({ world }: Scene, node: Node): void {
  world.input(node, { kind: 'rekey-ike', ikeSa: node.of('ike-up').at(-1)!.ikeSa });
}

function rekeyChild({ world, branch }: Scene): void {
  world.input(branch, { kind: 'rekey-child', child: branch.of('child-up')[0]!.child });
}

const ROWS: readonly Row[] = [
  // IKE_SA_INIT
  { name: 'IKE proposals with nothing in common', peer: groups(16), answer: 'NO_PROPOSAL_CHOSEN', cause: /^peer offered only modp4096; allowed: x25519, ecp256, ecp384, modp2048$/ },
  { name: 'the KE payload of a group that is not wanted', peer: groups(15, 20), answer: 'INVALID_KE_PAYLOAD', cause: /^the KE payload is of group modp3072, wanted is ecp384$/ },
  {
    name: 'a Diffie-Hellman value that RFC 6989 refuses',
    prepare: ({ world, branch }) => {
      world.fate = ({ from, send }) => {
        const { header, payloads } = decodeMessage(send.bytes);
        if (from === branch && header.exchange === ExchangeType.IKE_SA_INIT) {
          Object.assign(send, { bytes: encodeMessage(header, payloads.map((payload) => (payload.kind === 'KE' ? { ...payload, data: new Uint8Array(payload.data.length) } : payload))) });
        }
        return [LATENCY_MS];
      };
    },
    answer: 'INVALID_SYNTAX',
    cause: /^the peer's Diffie-Hellman value is not valid$/,
  },
  // IKE_AUTH
  { name: 'another pre-shared key', peer: { localAuth: OTHER_KEY }, answer: 'AUTHENTICATION_FAILED', cause: /^pre-shared key does not match$/ },
  { name: 'an identity that is not known', ours: { remoteAuth: { kind: 'lookup' } }, answer: 'AUTHENTICATION_FAILED', cause: /^the identity b1@acme\.example is not known$/ },
  { name: 'ESP proposals with nothing in common', peer: { childProposals: [{ ...DEFAULT_CHILD_PROPOSAL, esn: [true] }] }, ours: { childProposals: [{ ...DEFAULT_CHILD_PROPOSAL, esn: [false] }] }, bystander: { childProposals: [{ ...DEFAULT_CHILD_PROPOSAL, esn: [false] }] }, answer: 'NO_PROPOSAL_CHOSEN', cause: /^peer offered only esn; allowed: no-esn$/ },
  { name: 'traffic selectors with nothing in common', peer: { trafficSelectors: { local: [{ ...ANY_IPV4, startAddress: '10.9.0.0', endAddress: '10.9.0.255' }], remote: [ANY_IPV4] } }, ours: { trafficSelectors: { local: [ANY_IPV4], remote: [{ ...ANY_IPV4, startAddress: '10.8.0.0', endAddress: '10.8.0.255' }] } }, answer: 'TS_UNACCEPTABLE', cause: /^the traffic selectors have nothing in common$/ },
  { name: 'an address where there is none', peer: { requestConfiguration: true }, answer: 'FAILED_CP_REQUIRED', cause: /^no overlay address can be assigned$/ },
  // CREATE_CHILD_SA
  { name: "a child's rekey with groups that are not allowed", peer: childGroups(16), act: rekeyChild, answer: 'NO_PROPOSAL_CHOSEN', cause: /^peer offered only modp4096; allowed: x25519, ecp256, ecp384, modp2048, none$/ },
  { name: "a child's rekey with another group first", peer: childGroups(15, 20), act: rekeyChild, answer: 'INVALID_KE_PAYLOAD', cause: /^the KE payload is of group modp3072, wanted is ecp384$/ },
  {
    name: 'an IKE rekey with proposals that are not allowed',
    act: (scene) => {
      const profile = { ...pskProfile('to-controller', 'b1@acme.example', 'c1@acme.example', CLASSIC), ...groups(16) };
      scene.world.input(scene.branch, { kind: 'profiles', profiles: [profile] });
      rekeyIke(scene, scene.branch);
    },
    answer: 'NO_PROPOSAL_CHOSEN',
    cause: /^peer offered only modp4096; allowed: x25519/,
  },
  {
    name: "a child's rekey that meets our rekey of the IKE SA",
    act: (scene) => {
      rekeyChild(scene);
      rekeyIke(scene, scene.controller);
    },
    answer: 'TEMPORARY_FAILURE',
    cause: /^the IKE SA itself is being rekeyed$/,
  },
  {
    name: 'more children than one IKE SA may have',
    act: (scene) => say(scene, ExchangeType.CREATE_CHILD_SA, ...Array.from({ length: 8 }, (_, i) => childRequest(i + 1))),
    answer: 'NO_ADDITIONAL_SAS',
    cause: /^8 child SAs exist already$/,
  },
  {
    name: 'the rekey of a child that is not known',
    act: (scene) => say(scene, ExchangeType.CREATE_CHILD_SA, childRequest(1, { kind: 'Notify', protocol: Protocol.ESP, spi: Uint8Array.of(1, 2, 3, 4), type: NotifyType.REKEY_SA, data: new Uint8Array(0) })),
    answer: 'CHILD_SA_NOT_FOUND',
    cause: /^the child SA to rekey is not known$/,
  },
  {
    name: 'an IKE_FOLLOWUP_KE that follows nothing',
    act: (scene) => say(scene, ExchangeType.IKE_FOLLOWUP_KE, [{ kind: 'KE', group: 36, data: new Uint8Array(1184) }, notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, Uint8Array.of(1, 2, 3))]),
    answer: 'STATE_NOT_FOUND',
    cause: /^the key exchange that it goes on with is not known$/,
  },
  // Anything
  { name: 'a request without a payload that it needs', act: (scene) => say(scene, ExchangeType.CREATE_CHILD_SA, [NONCE]), answer: 'INVALID_SYNTAX', cause: /^the message lacks its SA payload$/ },
  { name: 'an exchange that is not known', act: (scene) => say(scene, 99, [NONCE]), answer: 'INVALID_SYNTAX', cause: /^the exchange type is not known$/ },
  { name: 'a critical payload that is not known', act: (scene) => deliver(scene, sealed(scene, ExchangeType.INFORMATIONAL, 2, 200, Uint8Array.of(0, 0x80, 0, 5, 1))), answer: 'UNSUPPORTED_CRITICAL_PAYLOAD', cause: /200/ },
  { name: 'a payload whose length is a lie', act: (scene) => deliver(scene, sealed(scene, ExchangeType.INFORMATIONAL, 2, 41, Uint8Array.of(0, 0, 1, 0))), answer: 'INVALID_SYNTAX', cause: /256|claims/ },
];

function scene({ peer, ours, bystander, prepare }: Row): Scene {
  const { world, branch, controller } = pair({
    suite: new OpenSuite(),
    branch: { ...CLASSIC, ...peer },
    controller: { ...CLASSIC, ...ours },
    controllerOptions: { lookupPeer: (profile, { value }) => (value === 'b2@acme.example' && profile.localAuth.kind === 'psk' ? profile.localAuth : undefined) },
  });
  const other = world.add('bystander', '192.0.2.3', { profiles: [pskProfile('to-controller', 'b2@acme.example', 'c1@acme.example', { ...CLASSIC, ...bystander })] });
  if (ours?.trafficSelectors !== undefined) world.input(other, { kind: 'profiles', profiles: [pskProfile('to-controller', 'b2@acme.example', 'c1@acme.example', { ...CLASSIC, trafficSelectors: { local: ours.trafficSelectors.remote, remote: ours.trafficSelectors.local } })] });
  world.initiate(other, controller, 'to-controller');
  world.run(500);
  const made = { world, branch, controller, bystander: other };
  prepare?.(made);
  return made;
}

describe('ike: every refusal answers what the RFC asks, names its cause in the log, is counted, and leaves other SAs alone', () => {
  for (const row of ROWS) {
    it(`${row.name}: ${row.answer}`, () => {
      const made = scene(row);
      const { world, branch, controller, bystander } = made;
      equal(bystander.of('ike-up').length, 1, world.story());
      world.initiate(branch, controller, 'to-controller');
      world.run(500);
      row.act?.(made);
      world.run(500);
      const refusals = controller.of('log').filter(({ event }) => event.sentence === 'IKE request refused' || event.sentence === 'child SA refused');
      const refusal = refusals.find(({ event }) => row.cause.test(String(event.fields['cause'])));
      ok(refusal !== undefined, `${JSON.stringify(refusals)}\n${world.story()}`);
      if (refusal.event.sentence === 'IKE request refused') equal(refusal.event.fields['answer'], row.answer);
      ok(controller.of('refused').some(({ answer }) => answer === row.answer), JSON.stringify(controller.of('refused')));
      deepStrictEqual(new Set(answersTo(world, controller, branch)).has(NotifyType[row.answer]), true, world.story());
      // The others go on as before.
      equal(bystander.of('ike-down').length + bystander.of('child-down').length, 0);
      world.fate = () => [LATENCY_MS];
      rekeyIke(made, bystander);
      world.run(500);
      equal(bystander.of('ike-rekeyed').length, 1, world.story());
      match(bystander.endpoint.snapshot().ikeSas.find(({ state }) => state === 'established')!.peer, /^c1@/);
    });
  }
});

/** Error notifies in answers of one node to another, inside SK as well. */
function answersTo(world: World, from: Node, to: Node): number[] {
  return world.packets.flatMap(({ from: sender, send }) => {
    if (sender !== from || send.remote.address !== to.address) return [];
    const { header, payloads, sealed: part } = decodeMessage(send.bytes);
    if (!header.response) return [];
    if (part === undefined) return payloads.flatMap((payload) => (payload.kind === 'Notify' ? [payload.type] : []));
    // With OpenSuite the inside is as it is: IKE header 28, SK header 4, IV 8.
    return notifyTypes(send.bytes.subarray(40), part.firstPayload);
  });
}

function notifyTypes(inner: Uint8Array, first: number): number[] {
  const found: number[] = [];
  for (let at = 0, type = first; type !== 0; ) {
    const length = (inner[at + 2]! << 8) | inner[at + 3]!;
    if (type === 41) found.push((inner[at + 6]! << 8) | inner[at + 7]!);
    type = inner[at]!;
    at += length;
  }
  return found;
}
