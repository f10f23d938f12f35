// One key set of this node: a private value per Diffie-Hellman group, one nonce, one rekey counter. All its SAs with
// all peers come from it; the private values end with the last of them.
import type { DhGroup, DhKeyPair, Suite } from '../../platform/crypto.ts';
import { DH_PUBLIC_BYTES } from '../../platform/crypto.ts';
import { wipe } from '../../platform/bytes.ts';
import { UsageError } from '../../platform/errors.ts';
import type { Random } from '../../platform/random.ts';
import { randomBelow } from '../../platform/random.ts';
import { after } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import type { KeyingPolicy } from '../configuration.ts';
import type { SiteId } from '../model.ts';
import { proposalOf } from './derivation.ts';
import type { PublishedKey } from './derivation.ts';
import type { RouteBytes } from './signed-route.ts';

const NONCE_BYTES = 32;
/** Below this a lifetime would end before the least rekey interval has passed. */
export const LIFETIME_LEAST_SECONDS = 300;
export const REKEY_LEAST_MS = 240_000;
/** Nodes that booted together spread over this part of the lifetime. */
const JITTER_PERCENT = 10;

/**
 * new: SAs with some peers are still missing.  installed: all receive SAs are in the data plane.  published: peers can
 * know it.  current: a peer has used it.  retiring: a newer one is published.  gone: no SA uses it, octets are wiped.
 */
export type KeySetState = 'new' | 'installed' | 'published' | 'current' | 'retiring' | 'gone';

/** Peers and the keying machine share it by reference; `state`, `publishedAt` and `route` change. */
export interface KeySet {
  /** Low 32 bits of the rekey counter; `show dhkey` prints it. */
  readonly id: number;
  readonly published: PublishedKey;
  readonly pairs: readonly DhKeyPair[];
  readonly initialContact: boolean;
  readonly createdAt: Instant;
  /** Hard end of every SA made from it. */
  readonly expiresAt: Instant;
  state: KeySetState;
  publishedAt: Instant | undefined;
  route: RouteBytes | undefined;
}

export function generateKeySet(
  suite: Suite, random: Random, policy: KeyingPolicy, nodeId: Uint8Array, rekeyCounter: bigint, initialContact: boolean, now: Instant,
): KeySet {
  const groups = policy.groups.filter((group): group is DhGroup => group in DH_PUBLIC_BYTES);
  if (groups.length === 0) throw new UsageError(`no Diffie-Hellman group of [${policy.groups.join(' ')}] is known; configure 31 or 19`);
  const pairs = groups.map((group) => suite.dhGenerate(group, random));
  const published: PublishedKey = {
    id: nodeId, nonce: random.bytes(NONCE_BYTES), rekeyCounter,
    keyExchanges: pairs.map(({ group, publicValue }) => ({ group, publicValue })), proposals: policy.suites.map(proposalOf),
  };
  return {
    id: Number(rekeyCounter & 0xffff_ffffn), published, pairs, initialContact, createdAt: now,
    expiresAt: after(now, lifetimeSeconds(policy) * 1000), state: 'new', publishedAt: undefined, route: undefined,
  };
}

export function endKeySet(key: KeySet): void {
  key.state = 'gone';
  wipe(key.published.nonce, ...key.pairs.map((pair) => pair.privateValue));
}

export function isPublished(key: KeySet): boolean {
  return key.publishedAt !== undefined;
}

export function lifetimeSeconds(policy: KeyingPolicy): number {
  return Math.max(LIFETIME_LEAST_SECONDS, policy.lifetimeSeconds);
}

/**
 * Time from one key set to the next: the policy's percentage less 0 to 10 % of the lifetime, never below 240 s. The
 * first interval after a boot also loses the site's slot within half an interval, so that nodes which booted
 * together do not rekey together.
 */
export function rekeyIntervalMs(policy: KeyingPolicy, siteId: SiteId, first: boolean, random: Random): number {
  const lifetimeMs = lifetimeSeconds(policy) * 1000;
  const jitterMs = randomBelow(random, Math.floor((lifetimeMs * JITTER_PERCENT) / 100) + 1);
  const intervalMs = (lifetimeMs * policy.rekeyPercent) / 100 - jitterMs;
  const slotMs = first ? slotOf(siteId) * (intervalMs / 2) : 0;
  return Math.max(REKEY_LEAST_MS, Math.floor(intervalMs - slotMs));
}

/** A number in [0, 1) that consecutive site ids spread evenly over (multiplication by the golden ratio). */
function slotOf(siteId: SiteId): number {
  return (Math.imul(siteId, 0x9e3779b1) >>> 0) / 0x1_0000_0000;
}
