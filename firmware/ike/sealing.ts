// One IKE SA's protection of messages: sealing into SK or SKF messages, and opening either with reassembly
// (RFC 7296 3.14, RFC 5282, RFC 7383).
import { concat, wipe, Writer } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Header, Message } from '../wire/ike/message.ts';
import { decodeChain, firstTypeOf, writeChain } from '../wire/ike/message.ts';
import { PayloadType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { encodeSealed, FRAGMENT_OVERHEAD_BYTES, SEALED_OVERHEAD_BYTES, sealedBody, withoutPadding } from '../wire/ike/sealed.ts';
import type { EspSuite } from './algorithms.ts';
import { ENCRYPTION } from './algorithms.ts';
import { Reassembly } from './reassembly.ts';
import type { CipherKey } from './keymat.ts';

export type Opened =
  /** Not authentic, or not decodable before it could be authenticated. */
  | { readonly kind: 'rejected'; readonly cause: string }
  /** A good fragment; others are missing. `number` 1 triggers a cached reply (RFC 7383 2.6.1). */
  | { readonly kind: 'fragment'; readonly number: number }
  /** The whole inner chain, authentic but not yet decoded; `number`: the fragment that completed it, if any. */
  | { readonly kind: 'whole'; readonly number: number | undefined; readonly inner: Uint8Array; readonly firstPayload: number };

export class Sealing {
  readonly #suite: Suite;
  readonly #encryption: EspSuite;
  readonly #seal: CipherKey;
  readonly #open: CipherKey;
  /** A counter makes every IV of the key unique (RFC 5282 3.1). */
  #iv = 0n;
  readonly #requests = new Reassembly();
  readonly #responses = new Reassembly();

  constructor(suite: Suite, encryption: EspSuite, seal: CipherKey, open: CipherKey) {
    this.#suite = suite;
    this.#encryption = encryption;
    this.#seal = seal;
    this.#open = open;
  }

  /** The keys are of no use any more. */
  wipe(): void {
    wipe(this.#seal.key, this.#seal.salt, this.#open.key, this.#open.salt);
  }

  /** One SK message, or SKF messages of at most `fragmentBytes` octets each when that is given and needed. */
  seal(header: Header, payloads: readonly Payload[], fragmentBytes: number | undefined): Uint8Array[] {
    const writer = new Writer();
    writeChain(writer, payloads);
    const inner = writer.finish();
    const firstPayload = firstTypeOf(payloads);
    if (fragmentBytes === undefined || SEALED_OVERHEAD_BYTES + inner.length <= fragmentBytes) {
      return [this.#sealOne(header, firstPayload, inner, undefined)];
    }
    const pieceBytes = Math.max(1, fragmentBytes - FRAGMENT_OVERHEAD_BYTES);
    const total = Math.ceil(inner.length / pieceBytes);
    const messages: Uint8Array[] = [];
    for (let i = 0; i < total; i++) {
      const piece = inner.slice(i * pieceBytes, (i + 1) * pieceBytes);
      messages.push(this.#sealOne(header, i === 0 ? firstPayload : PayloadType.none, piece, { number: i + 1, total }));
    }
    return messages;
  }

  #sealOne(header: Header, firstPayload: number, inner: Uint8Array, fragment: { number: number; total: number } | undefined): Uint8Array {
    const iv = new Writer(8).u64(this.#iv++).finish();
    const { aead } = ENCRYPTION[this.#encryption];
    return encodeSealed(header, { firstPayload, inner, fragment }, iv, (additional, ivOctets, plaintext) =>
      this.#suite.aeadSeal(aead, this.#seal.key, concat(this.#seal.salt, ivOctets), additional, plaintext),
    );
  }

  /** May throw WireError for what is authentic but malformed. */
  open(message: Message, bytes: Uint8Array): Opened {
    const part = message.sealed;
    if (part === undefined) return { kind: 'rejected', cause: 'the message is not encrypted' };
    const body = sealedBody(bytes, part);
    const nonce = concat(this.#open.salt, body.iv);
    const plaintext = this.#suite.aeadOpen(ENCRYPTION[this.#encryption].aead, this.#open.key, nonce, body.additional, body.sealed);
    if (plaintext === undefined) return { kind: 'rejected', cause: 'the integrity check failed' };
    const inner = withoutPadding(plaintext);
    if (body.fragment === undefined) return { kind: 'whole', number: undefined, inner, firstPayload: part.firstPayload };
    const reassembly = message.header.response ? this.#responses : this.#requests;
    const whole = reassembly.add(message.header.messageId, body.fragment, inner, part.firstPayload);
    if (whole === undefined) return { kind: 'fragment', number: body.fragment.number };
    return { kind: 'whole', number: body.fragment.number, ...whole };
  }
}

/** The payloads of an opened message; throws WireError. SK inside SK is not a thing. */
export function innerPayloads(opened: { inner: Uint8Array; firstPayload: number }): Payload[] {
  return decodeChain(opened.inner, 0, opened.firstPayload).payloads;
}
