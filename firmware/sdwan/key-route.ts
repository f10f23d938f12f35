// The key route (SAFI 74, route type 0xFF01): one per tenant and node. It publishes the node's newest Diffie-Hellman
// values, nonce, rekey counter and SA proposals, signed with the device's certificate.
import { equalBytes } from '../../platform/bytes.ts';
import type { DhKeyPair, Suite } from '../../platform/crypto.ts';
import type { IpAddress, SiteId, TenantId } from '../model.ts';
import { addressBytes, addressText } from '../wire/address.ts';
import type { SaProposal } from '../wire/bgp/tunnel-encap-keys.ts';
import type { PublishedKey } from './derivation.ts';
import { decodeRoute, refusal, signRoute, verifySignature } from './signed-route.ts';
import type { RouteBytes, RouteSigner, RouteTrust, Verdict } from './signed-route.ts';

/** UDP port of the overlay's VXLAN-GPE. */
const OVERLAY_PORT = 4790;

/** This node, as its routes name it. */
export interface NodeIdentity {
  readonly tenant: TenantId;
  readonly siteId: SiteId;
  /** Address of the clear TVI. */
  readonly nodeId: IpAddress;
  readonly routeDistinguisher: string;
  readonly name: string;
  readonly model: string;
  readonly version: string;
}

export interface KeyMaterial {
  readonly rekeyCounter: bigint;
  readonly initialContact: boolean;
  readonly nonce: Uint8Array;
  readonly pairs: readonly DhKeyPair[];
  readonly proposals: readonly SaProposal[];
  readonly keyId: number;
  readonly lifetimeSeconds: number;
}

/** A key route whose signature, identity and content were good. */
export interface KeyRoute {
  readonly nodeId: IpAddress;
  readonly siteId: SiteId;
  /** Device name, for logs and `show`. */
  readonly name: string;
  readonly published: PublishedKey;
  readonly initialContact: boolean;
  readonly keyId: number;
  readonly lifetimeSeconds: number;
}

export function buildKeyRoute(suite: Suite, signer: RouteSigner, node: NodeIdentity, key: KeyMaterial): RouteBytes {
  const id = addressBytes(node.nodeId);
  return signRoute(suite, signer, { kind: 'key', rd: node.routeDistinguisher, color: node.siteId, nodeId: id }, {
    egressEndpoint: id,
    color: node.siteId,
    udpPort: OVERLAY_PORT,
    deviceInformation: { initialContact: key.initialContact, rekeyCounter: key.rekeyCounter, id, nonce: key.nonce },
    keyExchanges: key.pairs.map(({ group, publicValue }) => ({ group, publicValue })),
    proposals: key.proposals,
    keyParameters: { keyId: key.keyId, lifetimeSeconds: key.lifetimeSeconds, idBound: true },
    site: { siteId: node.siteId, name: node.name, model: node.model, version: node.version },
  });
}

/** Checks everything that makes a key route believable for `tenant`; never throws for what was received. */
export function verifyKeyRoute(trust: RouteTrust, bytes: RouteBytes, tenant: TenantId, rd: string, unixMs: number): Verdict<KeyRoute> {
  const decoded = decodeRoute(bytes);
  if (!decoded.ok) return decoded;
  const { nlri, fields } = decoded.route;
  if (nlri.kind !== 'key') return refusal(`it is a ${nlri.kind} route`);
  if (nlri.rd !== rd) return refusal(`its route distinguisher is ${nlri.rd}, this tenant's is ${rd}`);
  const cause = verifySignature(trust, bytes, fields, nlri.color, tenant, unixMs);
  if (cause !== undefined) return refusal(cause);
  const { deviceInformation: dim, keyParameters: parameters, keyExchanges, proposals } = fields;
  if (dim === undefined || parameters === undefined) return refusal('it lacks its DIM or its key parameters');
  if (!equalBytes(dim.id, nlri.nodeId)) return refusal('its DIM names another node than its NLRI');
  if (fields.color !== undefined && fields.color !== nlri.color) return refusal('its color sub-TLV names another site than its NLRI');
  if (!parameters.idBound) return refusal('it asks for the derivation that is not bound to identities');
  if (keyExchanges.length === 0 || proposals.length === 0) return refusal('it lacks public values or SA proposals');
  if (parameters.lifetimeSeconds === 0) return refusal('its key has no lifetime');
  return {
    ok: true,
    route: {
      nodeId: addressText(nlri.nodeId), siteId: nlri.color, name: fields.site?.name ?? `site ${nlri.color}`,
      published: { id: dim.id, nonce: dim.nonce, rekeyCounter: dim.rekeyCounter, keyExchanges, proposals },
      initialContact: dim.initialContact, keyId: parameters.keyId, lifetimeSeconds: parameters.lifetimeSeconds,
    },
  };
}
