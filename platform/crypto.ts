// The cryptography of the control plane behind one interface. RealSuite uses node:crypto (platform/crypto-real.ts);
// FakeSuite is cheap and deterministic for thousand-node simulations (platform/crypto-fake.ts). Private values and
// nonces come from the injected Random, so that a run is a function of its seed.
import type { Random } from './random.ts';
import type { TlsEngine, TlsOptions } from './tls-engine.ts';

export type HashName = 'sha256' | 'sha384' | 'sha512';
/** SHA-1 only inside HMAC, for peers that know nothing better. */
export type HmacName = HashName | 'sha1';

/**
 * IANA IKEv2 Diffie-Hellman groups: 2, 14, 15, 16 MODP-1024 (weak), 2048, 3072, 4096; 19, 20, 21 ECP-256, 384, 521 (RFC 5903:
 * x|y); 31, 32 Curve25519, Curve448 (RFC 8031).
 */
export type DhGroup = 2 | 14 | 15 | 16 | 19 | 20 | 21 | 31 | 32;
export const DH_PUBLIC_BYTES: Readonly<Record<DhGroup, number>> = { 2: 128, 14: 256, 15: 384, 16: 512, 19: 64, 20: 96, 21: 132, 31: 32, 32: 56 };
/** Of a point on a NIST curve only x is the secret. */
export const DH_SHARED_BYTES: Readonly<Record<DhGroup, number>> = { ...DH_PUBLIC_BYTES, 19: 32, 20: 48, 21: 66 };

export interface DhKeyPair {
  readonly group: DhGroup;
  readonly publicValue: Uint8Array;
  /** Opaque to everyone but the suite; wiped by `wipe`. */
  readonly privateValue: Uint8Array;
}

/** IANA IKEv2 ids of ML-KEM-512, ML-KEM-768 and ML-KEM-1024 (FIPS 203). */
export type KemId = 35 | 36 | 37;

export interface KemSizes {
  readonly publicBytes: number;
  readonly ciphertextBytes: number;
}

export const KEM_SIZES: Readonly<Record<KemId, KemSizes>> = {
  35: { publicBytes: 800, ciphertextBytes: 768 },
  36: { publicBytes: 1184, ciphertextBytes: 1088 },
  37: { publicBytes: 1568, ciphertextBytes: 1568 },
};
export const KEM_SHARED_BYTES = 32;

export interface KemKeyPair {
  readonly kem: KemId;
  readonly publicKey: Uint8Array;
  /** Opaque to everyone but the suite; whoever owns the pair wipes it. */
  readonly privateKey: Uint8Array;
}

export interface Encapsulation {
  readonly ciphertext: Uint8Array;
  /** 32 octets; the caller wipes it. */
  readonly shared: Uint8Array;
}

/**
 * Signature algorithms; ECDSA signatures are ASN.1 DER (RFC 7427) unless said otherwise. RSA-PSS has MGF1 with the same
 * hash and a salt as long as the hash; `rsa-pkcs1` is RSASSA-PKCS1-v1_5 (RFC 8017).
 */
export type SignatureAlgorithm = `ecdsa-${HashName}` | 'ed25519' | `rsa-pss-${HashName}` | `rsa-pkcs1-${HmacName}`;

export type ControlAead = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';

export interface Suite {
  readonly name: 'real' | 'fake';
  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array;
  /** HMAC; the PRF of IKEv2 (PRF_HMAC_*) and of the IKE-less key derivation. */
  hmac(name: HmacName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  dhGenerate(group: DhGroup, random: Random): DhKeyPair;
  /** The shared secret (x coordinate only for ECP), or undefined when the peer's value fails RFC 6989's checks. */
  dhShared(pair: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined;
  kemGenerate(kem: KemId, random: Random): KemKeyPair;
  /** A fresh secret for the owner of `publicKey`; undefined when the key fails FIPS 203's checks. */
  kemEncapsulate(kem: KemId, publicKey: Uint8Array, random: Random): Encapsulation | undefined;
  /** Undefined for a ciphertext of a wrong length; one that was changed gives another secret (FIPS 203 6.3). */
  kemDecapsulate(pair: KemKeyPair, ciphertext: Uint8Array): Uint8Array | undefined;
  /** `privateKey` is PKCS#8 DER. */
  sign(algorithm: SignatureAlgorithm, privateKey: Uint8Array, data: Uint8Array): Uint8Array;
  /** `publicKey` is SPKI DER. False for anything malformed. */
  verify(algorithm: SignatureAlgorithm, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean;
  /** Ciphertext followed by the 16-octet tag; `nonce` is 12 octets. */
  aeadSeal(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  aeadOpen(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  /** AES-CBC without padding; the key's length says which AES, `iv` is 16 octets, `plaintext` whole blocks of 16. Not authenticated. */
  cbcEncrypt(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** Undefined for what is not whole blocks. */
  cbcDecrypt(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined;
  /** One block of single DES, for MSCHAPv2 (RFC 2759 8.6) alone; `key` is 8 octets, whose parity bits do not count. */
  desEncrypt(key: Uint8Array, block: Uint8Array): Uint8Array;
  /** SPKI DER of a certificate, trusted or not; undefined for anything unreadable. */
  certificatePublicKey(certificate: Uint8Array): Uint8Array | undefined;
  /** Checks a device certificate against an anchor at a time. */
  checkChain(request: ChainRequest): ChainResult;
  /** Whoever opens it closes it. A credential that cannot be used shows as the failure of the first step. */
  openTls(options: TlsOptions): TlsEngine;
}

export interface ChainRequest {
  /** DER, leaf first, then intermediates in any order. */
  readonly chain: readonly Uint8Array[];
  /** DER of trusted roots. */
  readonly anchors: readonly Uint8Array[];
  readonly unixMs: number;
  /** `unixMs` is only known to have passed: a certificate that begins later is no less good. */
  readonly isLowerBound?: boolean;
  /** Undefined: nothing is known about revocations, and nobody asks. */
  readonly revocation?: RevocationCheck | undefined;
}

export interface RevocationCheck {
  /** DER. Lists that are not readable, or of nobody on the path, count for nothing. */
  readonly crls: readonly Uint8Array[];
  /** DER of OCSP responses; the same holds for them. */
  readonly ocspResponses?: readonly Uint8Array[];
  /** Without a current list or response of an issuer: `soft` lets its certificates pass, `hard` refuses them. */
  readonly policy: 'soft' | 'hard';
}

export type ChainResult =
  | {
      readonly ok: true;
      readonly publicKey: Uint8Array;
      readonly keyType: 'ecdsa' | 'ed25519' | 'rsa';
      readonly emails: readonly string[];
      readonly uris: readonly string[];
      readonly dnsNames: readonly string[];
      /** Octets in hexadecimal. */
      readonly ipAddresses: readonly string[];
      /** DER. */
      readonly subject: Uint8Array;
      readonly serialNumber: string;
      readonly notAfterUnixMs: number;
      /** When revocations were asked for. */
      readonly path?: CertificatePath;
    }
  /** `cause` is a clause for a log line: "certificate expired on 2026-01-02". */
  | {
      readonly ok: false;
      readonly cause: string;
      /** A certificate of the path is revoked; then nothing that it vouched for before may go on. */
      readonly revoked?: true;
      /** Nothing is wrong with this way but that nothing current is known of a revocation (hard fail). */
      readonly path?: CertificatePath;
    };

/** DER, leaf first, trust anchor last: each was signed by the next. */
export type CertificatePath = readonly Uint8Array[];

/** prf+ (RFC 7296 2.13): T1 | T2 | ..., T1 = prf(K, S | 01). At most 255 rounds. */
export function prfPlus(suite: Suite, name: HmacName, key: Uint8Array, seed: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  let block: Uint8Array = new Uint8Array(0);
  for (let at = 0, round = 1; at < length; at += block.length, round++) {
    block = suite.hmac(name, key, block, seed, Uint8Array.of(round));
    out.set(block.subarray(0, Math.min(block.length, length - at)), at);
  }
  return out;
}
