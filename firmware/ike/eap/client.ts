// The peer's side of EAP (RFC 3748 4, 5): says who it is, answers one method, and takes a success only after the method
// has authenticated the server. Sans-IO; nothing that the server sends throws.
import { utf8 } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { TlsStep } from '../../../platform/tls-engine.ts';
import type { EapPacket } from '../../wire/eap.ts';
import { decodeEap, EapType, encodeEap } from '../../wire/eap.ts';
import type { CertificateFacts } from '../input-output.ts';
import type { ClientMethodStep, EapClientMethod, Wait } from './method.ts';

/** Requests that are not the method's: for the identity, and notifications. */
const MAX_OTHER_REQUESTS = 4;

export type EapClientStep =
  | { readonly kind: 'send'; readonly packet: Uint8Array }
  /** The method's key is in `msk`. */
  | { readonly kind: 'success' }
  | { readonly kind: 'failed'; readonly cause: string }
  | Wait;

export class EapClient {
  readonly #identity: string;
  readonly #method: EapClientMethod;
  #requests = 0;
  #otherRequests = 0;
  #identifier = 0;
  /** Why the server refuses the user, once it has said so. */
  #refusal: string | undefined;

  constructor(identity: string, method: EapClientMethod) {
    this.#identity = identity;
    this.#method = method;
  }

  /** Undefined until the server has proven itself. */
  get msk(): Uint8Array | undefined {
    return this.#method.msk;
  }

  get certificate(): CertificateFacts | undefined {
    return this.#method.certificate;
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

  #respond({ identifier, type, data }: Extract<EapPacket, { code: 'request' | 'response' }>): EapClientStep {
    this.#identifier = identifier;
    if (type === this.#method.type) {
      const { maxRequests } = this.#method;
      if (++this.#requests > maxRequests) return { kind: 'failed', cause: `the server sends more than ${maxRequests} EAP requests` };
      return this.#follow(this.#method.receive(data));
    }
    if (++this.#otherRequests > MAX_OTHER_REQUESTS) return { kind: 'failed', cause: `the server sends more than ${MAX_OTHER_REQUESTS} EAP requests that are not of its method` };
    if (type === EapType.identity) return this.#answer(type, utf8(this.#identity));
    // Its text is for people; it may be anything.
    if (type === EapType.notification) return this.#answer(type, new Uint8Array(0));
    return this.#answer(EapType.nak, Uint8Array.of(this.#method.type));
  }

  /** TLS has worked on what the last packet brought. */
  resume(step: TlsStep): EapClientStep {
    return this.#follow(this.#method.resume!(step));
  }

  #follow(step: ClientMethodStep): EapClientStep {
    if (step.kind === 'wait') return step;
    if (step.kind === 'failure') return { kind: 'failed', cause: step.cause };
    if (step.kind === 'refused') this.#refusal = step.cause;
    return this.#answer(this.#method.type, step.data);
  }

  #answer(type: number, data: Uint8Array): EapClientStep {
    return { kind: 'send', packet: encodeEap({ code: 'response', identifier: this.#identifier, type, data }) };
  }

  wipe(): void {
    this.#method.wipe();
  }
}
