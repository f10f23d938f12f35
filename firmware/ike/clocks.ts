// What each timer of an IKE SA does.
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import { AUTH_EXPIRED, authenticateAnew } from './auth-lifetime.ts';
import type { ChildSa } from './child-sa.ts';
import { postponeRekey, removeChild } from './child-sa.ts';
import { ownRow } from './exchanges.ts';
import { dropPending } from './followup.ts';
import type { IkeSa, SaTimer } from './ike-sa.ts';
import type { RekeyReason } from './input-output.ts';
import { ChildRequest } from './tasks/child.ts';
import { deleteChildRequest, livenessRequest } from './tasks/informational.ts';
import { addressUpdateRequest } from './tasks/mobike.ts';
import { IkeRekeyRequest } from './tasks/rekey.ts';

export function rekeyChild(sa: IkeSa, child: ChildSa, reason: RekeyReason, now: Instant): void {
  // A child that the peer made counts when the peer has deleted the one before: until then it may not know the new one.
  if ([...sa.children.values()].some(({ state }) => state === 'replaced')) {
    postponeRekey(sa, `rekey-child:${child.number}`, 'the last rekey is not finished', now);
    return;
  }
  sa.clearTimer(`rekey-child:${child.number}`);
  // The request may be waiting while the IKE SA is replaced: the child is then one of its successor.
  const wanted = (owner: IkeSa): boolean => child.state === 'up' && owner.announced && owner.children.has(child.number);
  sa.conversation.enqueue({ row: ownRow('rekey-child'), tasks: [new ChildRequest({ kind: 'rekey', old: child, reason })], wanted }, now);
}

export function rekeyIke(sa: IkeSa, reason: RekeyReason, now: Instant): void {
  sa.clearTimer('rekey-ike');
  if (sa.conversation.currentTasks.some((task) => task instanceof IkeRekeyRequest)) return;
  const wanted = (owner: IkeSa): boolean => owner === sa && sa.announced && sa.state === 'established';
  sa.conversation.enqueue({ row: ownRow('rekey-ike'), tasks: [new IkeRekeyRequest(reason)], wanted }, now);
}

/** RFC 7296 2.4: silence alone proves nothing, so the peer is asked. */
export function checkLiveness(sa: IkeSa, now: Instant): void {
  if (sa.conversation.busy) return;
  // Behind a NAT, whose mapping may have changed, the question also says where we are now (RFC 4555 3.8).
  const behindNat = sa.extensions.mobike && sa.origin.role === 'initiator' && sa.nat.local;
  sa.conversation.enqueue(behindNat ? addressUpdateRequest(sa.path) : livenessRequest(), now);
}

function onDpd(sa: IkeSa, now: Instant): void {
  const { dpdMs } = sa.profile;
  const silentMs = now - sa.conversation.lastHeard;
  if (silentMs >= dpdMs) checkLiveness(sa, now);
  sa.setTimer('dpd', after(now, silentMs >= dpdMs ? dpdMs : dpdMs - silentMs));
}

function expireChild(sa: IkeSa, child: ChildSa, now: Instant): void {
  const reason = child.state === 'replaced' ? 'rekeyed' : 'its lifetime ended';
  if (child.state === 'deleting') removeChild(sa, child, reason, now);
  else sa.conversation.enqueue(deleteChildRequest(child, reason), now);
}

const CONNECTION_TIMERS: Readonly<Record<Exclude<SaTimer, `${string}:${number}`>, (sa: IkeSa, now: Instant) => void>> = {
  retransmit: (sa, now) => sa.conversation.retransmit(now),
  refusal: (sa, now) => sa.conversation.acceptRefusal(now),
  // Anybody can leave half-open SAs behind: no more than a debug line is made of them.
  'half-open': (sa, now) => {
    sa.log('debug', 'IKE SA could not be established', { cause: `the peer did not go on after ${sa.state === 'eap' ? 'an EAP request' : 'IKE_SA_INIT'}` });
    sa.close(now, 0);
  },
  dpd: onDpd,
  keepalive: (sa, now) => sa.keepAlive(now),
  childless: (sa, now) => sa.end({ reason: 'no child SA is left', event: 'IKE Deleted', tell: 'delete' }, now),
  'rekey-ike': (sa, now) => rekeyIke(sa, 'lifetime', now),
  'expire-ike': (sa, now) => sa.end({ reason: 'its lifetime ended', event: 'IKE Deleted', tell: 'delete' }, now),
  reauth: authenticateAnew,
  'expire-auth': (sa, now) => sa.end({ reason: AUTH_EXPIRED, event: 'IKE Deleted', tell: 'delete' }, now),
  followup: dropPending,
  linger: (sa, now) => sa.close(now, 0),
};

export function onSaTimer(sa: IkeSa, name: SaTimer, now: Instant): void {
  const [kind, number] = name.split(':') as [SaTimer, string | undefined];
  if (number === undefined) {
    CONNECTION_TIMERS[kind as keyof typeof CONNECTION_TIMERS](sa, now);
    return;
  }
  const child = sa.children.get(Number(number));
  if (child === undefined) return;
  if (name.startsWith('rekey-child')) rekeyChild(sa, child, 'lifetime', now);
  else expireChild(sa, child, now);
}
