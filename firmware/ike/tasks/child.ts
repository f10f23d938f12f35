// Child SAs: the first one in IKE_AUTH, new ones and rekeys in CREATE_CHILD_SA (RFC 7296 1.2, 1.3, 2.8, 2.9,
// 2.17; RFC 9370 2.2.4).
import { wipe } from '../../../platform/bytes.ts';
import type { KemId } from '../../../platform/crypto.ts';
import type { Instant } from '../../../platform/time.ts';
import { NotifyType, notifyName, Protocol } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findPayload } from '../../wire/ike/payloads.ts';
import { narrowSelectors } from '../../wire/ike/selector.ts';
import { acceptChild, encodeChildProposals, firstChildGroup, knownTo, withoutExchanges } from '../algorithms.ts';
import type { ChildAlgorithms, ChildProposal } from '../algorithms.ts';
import type { ChildSa, NewChild } from '../child-sa.ts';
import { createChild, espSpiBytes, espSpiNumber, installChild, postponeRekey, removeChild } from '../child-sa.ts';
import type { Continuation } from '../followup.ts';
import { AdditionalRequest, linkOf, pendingRekey } from '../followup.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { RekeyReason } from '../input-output.ts';
import { KeyExchange, wantedGroup } from '../key-exchange.ts';
import { deriveChildKeys } from '../keymat.ts';
import type { NoncePair } from '../nonces.ts';
import { losesCollision, NONCE_BYTES } from '../nonces.ts';
import { refusalText, vxlanNotify, vxlanVni } from '../private-notifies.ts';
import type { Failure, Task, Verdict } from '../task.ts';
import { errorNotify } from '../task.ts';
import { deleteChildRequest } from './informational.ts';

export const MAX_SELECTORS = 16;
const NEXT_STEP = 'compare the ESP proposals, selectors and encapsulation of both ends';

export type ChildPurpose = { readonly kind: 'first' | 'create' } | { readonly kind: 'rekey'; readonly old: ChildSa; readonly reason: RekeyReason };

function refusal(type: number, cause: string): Failure {
  return { notify: type, cause, nextStep: NEXT_STEP, scope: 'exchange' };
}

/** Of both roles: what may be offered or chosen. */
export function childProposals(sa: IkeSa, first: boolean): readonly ChildProposal[] {
  const { childProposals: all } = sa.profile;
  return first ? withoutExchanges(all) : knownTo(sa.peer.intermediate, all);
}

/** What the exchange agrees on, before an additional key exchange. */
export interface AgreedChild extends Omit<NewChild, 'keyIn' | 'keyOut'> {
  /** Wiped when the keys are made. */
  readonly shared: Uint8Array | undefined;
  readonly nonces: NoncePair;
}

/** `role`: ours in the exchange. */
export function makeChild(sa: IkeSa, agreed: AgreedChild, role: 'initiator' | 'responder', additional?: Uint8Array): ChildSa {
  const { shared, nonces, algorithms } = agreed;
  const secrets = { shared, additional, nonceI: nonces.initiator, nonceR: nonces.responder };
  const { fromInitiator, fromResponder } = deriveChildKeys(sa.env.suite, sa.algorithms!.prf, sa.keys!.skD, algorithms, secrets);
  wipe(shared);
  const [keyIn, keyOut] = role === 'initiator' ? [fromResponder, fromInitiator] : [fromInitiator, fromResponder];
  return createChild(sa, { ...agreed, keyIn, keyOut });
}

/** The peer's Delete overtook its answer to us. Left here, the child would send into nothing until its lifetime ends. */
function endIfDeleted(sa: IkeSa, child: ChildSa, now: Instant): void {
  if (sa.deletedEarly.delete(child.outbound.spi)) removeChild(sa, child, 'the peer deleted it', now);
}

export class ChildRequest implements Task {
  readonly #purpose: ChildPurpose;
  #spi: number | undefined;
  #nonce: Uint8Array = new Uint8Array(0);
  #keyExchange: KeyExchange | undefined;
  #agreed: AgreedChild | undefined;
  #additional: AdditionalRequest | undefined;
  #child: ChildSa | undefined;
  #retried = false;
  #refusedAs: number | undefined;
  /** The peer's own rekey of the same child, which we answered while ours was on its way. */
  rival: Continuation | undefined;

  constructor(purpose: ChildPurpose) {
    this.#purpose = purpose;
  }

  get old(): ChildSa | undefined {
    return this.#purpose.kind === 'rekey' ? this.#purpose.old : undefined;
  }

  /** The peer has answered, and waits for the additional key exchange. */
  get followsUp(): boolean {
    return this.#additional !== undefined;
  }

  get #first(): boolean {
    return this.#purpose.kind === 'first';
  }

  /** A rekey keeps the encapsulation that was agreed on. */
  #vni(sa: IkeSa): number | undefined {
    return this.old === undefined ? sa.profile.vxlan?.vni : this.old.vxlanVni;
  }

  build(sa: IkeSa, out: Payload[]): void {
    if (this.#additional !== undefined) {
      out.push(...this.#additional.payloads());
      return;
    }
    const { profile, env } = sa;
    if (!this.#retried) sa.deletedEarly.clear();
    this.#spi ??= env.allocateEspSpi();
    const offered = childProposals(sa, this.#first);
    const proposals = encodeChildProposals(offered, espSpiBytes(this.#spi), !this.#first);
    if (this.old !== undefined) {
      this.old.state = 'rekeying';
      out.push({ kind: 'Notify', protocol: Protocol.ESP, spi: espSpiBytes(this.old.inbound.spi), type: NotifyType.REKEY_SA, data: new Uint8Array(0) });
    }
    out.push({ kind: 'SA', proposals });
    if (!this.#first) {
      if (this.#nonce.length === 0) this.#nonce = env.random.bytes(NONCE_BYTES);
      out.push({ kind: 'Nonce', data: this.#nonce });
      const group = firstChildGroup(offered);
      if (!this.#retried && group !== undefined) this.#keyExchange = new KeyExchange(env.suite, env.random, group);
      if (this.#keyExchange !== undefined) out.push(this.#keyExchange.payload());
    }
    const { local, remote } = profile.trafficSelectors;
    out.push({ kind: 'TSi', selectors: local }, { kind: 'TSr', selectors: remote });
    const vni = this.#vni(sa);
    if (vni !== undefined) out.push(vxlanNotify(vni));
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const error = errorNotify(payloads);
    if (error?.type === NotifyType.INVALID_KE_PAYLOAD && !this.#first && !this.#retried) return this.#otherGroup(sa, error.data);
    if (error !== undefined) {
      this.#refusedAs = error.type;
      const text = sa.peer.vendor ? refusalText(error.data) : undefined;
      return this.#fail(error.type, `the peer refuses the child SA: ${text ?? notifyName(error.type)}`);
    }
    if (this.#additional !== undefined) return this.#followedUp(sa, payloads);
    const agreed = this.#accept(sa, payloads);
    if (typeof agreed === 'string') return this.#fail(NotifyType.NO_PROPOSAL_CHOSEN, agreed);
    this.#agreed = agreed;
    if (agreed.algorithms.additional !== undefined) return this.#followUp(sa, agreed.algorithms.additional, linkOf(payloads));
    this.#child = makeChild(sa, agreed, 'initiator');
    return undefined;
  }

  #followUp(sa: IkeSa, kem: KemId, link: Uint8Array | undefined): Verdict {
    if (link === undefined) return this.#fail(NotifyType.INVALID_SYNTAX, "the peer's answer does not say how the additional key exchange goes on");
    // The peer's may have begun before ours, and be half done.
    if (this.old !== undefined) this.rival ??= pendingRekey(sa, this.old);
    if (this.rival !== undefined && losesCollision(this.#agreed!.nonces, this.rival.nonces)) {
      // The peer goes on with its own, and knows as well as we do that ours is left here.
      sa.log('info', 'rekey collided with the peer', { child: this.old!.number, kept: "the peer's" });
      return 'over';
    }
    this.#additional = new AdditionalRequest(sa, kem, link);
    return 'followup';
  }

  #followedUp(sa: IkeSa, payloads: readonly Payload[]): Verdict {
    const shared = this.#additional!.shared(sa, payloads);
    if (shared === undefined) return this.#fail(NotifyType.INVALID_SYNTAX, "the peer's answer to the additional key exchange is not acceptable");
    this.#child = makeChild(sa, this.#agreed!, 'initiator', shared);
    wipe(shared);
    return undefined;
  }

  /** Without its first child an IKE SA is of no use here: it is deleted. A failed rekey leaves the old child. */
  #fail(type: number, cause: string): Failure {
    return this.old === undefined ? { ...refusal(type, cause), scope: 'ike', tell: 'delete' } : refusal(type, cause);
  }

  #otherGroup(sa: IkeSa, data: Uint8Array): Verdict {
    const group = sa.profile.childProposals.flatMap((proposal) => proposal.groups).find((id) => id === wantedGroup(data));
    if (group === undefined) return this.#fail(NotifyType.INVALID_KE_PAYLOAD, `the peer wants Diffie-Hellman group ${wantedGroup(data)}, which was not offered`);
    this.#retried = true;
    this.#keyExchange?.wipe();
    this.#keyExchange = new KeyExchange(sa.env.suite, sa.env.random, group);
    return 'again';
  }

  #accept(sa: IkeSa, payloads: readonly Payload[]): AgreedChild | string {
    const { profile } = sa;
    const answer = findPayload(payloads, 'SA')?.proposals ?? [];
    const nonce = findPayload(payloads, 'Nonce');
    const ke = findPayload(payloads, 'KE');
    const algorithms = acceptChild(answer, childProposals(sa, this.#first), ke?.group, !this.#first);
    const spiOut = espSpiNumber(answer[0]?.spi ?? new Uint8Array(0));
    if (algorithms === undefined || spiOut === 0) return 'the peer chose ESP algorithms that were not offered';
    const shared = this.#shared(algorithms, payloads);
    if (typeof shared === 'string') return shared;
    const { local, remote } = profile.trafficSelectors;
    const localSelectors = narrowSelectors(findPayload(payloads, 'TSi')?.selectors ?? [], local, MAX_SELECTORS);
    const remoteSelectors = narrowSelectors(findPayload(payloads, 'TSr')?.selectors ?? [], remote, MAX_SELECTORS);
    if (localSelectors.length === 0 || remoteSelectors.length === 0) return 'the peer chose traffic selectors that were not offered';
    const vni = this.#vni(sa);
    if (vni !== undefined && vxlanVni(payloads) !== vni) return `the peer did not agree to VXLAN encapsulation with VNI ${vni}`;
    const nonceI = this.#first ? sa.nonceInitiator : this.#nonce;
    const nonceR = this.#first ? sa.nonceResponder : (nonce?.data ?? new Uint8Array(0));
    const nonces = { initiator: nonceI, responder: nonceR };
    return { spiIn: this.#spi!, spiOut, shared, nonces, algorithms, localSelectors, remoteSelectors, vxlanVni: vni };
  }

  #shared(algorithms: ChildAlgorithms, payloads: readonly Payload[]): Uint8Array | undefined | string {
    if (algorithms.group === undefined) return undefined;
    const ke = findPayload(payloads, 'KE');
    if (ke === undefined || this.#keyExchange?.group !== algorithms.group) return 'the peer chose a Diffie-Hellman group without its KE payload';
    return this.#keyExchange.shared(ke) ?? "the peer's Diffie-Hellman value is not valid";
  }

  finish(sa: IkeSa, now: Instant): void {
    const child = this.#child!;
    const { old } = this;
    if (old === undefined) {
      installChild(sa, child, undefined, { initiator: true }, now);
      return endIfDeleted(sa, child, now);
    }
    this.rival ??= pendingRekey(sa, old);
    if (this.rival !== undefined) {
      const lost = losesCollision(this.#agreed!.nonces, this.rival.nonces);
      sa.log('info', 'rekey collided with the peer', { child: old.number, kept: lost ? "the peer's" : 'ours' });
      if (lost) {
        // Ours is redundant; the peer, whose child survives, deletes the old one.
        if (sa.pending?.continuation === this.rival) old.state = 'up';
        sa.conversation.enqueue(deleteChildRequest(child, 'redundant after a rekey collision'), now);
        return;
      }
    }
    // The peer may have deleted the old child meanwhile.
    const replaces = sa.children.has(old.number) ? old : undefined;
    installChild(sa, child, replaces, { initiator: true, ...(this.#purpose.kind === 'rekey' ? { reason: this.#purpose.reason } : {}) }, now);
    if (replaces !== undefined) sa.conversation.enqueue(deleteChildRequest(old, 'rekeyed'), now);
    endIfDeleted(sa, child, now);
  }

  abandon(sa: IkeSa, now: Instant): void {
    this.#keyExchange?.wipe();
    this.#additional?.wipe();
    wipe(this.#agreed?.shared);
    if (this.#spi !== undefined) sa.env.releaseEspSpi(this.#spi);
    const { old } = this;
    if (old?.state !== 'rekeying' || !sa.children.has(old.number) || sa.state !== 'established') return;
    old.state = 'up';
    if (pendingRekey(sa, old) !== undefined) return;
    if (this.#refusedAs === NotifyType.CHILD_SA_NOT_FOUND) removeChild(sa, old, 'the peer does not know it any more', now);
    else postponeRekey(sa, `rekey-child:${old.number}`, this.#refusedAs === undefined ? 'no usable answer' : notifyName(this.#refusedAs), now);
  }
}

