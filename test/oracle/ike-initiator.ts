// An independent IKEv2 initiator: IKE_SA_INIT and IKE_AUTH with a pre-shared key, then protected INFORMATIONAL
// exchanges. It knows nothing of the firmware: its own octets, node:crypto's own algorithms. One fixed suite:
// AES-GCM-16-256, PRF HMAC-SHA2-256, Curve25519, ESP AES-GCM-16-256 without ESN.
import { createHash, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { OracleSession } from './ike-session.ts';
import { ANY_V4, chainOf, expand, join, parseChain, prf, saBody, u16 } from './octets.ts';
import type { Parts, RawPayload } from './octets.ts';

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
  #skPi: Buffer = Buffer.alloc(0);
  #skPr: Buffer = Buffer.alloc(0);
  #session: OracleSession | undefined;

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
    this.#skPi = stream.subarray(104, 136);
    this.#skPr = stream.subarray(136, 168);
    this.#session = new OracleSession({ spiI: this.#spiI, spiR: this.#spiR, skD: this.#skD, skEi: stream.subarray(32, 68), skEr: stream.subarray(68, 104) }, true, 1);
  }

  /** What goes on after IKE_SA_INIT. */
  get session(): OracleSession {
    if (this.#session === undefined) throw new Error('IKE_SA_INIT is not done');
    return this.#session;
  }

  /** `espSpi`: 4 octets. */
  authRequest(espSpi: Uint8Array): Buffer {
    const octets = join(this.#init, this.#nonceR, prf(this.#skPi, this.#identity));
    return this.session.request(35, [
      { type: 35, body: this.#identity },
      { type: 39, body: join(2, 0, 0, 0, prf(prf(this.#key, Buffer.from('Key Pad for IKEv2')), octets)) },
      { type: 33, body: saBody(3, espSpi, [[1, 20, 256], [5, 0, 0]]) },
      { type: 44, body: ANY_V4 },
      { type: 45, body: ANY_V4 },
    ]);
  }

  /** Opens an answer and checks its header. */
  open(answer: Uint8Array): RawPayload[] {
    return this.session.takeAnswer(answer);
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
    return this.session.request(37, payloads);
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
}

/** SHA-1 of NAT detection, for comparison. */
export function natHash(...parts: Parts): Buffer {
  return createHash('sha1').update(join(...parts)).digest();
}
