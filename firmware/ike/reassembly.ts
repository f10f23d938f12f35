// Reassembly of one message's fragments (RFC 7383 2.6). Only authentic fragments come here, one message at a time.
import { concat } from '../../platform/bytes.ts';
import type { FragmentPosition } from '../wire/ike/sealed.ts';

const MAX_FRAGMENTS = 64;
const MAX_MESSAGE_BYTES = 32 * 1024;

export class Reassembly {
  #messageId = -1;
  #total = 0;
  #bytes = 0;
  #firstPayload = 0;
  readonly #pieces = new Map<number, Uint8Array>();

  /** The whole, once every fragment is there. `firstPayload` counts on fragment 1 only. */
  add(messageId: number, position: FragmentPosition, piece: Uint8Array, firstPayload: number): { inner: Uint8Array; firstPayload: number } | undefined {
    if (position.total > MAX_FRAGMENTS) return undefined;
    // A larger total means that the sender began again with smaller fragments; a smaller one is late.
    if (messageId !== this.#messageId || position.total > this.#total) this.#restart(messageId, position.total);
    if (position.total < this.#total || this.#pieces.has(position.number)) return undefined;
    if (this.#bytes + piece.length > MAX_MESSAGE_BYTES) return undefined;
    this.#bytes += piece.length;
    this.#pieces.set(position.number, piece);
    if (position.number === 1) this.#firstPayload = firstPayload;
    if (this.#pieces.size < this.#total) return undefined;
    const pieces = Array.from({ length: this.#total }, (_, i) => this.#pieces.get(i + 1)!);
    const whole = { inner: concat(...pieces), firstPayload: this.#firstPayload };
    this.#restart(-1, 0);
    return whole;
  }

  #restart(messageId: number, total: number): void {
    this.#messageId = messageId;
    this.#total = total;
    this.#bytes = 0;
    this.#pieces.clear();
  }
}
