// Signatures of key routes and circuit routes: whoever carries a route can drop it, but not change it. The signature
// covers "Selvage key route v1" 00 | the whole SAFI 74 item | the TUNNEL_ENCAP value without container 253/3, and the
// signer's certificate travels beside it (docs/WIRE.md). The label is the same for both kinds; the item's route type
// keeps them apart.
import { concat, equalBytes, utf8 } from '../../platform/bytes.ts';
import type { RevocationCheck, SignatureAlgorithm, Suite } from '../../platform/crypto.ts';
import { WireError } from '../../platform/errors.ts';
import type { SiteId, TenantId } from '../model.ts';
import { decodeSdwanItem, encodeSdwanItem } from '../wire/bgp/sdwan.ts';
import type { SdwanNlri } from '../wire/bgp/sdwan.ts';
import type { RouteSignatureAlgorithm } from '../wire/bgp/tunnel-encap-container.ts';
import { decodeTunnelEncapsulation, encodeTunnelEncapsulation, tunnelEncapsulationWithoutSignature } from '../wire/bgp/tunnel-encap.ts';
import type { TunnelEncapsulation } from '../wire/bgp/tunnel-encap.ts';

const LABEL = concat(utf8('Selvage key route v1'), Uint8Array.of(0));
/** Attribute values beyond this are refused unread: a certificate, a signature and all groups fit well below. */
const TUNNEL_ENCAPSULATION_BYTES_MAX = 16 * 1024;

const ALGORITHMS: Readonly<Record<RouteSignatureAlgorithm, SignatureAlgorithm>> = { 1: 'ed25519', 2: 'ecdsa-sha256', 3: 'ecdsa-sha384' };

/** The device's own credential. */
export interface RouteSigner {
  readonly algorithm: RouteSignatureAlgorithm;
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** SPKI DER of the certificate's key. */
  readonly publicKey: Uint8Array;
  /** DER. */
  readonly certificate: Uint8Array;
}

/** What a receiver trusts. */
export interface RouteTrust {
  readonly suite: Suite;
  /** DER of the anchors in the box's bundle. */
  readonly anchors: readonly Uint8Array[];
  readonly provider: string;
  /** What is known of revocations now; undefined: nothing. */
  readonly revocation?: () => RevocationCheck | undefined;
}

/** A route as BGP carries it; `nlri` is the whole SAFI 74 item. */
export interface RouteBytes {
  readonly nlri: Uint8Array;
  readonly tunnelEncapsulation: Uint8Array;
}

export type Verdict<T> =
  | { readonly ok: true; readonly route: T }
  /** `cause` is a clause for a log line. */
  | { readonly ok: false; readonly cause: string };

export function refusal(cause: string): { readonly ok: false; readonly cause: string } {
  return { ok: false, cause };
}

/** The URI in a device certificate that lets it speak for a site in a tenant. */
export function siteUri(provider: string, siteId: SiteId, tenant: TenantId): string {
  return `urn:selvage:${provider}:site:${siteId}:tenant:${tenant}`;
}

/** Encodes `nlri` and `fields` with the signer's certificate and signature. */
export function signRoute(suite: Suite, signer: RouteSigner, nlri: SdwanNlri, fields: TunnelEncapsulation): RouteBytes {
  const item = encodeSdwanItem(nlri);
  const unsigned: TunnelEncapsulation = { ...fields, certificate: signer.certificate };
  const covered = concat(LABEL, item, encodeTunnelEncapsulation(unsigned));
  const signature = suite.sign(ALGORITHMS[signer.algorithm], signer.privateKey, covered);
  const signerSha256 = suite.hash('sha256', signer.publicKey);
  return { nlri: item, tunnelEncapsulation: encodeTunnelEncapsulation({ ...unsigned, signature: { algorithm: signer.algorithm, signerSha256, signature } }) };
}

export interface DecodedRoute {
  readonly nlri: SdwanNlri;
  readonly fields: TunnelEncapsulation;
}

/** Decodes without believing anything; a malformed route gives a cause instead of WireError. */
export function decodeRoute(bytes: RouteBytes): Verdict<DecodedRoute> {
  if (bytes.tunnelEncapsulation.length > TUNNEL_ENCAPSULATION_BYTES_MAX) {
    return refusal(`its TUNNEL_ENCAP has ${bytes.tunnelEncapsulation.length} octets, ${TUNNEL_ENCAPSULATION_BYTES_MAX} are read`);
  }
  try {
    const fields = decodeTunnelEncapsulation(bytes.tunnelEncapsulation);
    if (fields === undefined) return refusal('it carries no usable tunnel of type 25');
    return { ok: true, route: { nlri: decodeSdwanItem(bytes.nlri), fields } };
  } catch (error) {
    if (error instanceof WireError) return refusal(`malformed: ${error.message}`);
    throw error;
  }
}

/** Chain to an anchor, then the site's URI, then the signature; returns the cause of a refusal. */
export function verifySignature(
  trust: RouteTrust, bytes: RouteBytes, fields: TunnelEncapsulation, siteId: SiteId, tenant: TenantId, unixMs: number,
): string | undefined {
  const { suite, anchors, provider } = trust;
  const { certificate, signature } = fields;
  if (certificate === undefined) return 'it carries no certificate';
  if (signature === undefined) return 'it is not signed';
  const chain = suite.checkChain({ chain: [certificate], anchors, unixMs, revocation: trust.revocation?.() });
  if (!chain.ok) return `its certificate is not trusted: ${chain.cause}`;
  const uri = siteUri(provider, siteId, tenant);
  if (!chain.uris.includes(uri)) return `its certificate does not hold ${uri}`;
  const keyType = signature.algorithm === 1 ? 'ed25519' : 'ecdsa';
  if (chain.keyType !== keyType) return `it is signed with ${ALGORITHMS[signature.algorithm]}, its certificate holds an ${chain.keyType} key`;
  if (!equalBytes(suite.hash('sha256', chain.publicKey), signature.signerSha256)) return 'its signature names another key than its certificate';
  const covered = coveredOctets(bytes);
  if (!covered.ok) return covered.cause;
  if (!suite.verify(ALGORITHMS[signature.algorithm], chain.publicKey, covered.route, signature.signature)) return 'its signature does not fit its content';
  return undefined;
}

/** A signature covers tunnels of other types, too, which `decodeRoute` does not look into: they may be malformed. */
function coveredOctets(bytes: RouteBytes): Verdict<Uint8Array> {
  try {
    return { ok: true, route: concat(LABEL, bytes.nlri, tunnelEncapsulationWithoutSignature(bytes.tunnelEncapsulation)) };
  } catch (error) {
    if (error instanceof WireError) return refusal(`malformed: ${error.message}`);
    throw error;
  }
}

/** Whether the certificate that came with a route, which was good then, is revoked now. */
export function isSignerRevoked({ suite, anchors, revocation }: RouteTrust, tunnelEncapsulation: Uint8Array, unixMs: number): boolean {
  const certificate = decodeTunnelEncapsulation(tunnelEncapsulation)?.certificate;
  if (certificate === undefined) return false;
  const chain = suite.checkChain({ chain: [certificate], anchors, unixMs, revocation: revocation?.() });
  return !chain.ok && chain.revoked === true;
}
