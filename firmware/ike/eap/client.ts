// The peer's side of EAP (RFC 3748 4, 5): says who it is, answers one method, and takes a success only after the method
// has authenticated the server. Sans-IO; nothing that the server sends throws.
import { utf8 } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { EapPacket } from '../../wire/eap.ts';
import { decodeEap, EapType, encodeEap } from '../../wire/eap.ts';
import type { EapClientMethod, EapTools } from './method.ts';
import { MsChapV2Client } from './mschapv2.ts';

/** Requests that a conversation takes. */
const MAX_REQUESTS = 12;

export type EapClientStep =
  | { readonly kind: 'send'; readonly packet: Uint8Array }
  /** The method's key is in `msk`. */
  | { readonly kind: 'success' }
  | { readonly kind: 'failed'; readonly cause: string };

export class EapClient {
  readonly #identity: string;
  readonly #method: EapClientMethod;
  #requests = 0;
  /** Why the server refuses the user, once it has said so. */
  #refusal: string | undefined;

  constructor(tools: EapTools, identity: string, password: string) {
    this.#identity = identity;
    this.#method = new MsChapV2Client(tools, identity, password);
  }

  /** Undefined until the server has proven itself. */
  get msk(): Uint8Array | undefined {
    return this.#method.msk;
  }

  get refusal(): string | undefined {
    return this.#refusal;
  }

  receive(bytes: Uint8Array): EapClientStep {
    try {
      return this.#receive(decodeEap(bytes));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { kind: 'failed', cause: `the server's EAP packet is malformed: ${error.message}` };
    }
  }

  #receive(packet: EapPacket): EapClientStep {
    switch (packet.code) {
      case 'request':
        return this.#respond(packet);
      case 'success':
        // Anybody in between could say so: only the method's own proof counts (RFC 3748 7.16).
        return this.msk === undefined ? { kind: 'failed', cause: 'the server claims success without having proven itself' } : { kind: 'success' };
      case 'failure':
        return { kind: 'failed', cause: this.#refusal ?? 'the server refuses the user' };
      default:
        return { kind: 'failed', cause: 'the server sends an EAP response' };
    }
  }

  #respond(packet: Extract<EapPacket, { code: 'request' | 'response' }>): EapClientStep {
    if (++this.#requests > MAX_REQUESTS) return { kind: 'failed', cause: `the server sends more than ${MAX_REQUESTS} EAP requests` };
    const answer = (type: number, data: Uint8Array): EapClientStep => ({ kind: 'send', packet: encodeEap({ code: 'response', identifier: packet.identifier, type, data }) });
    if (packet.type === EapType.identity) return answer(EapType.identity, utf8(this.#identity));
    // Its text is for people; it may be anything.
    if (packet.type === EapType.notification) return answer(EapType.notification, new Uint8Array(0));
    if (packet.type !== this.#method.type) return answer(EapType.nak, Uint8Array.of(this.#method.type));
    const step = this.#method.receive(packet.data);
    if (step.kind === 'failure') return { kind: 'failed', cause: step.cause };
    if (step.kind === 'refused') this.#refusal = step.cause;
    return answer(this.#method.type, step.data);
  }

  wipe(): void {
    this.#method.wipe();
  }
}
