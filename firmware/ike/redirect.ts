// Redirection to another gateway (RFC 5685). As the responder: a profile names a gateway to which its peers are sent in
// IKE_SA_INIT or, once they have authenticated, in IKE_AUTH; an established connection by the input `redirect`. As the
// initiator: followed where the profile allows it, a few times in a row; an established connection is left when the new
// one is up.
//
// Deviations: names of gateways are told, but not followed, for nothing here resolves names; no redirection within EAP.
import { equalBytes } from '../../platform/bytes.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import { formatEndpoint } from '../model.ts';
import type { Gateway } from '../wire/ike/gateway.ts';
import { decodeGateway, encodeGateway } from '../wire/ike/gateway.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { findNotify, notify } from '../wire/ike/payloads.ts';
import { ownRow } from './exchanges.ts';
import type { IkeSa, Path } from './ike-sa.ts';
import type { Failure, Request, Task } from './task.ts';

/** So many redirections within this time (RFC 5685 10: MAX_REDIRECTS, REDIRECT_LOOP_DETECT_PERIOD). */
export const MAX_REDIRECTS = 5;
const LOOP_DETECT_MS = 300_000;
/** A redirected peer deletes the IKE SA that it has authenticated, perhaps when the next one is up; it is forgotten after this time. */
const DELETION_PATIENCE_MS = 30_000;
const NATT_PORT = 4500;
const IKE_PORT = 500;
const NEXT_STEP = 'look at the gateways that redirect, or connect to the last one of them';

/** What an attempt knows about the redirections that led to it. */
export interface Redirections {
  readonly from: Gateway;
  readonly count: number;
  readonly since: Instant;
}

// -------------------------------------------------------------------------------------------------- responder

export function supportsRedirect(payloads: readonly Payload[]): boolean {
  return [NotifyType.REDIRECT_SUPPORTED, NotifyType.REDIRECTED_FROM].some((type) => findNotify(payloads, type) !== undefined);
}

/** Where the profile sends this peer in IKE_SA_INIT: not back to where it was sent away. */
export function redirectsInit(sa: IkeSa, payloads: readonly Payload[], nonce: Uint8Array): Failure | undefined {
  const redirect = sa.profile.redirect;
  if (redirect?.at !== 'init' || !supportsRedirect(payloads) || cameFrom(payloads, redirect.gateway)) return undefined;
  return refusal(redirect.gateway, nonce);
}

/** The same in IKE_AUTH; `proof`: our IDr and AUTH, without which the peer would not believe it. */
export function redirectsAuth(sa: IkeSa, proof: readonly Payload[], now: Instant): Failure {
  sa.state = 'rekeyed';
  sa.setTimer('linger', after(now, DELETION_PATIENCE_MS));
  return { ...refusal(sa.profile.redirect!.gateway), payloads: proof };
}

function cameFrom(payloads: readonly Payload[], gateway: Gateway): boolean {
  const from = findNotify(payloads, NotifyType.REDIRECTED_FROM);
  return from !== undefined && equalBytes(from.data, encodeGateway(gateway));
}

function refusal(gateway: Gateway, nonce?: Uint8Array): Failure {
  return { notify: NotifyType.REDIRECT, data: encodeGateway(gateway, nonce), cause: `the profile sends its peers to ${gateway.value}`, nextStep: '', scope: 'exchange' };
}

class Redirect implements Task {
  readonly #gateway: Gateway;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push(notify(NotifyType.REDIRECT, encodeGateway(this.#gateway)));
  }

  process(): undefined {}
}

/** The peer of an established connection is sent elsewhere. */
export function redirectPeer(sa: IkeSa, gateway: Gateway, now: Instant): void {
  const cause = sa.origin.role === 'initiator' ? 'we began it' : sa.extensions.redirect ? undefined : 'the peer does not follow';
  if (cause === undefined) sa.conversation.enqueue(redirectRequest(gateway), now);
  else sa.log('warning', 'IKE SA cannot be redirected', { cause });
}

function redirectRequest(gateway: Gateway): Request {
  return { row: ownRow('informational'), tasks: [new Redirect(gateway)] };
}

// -------------------------------------------------------------------------------------------------- initiator

/** In IKE_SA_INIT: that we follow, and who sent us. */
export function redirectNotifies(sa: IkeSa): Payload[] {
  if (!sa.profile.followRedirects) return [];
  const { redirections } = sa.origin;
  return [redirections === undefined ? notify(NotifyType.REDIRECT_SUPPORTED) : notify(NotifyType.REDIRECTED_FROM, encodeGateway(redirections.from))];
}

/** What an answer's REDIRECT amounts to; undefined: there is none that counts. `nonce`: ours, in IKE_SA_INIT. */
export function redirection(sa: IkeSa, payloads: readonly Payload[], nonce?: Uint8Array): Failure | undefined {
  const found = findNotify(payloads, NotifyType.REDIRECT);
  if (found === undefined || !sa.profile.followRedirects) return undefined;
  const decoded = decodeGateway(found.data);
  // Only who has seen our request knows the nonce (RFC 5685 3).
  if (decoded === undefined || (nonce !== undefined && !equalBytes(decoded.nonce, nonce))) return undefined;
  return { notify: NotifyType.REDIRECT, cause: `the peer sends us to ${decoded.gateway.value}`, nextStep: NEXT_STEP, scope: 'ike', tell: 'delete', redirect: decoded.gateway };
}

/** Goes on with the gateway that the peer named; ends the attempt when that cannot be. */
export function follow(sa: IkeSa, gateway: Gateway, now: Instant): void {
  const next = nextRedirections(sa, now);
  const problem = problemOf(sa, gateway, next);
  if (problem !== undefined) {
    // An established connection stays until its peer ends it.
    if (!sa.announced) sa.end({ reason: problem, nextStep: NEXT_STEP, event: 'IKE Failed', tell: 'delete' }, now);
    else sa.log('warning', 'IKE redirection not followed', { gateway: gateway.value, cause: problem });
    return;
  }
  const path = pathTo(sa.path, gateway);
  // Told twice, or by two of its gateways.
  if (sa.env.headsFor(sa.profile.name, path.remote)) return;
  sa.log('info', 'IKE peer redirects us to another gateway', { gateway: gateway.value });
  if (!sa.announced) sa.end({ reason: `the peer sent us to ${gateway.value}`, event: 'IKE Redirected', tell: 'delete', goesOn: true }, now);
  const left = { connection: sa.number, reason: `the peer sent us to ${formatEndpoint(path.remote)}`, event: 'IKE Redirected' } as const;
  sa.env.begin({ profile: sa.profile, path, nattPath: nattPathTo(sa, gateway), redirections: next, replaces: sa.announced ? left : sa.origin.replaces }, now);
}

function nextRedirections(sa: IkeSa, now: Instant): Redirections {
  const before = sa.origin.redirections;
  const goesOn = before !== undefined && now - before.since < LOOP_DETECT_MS;
  const { address } = sa.path.remote;
  return {
    from: { kind: address.includes(':') ? 'ipv6' : 'ipv4', value: address },
    count: goesOn ? before.count + 1 : 1,
    since: goesOn ? before.since : now,
  };
}

function problemOf(sa: IkeSa, gateway: Gateway, { count }: Redirections): string | undefined {
  if (gateway.kind === 'fqdn') return `the peer sends us to ${gateway.value}, and names are not resolved here`;
  if (gateway.value.includes(':') !== sa.path.local.address.includes(':')) return `the peer sends us to ${gateway.value}, which is of another address family`;
  if (count > MAX_REDIRECTS) return `the peer sends us to ${gateway.value}, after ${MAX_REDIRECTS} redirections within ${LOOP_DETECT_MS / 1000} s`;
  return undefined;
}

/** From where we are now, to the port that is in use. */
function pathTo(path: Path, gateway: Gateway): Path {
  return { ...path, remote: { address: gateway.value, port: path.natt ? NATT_PORT : IKE_PORT } };
}

function nattPathTo({ path, nattPath }: IkeSa, gateway: Gateway): Path | undefined {
  return path.natt || nattPath === undefined ? undefined : pathTo(nattPath, gateway);
}
