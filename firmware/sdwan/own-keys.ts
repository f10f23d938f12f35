// The key sets of this node in one tenant: when the next one may be made, how it becomes current, when an old one ends.
// Decides and remembers; the machine (tenant-keying.ts) makes the SAs and talks.
import type { Suite } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import { after } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import type { KeyingPolicy } from '../configuration.ts';
import { addressBytes } from '../wire/address.ts';
import type { RekeyReason } from '../wire/bgp/tunnel-encap-container.ts';
import { REASON_OPERATOR, isUrgent } from './directive.ts';
import { buildKeyRoute } from './key-route.ts';
import type { NodeIdentity } from './key-route.ts';
import { REKEY_LEAST_MS, endKeySet, generateKeySet } from './key-set.ts';
import type { KeySet } from './key-set.ts';
import type { RouteBytes, RouteSigner } from './signed-route.ts';

/** SPIs tell four consecutive counters apart; the oldest set ends when a fifth is made. */
export const KEY_SETS_MAX = 4;
/** At most one key route per tenant in this time. */
const PUBLISH_LEAST_MS = 5_000;
/** After this a third key is made even when somebody has not left the first. */
const STRAGGLER_MS = 60_000;

export interface OwnKeysOptions {
  readonly suite: Suite;
  readonly random: Random;
  readonly node: NodeIdentity;
  readonly bootCount: number;
  /** Of the last key set of this boot; 0 after a boot. */
  readonly counter: number;
}

interface Wish {
  readonly reason: RekeyReason;
  /** The 240 s between two keys do not hold it up. */
  readonly ignoresMinimum: boolean;
}

export class OwnKeys {
  readonly #options: OwnKeysOptions;
  #keys: readonly KeySet[] = [];
  #counter: number;
  #made = 0;
  #wish: Wish | undefined;
  #urgent: KeySet | undefined;
  #lastPublishAt: Instant | undefined;

  constructor(options: OwnKeysOptions) {
    this.#options = options;
    this.#counter = options.counter;
  }

  /** Oldest first. */
  get all(): readonly KeySet[] {
    return this.#keys;
  }

  get newest(): KeySet | undefined {
    return this.#keys.at(-1);
  }

  get counter(): number {
    return this.#counter;
  }

  /** An urgent wish replaces one that is not; the reasons of others add up. */
  wish(reason: RekeyReason, ignoresMinimum = isUrgent(reason) || reason === REASON_OPERATOR): void {
    const before = this.#wish;
    const kept = before !== undefined && (isUrgent(before.reason) || !isUrgent(reason)) ? before.reason : reason;
    this.#wish = { reason: kept, ignoresMinimum: ignoresMinimum || before?.ignoresMinimum === true };
  }

  /** When the wish can be granted; undefined when there is none, or only after the key in the making is published. */
  readyAt(now: Instant): Instant | undefined {
    const newest = this.newest;
    if (this.#wish === undefined) return undefined;
    if (newest === undefined) return now;
    if (newest.publishedAt === undefined) return undefined;
    const least = this.#wish.ignoresMinimum ? now : after(newest.createdAt, REKEY_LEAST_MS);
    // Two live sets at most while peers move from the old one to the new one; stragglers hold up nothing for long.
    const moved = this.#keys.length < 2 || isUrgent(this.#wish.reason) ? now : after(newest.publishedAt, STRAGGLER_MS);
    return least > moved ? least : moved;
  }

  /** Grants the wish. The counter must be durable before the key is published. */
  make(policy: KeyingPolicy, now: Instant): { readonly key: KeySet; readonly reason: RekeyReason; readonly first: boolean } {
    const { suite, random, node, bootCount } = this.#options;
    const { reason } = this.#wish!;
    this.#wish = undefined;
    const rekeyCounter = (BigInt(bootCount) << 32n) | BigInt(++this.#counter);
    const first = this.#made++ === 0;
    const key = generateKeySet(suite, random, policy, addressBytes(node.nodeId), rekeyCounter, first, now);
    this.#keys = [...this.#keys, key];
    if (isUrgent(reason)) this.#urgent = key;
    return { key, reason, first };
  }

  /** When the next key route may leave. */
  publishableAt(now: Instant): Instant {
    return this.#lastPublishAt === undefined ? now : after(this.#lastPublishAt, PUBLISH_LEAST_MS);
  }

  /** The newest key becomes visible; older ones retire. Returns whether their SAs must end soon, heard or not. */
  publish(signer: RouteSigner, now: Instant): { readonly route: RouteBytes; readonly urgent: boolean } {
    const key = this.newest!;
    const { suite, node } = this.#options;
    const route = buildKeyRoute(suite, signer, node, {
      rekeyCounter: key.published.rekeyCounter, initialContact: key.initialContact, nonce: key.published.nonce, pairs: key.pairs,
      proposals: key.published.proposals, keyId: key.id,
      lifetimeSeconds: Math.round((key.expiresAt - key.createdAt) / 1000),
    });
    key.route = route;
    key.publishedAt = now;
    key.state = this.#keys.length === 1 ? 'current' : 'published';
    for (const older of this.#keys.slice(0, -1)) older.state = 'retiring';
    this.#lastPublishAt = now;
    return { route, urgent: this.#urgent === key };
  }

  /** The newest route again, octet by octet. */
  republish(now: Instant): RouteBytes {
    this.#lastPublishAt = now;
    return this.newest!.route!;
  }

  end(key: KeySet): void {
    this.#keys = this.#keys.filter((other) => other !== key);
    endKeySet(key);
  }

  /** The route that the world sees, if any. */
  get shown(): RouteBytes | undefined {
    return this.#keys.findLast((key) => key.route !== undefined)?.route;
  }
}
