// Rekeys under load: a directive of the Controller makes every branch of the tenant change its keys, then both ends of
// the tenant's IKE tunnels change their child SAs. The load of ping streams runs from before the first order until the
// old keys are gone. Complete is a state that the operator's shell shows, not a time.
import type { SiteId, TenantId } from '../../firmware/model.ts';
import type { DhkeyView, IkeSaView } from '../../firmware/views.ts';
import type { Clock } from '../../platform/time.ts';
import { Load, judgeLoad, lostPackets } from './load.ts';
import type { StreamPlan, StreamResult } from './load.ts';
import type { OperatorShell } from './operator-shell.ts';
import type { DirectorApi } from './running-lab.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import { waitFor } from './wait-for.ts';
import type { State, Waiting } from './wait-for.ts';

const CURRENT_TIMEOUT_MS = 60_000;
/** Superseded keys receive for at most 60 s more. */
const OLD_KEYS_TIMEOUT_MS = 120_000;
const CHILD_TIMEOUT_MS = 30_000;
const POLL_MS = 250;
/** Operator; the least urgent reason that ignores the minimum time between rekeys. */
const REASON_OPERATOR = 5;

export interface RekeyCheck {
  readonly clock: Clock;
  readonly shell: OperatorShell;
  readonly director: DirectorApi;
  readonly tenant: TenantId;
  readonly branches: readonly { readonly name: string; readonly siteId: SiteId }[];
  readonly controller: string;
  readonly streams: readonly StreamPlan[];
  readonly print: (line: string) => void;
}

/** What a branch shows of its newest key and the SAs that it sends on. */
export interface BranchKeys {
  readonly branch: string;
  readonly siteId: SiteId;
  readonly keyId: number;
  readonly rekeyCounter: string;
  readonly keyState: string;
  readonly keys: number;
  readonly sending: readonly SendingPair[];
  /** Associations that no longer send. */
  readonly others: number;
}

export interface SendingPair {
  readonly peerSite: SiteId;
  readonly peerKey: number;
  readonly ownKey: number;
  readonly state: string;
  readonly spiIn: number;
  readonly spiOut: number;
}

export interface ChildRekey {
  readonly orderedOn: string;
  /** Children of the node that was ordered, `inbound/outbound`. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface RekeyResult {
  readonly keysBefore: readonly BranchKeys[];
  readonly keysAfter: readonly BranchKeys[];
  readonly children: readonly ChildRekey[];
  readonly streams: readonly StreamResult[];
  readonly lostPackets: number;
  readonly verdict: Verdict;
}

/** Reads the tables behind `show dhkey site`. Undefined before the first key. */
export function branchKeys(branch: string, view: DhkeyView): BranchKeys | undefined {
  const newest = view.selfKeys.toSorted((a, b) => Number(BigInt(a.rekeyCounter) - BigInt(b.rekeyCounter))).at(-1);
  if (newest === undefined) return undefined;
  const sending = view.associations
    .filter(({ sends }) => sends)
    .map(({ id, state, spiIn, spiOut }): SendingPair => {
      const [site, peerKey, ownKey] = id.split(':');
      return { peerSite: Number(site), peerKey: Number(peerKey), ownKey: Number(ownKey), state, spiIn, spiOut };
    });
  const { id: keyId, rekeyCounter, state: keyState } = newest;
  return { branch, siteId: view.siteId, keyId, rekeyCounter, keyState, keys: view.selfKeys.length, sending, others: view.associations.length - sending.length };
}

/** Why the rekey is not complete on all branches yet; undefined when it is. */
export function incompleteRekey(before: readonly BranchKeys[], now: readonly BranchKeys[]): string | undefined {
  for (const keys of now) {
    const old = before.find(({ branch }) => branch === keys.branch);
    if (old === undefined || BigInt(keys.rekeyCounter) <= BigInt(old.rekeyCounter)) return `${keys.branch} has no newer key than ${keys.keyId} (counter ${keys.rekeyCounter})`;
    if (keys.keyState !== 'current') return `key ${keys.keyId} of ${keys.branch} is ${keys.keyState}, not current`;
    for (const peer of now) {
      if (peer === keys) continue;
      const pair = keys.sending.find(({ peerSite }) => peerSite === peer.siteId);
      if (pair === undefined) return `${keys.branch} sends to ${peer.branch} on no SA`;
      if (pair.ownKey !== keys.keyId || pair.peerKey !== peer.keyId) return `${keys.branch} sends to ${peer.branch} on keys ${pair.ownKey} and ${pair.peerKey}, not yet on ${keys.keyId} and ${peer.keyId}`;
      if (pair.state !== 'up') return `the SA of ${keys.branch} to ${peer.branch} is ${pair.state}, not up`;
    }
  }
  return undefined;
}

/** Why old keys or SAs are still there; undefined when they are gone. */
export function oldKeysLeft(now: readonly BranchKeys[]): string | undefined {
  const late = now.find(({ keys, others }) => keys > 1 || others > 0);
  return late === undefined ? undefined : `${late.branch} still has ${late.keys} keys and ${late.others} superseded SAs`;
}

/** Why a node's children are not all new and up yet; undefined when they are. */
export function incompleteChildRekey(node: string, before: readonly string[], now: readonly IkeSaView[]): string | undefined {
  if (now.length === 0) return `${node} has no IKE SA`;
  for (const { peer, state, children, cause } of now) {
    if (children.length === 0) return `${node} has no child SA with ${peer} (${state} ${cause})`;
    const old = children.find(({ spis }) => before.includes(spis));
    if (old !== undefined) return `child SA ${old.spis} of ${node} with ${peer} is still the old one`;
    const down = children.find((child) => child.state !== 'up');
    if (down !== undefined) return `child SA ${down.spis} of ${node} with ${peer} is ${down.state}`;
  }
  return undefined;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

/** `branch-1: key 1 (counter ...), to site 101 SPI out 0x..., SPI in 0x...` */
export function keysText({ branch, keyId, rekeyCounter, sending }: BranchKeys): string {
  const pairs = sending.map(({ peerSite, spiIn, spiOut }) => `to site ${peerSite} SPI out ${hex(spiOut)}, SPI in ${hex(spiIn)}`);
  return `${branch}: key id ${keyId}, rekey counter ${rekeyCounter}, ${pairs.join('; ') || 'no SA'}`;
}

class Rekeys {
  readonly #check: RekeyCheck;

  constructor(check: RekeyCheck) {
    this.#check = check;
  }

  async keys(): Promise<BranchKeys[]> {
    const { shell, branches, tenant } = this.#check;
    const all: BranchKeys[] = [];
    for (const { name, siteId } of branches) {
      const keys = branchKeys(name, await shell.ask<DhkeyView>(name, `show dhkey site ${tenant} ${siteId}`));
      if (keys === undefined) throw new Error(`${name} has no key in tenant ${tenant}`);
      all.push(keys);
    }
    return all;
  }

  #waiting(timeoutMs: number): Waiting {
    return { clock: this.#check.clock, timeoutMs, pauseMs: POLL_MS };
  }

  #keysWhen(timeoutMs: number, missing: (now: readonly BranchKeys[]) => string | undefined): Promise<State<BranchKeys[]>> {
    return waitFor(this.#waiting(timeoutMs), async () => {
      const now = await this.keys();
      const cause = missing(now);
      return cause === undefined ? { ok: true, value: now } : { ok: false, cause };
    });
  }

  /** Orders by directive; the keys afterwards and what went wrong. */
  async byDirective(before: readonly BranchKeys[]): Promise<{ keys: BranchKeys[]; causes: string[] }> {
    const { director, tenant, print } = this.#check;
    await director.request('POST', `/api/v1/tenants/${tenant}/rekey`, { reason: REASON_OPERATOR });
    print(`rekey of tenant ${tenant} ordered by directive`);
    const current = await this.#keysWhen(CURRENT_TIMEOUT_MS, (now) => incompleteRekey(before, now));
    if (!current.ok) return { keys: await this.keys(), causes: [`rekey by directive: ${current.cause}`] };
    for (const keys of current.value) print(`  new  ${keysText(keys)}`);
    const settled = await this.#keysWhen(OLD_KEYS_TIMEOUT_MS, oldKeysLeft);
    return { keys: current.value, causes: settled.ok ? [] : [`old keys: ${settled.cause}`] };
  }

  #childrenOf(node: string): Promise<IkeSaView[]> {
    const { shell, tenant, controller } = this.#check;
    const profile = node === controller ? 'Branches-Profile' : `${controller}-Profile`;
    return shell.ask<IkeSaView[]>(node, `show orgs org-services ${tenant} ipsec vpn-profile ${profile} ike security-associations`);
  }

  async ofChildren(node: string): Promise<{ rekey: ChildRekey; causes: string[] }> {
    const { shell, tenant, print } = this.#check;
    const spisOf = (views: readonly IkeSaView[]): string[] => views.flatMap(({ children }) => children.map(({ spis }) => spis));
    const before = spisOf(await this.#childrenOf(node));
    await shell.ask(node, `request ike rekey-child ${tenant}`);
    const done = await waitFor(this.#waiting(CHILD_TIMEOUT_MS), async (): Promise<State<IkeSaView[]>> => {
      const now = await this.#childrenOf(node);
      const cause = incompleteChildRekey(node, before, now);
      return cause === undefined ? { ok: true, value: now } : { ok: false, cause };
    });
    const after = done.ok ? spisOf(done.value) : [];
    print(`IKE child rekey ordered on ${node}: SPIs ${before.join(', ')} -> ${after.join(', ') || 'none'}`);
    return { rekey: { orderedOn: node, before, after }, causes: done.ok ? [] : [`IKE child rekey ordered on ${node}: ${done.cause}`] };
  }
}

/** Rejects only when a node or Director refuses an order or the load cannot start. */
export async function checkRekey(check: RekeyCheck): Promise<RekeyResult> {
  const rekeys = new Rekeys(check);
  const keysBefore = await rekeys.keys();
  for (const keys of keysBefore) check.print(`  old  ${keysText(keys)}`);
  const load = await Load.start(check.clock, check.streams);
  const causes: string[] = [];
  const children: ChildRekey[] = [];
  let keysAfter: BranchKeys[] = [];
  let streams: StreamResult[];
  try {
    const directive = await rekeys.byDirective(keysBefore);
    keysAfter = directive.keys;
    causes.push(...directive.causes);
    for (const node of [check.branches[0]!.name, check.controller]) {
      const { rekey, causes: wrong } = await rekeys.ofChildren(node);
      children.push(rekey);
      causes.push(...wrong);
    }
  } finally {
    streams = await load.stop();
  }
  const counted = judgeLoad(streams);
  if (!counted.held) causes.push(counted.cause);
  return { keysBefore, keysAfter, children, streams, lostPackets: lostPackets(streams), verdict: verdictOf(causes) };
}
