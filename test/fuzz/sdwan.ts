// Key routes, circuit routes and directives of SAFI 74 with their TUNNEL_ENCAP: changed on the way, and changed before
// they were signed by a member of the tenant. Another member's SAs must stay as they are.
import { deepStrictEqual, ok } from 'node:assert/strict';
import { buildCircuitRoute } from '../../firmware/sdwan/circuit-route.ts';
import { buildDirectiveRoute, REASON_OPERATOR } from '../../firmware/sdwan/directive.ts';
import { PeerCircuits } from '../../firmware/sdwan/peer-circuits.ts';
import { signRoute } from '../../firmware/sdwan/signed-route.ts';
import type { RouteBytes, RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';
import { decodeSdwanItem, encodeSdwanItem } from '../../firmware/wire/bgp/sdwan.ts';
import { decodeTunnelEncapsulation, encodeTunnelEncapsulation, tunnelEncapsulationWithoutSignature } from '../../firmware/wire/bgp/tunnel-encap.ts';
import type { TunnelEncapsulation } from '../../firmware/wire/bgp/tunnel-encap.ts';
import { concat, fromHex } from '../../platform/bytes.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { instant } from '../../platform/time.ts';
import { Box, settle } from '../sdwan/box.ts';
import { fakeCredentials, RD, TENANT, UNIX_MS, nodeIdentity } from '../sdwan/credentials.ts';
import { mutate, oneIn, pick } from './mutation.ts';
import type { FuzzTarget, Trail } from './target.ts';
import { decodes } from './target.ts';

const ROUTES = 60;
const DIRECTIVES = 20;
/** Keys of the peer times own keys that may live at once. */
const MOST_ASSOCIATIONS = 16;
const MOST_OUTPUTS = 64;
/** Keys that hold a mutated public value or nonce live this long at the most. */
const QUIET_MS = 9 * 3_600_000;

interface SdwanWorld {
  readonly box: Box;
  readonly hostile: Box;
  readonly bystander: Box;
  readonly signer: RouteSigner;
  readonly trust: RouteTrust;
  readonly circuits: PeerCircuits;
}

function openSdwanWorld(): SdwanWorld {
  const { trust, signers } = fakeCredentials([101, 102, 103]);
  const [box, hostile, bystander] = [101, 102, 103].map((site) => new Box(site, signers.get(site)!, trust).start()) as [Box, Box, Box];
  settle(box, bystander);
  settle(box, hostile);
  box.take();
  const circuits = new PeerCircuits({ trust, tenant: TENANT, unixMs: () => UNIX_MS + box.now });
  return { box, hostile, bystander, signer: signers.get(102)!, trust, circuits };
}

function circuitRoute({ trust, signer }: SdwanWorld): RouteBytes {
  return buildCircuitRoute(trust.suite, signer, nodeIdentity(102), {
    id: 1, transport: 'INTERNET', interfaceName: 'vni-0/0', secondFamily: false,
    local: { address: '192.0.2.2', port: 4790 }, observed: { address: '198.51.100.2', port: 61_000 },
  });
}

function directiveRoute(): RouteBytes {
  const notBeforeUnixSeconds = UNIX_MS / 1000 + 60;
  return buildDirectiveRoute(RD, { controller: '10.255.0.99', revokedSite: undefined, epoch: 1, notBeforeUnixSeconds, spreadSeconds: 0, deadlineSeconds: 60, reason: REASON_OPERATOR });
}

type Change = (dice: SeededRandom, fields: TunnelEncapsulation) => Partial<TunnelEncapsulation>;

/** What a member of the tenant could sign. */
const CHANGES: readonly Change[] = [
  (dice, { keyExchanges }) => ({ keyExchanges: keyExchanges.map(({ group, publicValue }) => ({ group, publicValue: mutate(dice, publicValue) })) }),
  (dice, { keyExchanges }) => ({ keyExchanges: [...keyExchanges, { group: randomBelow(dice, 40), publicValue: dice.bytes(randomBelow(dice, 200)) }] }),
  (_dice, { keyExchanges }) => ({ keyExchanges: [...keyExchanges, ...keyExchanges] }),
  (dice, { keyExchanges }) => ({ keyExchanges: keyExchanges.map(({ group, publicValue }) => ({ group, publicValue: publicValue.map(() => (oneIn(dice, 2) ? 0 : 255)) })) }),
  (dice, { proposals }) => ({ proposals: oneIn(dice, 2) ? [] : [...proposals].reverse() }),
  (dice, { deviceInformation }) => ({ deviceInformation: { ...deviceInformation!, rekeyCounter: deviceInformation!.rekeyCounter + BigInt(randomBelow(dice, 5)), initialContact: oneIn(dice, 2) } }),
  (dice, { deviceInformation }) => ({ deviceInformation: { ...deviceInformation!, rekeyCounter: 2n ** 64n - 1n - BigInt(randomBelow(dice, 3)) } }),
  (dice, { deviceInformation }) => ({ deviceInformation: { ...deviceInformation!, nonce: dice.bytes(pick(dice, [0, 1, 16, 32, 64, 255])) } }),
  (dice, { deviceInformation }) => ({ deviceInformation: { ...deviceInformation!, id: dice.bytes(pick(dice, [4, 16])) } }),
  (dice) => ({ keyParameters: { keyId: dice.uint32(), lifetimeSeconds: pick(dice, [0, 1, 299, 28_800, 0xffff_ffff]), idBound: !oneIn(dice, 4) } }),
  (dice) => ({ site: { siteId: dice.uint32(), name: 'x'.repeat(randomBelow(dice, 300)), model: '\u0000', version: '' } }),
  () => ({ certificate: undefined }),
  (dice, { certificate }) => ({ certificate: mutate(dice, certificate ?? new Uint8Array(8)) }),
];

function forge(dice: SeededRandom, { trust, signer }: SdwanWorld, route: RouteBytes): RouteBytes | undefined {
  const fields = decodeTunnelEncapsulation(route.tunnelEncapsulation);
  if (fields === undefined) return undefined;
  const counter = fields.deviceInformation;
  const newer = counter === undefined ? fields : { ...fields, deviceInformation: { ...counter, rekeyCounter: counter.rekeyCounter + BigInt(dice.uint32() >>> 8) } };
  const nlri = oneIn(dice, 3) ? { kind: 'key' as const, rd: RD, color: 102, nodeId: fromHex(`0aff00${(randomBelow(dice, 64) + 2).toString(16).padStart(2, '0')}`) } : decodeSdwanItem(route.nlri);
  try {
    const changed = Object.assign({}, newer, pick(dice, CHANGES)(dice, newer)) as TunnelEncapsulation;
    return signRoute(trust.suite, signer, nlri, { ...changed, signature: undefined });
  } catch {
    return undefined; // not everything that can be thought of can be written
  }
}

function decodeAll({ nlri, tunnelEncapsulation }: RouteBytes): void {
  decodes(() => encodeSdwanItem(decodeSdwanItem(nlri)));
  decodes(() => {
    const fields = decodeTunnelEncapsulation(tunnelEncapsulation);
    if (fields !== undefined) encodeTunnelEncapsulation(fields);
  });
  decodes(() => tunnelEncapsulationWithoutSignature(tunnelEncapsulation));
}

function feed({ box, circuits }: SdwanWorld, kind: 'key-route' | 'directive' | 'circuit', route: RouteBytes): void {
  decodeAll(route);
  if (kind === 'circuit') circuits.update({ from: 'c1', ...route });
  else box.give({ kind, from: 'c1', ...route });
  const outputs = box.take().length;
  ok(outputs <= MOST_OUTPUTS, `${outputs} outputs of one route`);
}

function checkState({ box }: SdwanWorld): void {
  const counts = new Map<string, number>();
  for (const { nodeId } of box.machine.snapshot(instant(box.now)).associations) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  for (const [node, count] of counts) ok(count <= MOST_ASSOCIATIONS, `${count} SA pairs with ${node}`);
  ok(counts.size <= ROUTES + 2, `SAs with ${counts.size} nodes`);
}

function run(dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail): void {
  const world = openSdwanWorld();
  const { box, hostile, bystander } = world;
  const before = box.peer(bystander);
  const seeds = { 'key-route': hostile.published!, circuit: circuitRoute(world), directive: directiveRoute() };
  const kept = corpus.map(entryOf);
  const feedMutant = (kind: keyof typeof seeds): void => {
    const seed = kept.length > 0 && oneIn(dice, 8) ? pick(dice, kept) : seeds[kind];
    const forged = kind !== 'directive' && oneIn(dice, 2) ? forge(dice, world, seeds[kind]) : undefined;
    const route = forged ?? { nlri: oneIn(dice, 3) ? mutate(dice, seed.nlri) : seed.nlri, tunnelEncapsulation: mutate(dice, seed.tunnelEncapsulation) };
    trail.add(concat(Uint8Array.of(route.nlri.length), route.nlri, route.tunnelEncapsulation));
    feed(world, kind, route);
    checkState(world);
  };
  for (let i = 0; i < ROUTES; i++) feedMutant(oneIn(dice, 3) ? 'circuit' : 'key-route');
  deepStrictEqual(box.peer(bystander), before, "the bystander's SAs changed");
  ok(box.sendTo(bystander) && bystander.sendTo(box), 'packets do not reach the bystander');
  // A directive is not signed: whoever forges one may cause rekeys, and no more.
  for (let i = 0; i < DIRECTIVES; i++) feedMutant('directive');
  box.wait(QUIET_MS);
  checkState(world);
}

/** The corpus holds the NLRI's length, the NLRI, and the attribute's value. */
function entryOf(bytes: Uint8Array): RouteBytes {
  const end = 1 + (bytes[0] ?? 0);
  return { nlri: bytes.slice(1, end), tunnelEncapsulation: bytes.slice(end) };
}

export const SDWAN: FuzzTarget = {
  name: 'sdwan',
  about: 'SAFI 74 routes with TUNNEL_ENCAP, changed on the way or signed after the change',
  promise: 'decoders throw WireError only, SA tables stay within their limits, the SAs with another node stay',
  run,
  replay(bytes) {
    const world = openSdwanWorld();
    const before = world.box.peer(world.bystander);
    for (const kind of ['key-route', 'directive', 'circuit'] as const) feed(world, kind, entryOf(bytes));
    checkState(world);
    deepStrictEqual(world.box.peer(world.bystander), before);
  },
};
