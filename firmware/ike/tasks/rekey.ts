// Rekeying the IKE SA (RFC 7296 1.3.2, 2.8, 2.18, 2.25.2). Children move to the new SA; whoever began the surviving
// rekey deletes the old SA, and in a collision whoever made the redundant SA deletes that.
import { wipe } from '../../../platform/bytes.ts';
import type { DhGroup } from '../../../platform/crypto.ts';
import type { Instant } from '../../../platform/time.ts';
import { after } from '../../../platform/time.ts';
import { NotifyType, notifyName } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findPayload } from '../../wire/ike/payloads.ts';
import type { IkeAlgorithms } from '../algorithms.ts';
import { acceptIke, chooseIke, encodeIkeProposals, withoutAdditional } from '../algorithms.ts';
import { moveChildren, postponeRekey } from '../child-sa.ts';
import { ownRow } from '../exchanges.ts';
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

interface Rival {
  readonly successor: IkeSa;
  readonly nonces: NoncePair;
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
  readonly #reason: RekeyReason;
  #spi: Uint8Array | undefined;
  #nonce: Uint8Array = new Uint8Array(0);
  #keyExchange: KeyExchange | undefined;
  #made: Negotiated | undefined;
  #nonces: NoncePair | undefined;
  #retried = false;
  #refusedAs: number | undefined;
  /** What came of the peer's own rekey, which we answered while ours was on its way. */
  rival: Rival | undefined;

  constructor(reason: RekeyReason) {
    this.#reason = reason;
  }

  build(sa: IkeSa, out: Payload[]): void {
    const { env, profile } = sa;
    this.#spi ??= env.allocateIkeSpi();
    if (this.#nonce.length === 0) this.#nonce = env.random.bytes(NONCE_BYTES);
    // The group in use is one that both ends know.
    this.#keyExchange ??= new KeyExchange(env.suite, env.random, sa.algorithms!.group);
    const proposals = encodeIkeProposals(withoutAdditional(profile.proposals), this.#spi);
    out.push({ kind: 'SA', proposals }, { kind: 'Nonce', data: this.#nonce }, this.#keyExchange.payload());
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const error = errorNotify(payloads);
    if (error?.type === NotifyType.INVALID_KE_PAYLOAD && !this.#retried && sa.state !== 'deleting') return this.#otherGroup(sa, wantedGroup(error.data));
    if (error !== undefined) {
      this.#refusedAs = error.type;
      return refusal(error.type, `the peer answered ${notifyName(error.type)}`);
    }
    const ke = findPayload(payloads, 'KE')!;
    const nonce = findPayload(payloads, 'Nonce')!;
    const answer = findPayload(payloads, 'SA')!.proposals;
    const algorithms = acceptIke(answer, withoutAdditional(sa.profile.proposals), IKE_SPI_BYTES);
    const shared = algorithms?.group === this.#keyExchange!.group ? this.#keyExchange!.shared(ke) : undefined;
    if (algorithms === undefined || shared === undefined) return refusal(NotifyType.NO_PROPOSAL_CHOSEN, "the peer's answer to the IKE rekey is not acceptable");
    const spiInitiator = this.#spi!;
    const spiResponder = answer[0]!.spi;
    const secrets = { shared, nonceI: this.#nonce, nonceR: nonce.data, spiI: spiInitiator, spiR: spiResponder };
    const keys = deriveRekeyedIkeKeys(sa.env.suite, sa.algorithms!.prf, sa.keys!.skD, algorithms, secrets);
    wipe(shared);
    this.#nonces = { initiator: this.#nonce, responder: nonce.data };
    this.#made = { algorithms, keys, spiInitiator, spiResponder };
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
      if (rival !== undefined) deleteUnused(rival.successor, now);
      return;
    }
    if (rival !== undefined) {
      const lost = losesCollision(this.#nonces!, rival.nonces);
      sa.log('info', 'rekey collided with the peer', { kept: lost ? "the peer's" : 'ours' });
      if (lost) {
        promote(sa, rival.successor, 'peer', now);
        deleteUnused(successor, now);
        return;
      }
    }
    promote(sa, successor, this.#reason, now);
    sa.conversation.enqueue({ row: ownRow('informational'), tasks: [endRequest('delete', 'rekeyed')] }, now);
  }

  /** Unless the peer has deleted it meanwhile. */
  get #liveRival(): Rival | undefined {
    return this.rival?.successor.state === 'established' ? this.rival : undefined;
  }

  /** The peer deletes the old SA before it has answered our own rekey: its rekey is the one that counts. */
  yieldToRival(sa: IkeSa, now: Instant): void {
    const rival = this.#liveRival;
    if (rival !== undefined && sa.announced) promote(sa, rival.successor, 'peer', now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#keyExchange?.wipe();
    const rival = this.#liveRival;
    if (sa.state === 'deleting' && rival !== undefined) deleteUnused(rival.successor, now);
    if (sa.state !== 'established') return;
    if (rival !== undefined) this.yieldToRival(sa, now);
    else postponeRekey(sa, 'rekey-ike', this.#refusedAs === undefined ? 'no usable answer' : notifyName(this.#refusedAs), now);
  }
}

function refusal(type: number, cause: string): Failure {
  return { notify: type, cause, nextStep: '', scope: 'exchange' };
}

export class IkeRekeyAnswer implements Task {
  #answer: Payload[] = [];
  #made: Negotiated | undefined;
  #nonces: NoncePair | undefined;

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const { env, profile, conversation } = sa;
    if (conversation.currentTasks.some((task) => task instanceof ChildRequest || task instanceof ChildDeletion)) {
      return refusal(NotifyType.TEMPORARY_FAILURE, 'a child SA is being made, rekeyed or deleted');
    }
    const ke = findPayload(payloads, 'KE')!;
    const offers = findPayload(payloads, 'SA')!.proposals;
    const spiResponder = env.allocateIkeSpi();
    const choice = chooseIke(offers, withoutAdditional(profile.proposals), ke.group, spiResponder, IKE_SPI_BYTES);
    if (choice === undefined) return refusal(NotifyType.NO_PROPOSAL_CHOSEN, mismatch(offers, encodeIkeProposals(withoutAdditional(profile.proposals), spiResponder)));
    const { algorithms, proposal } = choice;
    if (algorithms.group !== ke.group) {
      return { ...refusal(NotifyType.INVALID_KE_PAYLOAD, `the KE payload is of group ${groupName(ke.group)}, wanted is ${groupName(algorithms.group)}`), data: groupBytes(algorithms.group) };
    }
    const keyExchange = new KeyExchange(env.suite, env.random, algorithms.group);
    const ours = keyExchange.payload();
    const shared = keyExchange.shared(ke);
    if (shared === undefined) return refusal(NotifyType.INVALID_SYNTAX, "the peer's Diffie-Hellman value is not valid");
    const nonceI = findPayload(payloads, 'Nonce')!.data;
    const nonceR = env.random.bytes(NONCE_BYTES);
    const spiInitiator = offers.find((offer) => offer.number === proposal.number)!.spi;
    const secrets = { shared, nonceI, nonceR, spiI: spiInitiator, spiR: spiResponder };
    const keys = deriveRekeyedIkeKeys(env.suite, sa.algorithms!.prf, sa.keys!.skD, algorithms, secrets);
    wipe(shared);
    this.#answer = [{ kind: 'SA', proposals: [proposal] }, { kind: 'Nonce', data: nonceR }, ours];
    this.#nonces = { initiator: nonceI, responder: nonceR };
    this.#made = { algorithms, keys, spiInitiator, spiResponder };
    return undefined;
  }

  build(_sa: IkeSa, out: Payload[]): void {
    out.push(...this.#answer);
  }

  finish(sa: IkeSa, now: Instant): void {
    const successor = makeSuccessor(sa, 'responder', this.#made!, now);
    const twin = sa.conversation.currentTasks.find((task) => task instanceof IkeRekeyRequest);
    if (twin instanceof IkeRekeyRequest) {
      twin.rival = { successor, nonces: this.#nonces! };
      successor.setTimer('linger', after(now, REDUNDANT_MS));
      return;
    }
    promote(sa, successor, 'peer', now);
  }
}
