// An independent IKEv2 initiator: IKE_SA_INIT and IKE_AUTH with a pre-shared key, then protected INFORMATIONAL
// exchanges. It knows nothing of the firmware: its own octets, node:crypto's own algorithms. One fixed suite:
// AES-GCM-16-256, PRF HMAC-SHA2-256, Curve25519, ESP AES-GCM-16-256 without ESN.
import { createCipheriv, createDecipheriv, createHash, createHmac, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

type Parts = readonly (Uint8Array | number)[];

function join(...parts: Parts): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
}

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255);
}

function prf(key: Uint8Array, ...data: Parts): Buffer {
  return createHmac('sha256', key).update(join(...data)).digest();
}

function expand(key: Uint8Array, seed: Uint8Array, length: number): Buffer {
  let out: Buffer = Buffer.alloc(0);
  for (let i = 1, last: Buffer = Buffer.alloc(0); out.length < length; i++) {
    last = prf(key, last, seed, i);
    out = Buffer.concat([out, last]);
  }
  return out.subarray(0, length);
}

export interface RawPayload {
  readonly type: number;
  readonly body: Buffer;
}

function chainOf(payloads: readonly RawPayload[]): Buffer {
  return Buffer.concat(payloads.map((payload, i) => join(payloads[i + 1]?.type ?? 0, 0, u16(payload.body.length + 4), payload.body)));
}

function parseChain(bytes: Buffer, first: number): RawPayload[] {
  const payloads: RawPayload[] = [];
  let at = 0;
  for (let type = first; type !== 0; ) {
    const length = bytes.readUInt16BE(at + 2);
    payloads.push({ type, body: bytes.subarray(at + 4, at + length) });
    type = bytes[at]!;
    at += length;
  }
  return payloads;
}

/** One proposal; each transform is type, id and key length or 0. */
function saBody(protocol: number, spi: Uint8Array, transforms: readonly (readonly [number, number, number])[]): Buffer {
  const encoded = transforms.map(([type, id, bits], i) => {
    const attributes = bits === 0 ? Buffer.alloc(0) : join(0x80, 14, u16(bits));
    return join(i === transforms.length - 1 ? 0 : 3, 0, u16(8 + attributes.length), type, 0, u16(id), attributes);
  });
  const length = 8 + spi.length + encoded.reduce((sum, part) => sum + part.length, 0);
  return join(0, 0, u16(length), 1, protocol, spi.length, transforms.length, spi, ...encoded);
}

const ANY_V4 = join(1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);

export class OracleInitiator {
  readonly #spiI: Buffer;
  readonly #nonceI: Buffer;
  readonly #key: Buffer;
  readonly #identity: Buffer;
  readonly #pair: { privateKey: KeyObject; publicKey: KeyObject };
  #spiR: Buffer = Buffer.alloc(8);
  #nonceR: Buffer = Buffer.alloc(0);
  #init: Buffer = Buffer.alloc(0);
  #initAnswer: Buffer = Buffer.alloc(0);
  #skD: Buffer = Buffer.alloc(0);
  #skEi: Buffer = Buffer.alloc(0);
  #skEr: Buffer = Buffer.alloc(0);
  #skPi: Buffer = Buffer.alloc(0);
  #skPr: Buffer = Buffer.alloc(0);
  #iv = 0;
  #messageId = 0;

  /** `octets` gives SPI and nonce; the key pair is OpenSSL's own. */
  constructor(identity: string, key: Uint8Array, octets: (length: number) => Uint8Array) {
    this.#identity = join(3, 0, 0, 0, Buffer.from(identity));
    this.#key = Buffer.from(key);
    this.#spiI = Buffer.from(octets(8));
    this.#nonceI = Buffer.from(octets(24));
    this.#pair = generateKeyPairSync('x25519');
  }

  /** With the cookie that the responder asked for, if it did. */
  initRequest(cookie?: Uint8Array): Buffer {
    const publicValue = this.#pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
    this.#init = this.#message(34, [
      ...(cookie === undefined ? [] : [{ type: 41, body: join(0, 0, u16(16390), cookie) }]),
      { type: 33, body: saBody(1, Buffer.alloc(0), [[1, 20, 256], [2, 5, 0], [4, 31, 0]]) },
      { type: 34, body: join(0, 31, 0, 0, publicValue) },
      { type: 40, body: this.#nonceI },
    ]);
    return this.#init;
  }

  /** The cookie that an answer to IKE_SA_INIT asks for. */
  cookieOf(answer: Uint8Array): Buffer | undefined {
    const bytes = Buffer.from(answer);
    const found = parseChain(bytes.subarray(28), bytes[16]!).find(({ type, body }) => type === 41 && body.readUInt16BE(2) === 16390);
    return found?.body.subarray(4);
  }

  takeInitAnswer(answer: Uint8Array): void {
    const bytes = Buffer.from(answer);
    this.#initAnswer = bytes;
    this.#spiR = bytes.subarray(8, 16);
    const payloads = parseChain(bytes.subarray(28), bytes[16]!);
    const ke = payloads.find((payload) => payload.type === 34)!.body;
    this.#nonceR = payloads.find((payload) => payload.type === 40)!.body;
    const peer = createPublicKey({ key: join(Buffer.from('302a300506032b656e032100', 'hex'), ke.subarray(4)), format: 'der', type: 'spki' });
    const shared = diffieHellman({ privateKey: this.#pair.privateKey, publicKey: peer });
    const seed = prf(join(this.#nonceI, this.#nonceR), shared);
    const stream = expand(seed, join(this.#nonceI, this.#nonceR, this.#spiI, this.#spiR), 32 + 36 + 36 + 32 + 32);
    this.#skD = stream.subarray(0, 32);
    this.#skEi = stream.subarray(32, 68);
    this.#skEr = stream.subarray(68, 104);
    this.#skPi = stream.subarray(104, 136);
    this.#skPr = stream.subarray(136, 168);
    this.#messageId = 1;
  }

  /** `espSpi`: 4 octets. */
  authRequest(espSpi: Uint8Array): Buffer {
    const octets = join(this.#init, this.#nonceR, prf(this.#skPi, this.#identity));
    return this.#sealed(35, [
      { type: 35, body: this.#identity },
      { type: 39, body: join(2, 0, 0, 0, prf(prf(this.#key, Buffer.from('Key Pad for IKEv2')), octets)) },
      { type: 33, body: saBody(3, espSpi, [[1, 20, 256], [5, 0, 0]]) },
      { type: 44, body: ANY_V4 },
      { type: 45, body: ANY_V4 },
    ]);
  }

  /** Opens an answer and checks its header. */
  open(answer: Uint8Array): RawPayload[] {
    const bytes = Buffer.from(answer);
    if (bytes.readUInt32BE(20) !== this.#messageId || bytes[19] !== 0x20) throw new Error(`unexpected header ${bytes.subarray(0, 28).toString('hex')}`);
    this.#messageId++;
    const decipher = createDecipheriv('aes-256-gcm', this.#skEr.subarray(0, 32), join(this.#skEr.subarray(32), bytes.subarray(32, 40)));
    decipher.setAAD(bytes.subarray(0, 32));
    decipher.setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(40, -16)), decipher.final()]);
    return parseChain(plain.subarray(0, plain.length - 1 - plain.at(-1)!), bytes[28]!);
  }

  /** Whether the responder's AUTH is right. */
  responderIsAuthentic(payloads: readonly RawPayload[]): boolean {
    const id = payloads.find((payload) => payload.type === 36)!.body;
    const auth = payloads.find((payload) => payload.type === 39)!.body;
    const octets = join(this.#initAnswer, this.#nonceI, prf(this.#skPr, id));
    return auth[0] === 2 && auth.subarray(4).equals(prf(prf(this.#key, Buffer.from('Key Pad for IKEv2')), octets));
  }

  /** Keys of the first child: from us, then from the responder; 32 octets of key and 4 of salt each. */
  childKeys(): { out: Buffer; in: Buffer } {
    const stream = expand(this.#skD, join(this.#nonceI, this.#nonceR), 72);
    return { out: stream.subarray(0, 36), in: stream.subarray(36) };
  }

  informational(payloads: readonly RawPayload[]): Buffer {
    return this.#sealed(37, payloads);
  }

  /** Answers a request of the peer with an empty message. */
  emptyAnswer(request: Uint8Array): Buffer {
    return this.#sealed(request[18]!, [], { id: Buffer.from(request).readUInt32BE(20), flags: 0x28 });
  }

  #header(next: number, exchange: number, flags: number, id: number, length: number): Buffer {
    const tail = Buffer.alloc(8);
    tail.writeUInt32BE(id);
    tail.writeUInt32BE(length, 4);
    return join(this.#spiI, this.#spiR, next, 0x20, exchange, flags, tail);
  }

  #message(exchange: number, payloads: readonly RawPayload[]): Buffer {
    const body = chainOf(payloads);
    return join(this.#header(payloads[0]!.type, exchange, 0x08, 0, 28 + body.length), body);
  }

  #sealed(exchange: number, payloads: readonly RawPayload[], answer?: { id: number; flags: number }): Buffer {
    // Seven octets of padding, which the peer must cut off.
    const plain = join(chainOf(payloads), Buffer.alloc(7, 0xaa), 7);
    const iv = Buffer.alloc(8);
    iv.writeUInt32BE(++this.#iv, 4);
    const length = 28 + 4 + 8 + plain.length + 16;
    const aad = join(this.#header(46, exchange, answer?.flags ?? 0x08, answer?.id ?? this.#messageId, length), payloads[0]?.type ?? 0, 0, u16(length - 28));
    const cipher = createCipheriv('aes-256-gcm', this.#skEi.subarray(0, 32), join(this.#skEi.subarray(32), iv));
    cipher.setAAD(aad);
    return join(aad, iv, cipher.update(plain), cipher.final(), cipher.getAuthTag());
  }
}

/** SHA-1 of NAT detection, for comparison. */
export function natHash(...parts: Parts): Buffer {
  return createHash('sha1').update(join(...parts)).digest();
}
