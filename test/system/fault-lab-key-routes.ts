// Key routes that a branch must not believe: altered, replayed or about somebody else, from a branch or by a Controller
// that was taken over. Each is refused, counted and logged, and the SAs that exist stay in use.
import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { BgpNeighborView, DhkeyView } from '../../firmware/views.ts';
import { HOSTILE_CONDUCT, HOSTILE_ORDER } from './fault-lab-hostile.ts';
import type { Conduct, HostileOrder } from './fault-lab-hostile.ts';
import { CONTROLLER } from './fault-lab.ts';
import type { Fact, FaultLab } from './fault-lab.ts';

export const HOSTILE_BRANCH_OPTIONS = ['--import', join(import.meta.dirname, 'fault-lab-hostile-branch.ts')];
export const HOSTILE_CONTROLLER_OPTIONS = ['--import', join(import.meta.dirname, 'fault-lab-hostile-controller.ts')];

const VICTIM = 'branch-1';
const HOSTILE = 'branch-2';
const ORGANIZATION = 'Acme';
const VICTIM_SITE = 100;
const HOSTILE_SITE = 101;
/** Sites that nobody has created; two, because BGP says nothing twice. */
const NO_SITE = { siteId: 150, nodeId: [10, 202, 9, 9] } as const;
const NO_OTHER_SITE = { siteId: 151, nodeId: [10, 202, 9, 10] } as const;

function signal(lab: FaultLab, node: string, file: string, text: string): void {
  const { directory, firmware } = lab.network.node(node);
  writeFileSync(join(directory, 'lib', basename(file)), text);
  // The firmware is what nsenter became.
  process.kill(firmware!.pid!, 'SIGUSR2');
}

function announce(lab: FaultLab, order: Omit<HostileOrder, 'organization'>): void {
  signal(lab, HOSTILE, HOSTILE_ORDER, JSON.stringify({ organization: ORGANIZATION, ...order }));
}

function conduct(lab: FaultLab, what: Conduct): void {
  signal(lab, CONTROLLER, HOSTILE_CONDUCT, what);
}

function keys(lab: FaultLab, node: string, site: number): Promise<DhkeyView> {
  return lab.shell.ask<DhkeyView>(node, `show dhkey site ${ORGANIZATION} ${site}`);
}

/** The peer's newest key id, and the SPIs of all SAs with it, as the victim has them. */
async function ofHostile(lab: FaultLab): Promise<{ readonly newest: string; readonly spis: readonly number[] }> {
  const { peerKeys, associations } = await keys(lab, VICTIM, HOSTILE_SITE);
  const counters = peerKeys.map(({ rekeyCounter }) => rekeyCounter).toSorted();
  return { newest: counters.at(-1)!, spis: associations.flatMap(({ spiIn, spiOut }) => [spiIn, spiOut]).toSorted() };
}

/** The hostile branch makes a new key and the victim takes it, down to the last SA of the old one. */
async function rekey(lab: FaultLab): Promise<void> {
  const before = await ofHostile(lab);
  await lab.shell.ask(HOSTILE, `request rekey tenant ${ORGANIZATION}`);
  await takesNewKey(lab, before.newest);
}

/** The victim has a newer key than this one, and uses nothing else. */
async function takesNewKey(lab: FaultLab, oldest: string): Promise<void> {
  await lab.until('the victim has the new key', async () => ((await ofHostile(lab)).newest === oldest ? undefined : true));
  await settled(lab);
}

/** No rekey is under way. */
async function settled(lab: FaultLab): Promise<void> {
  await lab.until('one SA with the hostile branch', async () => {
    const { associations } = await keys(lab, VICTIM, HOSTILE_SITE);
    return associations.length === 1 && associations[0]!.sends ? true : undefined;
  });
}

interface Refusal {
  readonly counter: 'refused' | 'stale';
  readonly log: { readonly channel: string; readonly pattern: RegExp };
  provoke(): void | Promise<void>;
}

/** The victim counts and logs the refusal, and keeps its SAs, over which traffic flows meanwhile without a loss. */
async function victimRefuses(lab: FaultLab, { counter, log, provoke }: Refusal): Promise<void> {
  await settled(lab);
  const stream = await lab.stream('tenant2-branch1', 'tenant2-branch2', '10.2.0.10', 100);
  const before = await ofHostile(lab);
  const counted = (await keys(lab, VICTIM, VICTIM_SITE)).counters[counter]!;
  const since = lab.log(VICTIM, log.channel).length;
  await provoke();
  await lab.until(`the counter "${counter}"`, async () => ((await keys(lab, VICTIM, VICTIM_SITE)).counters[counter]! > counted ? true : undefined));
  await lab.logSays(VICTIM, log.channel, log.pattern, since);
  assert.deepEqual(await ofHostile(lab), before);
  const { sent, received } = await stream.end();
  assert.equal(received, sent);
}

/** The Controller refuses what the hostile branch announces; the victim never hears of it. */
async function controllerRefuses(lab: FaultLab, order: Omit<HostileOrder, 'organization'>, cause: RegExp): Promise<void> {
  const refused = async (): Promise<number> => {
    const neighbors = await lab.shell.ask<readonly BgpNeighborView[]>(CONTROLLER, 'show bgp neighbor');
    return neighbors.find(({ organization, neighbor }) => organization === ORGANIZATION && neighbor === HOSTILE)!.refused;
  };
  const counted = await refused();
  const before = await keys(lab, VICTIM, VICTIM_SITE);
  const since = lab.log(CONTROLLER, 'bgp').length;
  announce(lab, order);
  await lab.until('the Controller counts it', async () => ((await refused()) > counted ? true : undefined));
  assert.match(await lab.logSays(CONTROLLER, 'bgp', /BGP route refused/, since), cause);
  const after = await keys(lab, VICTIM, VICTIM_SITE);
  assert.deepEqual(after.counters, before.counters);
  assert.deepEqual(after.associations.map(({ spiIn }) => spiIn), before.associations.map(({ spiIn }) => spiIn));
}

const BAD_SIGNATURE = { counter: 'refused', log: { channel: 'sdwan', pattern: /alarm key-route-refused.*cause=.*signature/ } } as const;
const REPLAYED = { counter: 'stale', log: { channel: 'ipsec', pattern: /stale key route ignored/ } } as const;
const FOREIGN = { counter: 'refused', log: { channel: 'sdwan', pattern: /alarm key-route-refused.*10\.202\.9\.10.*cause=.*site/ } } as const;

export const KEY_ROUTE_FACTS: readonly Fact[] = [
  {
    name: 'a key route with a bad signature is refused, counted and logged, and the old SAs stay',
    async prove(lab) {
      await victimRefuses(lab, { ...BAD_SIGNATURE, provoke: () => announce(lab, { what: 'bad-signature' }) });
      announce(lab, { what: 'newest' });
      await rekey(lab);
    },
  },
  {
    name: 'a stale key route that is replayed is refused, counted and logged, and the SAs of the newer one stay',
    async prove(lab) {
      await victimRefuses(lab, { ...REPLAYED, provoke: () => announce(lab, { what: 'oldest' }) });
      announce(lab, { what: 'newest' });
    },
  },
  {
    name: 'a key route for another site is refused, counted and logged by the Controller, and no branch hears of it',
    async prove(lab) {
      await controllerRefuses(lab, { what: 'renamed', ...NO_SITE }, /Node-ID is 10\.202\.9\.9/);
      const { nodeId } = await keys(lab, VICTIM, VICTIM_SITE);
      const octets = nodeId.split('.').map(Number);
      await controllerRefuses(lab, { what: 'renamed', siteId: VICTIM_SITE, nodeId: octets }, new RegExp(`Node-ID is ${nodeId.replaceAll('.', '\\.')}`));
    },
  },
  {
    name: 'a key route for another site that a Controller lets through is refused, counted and logged by the branch',
    async prove(lab) {
      conduct(lab, 'lawless');
      await victimRefuses(lab, { ...FOREIGN, provoke: () => announce(lab, { what: 'renamed', ...NO_OTHER_SITE }) });
      conduct(lab, 'honest');
    },
  },
  {
    name: 'a key route that a Controller alters is refused, counted and logged, and the old SAs stay',
    async prove(lab) {
      const before = await ofHostile(lab);
      const provoke = async (): Promise<void> => {
        conduct(lab, 'forging');
        await lab.shell.ask(HOSTILE, `request rekey tenant ${ORGANIZATION}`);
      };
      await victimRefuses(lab, { ...BAD_SIGNATURE, provoke });
      conduct(lab, 'honest');
      // BGP hands on what changes only, so something else must be said before the newest is said again.
      await victimRefuses(lab, { ...REPLAYED, provoke: () => announce(lab, { what: 'oldest' }) });
      announce(lab, { what: 'newest' });
      await takesNewKey(lab, before.newest);
    },
  },
];
