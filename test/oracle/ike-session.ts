// One IKE SA of the oracle, from either end: seals and opens, and lets the test choose message ids, contents and answers.
import { createCipheriv, createDecipheriv, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { ANY_V4, chainOf, expand, join, parseChain, prf, saBody, u16 } from './octets.ts';
import type { RawPayload } from './octets.ts';

const FLAG_INITIATOR = 0x08;
const FLAG_RESPONSE = 0x20;
const X25519_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

export interface SessionKeys {
  readonly spiI: Buffer;
  readonly spiR: Buffer;
  readonly skD: Buffer;
  /** Key and salt. */
  readonly skEi: Buffer;
  readonly skEr: Buffer;
}

export interface OpenedMessage {
  readonly exchange: number;
  readonly isAnswer: boolean;
  readonly messageId: number;
  readonly payloads: RawPayload[];
}

/** One end of a rekey of an IKE SA. */
export interface IkeRekey {
  readonly spi: Buffer;
  readonly nonce: Buffer;
  readonly pair: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
}

export function payload(payloads: readonly RawPayload[], type: number): Buffer {
  const found = payloads.find((each) => each.type === type);
  if (found === undefined) throw new Error(`there is no payload ${type} among ${payloads.map((each) => each.type).join()}`);
  return found.body;
}

/** Types of the notifies in a message. */
export function notifiesOf(payloads: readonly RawPayload[]): number[] {
  return payloads.flatMap(({ type, body }) => (type === 41 ? [body.readUInt16BE(2)] : []));
}

export class OracleSession {
  readonly #keys: SessionKeys;
  readonly #isInitiator: boolean;
  #nextId: number;
  #iv = 0;

  constructor(keys: SessionKeys, isInitiator: boolean, nextId: number) {
    this.#keys = keys;
    this.#isInitiator = isInitiator;
    this.#nextId = nextId;
  }

  get nextId(): number {
    return this.#nextId;
  }

  /** Under the next message id, or under one that the test chooses. */
  request(exchange: number, payloads: readonly RawPayload[], messageId = this.#nextId): Buffer {
    return this.#seal(exchange, payloads, messageId, 0);
  }

  /** Answers a request of the peer. */
  answer(request: Uint8Array, payloads: readonly RawPayload[]): Buffer {
    return this.#seal(request[18]!, payloads, Buffer.from(request).readUInt32BE(20), FLAG_RESPONSE);
  }

  open(message: Uint8Array): OpenedMessage {
    const bytes = Buffer.from(message);
    const key = this.#isInitiator ? this.#keys.skEr : this.#keys.skEi;
    const decipher = createDecipheriv('aes-256-gcm', key.subarray(0, 32), join(key.subarray(32), bytes.subarray(32, 40)));
    decipher.setAAD(bytes.subarray(0, 32));
    decipher.setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(40, -16)), decipher.final()]);
    const payloads = parseChain(plain.subarray(0, plain.length - 1 - plain.at(-1)!), bytes[28]!);
    return { exchange: bytes[18]!, isAnswer: (bytes[19]! & FLAG_RESPONSE) !== 0, messageId: bytes.readUInt32BE(20), payloads };
  }

  /** The answer to our last request: its id is used up. */
  takeAnswer(answer: Uint8Array): RawPayload[] {
    const { isAnswer, messageId, payloads } = this.open(answer);
    if (!isAnswer || messageId !== this.#nextId) throw new Error(`unexpected header ${Buffer.from(answer).subarray(0, 28).toString('hex')}`);
    this.#nextId++;
    return payloads;
  }

  // ------------------------------------------------------------------------------------------------ contents

  deleteIke(): RawPayload {
    return { type: 42, body: Buffer.from([1, 0, 0, 0]) };
  }

  deleteChild(spi: Uint8Array): RawPayload {
    return { type: 42, body: join(3, 4, u16(1), spi) };
  }

  notify(type: number): RawPayload {
    return { type: 41, body: join(0, 0, u16(type)) };
  }

  /** SA, Nonce and selectors of a child; `rekeys`: our inbound SPI of the child that it replaces. */
  child(spi: Uint8Array, nonce: Uint8Array, rekeys?: Uint8Array): RawPayload[] {
    return [
      ...(rekeys === undefined ? [] : [{ type: 41, body: join(3, 4, u16(16393), rekeys) }]),
      { type: 33, body: saBody(3, spi, [[1, 20, 256], [5, 0, 0]]) },
      { type: 40, body: Buffer.from(nonce) },
      { type: 44, body: ANY_V4 },
      { type: 45, body: ANY_V4 },
    ];
  }

  /** Keys of a child without Diffie-Hellman: from the exchange's initiator, then from its responder. */
  childKeys(nonceI: Uint8Array, nonceR: Uint8Array): { fromInitiator: Buffer; fromResponder: Buffer } {
    const stream = expand(this.#keys.skD, join(nonceI, nonceR), 72);
    return { fromInitiator: stream.subarray(0, 36), fromResponder: stream.subarray(36) };
  }

  beginIkeRekey(spi: Uint8Array, nonce: Uint8Array): IkeRekey {
    return { spi: Buffer.from(spi), nonce: Buffer.from(nonce), pair: generateKeyPairSync('x25519') };
  }

  ikeRekey({ spi, nonce, pair }: IkeRekey): RawPayload[] {
    const publicValue = pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
    return [
      { type: 33, body: saBody(1, spi, [[1, 20, 256], [2, 5, 0], [4, 31, 0]]) },
      { type: 40, body: nonce },
      { type: 34, body: join(0, 31, 0, 0, publicValue) },
    ];
  }

  /** The IKE SA that our rekey and the peer's payloads make. */
  successor(ours: IkeRekey, theirs: readonly RawPayload[], weBegan: boolean): OracleSession {
    const peer = createPublicKey({ key: join(X25519_PREFIX, payload(theirs, 34).subarray(4)), format: 'der', type: 'spki' });
    const shared = diffieHellman({ privateKey: ours.pair.privateKey, publicKey: peer });
    const their = { spi: payload(theirs, 33).subarray(8, 16), nonce: payload(theirs, 40) };
    const [i, r] = weBegan ? [ours, their] : [their, ours];
    const seed = prf(this.#keys.skD, shared, i.nonce, r.nonce);
    const stream = expand(seed, join(i.nonce, r.nonce, i.spi, r.spi), 32 + 36 + 36);
    return new OracleSession({ spiI: i.spi, spiR: r.spi, skD: stream.subarray(0, 32), skEi: stream.subarray(32, 68), skEr: stream.subarray(68, 104) }, weBegan, 0);
  }

  // ------------------------------------------------------------------------------------------------ sealing

  #seal(exchange: number, payloads: readonly RawPayload[], messageId: number, flags: number): Buffer {
    // Seven octets of padding, which the peer must cut off.
    const plain = join(chainOf(payloads), Buffer.alloc(7, 0xaa), 7);
    const iv = Buffer.alloc(8);
    iv.writeUInt32BE(++this.#iv, 4);
    const { spiI, spiR, skEi, skEr } = this.#keys;
    const length = 28 + 4 + 8 + plain.length + 16;
    const tail = Buffer.alloc(8);
    tail.writeUInt32BE(messageId);
    tail.writeUInt32BE(length, 4);
    const header = join(spiI, spiR, 46, 0x20, exchange, flags | (this.#isInitiator ? FLAG_INITIATOR : 0), tail);
    const aad = join(header, payloads[0]?.type ?? 0, 0, u16(length - 28));
    const key = this.#isInitiator ? skEi : skEr;
    const cipher = createCipheriv('aes-256-gcm', key.subarray(0, 32), join(key.subarray(32), iv));
    cipher.setAAD(aad);
    return join(aad, iv, cipher.update(plain), cipher.final(), cipher.getAuthTag());
  }
}
