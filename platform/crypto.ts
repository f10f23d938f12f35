// The cryptography of the control plane behind one interface. RealSuite uses node:crypto (platform/crypto-real.ts);
// FakeSuite is cheap and deterministic for thousand-node simulations (platform/crypto-fake.ts). Private values and
// nonces come from the injected Random, so that a run is a function of its seed.
import type { Random } from './random.ts';

export type HashName = 'sha256' | 'sha384' | 'sha512';

/** IANA IKEv2 Diffie-Hellman groups: 14 MODP-2048, 19/20/21 ECP-256/384/521 (RFC 5903: x|y), 31 Curve25519 (RFC 8031). */
export type DhGroup = 14 | 19 | 20 | 21 | 31;
export const DH_PUBLIC_BYTES: Readonly<Record<DhGroup, number>> = { 14: 256, 19: 64, 20: 96, 21: 132, 31: 32 };

export interface DhKeyPair {
  readonly group: DhGroup;
  readonly publicValue: Uint8Array;
  /** Opaque to everyone but the suite; wiped by `wipe`. */
  readonly privateValue: Uint8Array;
}

/** Signature algorithms; ECDSA signatures are ASN.1 DER (RFC 7427) unless said otherwise. */
export type SignatureAlgorithm = 'ecdsa-sha256' | 'ecdsa-sha384' | 'ecdsa-sha512' | 'ed25519';

export type ControlAead = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';

export interface Suite {
  readonly name: 'real' | 'fake';
  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array;
  /** HMAC; the PRF of IKEv2 (PRF_HMAC_SHA2_*) and of the IKE-less key derivation. */
  hmac(name: HashName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  dhGenerate(group: DhGroup, random: Random): DhKeyPair;
  /** The shared secret (x coordinate only for ECP), or undefined when the peer's value fails RFC 6989's checks. */
  dhShared(pair: DhKeyPair, peerPublic: Uint8Array): Uint8Array | undefined;
  /** `privateKey` is PKCS#8 DER. */
  sign(algorithm: SignatureAlgorithm, privateKey: Uint8Array, data: Uint8Array): Uint8Array;
  /** `publicKey` is SPKI DER. False for anything malformed. */
  verify(algorithm: SignatureAlgorithm, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean;
  /** Ciphertext followed by the 16-octet tag; `nonce` is 12 octets. */
  aeadSeal(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  aeadOpen(aead: ControlAead, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  /** SPKI DER of a certificate, trusted or not; undefined for anything unreadable. */
  certificatePublicKey(certificate: Uint8Array): Uint8Array | undefined;
  /** Checks a device certificate against an anchor at a time. */
  checkChain(request: ChainRequest): ChainResult;
}

export interface ChainRequest {
  /** DER, leaf first, then intermediates in any order. */
  readonly chain: readonly Uint8Array[];
  /** DER of trusted roots. */
  readonly anchors: readonly Uint8Array[];
  readonly unixMs: number;
}

export type ChainResult =
  | { readonly ok: true; readonly publicKey: Uint8Array; readonly keyType: 'ecdsa' | 'ed25519' | 'rsa'; readonly emails: readonly string[]; readonly uris: readonly string[]; readonly serialNumber: string; readonly notAfterUnixMs: number }
  /** `cause` is a clause for a log line: "certificate expired on 2026-01-02". */
  | { readonly ok: false; readonly cause: string };

/** prf+ (RFC 7296 2.13): T1 | T2 | ..., T1 = prf(K, S | 01). At most 255 rounds. */
export function prfPlus(suite: Suite, name: HashName, key: Uint8Array, seed: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  let block: Uint8Array = new Uint8Array(0);
  for (let at = 0, round = 1; at < length; at += block.length, round++) {
    block = suite.hmac(name, key, block, seed, Uint8Array.of(round));
    out.set(block.subarray(0, Math.min(block.length, length - at)), at);
  }
  return out;
}
