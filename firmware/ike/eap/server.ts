// The authenticator's side of EAP (RFC 3748 4, 5): asks who the user is, then runs one method. Sans-IO; every packet of
// the peer gives one step, and nothing of it throws.
import { fromUtf8 } from '../../../platform/bytes.ts';
import { assert, WireError } from '../../../platform/errors.ts';
import type { TlsStep } from '../../../platform/tls-engine.ts';
import type { EapPacket } from '../../wire/eap.ts';
import { decodeEap, EapType, encodeEap } from '../../wire/eap.ts';
import type { CertificateFacts } from '../input-output.ts';
import type { EapCredentials, EapMethodName, EapServerMethod, EapTools, ServerMethodStep, Wait } from './method.ts';
import { MsChapV2Server } from './mschapv2.ts';
import type { EapTlsOptions } from './tls.ts';
import { EapTlsServer } from './tls.ts';

const MAX_IDENTITY_BYTES = 253;

export interface EapServerOptions extends EapTools {
  /** In order of preference; never empty. */
  readonly methods: readonly EapMethodName[];
  /** How a method that shows a name calls this end. */
  readonly name: string;
  lookup(identity: string): EapCredentials | undefined;
  /** Undefined: there is no certificate for EAP-TLS. */
  readonly tls: EapTlsOptions | undefined;
}

const METHOD_TYPES: Readonly<Record<EapMethodName, number>> = { mschapv2: EapType.mschapv2, tls: EapType.tls };

export type EapServerStep =
  /** `attempt`: the user has just been refused once, and why. */
  | { readonly kind: 'send'; readonly packet: Uint8Array; readonly attempt: string | undefined }
  | { readonly kind: 'failed'; readonly packet: Uint8Array; readonly cause: string }
  | Wait;

type Response = Extract<EapPacket, { code: 'request' | 'response' }>;

export class EapServer {
  readonly #options: EapServerOptions;
  #method: EapServerMethod | undefined;
  /** Whether the peer has answered the method. */
  #isAgreed = false;
  #untried: readonly EapMethodName[];
  #identifier: number;
  #responses = 0;
  #ended = false;
  /** What the user claims to be; proven once `msk` is there. Printable ASCII. */
  identity: string | undefined;
  /** Why the user was refused last. */
  refusal: string | undefined;
  /** What the user's certificate says, where there is one. */
  certificate: CertificateFacts | undefined;
  /** Of a successful conversation. */
  msk: Uint8Array | undefined;

  constructor(options: EapServerOptions) {
    this.#options = options;
    this.#untried = options.methods;
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
    if (this.#method === undefined) return this.#begin(packet);
    const { type, maxResponses } = this.#method;
    if (packet.type === EapType.nak && !this.#isAgreed) return this.#offer(`the peer does not use EAP method ${type}`, packet.data);
    if (packet.type !== type) return this.#fail(`the peer answers with EAP method ${packet.type}, asked was ${type}`);
    if (++this.#responses > maxResponses) return this.#fail(`the EAP conversation has more than ${maxResponses} responses`);
    this.#isAgreed = true;
    return this.#follow(this.#method.receive(packet.data));
  }

  /** TLS has worked on what the last packet brought. */
  resume(step: TlsStep): EapServerStep {
    return this.#ended ? this.#fail('the EAP conversation has ended') : this.#follow(this.#method!.resume!(step));
  }

  #follow(step: ServerMethodStep): EapServerStep {
    switch (step.kind) {
      case 'wait':
        return step;
      case 'failure':
        return this.#fail(this.refusal ?? step.cause);
      case 'request':
        this.refusal = step.attempt;
        return this.#next(this.#method!.type, step.data, step.attempt);
      case 'success':
        this.#ended = true;
        this.identity = step.user ?? this.identity;
        this.certificate = step.certificate;
        this.msk = step.msk;
        return { kind: 'send', packet: encodeEap({ code: 'success', identifier: this.#identifier }), attempt: undefined };
    }
  }

  #begin(packet: Response): EapServerStep {
    if (packet.type !== EapType.identity) return this.#fail('the peer does not tell its EAP identity');
    const identity = fromUtf8(packet.data);
    // It ends in logs.
    if (packet.data.length > MAX_IDENTITY_BYTES || !/^[\x20-\x7e]+$/.test(identity)) return this.#fail('the EAP identity is empty, too long or not printable');
    this.identity = identity;
    return this.#offer('no EAP method is configured', undefined);
  }

  /** Begins the next method that the peer wants (RFC 3748 5.3.1); `problem`: why not the one before. */
  #offer(problem: string, wanted: Uint8Array | undefined): EapServerStep {
    const name = this.#untried.find((entry) => wanted?.includes(METHOD_TYPES[entry]) ?? true);
    if (name === undefined) return this.#fail(`${problem}${wanted === undefined ? '' : `, it wants ${[...wanted].join(', ') || 'none'}`}`);
    this.#untried = this.#untried.filter((entry) => entry !== name);
    this.#method?.wipe();
    this.#method = this.#make(name, this.identity!);
    return this.#next(this.#method.type, this.#method.begin());
  }

  #make(name: EapMethodName, identity: string): EapServerMethod {
    const { tls, lookup, name: ownName } = this.#options;
    if (name === 'mschapv2') return new MsChapV2Server(this.#options, { identity, lookup: () => lookup(identity) }, ownName);
    assert(tls !== undefined, 'EAP-TLS without a certificate');
    return new EapTlsServer(tls, identity);
  }

  wipe(): void {
    this.msk?.fill(0);
    this.msk = undefined;
    this.#method?.wipe();
  }
}
