// The authenticator's side of EAP (RFC 3748 4, 5): asks who the user is, then runs one method. Sans-IO; every packet of
// the peer gives one step, and nothing of it throws.
import { fromUtf8 } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import type { EapPacket } from '../../wire/eap.ts';
import { decodeEap, EapType, encodeEap } from '../../wire/eap.ts';
import type { EapCredentials, EapMethodName, EapServerMethod, EapTools } from './method.ts';
import { MsChapV2Server } from './mschapv2.ts';

/** Responses that a conversation takes; EAP-MSCHAPv2 with all its tries needs six. */
const MAX_RESPONSES = 12;
const MAX_IDENTITY_BYTES = 253;

export interface EapServerOptions extends EapTools {
  /** In order of preference; never empty. */
  readonly methods: readonly EapMethodName[];
  /** How a method that shows a name calls this end. */
  readonly name: string;
  lookup(identity: string): EapCredentials | undefined;
}

export type EapServerStep =
  /** `attempt`: the user has just been refused once, and why. */
  | { readonly kind: 'send'; readonly packet: Uint8Array; readonly attempt: string | undefined }
  | { readonly kind: 'failed'; readonly packet: Uint8Array; readonly cause: string };

type Response = Extract<EapPacket, { code: 'request' | 'response' }>;

export class EapServer {
  readonly #options: EapServerOptions;
  #method: EapServerMethod | undefined;
  #identifier: number;
  #responses = 0;
  #ended = false;
  /** What the user claims to be; proven once `msk` is there. Printable ASCII. */
  identity: string | undefined;
  /** Why the user was refused last. */
  refusal: string | undefined;
  /** Of a successful conversation. */
  msk: Uint8Array | undefined;

  constructor(options: EapServerOptions) {
    this.#options = options;
    this.#identifier = options.random.bytes(1)[0]!;
  }

  /** The request for the identity. */
  begin(): Uint8Array {
    return this.#request(EapType.identity, new Uint8Array(0));
  }

  receive(bytes: Uint8Array): EapServerStep {
    try {
      return this.#receive(decodeEap(bytes));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return this.#fail(error.message);
    }
  }

  #request(type: number, data: Uint8Array): Uint8Array {
    return encodeEap({ code: 'request', identifier: this.#identifier, type, data });
  }

  #next(type: number, data: Uint8Array, attempt?: string): EapServerStep {
    this.#identifier = (this.#identifier + 1) & 0xff;
    return { kind: 'send', packet: this.#request(type, data), attempt };
  }

  #fail(cause: string): EapServerStep {
    this.#ended = true;
    this.wipe();
    return { kind: 'failed', packet: encodeEap({ code: 'failure', identifier: this.#identifier }), cause };
  }

  #receive(packet: EapPacket): EapServerStep {
    if (this.#ended) return this.#fail('the EAP conversation has ended');
    if (packet.code !== 'response' || packet.identifier !== this.#identifier) return this.#fail("the peer's EAP packet is not the response to our request");
    if (++this.#responses > MAX_RESPONSES) return this.#fail(`the EAP conversation has more than ${MAX_RESPONSES} responses`);
    if (this.#method === undefined) return this.#begin(packet);
    if (packet.type === EapType.nak) return this.#fail(`the peer does not use EAP method ${this.#method.type}, it wants ${[...packet.data].join(', ') || 'none'}`);
    if (packet.type !== this.#method.type) return this.#fail(`the peer answers with EAP method ${packet.type}, asked was ${this.#method.type}`);
    const step = this.#method.receive(packet.data);
    if (step.kind === 'failure') return this.#fail(this.refusal ?? step.cause);
    if (step.kind === 'request') {
      this.refusal = step.attempt;
      return this.#next(this.#method.type, step.data, step.attempt);
    }
    this.#ended = true;
    this.msk = step.msk;
    return { kind: 'send', packet: encodeEap({ code: 'success', identifier: this.#identifier }), attempt: undefined };
  }

  #begin(packet: Response): EapServerStep {
    if (packet.type !== EapType.identity) return this.#fail('the peer does not tell its EAP identity');
    const identity = fromUtf8(packet.data);
    // It ends in logs.
    if (packet.data.length > MAX_IDENTITY_BYTES || !/^[\x20-\x7e]+$/.test(identity)) return this.#fail('the EAP identity is empty, too long or not printable');
    this.identity = identity;
    this.#method = new MsChapV2Server(this.#options, { identity, lookup: () => this.#options.lookup(identity) }, this.#options.name);
    return this.#next(this.#method.type, this.#method.begin());
  }

  wipe(): void {
    this.msk?.fill(0);
    this.msk = undefined;
    this.#method?.wipe();
  }
}
