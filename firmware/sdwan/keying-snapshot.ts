// The tables behind `show dhkey site <tenant> <site>`: self keys, peers' keys, associations. Masks number groups and
// transforms as the published output does: bit 6 is group 19, bit 10 is AES-256-GCM.
import type { Instant } from '../../platform/time.ts';
import type { KeyingPolicy } from '../configuration.ts';
import type { EspSuiteName } from './derivation.ts';
import type { NodeIdentity } from './key-route.ts';
import { lifetimeSeconds } from './key-set.ts';
import type { KeySet } from './key-set.ts';
import type { AssociationRow, AssociationState, KeyingCounters, KeyingSnapshot, PeerKeyRow } from './keying-messages.ts';
import type { PeerRecord } from './peer-record.ts';
import type { SaPair } from './sa-pair.ts';

const PROFILE = 'b2b-sdwan';
const GROUP_BITS: readonly number[] = [1, 2, 5, 14, 15, 16, 19, 20, 21, 25, 26, 31];
const TRANSFORM_NUMBERS: Readonly<Record<EspSuiteName, number>> = { 'aes-128-gcm-16': 9, 'aes-256-gcm-16': 10, 'chacha20-poly1305': 11 };

export interface SnapshotSource {
  readonly node: NodeIdentity;
  readonly policy: KeyingPolicy;
  readonly keys: readonly KeySet[];
  readonly peers: Iterable<PeerRecord>;
  readonly counters: KeyingCounters;
  readonly nextRekeyAt: Instant | undefined;
}

export function keyingSnapshot(source: SnapshotSource, now: Instant): KeyingSnapshot {
  const { node, policy, keys, counters } = source;
  const seconds = (ms: number): number => Math.max(0, Math.round(ms / 1000));
  const transforms = policy.suites.map((name) => TRANSFORM_NUMBERS[name]);
  const peerKeys: PeerKeyRow[] = [];
  const associations: AssociationRow[] = [];
  for (const peer of source.peers) {
    for (const key of peer.keys) {
      peerKeys.push({
        siteId: peer.siteId, name: peer.name, nodeId: peer.nodeId, id: key.id, rekeyCounter: counterText(key.published.rekeyCounter),
        groups: key.published.keyExchanges.map((ke) => ke.group), headless: peer.headless,
        ageSeconds: seconds(now - key.seenAt), secondsLeft: seconds(key.expiresAt - now),
      });
    }
    for (const pair of peer.pairs) {
      associations.push({
        id: `${String(peer.siteId).padStart(5, '0')}:${keyText(pair.peer.id)}:${keyText(pair.local.id)}`, nodeId: peer.nodeId,
        state: associationState(pair), sends: peer.tx === pair, spiIn: pair.rx.spi, spiOut: pair.tx.spi, suite: pair.rx.suite,
        group: pair.group, ageSeconds: seconds(now - pair.createdAt), secondsLeft: seconds(pair.expiresAt - now),
      });
    }
  }
  return {
    tenant: node.tenant, siteId: node.siteId, nodeId: node.nodeId, profile: PROFILE, lifetimeSeconds: lifetimeSeconds(policy),
    rekeySeconds: Math.floor((lifetimeSeconds(policy) * policy.rekeyPercent) / 100),
    groups: policy.groups, groupMask: mask(policy.groups.map((group) => GROUP_BITS.indexOf(group))),
    transforms, transformMask: mask(transforms),
    selfKeys: keys.map((key) => ({
      id: key.id, rekeyCounter: counterText(key.published.rekeyCounter), state: key.state, ageSeconds: seconds(now - key.createdAt),
      secondsLeft: seconds(key.expiresAt - now), groups: key.pairs.map((pair) => pair.group),
    })),
    peerKeys, associations, counters: { ...counters },
    nextRekeySeconds: source.nextRekeyAt === undefined ? undefined : seconds(source.nextRekeyAt - now),
  };
}

function mask(bits: readonly number[]): number {
  return bits.reduce((sum, bit) => (bit < 0 ? sum : sum | (1 << bit)), 0);
}

function keyText(id: number): string {
  return `0x${id.toString(16).padStart(2, '0')}`;
}

function counterText(counter: bigint): string {
  return `0x${counter.toString(16).padStart(16, '0')}`;
}

function associationState(pair: SaPair): AssociationState {
  return pair.lingering ? 'linger' : pair.heard ? 'up' : 'new';
}
