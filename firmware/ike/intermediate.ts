// What IKE_INTERMEDIATE adds to AUTH (RFC 9242 3.3): a running PRF over both ends' messages, so that nobody can change
// one of them unnoticed.
import { concat, Writer } from '../../platform/bytes.ts';
import type { HmacName, Suite } from '../../platform/crypto.ts';
import type { Header } from '../wire/ike/message.ts';
import { encodeMessage, firstTypeOf, HEADER_BYTES, PAYLOAD_HEADER_BYTES } from '../wire/ike/message.ts';
import { ExchangeType, PayloadType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import type { IkeSa } from './ike-sa.ts';

const NEXT_PAYLOAD_AT = 16;
const LENGTH_AT = 24;

/**
 * IntAuth_A | IntAuth_P of a message: as if it had been one SK payload without IV, padding and ICV (RFC 9242 3.3.2).
 * `header` is the IKE header of the message or of one of its fragments, `inner` the chain of payloads in SK.
 */
export function intermediateOctets(header: Uint8Array, firstPayload: number, inner: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = PAYLOAD_HEADER_BYTES + inner.length;
  const writer = new Writer(HEADER_BYTES + bytes).put(header.subarray(0, NEXT_PAYLOAD_AT)).u8(PayloadType.SK);
  writer.put(header.subarray(NEXT_PAYLOAD_AT + 1, LENGTH_AT)).u32(HEADER_BYTES + bytes);
  return writer.u8(firstPayload).u8(0).u16(bytes).put(inner).finish();
}

export class IntermediateTranscript {
  /** IntAuth_i and IntAuth_r of the exchanges so far. */
  readonly #sums = { initiator: new Uint8Array(0), responder: new Uint8Array(0) } as Record<'initiator' | 'responder', Uint8Array>;
  #exchanges = 0;

  /** A message of `sender`; `skP` is the sender's SK_p in use before this exchange. Requests come before responses. */
  add(suite: Suite, prf: HmacName, skP: Uint8Array, sender: 'initiator' | 'responder', octets: Uint8Array): void {
    this.#sums[sender] = suite.hmac(prf, skP, this.#sums[sender], octets);
    if (sender === 'responder') this.#exchanges++;
  }

  /** What follows in the signed octets of AUTH: IntAuth_iN | IntAuth_rN | message id of the first IKE_AUTH; empty without any exchange. */
  get signed(): Uint8Array {
    if (this.#exchanges === 0) return new Uint8Array(0);
    const messageId = new Writer(4).u32(this.#exchanges + 1).finish();
    return concat(this.#sums.initiator, this.#sums.responder, messageId);
  }
}

/** Adds a message that we are about to seal, if it is one of IKE_INTERMEDIATE. */
export function noteSent(sa: IkeSa, header: Header, payloads: readonly Payload[]): void {
  if (header.exchange !== ExchangeType.IKE_INTERMEDIATE) return;
  const bytes = encodeMessage(header, payloads);
  note(sa, header.response, intermediateOctets(bytes, firstTypeOf(payloads), bytes.subarray(HEADER_BYTES)));
}

/** Adds an authentic message of the peer, or the last of its fragments, before the exchange changes the keys. */
export function noteReceived(sa: IkeSa, header: Header, bytes: Uint8Array, opened: { readonly firstPayload: number; readonly inner: Uint8Array }): void {
  if (header.exchange === ExchangeType.IKE_INTERMEDIATE) note(sa, header.response, intermediateOctets(bytes, opened.firstPayload, opened.inner));
}

function note({ env, keys, algorithms, intermediates }: IkeSa, response: boolean, octets: Uint8Array): void {
  if (response) intermediates.add(env.suite, algorithms!.prf, keys!.skPr, 'responder', octets);
  else intermediates.add(env.suite, algorithms!.prf, keys!.skPi, 'initiator', octets);
}
