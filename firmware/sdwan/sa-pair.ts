// One SA pair: what one key set of this node and one key set of a peer give, as the data plane takes it, with the
// limits after which an AES-GCM or ChaCha20-Poly1305 key must not be used any more (docs/WIRE.md).
import type { HashName, Suite } from '../../platform/crypto.ts';
import { earlier } from '../../platform/time.ts';
import type { Instant } from '../../platform/time.ts';
import { wipe } from '../../platform/bytes.ts';
import type { SaSpec } from '../model.ts';
import { derive } from './derivation.ts';
import type { DirectionKey, EspSuiteName, PublishedKey } from './derivation.ts';
import type { KeySet } from './key-set.ts';

/** A peer's key as received. */
export interface PeerKey {
  readonly id: number;
  readonly published: PublishedKey;
  readonly tunnelEncapsulation: Uint8Array;
  readonly seenAt: Instant;
  readonly expiresAt: Instant;
}

/** `expiresAt` only ever moves closer; `heard` is set by the first packet. */
export interface SaPair {
  readonly local: KeySet;
  readonly peer: PeerKey;
  readonly initiator: boolean;
  readonly group: number;
  readonly rx: SaSpec;
  readonly tx: SaSpec;
  readonly createdAt: Instant;
  expiresAt: Instant;
  lingering: boolean;
  heard: boolean;
}

type Limits = Pick<SaSpec, 'softPackets' | 'softBytes' | 'hardPackets' | 'hardBytes'>;

/** GCM: advantage at most (blocks + packets)^2 / 2^129, 2^-61 at the soft and 2^-57 at the hard limit. */
const GCM_LIMITS: Limits = { softPackets: 2 ** 34, softBytes: 2 ** 38, hardPackets: 2 ** 36, hardBytes: 2 ** 40 };
/** RFC 7634 names no practical limit; the 64-bit sequence number is far away. */
const CHACHA_LIMITS: Limits = { softPackets: 2 ** 50, softBytes: 2 ** 51, hardPackets: 2 ** 51, hardBytes: 2 ** 52 };

const LIMITS: Readonly<Record<EspSuiteName, Limits>> = {
  'aes-256-gcm-16': GCM_LIMITS, 'aes-128-gcm-16': GCM_LIMITS, 'chacha20-poly1305': CHACHA_LIMITS,
};

export interface PairContext {
  readonly suite: Suite;
  readonly prf: HashName;
  readonly ppk: Uint8Array | undefined;
  readonly windowPackets: number;
  /** A fresh process-wide SA id. */
  readonly saId: () => number;
}

/** The pair, or why there is none. */
export function makePair(context: PairContext, local: KeySet, peer: PeerKey, now: Instant): SaPair | string {
  const { suite, prf, ppk, windowPackets, saId } = context;
  const derived = derive(suite, { local: local.published, pairs: local.pairs, peer: peer.published, prf, idBound: true, ppk });
  if (!derived.ok) return derived.cause;
  const spec = (direction: DirectionKey, window: number): SaSpec => ({
    id: saId(), suite: derived.suite, ...direction, esn: true, windowPackets: window, ...LIMITS[derived.suite],
  });
  return {
    local, peer, initiator: derived.initiator, group: derived.group,
    rx: spec(derived.inbound, windowPackets), tx: spec(derived.outbound, 0),
    createdAt: now, expiresAt: earlier(local.expiresAt, peer.expiresAt)!, lingering: false, heard: false,
  };
}

export function wipePair(pair: SaPair): void {
  wipe(pair.rx.key, pair.rx.salt, pair.tx.key, pair.tx.salt);
}
