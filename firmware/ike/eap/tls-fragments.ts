// TLS messages as EAP-TLS packets and back (RFC 5216 2.1.5): whoever gets a fragment with M asks for the next one by an
// empty packet, so either one message of ours or one of the peer's is on its way.
import { concat } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { EapTls } from '../../wire/eap-tls.ts';
import { EAP_TLS_EMPTY, encodeEapTls } from '../../wire/eap-tls.ts';

/** TLS data of one packet: with IKE around it no IP fragments, and no IKE fragments either. */
export const FRAGMENT_BYTES = 1024;
/** Of the peer: a chain of large certificates is about 16 KiB. */
const MAX_MESSAGE_BYTES = 32_768;

export type Arrival =
  /** A whole TLS message, or an empty one. */
  | { readonly kind: 'message'; readonly bytes: Uint8Array }
  /** Type data to be sent next. */
  | { readonly kind: 'send'; readonly data: Uint8Array };

export class TlsFragments {
  #outgoing: Uint8Array = new Uint8Array(0);
  #sent = 0;
  #incoming: Uint8Array[] = [];
  #received = 0;
  #claimed: number | undefined;

  /** Type data of the message, or of its first fragment. */
  send(message: Uint8Array): Uint8Array {
    this.#outgoing = message;
    this.#sent = 0;
    return this.#next();
  }

  #next(): Uint8Array {
    const first = this.#sent === 0;
    const data = this.#outgoing.subarray(this.#sent, this.#sent + FRAGMENT_BYTES);
    this.#sent += data.length;
    const more = this.#sent < this.#outgoing.length;
    // RFC 9190 2.1.1: L only in the first one of several.
    return encodeEapTls({ start: false, more, length: first && more ? this.#outgoing.length : undefined, data });
  }

  /** Throws WireError for a fragment that does not go with those before. */
  receive({ more, length, data }: EapTls): Arrival {
    if (this.#sent < this.#outgoing.length) {
      if (data.length > 0) throw new WireError('the peer does not ask for the next fragment of EAP-TLS');
      return { kind: 'send', data: this.#next() };
    }
    this.#claimed ??= length;
    this.#received += data.length;
    const limit = this.#claimed ?? MAX_MESSAGE_BYTES;
    if (limit > MAX_MESSAGE_BYTES) throw new WireError(`an EAP-TLS message claims ${limit} octets, at most ${MAX_MESSAGE_BYTES} are taken`);
    if (this.#received > limit) throw new WireError(`the fragments of an EAP-TLS message have ${this.#received} octets, ${limit} are allowed`);
    if (more && data.length === 0) throw new WireError('an EAP-TLS fragment is empty and announces more');
    this.#incoming.push(data);
    return more ? { kind: 'send', data: encodeEapTls(EAP_TLS_EMPTY) } : { kind: 'message', bytes: this.#whole() };
  }

  #whole(): Uint8Array {
    const bytes = concat(...this.#incoming);
    if (this.#claimed !== undefined && bytes.length !== this.#claimed) throw new WireError(`an EAP-TLS message claims ${this.#claimed} octets, it has ${bytes.length}`);
    this.#incoming = [];
    this.#received = 0;
    this.#claimed = undefined;
    return bytes;
  }
}
