// The AEAD engine of the data plane: keys by handle, bursts in place.
import type { Burst } from './burst.ts';
import type { EspSuite } from './esp-suite.ts';

export interface AeadKey {
  readonly suite: EspSuite;
  /** Of AES-CBC with an HMAC both keys, the cipher's first. */
  readonly key: Uint8Array;
  readonly salt: Uint8Array;
  readonly esn: boolean;
}

/**
 * Works on every packet i of the burst with next[i] === select. ESP header at esp[i], espLength[i] octets up to and
 * including the ICV. AEADs: nonce = salt | 8-octet IV after the header; AAD = SPI | [seqHi[i]] | seq. AES-CBC with an HMAC:
 * the 64-bit sequence number and 8 zeros stand where sealing puts the IV; the HMAC covers SPI to ciphertext | [seqHi[i]].
 * Everything happens in place. A failure marks the packet (next = drop, reason = failReason) and never throws.
 */
export interface AeadEngine {
  readonly name: string;
  /** The key is copied; returns a handle >= 0. */
  install(key: AeadKey): number;
  /** Wipes and forgets; a handle may be used again by a later install. */
  remove(handle: number): void;
  /**
   * Encrypts the octets between IV and ICV, writes the ICV; packets then get next = `then`. A super-packet (offset at its
   * outer header, esp at an ESP header that has the first part's sequence number, inner, headers, transport, segment and
   * trailer set) is cut up in the arena's output room: the row becomes the run of its sealed parts (segment = octets of
   * each but the last, 0 when there is only one).
   */
  seal(burst: Burst, select: number, then: number, failReason: number): void;
  /** Checks the tag in constant time and decrypts; packets then get next = `then`. */
  open(burst: Burst, select: number, then: number, failReason: number): void;
}
