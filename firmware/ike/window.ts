// Message ids with a window of one, replies kept for retransmitted requests, and our own retransmission
// (RFC 7296 2.1-2.3).
import type { Random } from '../../platform/random.ts';
import { randomBelow } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { after } from '../../platform/time.ts';

export interface Retransmission {
  readonly initialMs: number;
  readonly factor: number;
  readonly longestMs: number;
  /** Sendings in all, the first included. */
  readonly tries: number;
  /** Each wait is lengthened by up to this share, so that a thousand peers do not retransmit in step. */
  readonly jitter: number;
}

/** 1, 2, 4, 8, 16, 16 s: a peer that is gone is given up after about 50 s. */
export const DEFAULT_RETRANSMISSION: Retransmission = { initialMs: 1000, factor: 2, longestMs: 16_000, tries: 6, jitter: 0.1 };

interface Outstanding {
  readonly messageId: number;
  readonly messages: readonly Uint8Array[];
  sendings: number;
}

export type RequestVerdict = 'new' | 'repeated' | 'outside';

export class Window {
  readonly #policy: Retransmission;
  readonly #random: Random;
  #nextId = 0;
  #expectedId = 0;
  #outstanding: Outstanding | undefined;
  #reply: readonly Uint8Array[] = [];

  constructor(policy: Retransmission, random: Random) {
    this.#policy = policy;
    this.#random = random;
  }

  get busy(): boolean {
    return this.#outstanding !== undefined;
  }

  /** Id of the request that goes out next (or again, after `rebuild`). */
  get nextId(): number {
    return this.#nextId;
  }

  get outstandingId(): number | undefined {
    return this.#outstanding?.messageId;
  }

  /** Returns when to retransmit. */
  sent(messages: readonly Uint8Array[], now: Instant): Instant {
    this.#outstanding = { messageId: this.#nextId, messages, sendings: 1 };
    return after(now, this.#waitMs(1));
  }

  /** The next retransmission's messages and deadline, or undefined when it is time to give up. */
  retransmit(now: Instant): { messages: readonly Uint8Array[]; next: Instant } | undefined {
    const out = this.#outstanding;
    if (out === undefined || out.sendings >= this.#policy.tries) return undefined;
    out.sendings++;
    return { messages: out.messages, next: after(now, this.#waitMs(out.sendings)) };
  }

  get outstanding(): readonly Uint8Array[] {
    return this.#outstanding?.messages ?? [];
  }

  get sendings(): number {
    return this.#outstanding?.sendings ?? 0;
  }

  /** The response is in: the id is used up. */
  answered(): void {
    this.#outstanding = undefined;
    this.#nextId++;
  }

  /** The request must be built anew under the same id (COOKIE, INVALID_KE_PAYLOAD in IKE_SA_INIT). */
  rebuild(): void {
    this.#outstanding = undefined;
  }

  judgeRequest(messageId: number): RequestVerdict {
    if (messageId === this.#expectedId) return 'new';
    return messageId === this.#expectedId - 1 ? 'repeated' : 'outside';
  }

  /** Keeps the reply to the request that was just handled. */
  remember(reply: readonly Uint8Array[]): void {
    this.#reply = reply;
    this.#expectedId++;
  }

  get cachedReply(): readonly Uint8Array[] {
    return this.#reply;
  }

  #waitMs(sendings: number): number {
    const { initialMs, factor, longestMs, jitter } = this.#policy;
    const wait = Math.min(longestMs, initialMs * factor ** (sendings - 1));
    return wait + randomBelow(this.#random, Math.floor(wait * jitter) + 1);
  }
}
