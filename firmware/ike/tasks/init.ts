// IKE_SA_INIT (RFC 7296 1.2, 2.6, 2.7, 2.23): algorithms, Diffie-Hellman, nonces, NAT detection, what each end supports.
import { equalBytes, utf8, wipe } from '../../../platform/bytes.ts';
import type { DhGroup, Suite } from '../../../platform/crypto.ts';
import type { Instant } from '../../../platform/time.ts';
import { NotifyType, notifyName } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../../wire/ike/payloads.ts';
import type { Proposal } from '../../wire/ike/proposal.ts';
import type { IkeAlgorithms } from '../algorithms.ts';
import { acceptIke, chooseIke, encodeIkeProposals } from '../algorithms.ts';
import { readCertificateRequest } from '../credentials.ts';
import { extensionNotifies, readExtensions } from '../extensions.ts';
import type { IkeSa } from '../ike-sa.ts';
import { groupBytes, KeyExchange, wantedGroup } from '../key-exchange.ts';
import { deriveIkeKeys } from '../keymat.ts';
import { groupName, mismatch } from '../mismatch.ts';
import { detectNat, natNotifies } from '../nat.ts';
import { NONCE_BYTES } from '../nonces.ts';
import { ppkProblem } from '../ppk.ts';
import { redirection, redirectsInit } from '../redirect.ts';
import { SIGNATURE_HASHES } from '../signatures.ts';
import type { Failure, Task, Verdict } from '../task.ts';
import { errorNotify } from '../task.ts';
import { authRequest } from './auth-request.ts';
import { certificateRequest, credentialProblem, CREDENTIALS_STEP } from './auth.ts';
import { intermediateRequest } from './intermediate.ts';

const NO_SPI = new Uint8Array(0);
const ZERO_SPI = new Uint8Array(8);
/** COOKIE and INVALID_KE_PAYLOAD together may send us back this often. */
const MAX_RETRIES = 5;
const MAX_COOKIE_BYTES = 64;

/** The first 16 octets of SHA-256("Selvage IKE 1"): the private notifies and attributes are understood (docs/WIRE.md). */
function vendorId(suite: Suite): Uint8Array {
  return suite.hash('sha256', utf8('Selvage IKE 1')).slice(0, 16);
}

function offersIntermediate(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) !== undefined;
}

/** `spiResponder`: as it is in the header of the peer's message, which its NAT detection hashes cover. */
function readSupport(sa: IkeSa, payloads: readonly Payload[], spiResponder: Uint8Array): void {
  const ours = vendorId(sa.env.suite);
  sa.peer.vendor = payloads.some((payload) => payload.kind === 'VendorId' && equalBytes(payload.data, ours));
  sa.peer.fragmentation = findNotify(payloads, NotifyType.FRAGMENTATION_SUPPORTED) !== undefined;
  sa.peer.intermediate = offersIntermediate(payloads);
  const hashes = findNotify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)?.data ?? new Uint8Array(0);
  sa.peer.hashes = Array.from({ length: hashes.length >> 1 }, (_, i) => (hashes[2 * i]! << 8) | hashes[2 * i + 1]!);
  sa.nat = detectNat(payloads, sa.spiInitiator, spiResponder, sa.path.local, sa.path.remote);
  readExtensions(sa, payloads);
  if (sa.profile.forceUdpEncapsulation) sa.nat = { ...sa.nat, local: true };
}

function support(sa: IkeSa, peerSpi: Uint8Array): Payload[] {
  const hashes = Uint8Array.from(SIGNATURE_HASHES.flatMap((hash) => [0, hash]));
  return [
    ...natNotifies(sa.spiInitiator, peerSpi, sa.path.local, sa.path.remote, sa.profile.forceUdpEncapsulation),
    notify(NotifyType.FRAGMENTATION_SUPPORTED),
    notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, hashes),
    // A responder answers this notify, it does not begin with it (RFC 9242 3.1).
    ...(sa.role === 'initiator' || sa.peer.intermediate ? [notify(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)] : []),
    ...extensionNotifies(sa),
  ];
}

function keysFrom(sa: IkeSa, algorithms: IkeAlgorithms, shared: Uint8Array): void {
  const secrets = { shared, nonceI: sa.nonceInitiator, nonceR: sa.nonceResponder, spiI: sa.spiInitiator, spiR: sa.spiResponder };
  sa.useKeys(algorithms, deriveIkeKeys(sa.env.suite, algorithms, secrets));
  sa.keyExchangesDue = algorithms.additional === undefined ? 0 : 1;
  wipe(shared);
}

export class InitRequest implements Task {
  #keyExchange: KeyExchange | undefined;
  #cookie: Uint8Array | undefined;
  #retries = 0;

  build(sa: IkeSa, out: Payload[]): void {
    const { proposals } = sa.profile;
    this.#keyExchange ??= new KeyExchange(sa.env.suite, sa.env.random, proposals[0]!.groups[0]!);
    if (sa.nonceInitiator.length === 0) sa.nonceInitiator = sa.env.random.bytes(NONCE_BYTES);
    if (this.#cookie !== undefined) out.push(notify(NotifyType.COOKIE, this.#cookie));
    out.push({ kind: 'SA', proposals: encodeIkeProposals(proposals, NO_SPI) }, this.#keyExchange.payload(), { kind: 'Nonce', data: sa.nonceInitiator });
    out.push(...support(sa, ZERO_SPI), { kind: 'VendorId', data: vendorId(sa.env.suite) });
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const retry = this.#retry(sa, payloads);
    if (retry !== undefined) return retry;
    const redirected = redirection(sa, payloads, sa.nonceInitiator);
    if (redirected !== undefined) return redirected;
    const error = errorNotify(payloads);
    if (error !== undefined) return refusedByPeer(error.type);
    const offer = findPayload(payloads, 'SA');
    const ke = findPayload(payloads, 'KE');
    const nonce = findPayload(payloads, 'Nonce');
    if (offer === undefined || ke === undefined || nonce === undefined) return badAnswer('the answer is incomplete');
    if (sa.answeredSpi.every((octet) => octet === 0)) return badAnswer('the answer has no responder SPI');
    const keyExchange = this.#keyExchange;
    if (keyExchange === undefined) return badAnswer('our Diffie-Hellman pair was used up by a worse answer');
    const algorithms = acceptIke(offer.proposals, sa.profile.proposals, 0);
    if (algorithms === undefined || algorithms.group !== keyExchange.group) return badAnswer('the peer chose algorithms that were not offered');
    if (algorithms.additional !== undefined && !offersIntermediate(payloads)) return badAnswer('the peer chose an additional key exchange without IKE_INTERMEDIATE');
    const shared = keyExchange.shared(ke);
    if (shared === undefined) {
      // The pair is used up; a better answer needs a fresh one, which means another request.
      this.#keyExchange = undefined;
      return badAnswer("the peer's Diffie-Hellman value is not valid");
    }
    sa.spiResponder = sa.answeredSpi;
    sa.nonceResponder = nonce.data;
    readSupport(sa, payloads, sa.spiResponder);
    readCertificateRequest(sa, payloads);
    keysFrom(sa, algorithms, shared);
    return undefined;
  }

  #retry(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const cookie = findNotify(payloads, NotifyType.COOKIE);
    const invalidKe = findNotify(payloads, NotifyType.INVALID_KE_PAYLOAD);
    if (cookie === undefined && invalidKe === undefined) return undefined;
    if (++this.#retries > MAX_RETRIES) return badAnswer(`the peer asked ${this.#retries} times for another IKE_SA_INIT`);
    if (cookie !== undefined) {
      if (cookie.data.length === 0 || cookie.data.length > MAX_COOKIE_BYTES) return badAnswer('the cookie has an illegal length');
      this.#cookie = cookie.data;
      return 'again';
    }
    const group = wantedGroup(invalidKe!.data);
    const ours = sa.profile.proposals.flatMap((proposal) => proposal.groups).find((id) => id === group);
    if (ours === undefined || ours === this.#keyExchange?.group) return badAnswer(`the peer wants Diffie-Hellman group ${group}, which was not offered`);
    this.#keyExchange?.wipe();
    this.#keyExchange = new KeyExchange(sa.env.suite, sa.env.random, ours);
    return 'again';
  }

  finish(sa: IkeSa, now: Instant): void {
    sa.clearTimer('refusal');
    this.#float(sa);
    const problem = credentialProblem(sa, sa.profile.localAuth) ?? ppkProblem(sa);
    if (problem === undefined) sa.conversation.enqueue(sa.keyExchangesDue > 0 ? intermediateRequest() : authRequest(sa), now);
    else sa.end({ reason: problem, nextStep: CREDENTIALS_STEP, event: 'IKE Failed' }, now);
  }

  /** RFC 7296 2.23: with a NAT, IKE goes on from and to port 4500. */
  #float(sa: IkeSa): void {
    if (!sa.encapsulates) return;
    sa.log('info', 'NAT detected', { localNat: sa.nat.local, remoteNat: sa.nat.remote, port4500: sa.nattPath !== undefined });
    if (sa.nattPath !== undefined && !sa.path.natt) sa.path = sa.nattPath;
  }

  abandon(): void {
    this.#keyExchange?.wipe();
  }
}

function refusedByPeer(type: number): Failure {
  return {
    notify: type,
    cause: `the peer answered ${notifyName(type)} to IKE_SA_INIT`,
    nextStep: type === NotifyType.NO_PROPOSAL_CHOSEN ? 'compare the IKE proposals of both ends' : "look at the peer's log",
    scope: 'ike',
  };
}

function badAnswer(cause: string): Failure {
  return { notify: NotifyType.INVALID_SYNTAX, cause, nextStep: "check the peer's IKE settings and software", scope: 'ike' };
}

export class InitAnswer implements Task {
  #proposal: Proposal | undefined;
  #algorithms: IkeAlgorithms | undefined;
  #shared: Uint8Array | undefined;
  #offer: Payload | undefined;

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const redirected = redirectsInit(sa, payloads, findPayload(payloads, 'Nonce')!.data);
    if (redirected !== undefined) return redirected;
    const ke = findPayload(payloads, 'KE')!;
    const { proposals } = sa.profile;
    const acceptable = offersIntermediate(payloads) ? proposals : proposals.filter((proposal) => proposal.additional === undefined);
    const choice = chooseIke(findPayload(payloads, 'SA')!.proposals, acceptable, ke.group, NO_SPI, 0);
    if (choice === undefined) {
      const cause = mismatch(findPayload(payloads, 'SA')!.proposals, encodeIkeProposals(acceptable, NO_SPI));
      return { notify: NotifyType.NO_PROPOSAL_CHOSEN, cause, nextStep: 'compare the IKE proposals of both ends', scope: 'exchange' };
    }
    const { group } = choice.algorithms;
    if (group !== ke.group) return wrongGroup(ke.group, group);
    const keyExchange = new KeyExchange(sa.env.suite, sa.env.random, group);
    this.#offer = keyExchange.payload();
    this.#shared = keyExchange.shared(ke);
    if (this.#shared === undefined) {
      return { notify: NotifyType.INVALID_SYNTAX, cause: "the peer's Diffie-Hellman value is not valid", nextStep: "check the peer's IKE software", scope: 'exchange' };
    }
    this.#proposal = choice.proposal;
    this.#algorithms = choice.algorithms;
    sa.nonceInitiator = findPayload(payloads, 'Nonce')!.data;
    sa.nonceResponder = sa.env.random.bytes(NONCE_BYTES);
    readSupport(sa, payloads, ZERO_SPI);
    return undefined;
  }

  build(sa: IkeSa, out: Payload[]): void {
    out.push({ kind: 'SA', proposals: [this.#proposal!] }, this.#offer!, { kind: 'Nonce', data: sa.nonceResponder });
    out.push(...support(sa, sa.spiResponder), ...certificateRequest(sa));
    if (sa.peer.vendor) out.push({ kind: 'VendorId', data: vendorId(sa.env.suite) });
  }

  finish(sa: IkeSa): void {
    keysFrom(sa, this.#algorithms!, this.#shared!);
  }
}

function wrongGroup(guess: number, group: DhGroup): Failure {
  return { notify: NotifyType.INVALID_KE_PAYLOAD, data: groupBytes(group), cause: `the KE payload is of group ${groupName(guess)}, wanted is ${groupName(group)}`, nextStep: '', scope: 'exchange' };
}
