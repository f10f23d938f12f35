// Rekeying the IKE SA (RFC 7296 1.3.2, 2.8, 2.18, 2.25.2; RFC 9370 2.2.4). Children move to the new SA; whoever began the surviving
// rekey deletes the old SA, and in a collision whoever made the redundant SA deletes that.
import { wipe } from '../../../platform/bytes.ts';
import type { DhGroup, KemId } from '../../../platform/crypto.ts';
import type { Instant } from '../../../platform/time.ts';
import { after } from '../../../platform/time.ts';
import { NotifyType, notifyName } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findPayload } from '../../wire/ike/payloads.ts';
import type { IkeAlgorithms, IkeProposal } from '../algorithms.ts';
import { acceptIke, chooseIke, encodeIkeProposals, knownTo } from '../algorithms.ts';
import { moveChildren, postponeRekey } from '../child-sa.ts';
import { ownRow } from '../exchanges.ts';
import type { Continuation } from '../followup.ts';
import { AdditionalRequest, awaitFollowup, linkNotify, linkOf, newLink, pendingRekey } from '../followup.ts';
import type { IkeSa } from '../ike-sa.ts';
import { REKEY_REASONS, type RekeyReason } from '../input-output.ts';
import { groupBytes, KeyExchange, wantedGroup } from '../key-exchange.ts';
import type { IkeKeys } from '../keymat.ts';
import { deriveRekeyedIkeKeys } from '../keymat.ts';
import { groupName, mismatch } from '../mismatch.ts';
import type { NoncePair } from '../nonces.ts';
import { losesCollision, NONCE_BYTES } from '../nonces.ts';
import type { Failure, Task, Verdict } from '../task.ts';
import { errorNotify } from '../task.ts';
import { ChildRequest } from './child.ts';
import { ChildDeletion, endRequest } from './informational.ts';

const IKE_SPI_BYTES = 8;
/** The loser of a collision deletes its redundant SA; if it never does, the SA is dropped after this time. */
const REDUNDANT_MS = 60_000;

interface Negotiated {
  readonly algorithms: IkeAlgorithms;
  readonly keys: IkeKeys;
  readonly spiInitiator: Uint8Array;
  readonly spiResponder: Uint8Array;
}

/** What CREATE_CHILD_SA agrees on, before an additional key exchange. */
interface Agreed {
  readonly algorithms: IkeAlgorithms;
  /** Wiped when the keys are made. */
  readonly shared: Uint8Array;
  readonly nonces: NoncePair;
  readonly spiInitiator: Uint8Array;
  readonly spiResponder: Uint8Array;
}

function negotiated(sa: IkeSa, agreed: Agreed, additional?: Uint8Array): Negotiated {
  const { algorithms, shared, nonces, spiInitiator, spiResponder } = agreed;
  const secrets = { shared, additional, nonceI: nonces.initiator, nonceR: nonces.responder, spiI: spiInitiator, spiR: spiResponder };
  const keys = deriveRekeyedIkeKeys(sa.env.suite, sa.algorithms!.prf, sa.keys!.skD, algorithms, secrets);
  wipe(shared);
  return { algorithms, keys, spiInitiator, spiResponder };
}


/** The SA that a rekey made; nothing uses it before `promote`. */
function makeSuccessor(sa: IkeSa, role: 'initiator' | 'responder', made: Negotiated, now: Instant): IkeSa {
  const { number, profile, path, nattPath, origin } = sa;
  const { spiInitiator, spiResponder } = made;
  const successor = sa.env.create({ number, role, profile, path, nattPath, spiInitiator, spiResponder, origin }, now);
  Object.assign(successor.peer, sa.peer);
  Object.assign(successor.grant, sa.grant);
  Object.assign(successor.extensions, sa.extensions);
  successor.nat = sa.nat;
  successor.everUp = true;
  successor.state = 'established';
  successor.useKeys(made.algorithms, made.keys);
  return successor;
}

/** The connection goes on under `successor`. */
function promote(sa: IkeSa, successor: IkeSa, reason: RekeyReason, now: Instant): void {
  successor.path = sa.path;
  moveChildren(sa, successor);
  sa.replacedBy(successor, now);
  successor.clearTimer('linger');
  successor.startClocks(now);
  successor.env.emit({ kind: 'ike-rekeyed', ikeSa: successor.number, profile: successor.profile.name, spis: successor.spis, suite: successor.suiteText });
  successor.log('info', 'IKE SA rekeyed', { algorithms: successor.suiteText, oldSpis: sa.spis });
  successor.history('IKE Rekeyed', REKEY_REASONS[reason], { replaces: sa.spis });
  sa.history('IKE Replaced', REKEY_REASONS[reason], { replacedBy: successor.spis });
}

/** Deletes an SA that a rekey made and that the connection does not go on under. */
function deleteUnused(sa: IkeSa, now: Instant): void {
  sa.state = 'deleting';
  sa.conversation.enqueue({ row: ownRow('informational'), tasks: [endRequest('delete', 'redundant')] }, now);
}

export class IkeRekeyRequest implements Task {
  /** The peer takes the new SA into use when it answers. */
  readonly outlivesSa = true;
  readonly #reason: RekeyReason;
  #spi: Uint8Array | undefined;
  #nonce: Uint8Array = new Uint8Array(0);
  #keyExchange: KeyExchange | undefined;
  #agreed: Agreed | undefined;
  #additional: AdditionalRequest | undefined;
  #made: Negotiated | undefined;
  #retried = false;
  #refusedAs: number | undefined;
  /** The peer's own rekey, which we answered while ours was on its way. */
  rival: IkeRekeyAnswer | undefined;

  constructor(reason: RekeyReason) {
    this.#reason = reason;
  }

  /** The peer has answered, and waits for the additional key exchange. */
  get followsUp(): boolean {
    return this.#additional !== undefined;
  }

  build(sa: IkeSa, out: Payload[]): void {
    if (this.#additional !== undefined) {
      out.push(...this.#additional.payloads());
      return;
    }
    const { env } = sa;
    this.#spi ??= env.allocateIkeSpi();
    if (this.#nonce.length === 0) this.#nonce = env.random.bytes(NONCE_BYTES);
    // The group in use is one that both ends know.
    this.#keyExchange ??= new KeyExchange(env.suite, env.random, sa.algorithms!.group);
    const proposals = encodeIkeProposals(offeredTo(sa), this.#spi);
    out.push({ kind: 'SA', proposals }, { kind: 'Nonce', data: this.#nonce }, this.#keyExchange.payload());
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const error = errorNotify(payloads);
    if (error?.type === NotifyType.INVALID_KE_PAYLOAD && !this.#retried && sa.state !== 'deleting') return this.#otherGroup(sa, wantedGroup(error.data));
    if (error !== undefined) {
      this.#refusedAs = error.type;
      return refusal(error.type, `the peer answered ${notifyName(error.type)}`);
    }
    if (this.#additional !== undefined) return this.#followedUp(sa, payloads);
    const nonces = { initiator: this.#nonce, responder: findPayload(payloads, 'Nonce')!.data };
    const answer = findPayload(payloads, 'SA')!.proposals;
    const algorithms = acceptIke(answer, offeredTo(sa), IKE_SPI_BYTES);
    const shared = algorithms?.group === this.#keyExchange!.group ? this.#keyExchange!.shared(findPayload(payloads, 'KE')!) : undefined;
    if (algorithms === undefined || shared === undefined) return refusal(NotifyType.NO_PROPOSAL_CHOSEN, "the peer's answer to the IKE rekey is not acceptable");
    this.#agreed = { algorithms, shared, nonces, spiInitiator: this.#spi!, spiResponder: answer[0]!.spi };
    if (algorithms.additional !== undefined) return this.#followUp(sa, algorithms.additional, linkOf(payloads));
    this.#made = negotiated(sa, this.#agreed);
    return undefined;
  }

  #followUp(sa: IkeSa, kem: KemId, link: Uint8Array | undefined): Verdict {
    if (link === undefined) return refusal(NotifyType.INVALID_SYNTAX, "the peer's answer does not say how the additional key exchange goes on");
    if (sa.state === 'deleting') return 'over';
    const rival = this.rival ?? pendingRekey(sa, sa);
    if (rival !== undefined && losesCollision(this.#agreed!.nonces, rival.nonces)) {
      // The peer goes on with its own, and knows as well as we do that ours is left here.
      sa.log('info', 'rekey collided with the peer', { kept: "the peer's" });
      return 'over';
    }
    this.#additional = new AdditionalRequest(sa, kem, link);
    return 'followup';
  }

  #followedUp(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const shared = this.#additional!.shared(sa, payloads);
    if (shared === undefined) return refusal(NotifyType.INVALID_SYNTAX, "the peer's answer to the additional key exchange is not acceptable");
    this.#made = negotiated(sa, this.#agreed!, shared);
    wipe(shared);
    return undefined;
  }

  #otherGroup(sa: IkeSa, group: number | undefined): Verdict {
    const ours: DhGroup | undefined = sa.profile.proposals.flatMap((proposal) => proposal.groups).find((id) => id === group);
    if (ours === undefined) return refusal(NotifyType.INVALID_KE_PAYLOAD, `the peer wants Diffie-Hellman group ${group}, which was not offered`);
    this.#retried = true;
    this.#keyExchange?.wipe();
    this.#keyExchange = new KeyExchange(sa.env.suite, sa.env.random, ours);
    return 'again';
  }

  finish(sa: IkeSa, now: Instant): void {
    const successor = makeSuccessor(sa, 'initiator', this.#made!, now);
    const rival = this.#liveRival;
    if (sa.state === 'deleting') {
      // The connection was ended while this was on its way; the peer took the new SA into use when it answered.
      deleteUnused(successor, now);
      if (rival !== undefined) deleteUnused(rival, now);
      return;
    }
    const competing = rival === undefined ? pendingRekey(sa, sa) : this.rival;
    if (competing !== undefined) {
      const lost = losesCollision(this.#agreed!.nonces, competing.nonces);
      sa.log('info', 'rekey collided with the peer', { kept: lost ? "the peer's" : 'ours' });
      if (lost) {
        if (rival !== undefined) promote(sa, rival, 'peer', now);
        deleteUnused(successor, now);
        return;
      }
    }
    promote(sa, successor, this.#reason, now);
    sa.conversation.enqueue({ row: ownRow('informational'), tasks: [endRequest('delete', 'rekeyed')] }, now);
  }

  /** The SA of the peer's rekey, unless the peer has deleted it meanwhile. */
  get #liveRival(): IkeSa | undefined {
    const successor = this.rival?.successor;
    return successor?.state === 'established' ? successor : undefined;
  }

  /** The peer deletes the old SA before it has answered our own rekey: its rekey is the one that counts. */
  yieldToRival(sa: IkeSa, now: Instant): void {
    const rival = this.#liveRival;
    if (rival !== undefined && sa.announced) promote(sa, rival, 'peer', now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#keyExchange?.wipe();
    this.#additional?.wipe();
    wipe(this.#agreed?.shared);
    const rival = this.#liveRival;
    if (sa.state === 'deleting' && rival !== undefined) deleteUnused(rival, now);
    if (sa.state !== 'established') return;
    if (rival !== undefined) this.yieldToRival(sa, now);
    else if (pendingRekey(sa, sa) === undefined) postponeRekey(sa, 'rekey-ike', this.#refusedAs === undefined ? 'no usable answer' : notifyName(this.#refusedAs), now);
  }
}

/** Of both roles. */
function offeredTo(sa: IkeSa): readonly IkeProposal[] {
  return knownTo(sa.peer.intermediate, sa.profile.proposals);
}

function refusal(type: number, cause: string): Failure {
  return { notify: type, cause, nextStep: '', scope: 'exchange' };
}

export class IkeRekeyAnswer implements Task, Continuation {
  #answer: Payload[] = [];
  #agreed: Agreed | undefined;
  #link: Uint8Array | undefined;
  #made: Negotiated | undefined;
  /** Once it is made. */
  successor: IkeSa | undefined;
  replaces: IkeSa | undefined;

  get nonces(): NoncePair {
    return this.#agreed!.nonces;
  }

  get kem(): KemId {
    return this.#agreed!.algorithms.additional!;
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const { env, conversation } = sa;
    this.replaces = sa;
    if (conversation.currentTasks.some((task) => task instanceof ChildRequest || task instanceof ChildDeletion)) {
      return refusal(NotifyType.TEMPORARY_FAILURE, 'a child SA is being made, rekeyed or deleted');
    }
    if (twinOf(sa)?.followsUp === true) return refusal(NotifyType.TEMPORARY_FAILURE, 'our own rekey of the IKE SA is nearly done');
    const ke = findPayload(payloads, 'KE')!;
    const offers = findPayload(payloads, 'SA')!.proposals;
    const spiResponder = env.allocateIkeSpi();
    const choice = chooseIke(offers, offeredTo(sa), ke.group, spiResponder, IKE_SPI_BYTES);
    if (choice === undefined) return refusal(NotifyType.NO_PROPOSAL_CHOSEN, mismatch(offers, encodeIkeProposals(offeredTo(sa), spiResponder)));
    const { algorithms, proposal } = choice;
    if (algorithms.group !== ke.group) {
      return { ...refusal(NotifyType.INVALID_KE_PAYLOAD, `the KE payload is of group ${groupName(ke.group)}, wanted is ${groupName(algorithms.group)}`), data: groupBytes(algorithms.group) };
    }
    const keyExchange = new KeyExchange(env.suite, env.random, algorithms.group);
    const ours = keyExchange.payload();
    const shared = keyExchange.shared(ke);
    if (shared === undefined) return refusal(NotifyType.INVALID_SYNTAX, "the peer's Diffie-Hellman value is not valid");
    const nonces = { initiator: findPayload(payloads, 'Nonce')!.data, responder: env.random.bytes(NONCE_BYTES) };
    const spiInitiator = offers.find((offer) => offer.number === proposal.number)!.spi;
    this.#agreed = { algorithms, shared, nonces, spiInitiator, spiResponder };
    this.#answer = [{ kind: 'SA', proposals: [proposal] }, { kind: 'Nonce', data: nonces.responder }, ours];
    if (algorithms.additional === undefined) {
      this.#made = negotiated(sa, this.#agreed);
      return undefined;
    }
    this.#link = newLink(sa);
    this.#answer.push(linkNotify(this.#link));
    return undefined;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push(...this.#answer);
  }

  finish(sa: IkeSa, now: Instant): void {
    const twin = twinOf(sa);
    if (twin !== undefined) twin.rival = this;
    if (this.#link === undefined) this.complete(sa, now);
    else awaitFollowup(sa, this.#link, this, now);
  }

  mix(sa: IkeSa, shared: Uint8Array): void {
    this.#made = negotiated(sa, this.#agreed!, shared);
  }

  complete(sa: IkeSa, now: Instant): void {
    this.successor = makeSuccessor(sa, 'responder', this.#made!, now);
    const twin = twinOf(sa);
    if (twin === undefined) return promote(sa, this.successor, 'peer', now);
    // Which of two that collide is kept is settled when ours is answered.
    twin.rival = this;
    this.successor.setTimer('linger', after(now, REDUNDANT_MS));
  }

  /** The peer does not go on: our own rekey, which may have made way for it, has its turn again. */
  drop(sa: IkeSa, now: Instant): void {
    wipe(this.#agreed!.shared);
    if (sa.state === 'established' && sa.timerAt('rekey-ike') === undefined && twinOf(sa) === undefined) postponeRekey(sa, 'rekey-ike', 'the peer did not go on with its own', now);
  }
}

function twinOf(sa: IkeSa): IkeRekeyRequest | undefined {
  return sa.conversation.currentTasks.find((task) => task instanceof IkeRekeyRequest);
}
