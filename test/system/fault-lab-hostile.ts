// What the fault lab tells boxes that were taken over, and how they forge.
const CONTAINER_SIGNATURE = 3;
const ECDSA_P256 = 2;
/** Algorithm 2, digest 32, signature 64 to 72. */
const SHORTEST = 98;
const LONGEST = 106;

/** Where a hostile branch reads what to announce, in the box's own view. */
export const HOSTILE_ORDER = '/var/lib/selvage/hostile.json';

export interface HostileOrder {
  readonly organization: string;
  /** Its newest key route, its oldest one, its newest with a bad signature, or its newest under another name. */
  readonly what: 'newest' | 'oldest' | 'bad-signature' | 'renamed';
  /** For `renamed`: whom it claims to be. */
  readonly siteId?: number;
  readonly nodeId?: readonly number[];
}

/** Where a hostile Controller reads its conduct, in the box's own view. */
export const HOSTILE_CONDUCT = '/var/lib/selvage/hostile.txt';
export type Conduct = 'honest' | 'lawless' | 'forging';

/**
 * A TUNNEL_ENCAP value whose signature has one bit changed: container 253/3 is type 3, length 2, algorithm 2, digest
 * of the signer's key 32, signature. Undefined when there is none.
 */
export function withBadSignature(value: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const bytes = Uint8Array.from(value);
  for (let at = 0; at + SHORTEST < bytes.length; at++) {
    const length = (bytes[at + 1]! << 8) | bytes[at + 2]!;
    const end = at + 3 + length;
    const algorithm = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    if (bytes[at] !== CONTAINER_SIGNATURE || algorithm !== ECDSA_P256 || length < SHORTEST || length > LONGEST || end > bytes.length) continue;
    bytes[end - 1]! ^= 1;
    return bytes;
  }
  return undefined;
}
