// A Controller's BGP speaker with a branch whose octets are changed, in both directions, and a branch that must not
// notice anything.
import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { makeRoute, makeRouteTargetMembership } from '../../firmware/bgp/route.ts';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import { encapsulationCommunity, routeTarget } from '../../firmware/wire/bgp/community.ts';
import { RTC, SDWAN4, VPN4, VPN6 } from '../../firmware/wire/bgp/family.ts';
import type { Family } from '../../firmware/wire/bgp/family.ts';
import { decodeNotification, decodeOpen, decodeRouteRefresh } from '../../firmware/wire/bgp/message.ts';
import { decodeUpdate } from '../../firmware/wire/bgp/update.ts';
import { concat } from '../../platform/bytes.ts';
import { randomBelow } from '../../platform/random.ts';
import type { SeededRandom } from '../../platform/random.ts';
import type { Node } from '../bgp/network.ts';
import { BgpNetwork, peer } from '../bgp/network.ts';
import { mutate, oneIn, pick } from './mutation.ts';
import type { FuzzTarget, Trail } from './target.ts';
import { decodes } from './target.ts';

const FAMILIES: readonly Family[] = [VPN4, VPN6, SDWAN4, RTC];
const MAX_PREFIXES = 40;
const STEPS = 20;
const HEADER_BYTES = 19;
/** Longer than the hold of a peer that announced too much, and than any backoff. */
const QUIET_MS = 15 * 60_000;
const MOST_OUTPUTS = 20_000;

function vpnRoute(prefix: string, nextHop: string): BgpRoute {
  return makeRoute(prefix.includes(':') ? VPN6 : VPN4, { kind: 'vpn', rd: '65000:2', prefix, label: 1024 }, nextHop, {
    extendedCommunities: [routeTarget('65000:2'), encapsulationCommunity(25)],
  });
}

function keyRoute(site: number): BgpRoute {
  return makeRoute(SDWAN4, { kind: 'sdwan', routeType: 0xff01, value: Uint8Array.of(0, 0, 0, site) }, `10.255.0.${site}`, {
    extendedCommunities: [routeTarget('65000:2')], tunnelEncapsulation: Uint8Array.of(0, 25, 0, 2, 0xaa, site),
  });
}

interface BgpWorld {
  readonly network: BgpNetwork;
  readonly controller: Node;
  readonly branch: Node;
  readonly bystander: Node;
}

function openBgpWorld(seed: string): BgpWorld {
  const network = new BgpNetwork(seed);
  const names = ['branch', 'bystander'].map((id, i) => ({ id, address: `10.0.0.${11 + i}` }));
  const controller = network.add('controller', '10.0.0.1', {
    reflector: true,
    peers: names.map((name) => peer(name, '10.0.0.1', { families: FAMILIES, role: 'client', passive: true, maxPrefixes: MAX_PREFIXES })),
  });
  const [branch, bystander] = names.map(({ id, address }) =>
    network.add(id, address, { peers: [peer({ id: 'controller', address: '10.0.0.1' }, address, { families: FAMILIES })] }),
  ) as [Node, Node];
  network.run(1);
  for (const [node, site] of [[branch, 11], [bystander, 12]] as const) {
    network.push(node, { kind: 'originate', route: makeRouteTargetMembership(65000, node.address) });
    for (const route of [vpnRoute(`10.${site}.0.0/16`, `10.255.0.${site}`), vpnRoute(`fd00:${site}::/32`, `10.255.0.${site}`), keyRoute(site)]) network.push(node, { kind: 'originate', route });
  }
  network.run(1000);
  return { network, controller, branch, bystander };
}

function fromBystander({ network, controller }: BgpWorld): string[] {
  return network.heard(controller).filter((row) => row.endsWith('< bystander'));
}

/** The messages of a write, each changed or not; most keep a good length, so that they reach their decoder. */
function spoil(dice: SeededRandom, bytes: Uint8Array, corpus: readonly Uint8Array[]): Uint8Array {
  const out: Uint8Array[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = (bytes[at + 16]! << 8) | bytes[at + 17]!;
    const message = bytes.slice(at, at + length);
    if (oneIn(dice, 6)) out.push(message);
    out.push(oneIn(dice, 12) ? mutate(dice, message) : withBody(message, mutate(dice, message.slice(HEADER_BYTES), corpus)));
    at += length;
  }
  return concat(...out);
}

function withBody(message: Uint8Array, body: Uint8Array): Uint8Array {
  const out = concat(message.slice(0, HEADER_BYTES), body.slice(0, 4096 - HEADER_BYTES));
  out[16] = out.length >> 8;
  out[17] = out.length & 0xff;
  return out;
}

function decodeAll(bytes: Uint8Array): void {
  for (const decode of [decodeOpen, decodeNotification, decodeRouteRefresh, (body: Uint8Array) => decodeUpdate(body, false), (body: Uint8Array) => decodeUpdate(body, true)]) decodes(() => decode(bytes));
}

function run(dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail): void {
  const world = openBgpWorld(String(dice.uint32()));
  const { network, controller, branch } = world;
  const known = fromBystander(world);
  ok(known.length > 0);
  network.tap = (from, bytes) => {
    if (from !== branch || !oneIn(dice, 3)) return bytes;
    const spoiled = trail.add(spoil(dice, bytes, corpus));
    for (let at = 0; at < spoiled.length; at += HEADER_BYTES + randomBelow(dice, 200)) decodeAll(spoiled.slice(at + HEADER_BYTES));
    return spoiled;
  };
  for (let step = 0; step < STEPS; step++) {
    const route = oneIn(dice, 3) ? keyRoute(randomBelow(dice, 100)) : vpnRoute(`10.${randomBelow(dice, 60)}.0.0/16`, '10.255.0.11');
    network.push(branch, { kind: 'originate', route });
    if (oneIn(dice, 5)) network.push(branch, { kind: 'refresh', peer: 'controller' });
    network.run(pick(dice, [10, 1000, 30_000]));
    checkState(world);
  }
  network.tap = undefined;
  network.run(QUIET_MS);
  checkState(world);
  deepStrictEqual(fromBystander(world), known, "the bystander's routes changed");
  equal(network.neighbor(controller, 'bystander').counters.lost, 0, "the bystander's session was lost");
}

function checkState({ network, controller }: BgpWorld): void {
  equal(network.neighbor(controller, 'bystander').state, 'Established');
  const held = network.heard(controller).filter((row) => row.includes('< branch'));
  ok(held.length <= MAX_PREFIXES, `${held.length} routes of a peer that may announce ${MAX_PREFIXES}`);
  ok(controller.outputs.length <= MOST_OUTPUTS, `${controller.outputs.length} outputs`);
}

export const BGP: FuzzTarget = {
  name: 'bgp',
  about: 'messages of a branch at a Controller that reflects routes',
  promise: 'decoders throw WireError only, the peer stays within its prefixes, the session of another branch stays up',
  run,
  /** The corpus holds bodies of UPDATE messages. */
  replay(bytes) {
    decodeAll(bytes);
    const world = openBgpWorld('corpus');
    let sent = false;
    world.network.tap = (from, written) => {
      if (from !== world.branch || sent) return written;
      sent = true;
      const header = concat(new Uint8Array(16).fill(0xff), Uint8Array.of(0, 0, 2));
      return concat(written, withBody(header, bytes));
    };
    world.network.run(60_000);
    checkState(world);
  },
};
