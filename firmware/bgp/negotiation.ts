// What a session runs with: the OPEN that we send, the checks on the peer's, and what both have in common.
import { WireError } from '../../platform/errors.ts';
import { Writer } from '../../platform/bytes.ts';
import type { IpAddress } from '../model.ts';
import type { Capabilities } from '../wire/bgp/capability.ts';
import { NO_CAPABILITIES } from '../wire/bgp/capability.ts';
import type { Family } from '../wire/bgp/family.ts';
import { AFI_IPV4, AFI_IPV6, SAFI_UNICAST, SAFI_VPN, familyName, sameFamily } from '../wire/bgp/family.ts';
import type { Open } from '../wire/bgp/message.ts';
import { MOST_EXTENDED_MESSAGE_BYTES, MOST_MESSAGE_BYTES } from '../wire/bgp/message.ts';
import { OPEN_ERROR } from '../wire/bgp/notification.ts';

/** How long peers should keep our routes while we restart; VOS's value. */
export const RESTART_SECONDS = 120;
/** RFC 4271 4.2: zero or at least three. */
const LEAST_HOLD_SECONDS = 3;

/** What a session must know of its two ends. */
export interface SessionPeer {
  readonly asNumber: number;
  readonly routerId: IpAddress;
  readonly remoteAs: number;
  readonly external: boolean;
  readonly passive: boolean;
  readonly families: readonly Family[];
  readonly holdSeconds: number;
  /** Whether this speaker still collects routes after its start (RFC 4724 3, R bit). */
  readonly restarted: () => boolean;
}

export interface PeerRestart {
  readonly notification: boolean;
  readonly restartMs: number;
  /** familyName() of those whose routes survive the peer's restart. */
  readonly families: ReadonlySet<string>;
  /** familyName() of those whose forwarding state survived its last one. */
  readonly preserved: ReadonlySet<string>;
  readonly restarted: boolean;
}

export interface Negotiated {
  readonly families: readonly Family[];
  readonly remoteRouterId: IpAddress;
  readonly holdMs: number;
  /** Largest message we may send. */
  readonly mostBytes: number;
  readonly routeRefresh: boolean;
  readonly enhancedRouteRefresh: boolean;
  /** familyName() of families that may have an IPv6 next hop although they are IPv4 (RFC 8950). */
  readonly extendedNextHop: ReadonlySet<string>;
  readonly gracefulRestart: PeerRestart | undefined;
  readonly remoteCapabilities: Capabilities;
}

/** The OPEN that we send to `peer`. Forwarding survives our restart: the control plane is not in the data path. */
export function openFor(peer: SessionPeer): Open {
  const capabilities: Capabilities = {
    ...NO_CAPABILITIES,
    families: peer.families,
    routeRefresh: true,
    enhancedRouteRefresh: true,
    extendedMessage: true,
    extendedNextHops: peer.families
      .filter(({ afi, safi }) => afi === AFI_IPV4 && (safi === SAFI_UNICAST || safi === SAFI_VPN))
      .map((family) => ({ family, nextHopAfi: AFI_IPV6 })),
    gracefulRestart: {
      restarted: peer.restarted(),
      notification: true,
      restartSeconds: RESTART_SECONDS,
      families: peer.families.map((family) => ({ family, forwardingPreserved: true })),
    },
  };
  return { asNumber: peer.asNumber, holdSeconds: peer.holdSeconds, routerId: peer.routerId, capabilities };
}

/** Throws WireError with the OPEN error to answer when the peer's OPEN does not suit (RFC 4271 6.2). */
export function checkOpen(open: Open, peer: SessionPeer): void {
  if (open.asNumber !== peer.remoteAs) {
    throw new WireError(`the peer is in AS ${open.asNumber}, configured is ${peer.remoteAs}`, (OPEN_ERROR << 8) | 2);
  }
  if (open.routerId === '0.0.0.0') throw new WireError('the peer has BGP identifier 0.0.0.0', (OPEN_ERROR << 8) | 3);
  if (!peer.external && open.routerId === peer.routerId) throw new WireError(`the peer has our BGP identifier ${open.routerId}`, (OPEN_ERROR << 8) | 3);
  if (open.holdSeconds !== 0 && open.holdSeconds < LEAST_HOLD_SECONDS) {
    throw new WireError(`hold time ${open.holdSeconds} s, allowed are 0 and ${LEAST_HOLD_SECONDS} or more`, (OPEN_ERROR << 8) | 6);
  }
  if (open.capabilities.asNumber === undefined) {
    throw new WireError('the peer lacks 4-octet AS numbers', (OPEN_ERROR << 8) | 7, Uint8Array.of(65, 4, ...new Writer(4).u32(peer.asNumber).finish()));
  }
  if (commonFamilies(open, peer).length === 0) {
    const offered = open.capabilities.families.map(familyName).join(' ') || 'none';
    const data = new Writer();
    for (const { afi, safi } of peer.families) data.u8(1).u8(4).u16(afi).u8(0).u8(safi);
    throw new WireError(`no address family in common; the peer offers ${offered}`, (OPEN_ERROR << 8) | 7, data.finish());
  }
}

function commonFamilies(open: Open, peer: SessionPeer): Family[] {
  return peer.families.filter((ours) => open.capabilities.families.some((theirs) => sameFamily(ours, theirs)));
}

/** Both ends' common ground; `open` passed checkOpen(). */
export function negotiate(open: Open, peer: SessionPeer): Negotiated {
  const { capabilities } = open;
  const restart = capabilities.gracefulRestart;
  return {
    families: commonFamilies(open, peer),
    remoteRouterId: open.routerId,
    holdMs: Math.min(open.holdSeconds, peer.holdSeconds) * 1000,
    mostBytes: capabilities.extendedMessage ? MOST_EXTENDED_MESSAGE_BYTES : MOST_MESSAGE_BYTES,
    routeRefresh: capabilities.routeRefresh,
    enhancedRouteRefresh: capabilities.enhancedRouteRefresh,
    extendedNextHop: new Set(capabilities.extendedNextHops.filter((row) => row.nextHopAfi === AFI_IPV6).map((row) => familyName(row.family))),
    gracefulRestart: restart && {
      notification: restart.notification,
      restartMs: restart.restartSeconds * 1000,
      families: new Set(restart.families.map((row) => familyName(row.family))),
      preserved: new Set(restart.families.filter((row) => row.forwardingPreserved).map((row) => familyName(row.family))),
      restarted: restart.restarted,
    },
    remoteCapabilities: capabilities,
  };
}
