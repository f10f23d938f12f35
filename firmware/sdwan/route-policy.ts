// What a Controller takes from a branch's BGP session: a branch speaks for the node, site and tenant that its IKE
// identity stands for and for nothing else (the PAD of draft-carrel-ipsecme-controller-ike 5.3). Without this any
// branch could replace the key of any other. A refused route is treated as withdrawn and raises an alarm.
import { WireError } from '../../platform/errors.ts';
import type { IpAddress, SiteId } from '../model.ts';
import { addressText } from '../wire/address.ts';
import { decodeSdwanItem } from '../wire/bgp/sdwan.ts';
import type { SdwanNlri } from '../wire/bgp/sdwan.ts';

/** The identity on which a session runs, resolved through the site directory. */
export interface BranchFacts {
  readonly siteId: SiteId;
  /** Address of the clear TVI. */
  readonly nodeId: IpAddress;
  readonly routeDistinguisher: string;
  readonly routeTarget: string;
}

export interface SdwanRouteFacts {
  /** The whole SAFI 74 item. */
  readonly item: Uint8Array;
  /** Route targets in text form (`65000:2`). */
  readonly routeTargets: readonly string[];
}

export interface VpnRouteFacts {
  readonly routeDistinguisher: string;
  readonly nextHop: IpAddress;
  readonly routeTargets: readonly string[];
}

/** Why a branch may not announce this SAFI 74 route; undefined when it may. A clause for a log line. */
export function acceptSdwanRoute(branch: BranchFacts, route: SdwanRouteFacts): string | undefined {
  let nlri: SdwanNlri;
  try {
    nlri = decodeSdwanItem(route.item);
  } catch (error) {
    if (error instanceof WireError) return `malformed: ${error.message}`;
    throw error;
  }
  if (nlri.kind === 'directive') return 'only Controllers order rekeys';
  if (nlri.kind === 'unknown') return `route type ${nlri.routeType} names no node that could be checked`;
  const node = addressText(nlri.nodeId);
  if (node !== branch.nodeId) return `its Node-ID is ${node}, the session's is ${branch.nodeId}`;
  if (nlri.color !== branch.siteId) return `its site is ${nlri.color}, the session's is ${branch.siteId}`;
  if (nlri.kind === 'key' && nlri.rd !== branch.routeDistinguisher) {
    return `its route distinguisher is ${nlri.rd}, the session's is ${branch.routeDistinguisher}`;
  }
  return foreignTarget(branch, route.routeTargets);
}

/** The same for a VPN route (1/128, 2/128): it must lead to the announcing node, within its tenant. */
export function acceptVpnRoute(branch: BranchFacts, route: VpnRouteFacts): string | undefined {
  if (route.nextHop !== branch.nodeId) return `its next hop is ${route.nextHop}, the session's Node-ID is ${branch.nodeId}`;
  if (route.routeDistinguisher !== branch.routeDistinguisher) {
    return `its route distinguisher is ${route.routeDistinguisher}, the session's is ${branch.routeDistinguisher}`;
  }
  return foreignTarget(branch, route.routeTargets);
}

function foreignTarget(branch: BranchFacts, targets: readonly string[]): string | undefined {
  if (targets.length === 0) return 'it has no route target';
  const foreign = targets.find((target) => target !== branch.routeTarget);
  return foreign === undefined ? undefined : `its route target ${foreign} is not the tenant's ${branch.routeTarget}`;
}
