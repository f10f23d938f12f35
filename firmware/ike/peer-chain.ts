// A peer's certificates, in IKE_AUTH or in the TLS of EAP: judged by one rule, and told to the service.
import type { ChainResult, RevocationCheck } from '../../platform/crypto.ts';
import type { IkeSa } from './ike-sa.ts';

/** `chain` is DER, leaf first; a cause is a clause about the certificate. */
export function checkPeerChain(sa: IkeSa, chain: readonly Uint8Array[], anchors: readonly Uint8Array[], revocation: RevocationCheck | undefined): ChainResult {
  const result = sa.env.suite.checkChain({ chain, anchors, unixMs: sa.env.unixMs(), revocation });
  if (result.path !== undefined) sa.env.emit({ kind: 'certificate-seen', path: result.path });
  return result.ok ? result : { ...result, cause: result.cause.replace(/^there is no certificate$/, 'certificate is missing') };
}
