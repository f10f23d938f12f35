// A peer's certificates, in IKE_AUTH or in the TLS of EAP: judged by one rule, and told to the service.
import { toHex } from '../../platform/bytes.ts';
import type { ChainResult, RevocationCheck } from '../../platform/crypto.ts';
import type { IkeSa } from './ike-sa.ts';
import type { IkeIdentity } from './profile.ts';
import { encodeIdentity, sameIdentity } from './profile.ts';

/** `chain` is DER, leaf first; a cause is a clause about the certificate. */
export function checkPeerChain(sa: IkeSa, chain: readonly Uint8Array[], anchors: readonly Uint8Array[], revocation: RevocationCheck | undefined): ChainResult {
  const result = sa.env.suite.checkChain({ chain, anchors, unixMs: sa.env.unixMs(), revocation });
  if (result.path !== undefined) sa.env.emit({ kind: 'certificate-seen', path: result.path });
  return result.ok ? result : { ...result, cause: result.cause.replace(/^there is no certificate$/, 'certificate is missing') };
}

/** Whether a certificate names an identity: in subjectAltName, or as its subject (RFC 7296 3.5, RFC 4945 3.1). */
export function namesIdentity({ emails, dnsNames, ipAddresses, subject }: Extract<ChainResult, { ok: true }>, identity: IkeIdentity): boolean {
  switch (identity.kind) {
    case 'email':
      return emails.some((value) => sameIdentity({ kind: 'email', value }, identity));
    case 'fqdn':
      return dnsNames.some((value) => sameIdentity({ kind: 'fqdn', value }, identity));
    case 'ipv4':
    case 'ipv6':
      return ipAddresses.includes(toHex(encodeIdentity(identity).data));
    case 'dn':
      return sameIdentity({ kind: 'dn', value: toHex(subject) }, identity);
    case 'key-id':
    case 'user':
      return false;
  }
}
