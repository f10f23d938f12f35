// What MOBIKE (RFC 4555) changes of an IKE SA: its path and, with that, its children's.
//
// Deviations: an initiator goes to port 4500 with its first move, not already after IKE_SA_INIT where there is no NAT;
// neither end tells further addresses (ADDITIONAL_IP4_ADDRESS and the like are ignored); we never forbid NATs, but
// answer a peer that does. Not with VXLAN, where the overlay's addresses stay.
import { concat, equalBytes } from '../../platform/bytes.ts';
import type { Instant } from '../../platform/time.ts';
import { formatEndpoint } from '../model.ts';
import { addressBytes } from '../wire/address.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { findNotify } from '../wire/ike/payloads.ts';
import type { IkeSa, Path } from './ike-sa.ts';
import { detectNat } from './nat.ts';

export function offersMobike(sa: IkeSa): boolean {
  return sa.profile.mobike && sa.profile.vxlan === undefined;
}

/** The SA that the connection has gone on under since `sa`. */
export function standing(sa: IkeSa): IkeSa {
  let last = sa;
  while (last.successor !== undefined) last = last.successor;
  return last;
}

/** Takes over what the peer's notifies say about NATs on the SA's path; nothing when there are none. */
export function renewNat(owner: IkeSa, sa: IkeSa, payloads: readonly Payload[]): void {
  if (findNotify(payloads, NotifyType.NAT_DETECTION_SOURCE_IP) === undefined) return;
  const nat = detectNat(payloads, sa.spiInitiator, sa.spiResponder, owner.path.local, owner.path.remote);
  owner.nat = owner.profile.forceUdpEncapsulation ? { ...nat, local: true } : nat;
}

/** RFC 4555 3.9: the addresses and ports that the sender of NO_NATS_ALLOWED used, as they must have arrived. */
export function forbidsThisNat(payloads: readonly Payload[], path: Path): boolean {
  const forbidding = findNotify(payloads, NotifyType.NO_NATS_ALLOWED);
  if (forbidding === undefined) return false;
  const { local, remote } = path;
  const ports = Uint8Array.of(remote.port >> 8, remote.port & 0xff, local.port >> 8, local.port & 0xff);
  return !equalBytes(forbidding.data, concat(addressBytes(remote.address), addressBytes(local.address), ports));
}

/** The children go over the SA's path from now on. */
export function moveChildrenOver(sa: IkeSa, now: Instant): void {
  if (!sa.announced) return;
  sa.tellEndpoint();
  if (sa.nat.local) sa.keepAlive(now);
  else sa.clearTimer('keepalive');
}

export function noteMove(sa: IkeSa): void {
  const { local, remote } = sa.path;
  sa.log('info', 'IKE SA moved to other addresses', { local: formatEndpoint(local), localNat: sa.nat.local, remoteNat: sa.nat.remote });
  sa.history('IKE Moved', `from ${formatEndpoint(local)} to ${formatEndpoint(remote)}`);
}
