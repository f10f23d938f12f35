// The rekey directive (SAFI 74, route type 0xFF02): a Controller asks the nodes of a tenant to make new keys. A node
// acts once per Controller and epoch. Directives are not signed: whoever forges one can cause work, never a weaker
// key, and branches take them from Controllers only (route-policy.ts).
//
// Reason 4 may name the revoked site in container 253/2; without it every peer that no Controller shows is meant.
import type { IpAddress, SiteId } from '../model.ts';
import { addressBytes, addressText } from '../wire/address.ts';
import { encodeSdwanItem } from '../wire/bgp/sdwan.ts';
import type { Directive, RekeyReason } from '../wire/bgp/tunnel-encap-container.ts';
import { encodeTunnelEncapsulation } from '../wire/bgp/tunnel-encap.ts';
import { decodeRoute, refusal } from './signed-route.ts';
import type { RouteBytes, Verdict } from './signed-route.ts';

export const REASON_SCHEDULED: RekeyReason = 1;
export const REASON_POLICY: RekeyReason = 2;
export const REASON_COMPROMISE: RekeyReason = 3;
export const REASON_REVOKED: RekeyReason = 4;
export const REASON_OPERATOR: RekeyReason = 5;

export interface RekeyDirective extends Directive {
  readonly controller: IpAddress;
  readonly revokedSite: SiteId | undefined;
}

/** Compromise and revocation: no spread, no least interval, and old SAs linger shortly from the publication on. */
export function isUrgent(reason: RekeyReason): boolean {
  return reason === REASON_COMPROMISE || reason === REASON_REVOKED;
}

export function buildDirectiveRoute(rd: string, directive: RekeyDirective): RouteBytes {
  const { controller, revokedSite, ...container } = directive;
  return {
    nlri: encodeSdwanItem({ kind: 'directive', rd, nodeId: addressBytes(controller) }),
    tunnelEncapsulation: encodeTunnelEncapsulation({
      keyExchanges: [], proposals: [], directive: container,
      site: revokedSite === undefined ? undefined : { siteId: revokedSite, name: '', model: '', version: '' },
    }),
  };
}

/** Never throws for what was received. */
export function readDirectiveRoute(bytes: RouteBytes, rd: string): Verdict<RekeyDirective> {
  const decoded = decodeRoute(bytes);
  if (!decoded.ok) return decoded;
  const { nlri, fields } = decoded.route;
  if (nlri.kind !== 'directive') return refusal(`it is a ${nlri.kind} route`);
  if (nlri.rd !== rd) return refusal(`its route distinguisher is ${nlri.rd}, this tenant's is ${rd}`);
  if (fields.directive === undefined) return refusal('it carries no directive');
  return { ok: true, route: { ...fields.directive, controller: addressText(nlri.nodeId), revokedSite: fields.site?.siteId } };
}
