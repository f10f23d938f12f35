// The responder's side of child SAs (RFC 7296 1.2, 1.3, 2.8, 2.9, 2.25).
import { utf8, wipe } from '../../../platform/bytes.ts';
import type { Instant } from '../../../platform/time.ts';
import { NotifyType, notifyName, Protocol } from '../../wire/ike/numbers.ts';
import type { Payload } from '../../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../../wire/ike/payloads.ts';
import type { TrafficSelector } from '../../wire/ike/selector.ts';
import { narrowSelectors } from '../../wire/ike/selector.ts';
import type { KemId } from '../../../platform/crypto.ts';
import type { ChildAlgorithms, Choice } from '../algorithms.ts';
import { chooseChild, encodeChildProposals } from '../algorithms.ts';
import type { ChildSa } from '../child-sa.ts';
import { espSpiBytes, espSpiNumber, installChild, postponeRekey } from '../child-sa.ts';
import type { Continuation } from '../followup.ts';
import { awaitFollowup, linkNotify, newLink } from '../followup.ts';
import type { IkeSa } from '../ike-sa.ts';
import { groupBytes, KeyExchange } from '../key-exchange.ts';
import { groupName, mismatch } from '../mismatch.ts';
import type { NoncePair } from '../nonces.ts';
import { NONCE_BYTES } from '../nonces.ts';
import { vxlanNotify, vxlanVni } from '../private-notifies.ts';
import type { Failure, Task } from '../task.ts';
import type { AgreedChild } from './child.ts';
import { childProposals, ChildRequest, makeChild, MAX_SELECTORS } from './child.ts';
import { IkeRekeyRequest } from './rekey.ts';

/** Children that one IKE SA may have at once, those being replaced included. */
const MAX_CHILDREN = 8;

interface Refusal {
  readonly notify: number;
  readonly espSpi?: Uint8Array;
  readonly data?: Uint8Array;
  readonly cause: string;
}

export class ChildAnswer implements Task, Continuation {
  readonly #purpose: 'first' | 'rekey' | 'create';
  #refusal: Refusal | undefined;
  #spi: number | undefined;
  #old: ChildSa | undefined;
  #agreed: AgreedChild | undefined;
  #link: Uint8Array | undefined;
  #child: ChildSa | undefined;
  #answer: Payload[] = [];

  constructor(purpose: 'first' | 'rekey' | 'create') {
    this.#purpose = purpose;
  }

  get kem(): KemId {
    return this.#agreed!.algorithms.additional!;
  }

  get replaces(): ChildSa | undefined {
    return this.#old;
  }

  get nonces(): NoncePair {
    return this.#agreed!.nonces;
  }

  process(sa: IkeSa, payloads: readonly Payload[]): Failure | undefined {
    const refusal = this.#negotiate(sa, payloads);
    if (refusal === undefined) return undefined;
    if (this.#purpose !== 'first') return { ...refusal, nextStep: '', scope: 'exchange' };
    // IKE_AUTH succeeds all the same; the child's refusal travels in its answer (RFC 7296 1.2).
    this.#refusal = refusal;
    sa.env.emit({ kind: 'refused', answer: notifyName(refusal.notify) });
    sa.log('warning', 'child SA refused', { cause: refusal.cause });
    return undefined;
  }

  #negotiate(sa: IkeSa, payloads: readonly Payload[]): Refusal | undefined {
    const obstacle = this.#obstacle(sa, payloads);
    if (obstacle !== undefined) return obstacle;
    const { profile, env } = sa;
    const first = this.#purpose === 'first';
    const ke = findPayload(payloads, 'KE');
    const spi = env.allocateEspSpi();
    this.#spi = spi;
    const acceptable = childProposals(sa, first);
    const choice = chooseChild(findPayload(payloads, 'SA')!.proposals, acceptable, ke?.group, espSpiBytes(spi), !first);
    if (choice === undefined) {
      const allowed = encodeChildProposals(acceptable, espSpiBytes(spi), !first);
      return { notify: NotifyType.NO_PROPOSAL_CHOSEN, cause: mismatch(findPayload(payloads, 'SA')!.proposals, allowed) };
    }
    const { group } = choice.algorithms;
    if (group !== undefined && ke?.group !== group) {
      return { notify: NotifyType.INVALID_KE_PAYLOAD, data: groupBytes(group), cause: `${ke === undefined ? 'there is no KE payload' : `the KE payload is of group ${groupName(ke.group)}`}, wanted is ${groupName(group)}` };
    }
    const { local, remote } = profile.trafficSelectors;
    const remoteSelectors = narrowSelectors(findPayload(payloads, 'TSi')!.selectors, ofUser(sa, remote), MAX_SELECTORS);
    const localSelectors = narrowSelectors(findPayload(payloads, 'TSr')!.selectors, local, MAX_SELECTORS);
    if (localSelectors.length === 0 || remoteSelectors.length === 0) return { notify: NotifyType.TS_UNACCEPTABLE, cause: 'the traffic selectors have nothing in common' };
    const vni = vxlanVni(payloads);
    if (vni !== undefined && profile.vxlan !== undefined && vni !== profile.vxlan.vni) {
      return { notify: NotifyType.NO_PROPOSAL_CHOSEN, cause: `the peer wants VNI ${vni}, configured is ${profile.vxlan.vni}` };
    }
    // Without the notify the peer is an ordinary one and gets ordinary ESP.
    const agreedVni = vni === undefined ? undefined : profile.vxlan?.vni;
    return this.#derive(sa, payloads, choice, { localSelectors, remoteSelectors, vxlanVni: agreedVni });
  }

  #obstacle(sa: IkeSa, payloads: readonly Payload[]): Refusal | undefined {
    if (this.#purpose === 'first') return wantsAddressInVain(sa, payloads) ? { notify: NotifyType.FAILED_CP_REQUIRED, cause: 'no overlay address can be assigned' } : undefined;
    if (sa.conversation.currentTasks.some((task) => task instanceof IkeRekeyRequest)) {
      return { notify: NotifyType.TEMPORARY_FAILURE, cause: 'the IKE SA itself is being rekeyed' };
    }
    if (sa.children.size >= MAX_CHILDREN) return { notify: NotifyType.NO_ADDITIONAL_SAS, cause: `${MAX_CHILDREN} child SAs exist already` };
    if (this.#purpose === 'create') return undefined;
    const named = findNotify(payloads, NotifyType.REKEY_SA)!.spi;
    this.#old = [...sa.children.values()].find((child) => child.outbound.spi === espSpiNumber(named));
    if (this.#old === undefined) {
      // The peer may have answered our own request, and the answer is not here yet: it would drop that child for good.
      const asked = sa.conversation.currentTasks.some((task) => task instanceof ChildRequest);
      if (asked) return { notify: NotifyType.TEMPORARY_FAILURE, cause: 'the child SA to rekey may be one that is being made' };
      return { notify: NotifyType.CHILD_SA_NOT_FOUND, espSpi: named, cause: 'the child SA to rekey is not known' };
    }
    if (twinOf(sa, this.#old)?.followsUp === true) return { notify: NotifyType.TEMPORARY_FAILURE, cause: 'our own rekey of the child SA is nearly done' };
    const { state } = this.#old;
    return state === 'up' || state === 'rekeying' ? undefined : { notify: NotifyType.TEMPORARY_FAILURE, cause: 'the child SA is being deleted' };
  }

  #derive(sa: IkeSa, payloads: readonly Payload[], choice: Choice<ChildAlgorithms>, agreed: Pick<ChildSa, 'localSelectors' | 'remoteSelectors' | 'vxlanVni'>): Refusal | undefined {
    const { algorithms, proposal } = choice;
    const { suite, random } = sa.env;
    const first = this.#purpose === 'first';
    const nonceI = first ? sa.nonceInitiator : findPayload(payloads, 'Nonce')!.data;
    const nonceR = first ? sa.nonceResponder : random.bytes(NONCE_BYTES);
    this.#answer.push({ kind: 'SA', proposals: [proposal] });
    if (!first) this.#answer.push({ kind: 'Nonce', data: nonceR });
    let shared: Uint8Array | undefined;
    if (algorithms.group !== undefined) {
      const keyExchange = new KeyExchange(suite, random, algorithms.group);
      this.#answer.push(keyExchange.payload());
      shared = keyExchange.shared(findPayload(payloads, 'KE')!);
      if (shared === undefined) return { notify: NotifyType.INVALID_SYNTAX, cause: "the peer's Diffie-Hellman value is not valid" };
    }
    this.#answer.push({ kind: 'TSi', selectors: agreed.remoteSelectors }, { kind: 'TSr', selectors: agreed.localSelectors });
    if (agreed.vxlanVni !== undefined) this.#answer.push(vxlanNotify(agreed.vxlanVni));
    const offer = findPayload(payloads, 'SA')!.proposals.find((entry) => entry.number === proposal.number && entry.protocol === Protocol.ESP)!;
    this.#agreed = { ...agreed, spiIn: this.#spi!, spiOut: espSpiNumber(offer.spi), shared, nonces: { initiator: nonceI, responder: nonceR }, algorithms };
    if (algorithms.additional === undefined) {
      this.#child = makeChild(sa, this.#agreed, 'responder');
      return undefined;
    }
    this.#link = newLink(sa);
    this.#answer.push(linkNotify(this.#link));
    return undefined;
  }

  build(sa: IkeSa, out: Payload[]): void {
    if (this.#refusal === undefined) {
      out.push(...this.#answer);
      return;
    }
    const { notify: type, cause } = this.#refusal;
    out.push(notify(type, sa.peer.vendor ? utf8(cause) : undefined));
  }

  finish(sa: IkeSa, now: Instant): void {
    if (this.#agreed === undefined) {
      this.abandon(sa);
      return;
    }
    const twin = twinOf(sa, this.#old);
    if (twin !== undefined) twin.rival = this;
    if (this.#link === undefined) this.complete(sa, now);
    else awaitFollowup(sa, this.#link, this, now);
  }

  mix(sa: IkeSa, shared: Uint8Array): void {
    this.#child = makeChild(sa, this.#agreed!, 'responder', shared);
  }

  complete(sa: IkeSa, now: Instant): void {
    const old = this.#old !== undefined && sa.children.has(this.#old.number) ? this.#old : undefined;
    const twin = twinOf(sa, old);
    if (twin !== undefined) twin.rival = this;
    installChild(sa, this.#child!, old, { initiator: false }, now);
  }

  /** The peer does not go on: our own rekey, which may have made way for it, has its turn again. */
  drop(sa: IkeSa, now: Instant): void {
    this.abandon(sa);
    const old = this.#old;
    const twin = twinOf(sa, old);
    if (twin?.rival === this) twin.rival = undefined;
    if (old?.state !== 'up' || !sa.children.has(old.number) || sa.state !== 'established') return;
    if (sa.timerAt(`rekey-child:${old.number}`) === undefined) postponeRekey(sa, `rekey-child:${old.number}`, 'the peer did not go on with its own', now);
  }

  abandon(sa: IkeSa): void {
    wipe(this.#agreed?.shared);
    if (this.#spi !== undefined) sa.env.releaseEspSpi(this.#spi);
  }
}

/** Our own rekey of the same child, on its way. */
function twinOf(sa: IkeSa, old: ChildSa | undefined): ChildRequest | undefined {
  return old === undefined ? undefined : sa.conversation.currentTasks.find((task): task is ChildRequest => task instanceof ChildRequest && task.old === old);
}

function wantsAddressInVain(sa: IkeSa, payloads: readonly Payload[]): boolean {
  return findPayload(payloads, 'CP') !== undefined && sa.grant.assigned === undefined;
}

/** An EAP user sends from the addresses that it was given, from no others. */
function ofUser(sa: IkeSa, allowed: readonly TrafficSelector[]): readonly TrafficSelector[] {
  const addresses = [sa.grant.assigned, sa.grant.alsoAssigned].filter((address) => address !== undefined);
  if (sa.profile.remoteAuth.kind !== 'eap' || addresses.length === 0) return allowed;
  const hosts = addresses.map((address) => ({ protocol: 0, startPort: 0, endPort: 65535, startAddress: address, endAddress: address }));
  return narrowSelectors(hosts, allowed, MAX_SELECTORS);
}
