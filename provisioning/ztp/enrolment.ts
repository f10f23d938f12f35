// What a device and Director say to each other before the device has a certificate.
import type { Suite } from '../../platform/crypto.ts';
import { utf8 } from '../../platform/bytes.ts';

/** All that a fresh Controller gets: where Director is, what to trust, and a token that works once. */
export interface EnrolmentRecord {
  /** `https://198.51.100.5:443` */
  readonly url: string;
  readonly provider: string;
  readonly name: string;
  readonly serial: string;
  /** Lower-case hex SHA-256 of the provider's trust anchor (DER). */
  readonly anchorSha256: string;
  readonly token: string;
  readonly expiresUnixMs: number;
}

/** HMAC-SHA256(psk, "selvage-csr" | CSR DER): only the box that holds the prestaging record can ask for its certificate. */
export function csrProof(suite: Suite, psk: Uint8Array, csr: Uint8Array): Uint8Array {
  return suite.hmac('sha256', psk, utf8('selvage-csr'), csr);
}
