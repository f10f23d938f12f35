// One IKE SA's protection of messages: sealing into SK or SKF messages, and opening either with reassembly
// (RFC 7296 3.14, RFC 5282, RFC 7383).
import { wipe, Writer } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import type { Header, Message } from '../wire/ike/message.ts';
import { decodeChain, firstTypeOf, writeChain } from '../wire/ike/message.ts';
import { PayloadType } from '../wire/ike/numbers.ts';
import type { Payload } from '../wire/ike/payloads.ts';
import { encodeSealed, largestInner, sealedBody, withoutPadding } from '../wire/ike/sealed.ts';
import type { SealedLayout } from '../wire/ike/sealed.ts';
import type { Protection } from './algorithms.ts';
import type { ProtectionKey } from './keymat.ts';
import { layoutOf, nextIv, protect, unprotect } from './protection.ts';
import { Reassembly } from './reassembly.ts';

export type Opened =
  /** Not authentic, or not decodable before it could be authenticated. */
  | { readonly kind: 'rejected'; readonly cause: string }
  /** A good fragment; others are missing. `number` 1 triggers a cached reply (RFC 7383 2.6.1). */
  | { readonly kind: 'fragment'; readonly number: number }
  /** The whole inner chain, authentic but not yet decoded; `number`: the fragment that completed it, if any. */
  | { readonly kind: 'whole'; readonly number: number | undefined; readonly inner: Uint8Array; readonly firstPayload: number };

export class Sealing {
  readonly #suite: Suite;
  readonly #random: Random;
  readonly #ciphers: Protection;
  readonly #layout: SealedLayout;
  readonly #seal: ProtectionKey;
  readonly #open: ProtectionKey;
  #messages = 0n;
  readonly #requests = new Reassembly();
  readonly #responses = new Reassembly();

  constructor(suite: Suite, random: Random, ciphers: Protection, seal: ProtectionKey, open: ProtectionKey) {
    this.#suite = suite;
    this.#random = random;
    this.#ciphers = ciphers;
    this.#layout = layoutOf(ciphers);
    this.#seal = seal;
    this.#open = open;
  }

  /** The keys are of no use any more. */
  wipe(): void {
    for (const { key, salt, integrity } of [this.#seal, this.#open]) wipe(key, salt, integrity);
  }

  /** One SK message, or SKF messages of at most `fragmentBytes` octets each when that is given and needed. */
  seal(header: Header, payloads: readonly Payload[], fragmentBytes: number | undefined): Uint8Array[] {
    const writer = new Writer();
    writeChain(writer, payloads);
    const inner = writer.finish();
    const firstPayload = firstTypeOf(payloads);
    if (fragmentBytes === undefined || inner.length <= largestInner(fragmentBytes, this.#layout, false)) {
      return [this.#sealOne(header, firstPayload, inner, undefined)];
    }
    const pieceBytes = Math.max(1, largestInner(fragmentBytes, this.#layout, true));
    const total = Math.ceil(inner.length / pieceBytes);
    const messages: Uint8Array[] = [];
    for (let i = 0; i < total; i++) {
      const piece = inner.slice(i * pieceBytes, (i + 1) * pieceBytes);
      messages.push(this.#sealOne(header, i === 0 ? firstPayload : PayloadType.none, piece, { number: i + 1, total }));
    }
    return messages;
  }

  #sealOne(header: Header, firstPayload: number, inner: Uint8Array, fragment: { number: number; total: number } | undefined): Uint8Array {
    const iv = nextIv(this.#ciphers, this.#messages++, this.#random);
    const seal = (additional: Uint8Array, ivOctets: Uint8Array, plaintext: Uint8Array): Uint8Array => protect(this.#suite, this.#ciphers, this.#seal, additional, ivOctets, plaintext);
    return encodeSealed(header, { firstPayload, inner, fragment }, iv, seal, this.#layout);
  }

  /** May throw WireError for what is authentic but malformed. */
  open(message: Message, bytes: Uint8Array): Opened {
    const part = message.sealed;
    if (part === undefined) return { kind: 'rejected', cause: 'the message is not encrypted' };
    const body = sealedBody(bytes, part, this.#layout);
    const plaintext = unprotect(this.#suite, this.#ciphers, this.#open, body);
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
