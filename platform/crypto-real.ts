// Suite on node:crypto (OpenSSL). Every private value and nonce comes from the injected Random, except what OpenSSL draws
// by itself inside an ECDSA or RSA-PSS signature and a KEM's encapsulation.
import {
  createCipheriv, createDecipheriv, createECDH, createHash, createHmac, createPrivateKey, createPublicKey, createSecretKey,
  diffieHellman, getDiffieHellman,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { decodeCertificate } from './certificate.ts';
import { ChainMemory } from './chain-memory.ts';
import { checkChain } from './chain.ts';
import type {
  ChainRequest, ChainResult, ControlAead, DhGroup, DhKeyPair, Encapsulation, HashName, HmacName, KemId, KemKeyPair, SignatureAlgorithm, Suite,
} from './crypto.ts';
import { DH_PUBLIC_BYTES } from './crypto.ts';
import { concat, fromHex, Reader } from './bytes.ts';
import { bitStringOctets, encodeElement, encodeUnsigned, expectElement, readElement, Tag } from './der.ts';
import { InternalError } from './errors.ts';
import { KeyMemory, readPublicKey } from './key-memory.ts';
import { decapsulateMlKem, encapsulateMlKem, generateMlKem } from './ml-kem.ts';
import type { Random } from './random.ts';
import { signWith, verifyWith } from './signature.ts';
import type { TlsEngine, TlsOptions } from './tls-engine.ts';
import { openNodeTls } from './tls-node.ts';

const TAG_BYTES = 16;
const BLOCK_BYTES = 16;
/** A private value outside of [1, n) has a chance below 2^-32 per draw on these curves. */
const DRAWS = 16;

interface Curve {
  readonly name: string;
  readonly bytes: number;
  /** Bits of the first octet that a scalar may use. */
  readonly firstOctetMask: number;
}

const CURVES: Readonly<Record<19 | 20 | 21, Curve>> = {
  19: { name: 'prime256v1', bytes: 32, firstOctetMask: 0xff },
  20: { name: 'secp384r1', bytes: 48, firstOctetMask: 0xff },
  21: { name: 'secp521r1', bytes: 66, firstOctetMask: 0x01 },
};

type ModpGroup = 2 | 14 | 15 | 16;

interface Modp {
  readonly name: string;
  /** At least twice the strength of the group (RFC 3526 8). */
  readonly privateBytes: number;
}

const MODP: Readonly<Record<ModpGroup, Modp>> = {
  2: { name: 'modp2', privateBytes: 32 },
  14: { name: 'modp14', privateBytes: 32 },
  15: { name: 'modp15', privateBytes: 35 },
  16: { name: 'modp16', privateBytes: 41 },
};

interface Montgomery {
  /** RFC 8410 7: the fixed DER in front of a private and a public key. */
  readonly pkcs8: Uint8Array;
  readonly spki: Uint8Array;
}

const MONTGOMERY: Readonly<Record<31 | 32, Montgomery>> = {
  31: { pkcs8: fromHex('302e020100300506032b656e04220420'), spki: fromHex('302a300506032b656e032100') },
  32: { pkcs8: fromHex('3046020100300506032b656f043a0438'), spki: fromHex('3042300506032b656f033900') },
};

function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

function leftPad(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  out.set(bytes, length - bytes.length);
  return out;
}

/** Node tells octets from key objects by an exception that it catches, which takes longer than the HMAC of a message. */
function keyed(octets: Uint8Array): KeyObject {
  return createSecretKey(octets);
}

function montgomeryPrivate(group: 31 | 32, raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(concat(MONTGOMERY[group].pkcs8, raw)), format: 'der', type: 'pkcs8' });
}

function montgomeryPublic(group: 31 | 32, raw: Uint8Array): KeyObject {
  return readPublicKey(concat(MONTGOMERY[group].spki, raw));
}

// PKCS #3 keys as DER: createDiffieHellman(prime) would prove the prime anew, 0.3 s per key, where OpenSSL knows this group.
const DH_KEY_AGREEMENT = fromHex('06092a864886f70d010301');

function modpPrime(group: ModpGroup): Uint8Array<ArrayBuffer> {
  return plain(getDiffieHellman(MODP[group].name).getPrime());
}

function modpAlgorithm(group: ModpGroup): Uint8Array<ArrayBuffer> {
  return encodeElement(Tag.sequence, DH_KEY_AGREEMENT, encodeElement(Tag.sequence, encodeUnsigned(modpPrime(group)), encodeUnsigned(Uint8Array.of(2))));
}

function modpPrivate(group: ModpGroup, value: Uint8Array): KeyObject {
  const der = encodeElement(Tag.sequence, encodeUnsigned(Uint8Array.of(0)), modpAlgorithm(group), encodeElement(Tag.octetString, encodeUnsigned(value)));
  const key = createPrivateKey({ key: Buffer.from(der.buffer), format: 'der', type: 'pkcs8' });
  der.fill(0);
  return key;
}

function modpPublic(group: ModpGroup, value: Uint8Array): KeyObject {
  const der = encodeElement(Tag.sequence, modpAlgorithm(group), encodeElement(Tag.bitString, Uint8Array.of(0), encodeUnsigned(value)));
  return createPublicKey({ key: Buffer.from(der.buffer), format: 'der', type: 'spki' });
}

function publicDer(privateKey: KeyObject): Uint8Array<ArrayBuffer> {
  // Node accepts a private KeyObject here; its types do not say so.
  return plain(createPublicKey(privateKey as unknown as string).export({ format: 'der', type: 'spki' }));
}

function generateMontgomery(group: 31 | 32, random: Random, keys: KeyMemory): DhKeyPair {
  const privateValue = random.bytes(DH_PUBLIC_BYTES[group]);
  const key = keys.remember(privateValue, montgomeryPrivate(group, privateValue));
  // Node accepts a private KeyObject here; its types do not say so. A JWK is exported 20 times faster than DER.
  const { x } = createPublicKey(key as unknown as string).export({ format: 'jwk' });
  return { group, privateValue, publicValue: plain(Buffer.from(x!, 'base64url')) };
}

function generateModp(group: ModpGroup, random: Random): DhKeyPair {
  const privateValue = random.bytes(MODP[group].privateBytes);
  const spki = new Reader(publicDer(modpPrivate(group, privateValue)), 'public key');
  const key = expectElement(spki, Tag.sequence, 'public key').content;
  readElement(key, 'algorithm');
  const value = expectElement(new Reader(bitStringOctets(expectElement(key, Tag.bitString, 'key').content), 'value'), Tag.integer, 'value').content.rest();
  return { group, privateValue, publicValue: leftPad(value[0] === 0 ? value.subarray(1) : value, DH_PUBLIC_BYTES[group]) };
}

function generateEcp(group: 19 | 20 | 21, random: Random): DhKeyPair {
  const curve = CURVES[group];
  const ecdh = createECDH(curve.name);
  for (let draw = 0; draw < DRAWS; draw++) {
    const privateValue = random.bytes(curve.bytes);
    privateValue[0]! &= curve.firstOctetMask;
    try {
      ecdh.setPrivateKey(privateValue);
    } catch {
      continue; // zero, or not below the group's order
    }
    // RFC 5903 7: x | y, without the leading octet of the uncompressed point form.
    return { group, privateValue, publicValue: plain(ecdh.getPublicKey().subarray(1)) };
  }
  throw new InternalError(`the random source gave no usable ${curve.name} scalar in ${DRAWS} draws`);
}

function sharedMontgomery(group: 31 | 32, pair: DhKeyPair, peerPublic: Uint8Array, keys: KeyMemory): Uint8Array | undefined {
  const privateKey = keys.find(pair.privateValue) ?? montgomeryPrivate(group, pair.privateValue);
  const secret = plain(diffieHellman({ privateKey, publicKey: montgomeryPublic(group, peerPublic) }));
  // RFC 8031 2: an all-zero result means that the peer sent a point of small order.
  return secret.every((octet) => octet === 0) ? undefined : secret;
}

function sharedModp(group: ModpGroup, pair: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined {
  const last = modpPrime(group);
  last[last.length - 1]! -= 1; // p - 1: p is odd
  // RFC 6989 2.1: 1 < y < p - 1.
  const aboveOne = peerPublic.some((octet, i) => octet > (i === peerPublic.length - 1 ? 1 : 0));
  if (!aboveOne || Buffer.compare(peerPublic, last) >= 0) return undefined;
  const secret = diffieHellman({ privateKey: modpPrivate(group, pair.privateValue), publicKey: modpPublic(group, peerPublic) });
  return leftPad(secret, DH_PUBLIC_BYTES[group]);
}

function sharedEcp(group: 19 | 20 | 21, pair: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined {
  const curve = CURVES[group];
  const ecdh = createECDH(curve.name);
  ecdh.setPrivateKey(pair.privateValue);
  // computeSecret throws for a point that is not on the curve (RFC 6989 2.3); its result is x alone.
  return leftPad(ecdh.computeSecret(concat(Uint8Array.of(4), peerPublic)), curve.bytes);
}

function cipherName(aead: ControlAead): 'aes-128-gcm' {
  // Node's overloads differ per cipher family only in options that all three take alike.
  return aead as 'aes-128-gcm';
}

function cbcName(key: Uint8Array): string {
  return `aes-${8 * key.length}-cbc`;
}

export class RealSuite implements Suite {
  readonly name = 'real';
  readonly #keys = new KeyMemory();
  readonly #chains = new ChainMemory(this.#keys);
  readonly #isClockBehind: () => boolean;

  /** @param isClockBehind whether the time that checks are made with is only known to have passed */
  constructor(isClockBehind = (): boolean => false) {
    this.#isClockBehind = isClockBehind;
  }

  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array {
    const hash = createHash(name);
    for (const part of parts) hash.update(part);
    return plain(hash.digest());
  }

  hmac(name: HmacName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
    const hmac = createHmac(name, keyed(key));
    for (const part of parts) hmac.update(part);
    return plain(hmac.digest());
  }

  dhGenerate(group: DhGroup, random: Random): DhKeyPair {
    switch (group) {
      case 19:
      case 20:
      case 21:
        return generateEcp(group, random);
      case 31:
      case 32:
        return generateMontgomery(group, random, this.#keys);
      default:
        return generateModp(group, random);
    }
  }

  dhShared(pair: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined {
    const { group } = pair;
    if (peerPublic.length !== DH_PUBLIC_BYTES[group]) return undefined;
    try {
      switch (group) {
        case 19:
        case 20:
        case 21:
          return sharedEcp(group, pair, peerPublic);
        case 31:
        case 32:
          return sharedMontgomery(group, pair, peerPublic, this.#keys);
        default:
          return sharedModp(group, pair, peerPublic);
      }
    } catch {
      return undefined; // OpenSSL refused the peer's value
    }
  }

  kemGenerate(kem: KemId, random: Random): KemKeyPair {
    return generateMlKem(kem, random);
  }

  kemEncapsulate(kem: KemId, publicKey: Uint8Array): Encapsulation | undefined {
    return encapsulateMlKem(kem, publicKey);
  }

  kemDecapsulate(pair: KemKeyPair, ciphertext: Uint8Array): Uint8Array | undefined {
    return decapsulateMlKem(pair, ciphertext);
  }

  sign(algorithm: SignatureAlgorithm, privateKey: Uint8Array, data: Uint8Array): Uint8Array {
    return signWith(this.#keys, algorithm, privateKey, data);
  }

  verify(algorithm: SignatureAlgorithm, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
    return verifyWith(this.#keys, algorithm, publicKey, data, signature);
  }

  aeadSeal(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const cipher = createCipheriv(cipherName(aead), keyed(key), nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(aad);
    const body = cipher.update(plaintext);
    cipher.final();
    return concat(body, cipher.getAuthTag());
  }

  aeadOpen(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length < TAG_BYTES) return undefined;
    const decipher = createDecipheriv(cipherName(aead), keyed(key), nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const body = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
    } catch {
      body.fill(0); // nothing that was not authenticated leaves this function
      return undefined;
    }
    return plain(body);
  }

  cbcEncrypt(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const cipher = createCipheriv(cbcName(key), keyed(key), iv).setAutoPadding(false);
    return concat(cipher.update(plaintext), cipher.final());
  }

  cbcDecrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    if (ciphertext.length % BLOCK_BYTES !== 0) return undefined;
    const decipher = createDecipheriv(cbcName(key), keyed(key), iv).setAutoPadding(false);
    return concat(decipher.update(ciphertext), decipher.final());
  }

  desEncrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
    // With three equal keys, triple DES is single DES, which OpenSSL keeps in its legacy provider only.
    const cipher = createCipheriv('des-ede3-ecb', concat(key, key, key), null).setAutoPadding(false);
    return concat(cipher.update(block), cipher.final());
  }

  certificatePublicKey(certificate: Uint8Array): Uint8Array | undefined {
    try {
      return decodeCertificate(certificate).publicKey;
    } catch {
      return undefined;
    }
  }

  checkChain(request: ChainRequest): ChainResult {
    return checkChain(this.#isClockBehind() ? { ...request, isLowerBound: true } : request, this.#chains);
  }

  openTls(options: TlsOptions): TlsEngine {
    return openNodeTls(options);
  }
}
