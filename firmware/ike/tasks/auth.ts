// IKE_AUTH: identities and AUTH (RFC 7296 2.15; signatures RFC 7427; INITIAL_CONTACT 2.4), and who may come.
import { utf8, wipe } from '../../../platform/bytes.ts';
import type { ChainResult } from '../../../platform/crypto.ts';
import { assert } from '../../../platform/errors.ts';
import type { Instant } from '../../../platform/time.ts';
import { AuthMethod, CertEncoding, NotifyType, notifyName } from '../../wire/ike/numbers.ts';
import type { Payload, PayloadOf } from '../../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../../wire/ike/payloads.ts';
import { identityBody, sharedKeyAuth, sharedKeyMatches, signedOctets } from '../auth-data.ts';
import { certificateRequestData, withInBandResponses } from '../certificate-request.ts';
import { chooseCredential, readCertificateRequest, sign, unverifiable } from '../credentials.ts';
import { authLifetimeMs, limitAuthentication } from '../auth-lifetime.ts';
import type { EapRun } from '../eap/run.ts';
import type { EapServer } from '../eap/server.ts';
import type { Authorization } from '../environment.ts';
import type { IkeSa } from '../ike-sa.ts';
import { checkPeerChain, namesIdentity } from '../peer-chain.ts';
import { deviceSerial, observedEndpoint, observedEndpointNotify, refusalText, serialNotify, tenantNotify, tenantOf } from '../private-notifies.ts';
import { commonPpk, mixedKeys, ppkNotifies, settleAsInitiator, settleAsResponder } from '../ppk.ts';
import type { IkeIdentity, LocalAuth, PeerCredentials } from '../profile.ts';
import { decodeIdentity, encodeIdentity, identityText, sameIdentity } from '../profile.ts';
import { redirection, redirectsAuth } from '../redirect.ts';
import { isSignature, signatureProblem } from '../signatures.ts';
import type { Failure, Task } from '../task.ts';
import { errorNotify } from '../task.ts';

export const CREDENTIALS_STEP = 'compare identities and credentials of both ends';

/** CERTREQ, when the peer is to show a certificate. */
export function certificateRequest(sa: IkeSa): Payload[] {
  const { remoteAuth } = sa.profile;
  if (remoteAuth.kind !== 'certificate') return [];
  const request: Payload = { kind: 'CERTREQ', encoding: CertEncoding.x509Signature, data: certificateRequestData(remoteAuth.anchors) };
  // RFC 4806 3.1: any responder will do. Who cannot do without asks; others need not be puzzled.
  return sa.env.revocation()?.policy === 'hard' ? [request, { kind: 'CERTREQ', encoding: CertEncoding.ocspContent, data: new Uint8Array(0) }] : [request];
}

/** The octets that `signer` signs; its identity is the body of its own ID payload. */
export function octetsOf(sa: IkeSa, signer: 'initiator' | 'responder', identity: Uint8Array, keys = sa.keys!): Uint8Array {
  const common = { identity, intermediate: sa.intermediates.signed };
  const parts =
    signer === 'initiator'
      ? { ...common, message: sa.initRequest, nonce: sa.nonceResponder, skP: keys.skPi }
      : { ...common, message: sa.initResponse, nonce: sa.nonceInitiator, skP: keys.skPr };
  return signedOctets(sa.env.suite, sa.algorithms!.prf, parts);
}

/** Why we cannot authenticate ourselves to this peer, or undefined. */
export function credentialProblem(sa: IkeSa, local: LocalAuth | PeerCredentials): string | undefined {
  if (local.kind === 'psk') return undefined;
  if (local.kind === 'eap') return undefined;
  if (local.kind !== 'certificate' || !('privateKey' in local)) return 'no credential of our own is configured';
  return chooseCredential(sa, local) === undefined ? unverifiable(local) : undefined;
}

/** Our AUTH payload, once credentialProblem has none. */
export function ownAuth(sa: IkeSa, local: LocalAuth | PeerCredentials, keys = sa.keys!): PayloadOf<'AUTH'> {
  const { idType, data } = encodeIdentity(sa.profile.localIdentity);
  const octets = octetsOf(sa, sa.role, identityBody(idType, data), keys);
  const { suite } = sa.env;
  if (local.kind === 'psk') return { kind: 'AUTH', method: AuthMethod.sharedKey, data: sharedKeyAuth(suite, sa.algorithms!.prf, local.key, octets) };
  const credential = local.kind === 'certificate' && 'privateKey' in local ? chooseCredential(sa, local) : undefined;
  assert(credential !== undefined, 'AUTH without a credential');
  return { kind: 'AUTH', ...sign(sa, credential, octets) };
}

/** With a post-quantum pre-shared key AUTH is made with it; the peer may take the one without. */
function authWithPpk(sa: IkeSa, local: LocalAuth): Payload[] {
  const ppk = commonPpk(sa);
  const without = ownAuth(sa, local);
  if (ppk === undefined) return [without];
  const mixed = mixedKeys(sa, ppk);
  const auth = ownAuth(sa, local, mixed);
  wipe(mixed.skD, mixed.skPi, mixed.skPr);
  return [auth, ...ppkNotifies(ppk, without)];
}

export function ownIdentity(sa: IkeSa, kind: 'IDi' | 'IDr'): Payload[] {
  const out: Payload[] = [{ kind, ...encodeIdentity(sa.profile.localIdentity) }];
  const { localAuth } = sa.profile;
  if (localAuth.kind === 'certificate') {
    for (const data of chooseCredential(sa, localAuth)?.chain ?? []) out.push({ kind: 'CERT', encoding: CertEncoding.x509Signature, data });
  }
  return out;
}

type Proof = { readonly ok: true } | { readonly ok: false; readonly cause: string };

/** Checks the peer's AUTH; on success the certificate's facts are in `sa.peer`. */
function checkAuth(sa: IkeSa, payloads: readonly Payload[], id: PayloadOf<'IDi' | 'IDr'>, identity: IkeIdentity, credentials: PeerCredentials): Proof {
  const auth = findPayload(payloads, 'AUTH');
  if (auth === undefined) return { ok: false, cause: 'the peer asks for EAP, which this profile does not offer' };
  const octets = octetsOf(sa, sa.role === 'initiator' ? 'responder' : 'initiator', identityBody(id.idType, id.data));
  if (credentials.kind === 'psk') {
    if (auth.method !== AuthMethod.sharedKey) return { ok: false, cause: 'the peer did not authenticate with a pre-shared key' };
    const matches = sharedKeyMatches(sa.env.suite, sa.algorithms!.prf, credentials.key, octets, auth.data);
    return matches ? { ok: true } : { ok: false, cause: 'pre-shared key does not match' };
  }
  if (!isSignature(auth.method, sa.profile.legacy)) return { ok: false, cause: 'the peer did not authenticate with a digital signature' };
  const chain = payloads.flatMap((payload) => (payload.kind === 'CERT' && payload.encoding === CertEncoding.x509Signature ? [payload.data] : []));
  const result = checkPeerChain(sa, chain, credentials.anchors, withInBandResponses(sa.env.revocation(), payloads));
  if (!result.ok) return { ok: false, cause: `peer's ${result.cause}` };
  const problem = certificateProblem(sa, result, octets, auth, identity);
  if (problem !== undefined) return { ok: false, cause: problem };
  sa.peer.certificate = { emails: result.emails, uris: result.uris, chain: chain.map((der) => der.slice()) };
  return { ok: true };
}

/** The certificate must name the identity (RFC 7296 4). */
function certificateProblem(sa: IkeSa, result: Extract<ChainResult, { ok: true }>, octets: Uint8Array, auth: PayloadOf<'AUTH'>, identity: IkeIdentity): string | undefined {
  if (!namesIdentity(result, identity)) return `peer's certificate is not for the identity ${identityText(identity)}`;
  return signatureProblem(sa.env.suite, result, octets, auth);
}

function readFacts(sa: IkeSa, payloads: readonly Payload[]): void {
  if (!sa.peer.vendor) return;
  sa.peer.serial = deviceSerial(payloads);
  sa.peer.tenant = tenantOf(payloads);
}

/** What we tell a peer of our kind about ourselves. */
function ownFacts(sa: IkeSa): Payload[] {
  if (!sa.peer.vendor) return [];
  const { deviceSerial: serial, tenant } = sa.profile;
  return [...(serial === undefined ? [] : [serialNotify(serial)]), tenantNotify(tenant)];
}

/** Checks the responder's IDr and AUTH; on success its identity is in `sa.peer`. */
export function authenticateResponder(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
  const id = findPayload(payloads, 'IDr');
  if (id === undefined || findPayload(payloads, 'AUTH') === undefined) return refusedByPeer(sa, errorNotify(payloads));
  const identity = responderIdentity(sa, id);
  if ('cause' in identity) return identity;
  const { remoteAuth } = sa.profile;
  if (remoteAuth.kind === 'lookup' || remoteAuth.kind === 'eap') return distrusted('the profile does not say how the peer authenticates');
  // With EAP the key is named only in the last exchange (RFC 8784 3).
  const unmixed = sa.profile.localAuth.kind === 'eap' ? undefined : settleAsInitiator(sa, payloads);
  if (unmixed !== undefined) return distrusted(unmixed);
  const proof = checkAuth(sa, payloads, id, identity, remoteAuth);
  if (!proof.ok) return distrusted(proof.cause);
  sa.peer.identity = identity;
  return undefined;
}

/** The identity that the responder claims, if it is the one that we expect. */
export function responderIdentity(sa: IkeSa, id: PayloadOf<'IDr'>): IkeIdentity | Failure {
  const identity = decodeIdentity(id.idType, id.data);
  const { remoteIdentity } = sa.profile;
  if (identity === undefined) return distrusted(`the peer's identity is of type ${id.idType} or not readable`);
  if (remoteIdentity === undefined || sameIdentity(identity, remoteIdentity)) return identity;
  return distrusted(`the peer presents the identity ${identityText(identity)}, expected is ${identityText(remoteIdentity)}`);
}

export class AuthRequest implements Task {
  #lifetimeMs: number | undefined;

  build(sa: IkeSa, out: Payload[]): void {
    const { localAuth, remoteIdentity } = sa.profile;
    out.push(...ownIdentity(sa, 'IDi'), ...certificateRequest(sa));
    if (remoteIdentity !== undefined) out.push({ kind: 'IDr', ...encodeIdentity(remoteIdentity) });
    // Who leaves out AUTH wants EAP (RFC 7296 2.16).
    if (localAuth.kind !== 'eap') out.push(...authWithPpk(sa, localAuth));
    if (sa.env.isInitialContact(sa)) out.push(notify(NotifyType.INITIAL_CONTACT));
    out.push(...ownFacts(sa));
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    // With EAP the responder has authenticated itself before.
    const failure = sa.eap === undefined ? authenticateResponder(sa, payloads) : undefined;
    if (failure !== undefined) return failure;
    const redirected = redirection(sa, payloads);
    if (redirected !== undefined) return redirected;
    this.#lifetimeMs = authLifetimeMs(payloads);
    readFacts(sa, payloads);
    if (sa.peer.vendor) sa.grant.observed = observedEndpoint(payloads);
    return undefined;
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.establish(now);
    if (this.#lifetimeMs !== undefined) limitAuthentication(sa, this.#lifetimeMs, now);
  }
}

export function distrusted(cause: string): Failure {
  return { notify: NotifyType.AUTHENTICATION_FAILED, cause, nextStep: CREDENTIALS_STEP, scope: 'ike', tell: 'authentication-failed' };
}

export function refusedByPeer(sa: IkeSa, error: PayloadOf<'Notify'> | undefined): Failure {
  if (error === undefined) return distrusted('the peer did not authenticate itself');
  const text = sa.peer.vendor ? refusalText(error.data) : undefined;
  const cause = text ?? (error.type === NotifyType.AUTHENTICATION_FAILED ? 'the peer does not accept our identity or credential' : `the peer answered ${notifyName(error.type)}`);
  return { notify: error.type, cause: `peer refuses: ${cause}`, nextStep: CREDENTIALS_STEP, scope: 'ike' };
}

/** Answers AUTHENTICATION_FAILED and tells the service who was refused. */
export function refuseInitiator(sa: IkeSa, identity: IkeIdentity | undefined, cause: string): Failure {
  sa.env.emit({ kind: 'peer-refused', profile: sa.profile.name, remote: sa.path.remote, identity, serial: sa.peer.serial, cause });
  const failure: Failure = { notify: NotifyType.AUTHENTICATION_FAILED, cause, nextStep: CREDENTIALS_STEP, scope: 'ike' };
  // RFC 7296 2.21.2 gives no reason to the peer; one of our kind gets it, inside SK.
  return sa.peer.vendor ? { ...failure, data: utf8(cause) } : failure;
}

export class AuthAnswer implements Task {
  #auth: Payload | undefined;
  #initialContact = false;
  #ppkUsed = false;
  #observed = false;
  #redirects = false;

  process(sa: IkeSa, payloads: readonly Payload[], now: Instant): Failure | undefined {
    const id = findPayload(payloads, 'IDi')!;
    readFacts(sa, payloads);
    readCertificateRequest(sa, payloads);
    if (sa.eap !== undefined) return this.#admitUser(sa, payloads, sa.eap);
    const identity = decodeIdentity(id.idType, id.data);
    const cause = identity === undefined ? 'the identity is of a type that is not accepted, or not readable' : this.#judge(sa, payloads, id, identity);
    if (cause !== undefined) return refuseInitiator(sa, identity, cause);
    return this.#redirects ? redirectsAuth(sa, [...ownIdentity(sa, 'IDr'), this.#auth!], now) : undefined;
  }

  /** EAP has authenticated the user. */
  #admitUser(sa: IkeSa, payloads: readonly Payload[], eap: EapRun): Failure | undefined {
    const { identity, certificate } = eap.machine as EapServer;
    const user = { kind: 'user', value: identity! } as const;
    sa.peer.certificate = certificate;
    const cause = this.#admit(sa, payloads, user);
    return cause === undefined ? undefined : refuseInitiator(sa, user, cause);
  }

  #judge(sa: IkeSa, payloads: readonly Payload[], id: PayloadOf<'IDi'>, identity: IkeIdentity): string | undefined {
    const { remoteIdentity, remoteAuth, localAuth } = sa.profile;
    if (remoteIdentity !== undefined && !sameIdentity(identity, remoteIdentity)) return `the identity ${identityText(identity)} is not expected here`;
    const credentials = remoteAuth.kind === 'lookup' ? sa.env.lookupPeer(sa.profile, identity) : remoteAuth;
    if (credentials === undefined) return `the identity ${identityText(identity)} is not known`;
    if (credentials.kind === 'eap') return 'the peer must authenticate by EAP';
    const ppk = settleAsResponder(sa, payloads);
    if (!ppk.ok) return ppk.cause;
    this.#ppkUsed = ppk.used;
    const proof = checkAuth(sa, ppk.payloads, id, identity, credentials);
    if (!proof.ok) return proof.cause;
    const own = localAuth.kind === 'lookup' ? credentials : localAuth;
    const problem = credentialProblem(sa, own);
    if (problem !== undefined) return problem;
    this.#redirects = sa.profile.redirect?.at === 'auth' && sa.extensions.redirect;
    if (this.#redirects) {
      this.#auth = ownAuth(sa, own);
      return undefined;
    }
    // Last, because an address may be taken from a pool: from here on the IKE SA comes up.
    const refusal = this.#admit(sa, payloads, identity);
    if (refusal === undefined) this.#auth = ownAuth(sa, own);
    return refusal;
  }

  #admit(sa: IkeSa, payloads: readonly Payload[], identity: IkeIdentity): string | undefined {
    const verdict = this.#authorize(sa, payloads, identity);
    if (!verdict.ok) return verdict.cause;
    sa.peer.identity = identity;
    sa.grant.assigned = verdict.assignedAddress;
    sa.grant.alsoAssigned = verdict.alsoAssigned;
    sa.grant.settings = verdict.settings;
    sa.grant.directorAddresses = verdict.directorAddresses;
    this.#observed = verdict.observed === true;
    this.#initialContact = findNotify(payloads, NotifyType.INITIAL_CONTACT) !== undefined;
    return undefined;
  }

  #authorize(sa: IkeSa, payloads: readonly Payload[], identity: IkeIdentity): Authorization {
    const { certificate, serial, tenant } = sa.peer;
    const wantsAddress = findPayload(payloads, 'CP') !== undefined;
    return sa.env.authorize({ profile: sa.profile, identity, certificate, serial, tenant, remote: sa.path.remote, wantsAddress });
  }

  build(sa: IkeSa, out: Payload[]): void {
    if (sa.eap === undefined) out.push(...ownIdentity(sa, 'IDr'), this.#auth!);
    out.push(...ownFacts(sa));
    if (this.#ppkUsed) out.push(notify(NotifyType.PPK_IDENTITY));
    if (this.#observed && sa.peer.vendor) out.push(observedEndpointNotify(sa.path.remote));
  }

  finish(sa: IkeSa, now: Instant): void {
    if (this.#initialContact) sa.env.dropOthers(sa, now);
    sa.establish(now);
  }
}
