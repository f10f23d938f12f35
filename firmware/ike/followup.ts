// The additional key exchange of a CREATE_CHILD_SA (RFC 9370 2.2.4): after the exchange itself, which made a first secret,
// the initiator sends an encapsulation key in IKE_FOLLOWUP_KE and the responder answers with a ciphertext. A link that
// the responder made up ties the exchanges together. Only when both secrets are there is anything made of them.
import { equalBytes, wipe } from '../../platform/bytes.ts';
import type { KemId, KemKeyPair } from '../../platform/crypto.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';
import { NotifyType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { findNotify, findPayload, notify } from '../wire/ike/payloads.ts';
import type { ChildSa } from './child-sa.ts';
import type { IkeSa } from './ike-sa.ts';
import type { NoncePair } from './nonces.ts';

const LINK_BYTES = 8;
const MOST_LINK_BYTES = 256;
/** A peer that does not go on by then is not waited for. */
const PENDING_MS = 30_000;

/** What the responder has left half done. */
export interface Continuation {
  readonly kem: KemId;
  /** What a rekey replaces. */
  readonly replaces: ChildSa | IkeSa | undefined;
  readonly nonces: NoncePair;
  /** The second secret is there; it is wiped by the caller. */
  mix(sa: IkeSa, shared: Uint8Array): void;
  complete(sa: IkeSa, now: Instant): void;
  /** The peer did not go on. */
  drop(sa: IkeSa, now: Instant): void;
}

export interface PendingExchange {
  readonly link: Uint8Array;
  readonly continuation: Continuation;
}

/** Waits for the peer's IKE_FOLLOWUP_KE. One at a time: whoever begins another exchange like this has given up the last. */
export function awaitFollowup(sa: IkeSa, link: Uint8Array, continuation: Continuation, now: Instant): void {
  dropPending(sa, now);
  sa.pending = { link, continuation };
  sa.setTimer('followup', after(now, PENDING_MS));
}

export function dropPending(sa: IkeSa, now: Instant): void {
  const { pending } = sa;
  sa.pending = undefined;
  sa.clearTimer('followup');
  pending?.continuation.drop(sa, now);
}

/** The peer's rekey of this SA, if it is half done. */
export function pendingRekey(sa: IkeSa, replaces: ChildSa | IkeSa): Continuation | undefined {
  return sa.pending?.continuation.replaces === replaces ? sa.pending.continuation : undefined;
}

export function newLink(sa: IkeSa): Uint8Array {
  return sa.env.random.bytes(LINK_BYTES);
}

export function linkNotify(link: Uint8Array): Payload {
  return notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link);
}

/** The link in a message of the peer. */
export function linkOf(payloads: readonly Payload[]): Uint8Array | undefined {
  const link = findNotify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)?.data;
  return link === undefined || link.length === 0 || link.length > MOST_LINK_BYTES ? undefined : link;
}

export function pendingOf(sa: IkeSa, payloads: readonly Payload[]): Continuation | undefined {
  const link = linkOf(payloads);
  return sa.pending !== undefined && link !== undefined && equalBytes(link, sa.pending.link) ? sa.pending.continuation : undefined;
}

/** The initiator's half. */
export class AdditionalRequest {
  readonly #pair: KemKeyPair;
  readonly #link: Uint8Array;

  constructor(sa: IkeSa, kem: KemId, link: Uint8Array) {
    this.#pair = sa.env.suite.kemGenerate(kem, sa.env.random);
    this.#link = link;
  }

  payloads(): Payload[] {
    return [{ kind: 'KE', group: this.#pair.kem, data: this.#pair.publicKey }, linkNotify(this.#link)];
  }

  /** The second secret, owned by the caller, or undefined when the answer is not one. Ends the exchange. */
  shared(sa: IkeSa, payloads: readonly Payload[]): Uint8Array | undefined {
    const ke = findPayload(payloads, 'KE');
    // Another link would mean another key exchange, and one is what was agreed.
    const fits = ke?.group === this.#pair.kem && linkOf(payloads) === undefined;
    const secret = fits ? sa.env.suite.kemDecapsulate(this.#pair, ke.data) : undefined;
    this.wipe();
    return secret;
  }

  wipe(): void {
    wipe(this.#pair.privateKey);
  }
}
