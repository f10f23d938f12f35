// What EAP-TLS needs of the IKE SA that carries it: its TLS, and whose certificates it believes.
import type { IkeSa } from '../ike-sa.ts';
import { checkPeerChain, namesIdentity } from '../peer-chain.ts';
import type { IkeIdentity } from '../profile.ts';
import { identityText } from '../profile.ts';
import type { TlsPort, Trust } from './tls.ts';

export function tlsPort(sa: IkeSa): TlsPort {
  const { env, number: ikeSa } = sa;
  return {
    open: (options) => env.emit({ kind: 'tls-open', ikeSa, options }),
    feed: (bytes) => env.emit({ kind: 'tls-feed', ikeSa, bytes }),
    close: () => env.emit({ kind: 'tls-close', ikeSa }),
  };
}

/** `expected`: whom the certificate must name; undefined: the caller looks. */
export function trustIn(sa: IkeSa, anchors: readonly Uint8Array[], expected: IkeIdentity | undefined): (chain: readonly Uint8Array[]) => Trust {
  return (chain) => {
    const result = checkPeerChain(sa, chain, anchors, sa.env.revocation());
    if (!result.ok) return { ok: false, cause: result.cause };
    const { emails, uris, dnsNames } = result;
    const isNamed = expected === undefined || namesIdentity(result, expected);
    return isNamed ? { ok: true, facts: { emails, uris, chain }, names: [...emails, ...dnsNames] } : { ok: false, cause: `certificate is not for the identity ${identityText(expected)}` };
  };
}
