// What one received key route means, before anything changes. Every speaker's copy is judged alone: the highest rekey
// counter counts, whoever shows it, so that no best-path choice can prefer an old key.
import { equalBytes } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';
import type { IpAddress, SiteId, TenantId } from '../model.ts';
import { addressText } from '../wire/address.ts';
import { decodeSdwanItem } from '../wire/bgp/sdwan.ts';
import { verifyKeyRoute } from './key-route.ts';
import type { KeyRoute } from './key-route.ts';
import type { KeySet } from './key-set.ts';
import type { RouteInput } from './keying-messages.ts';
import type { PeerRecord } from './peer-record.ts';
import { PEERS_MAX } from './peer-table.ts';
import type { PeerTable } from './peer-table.ts';
import type { RouteTrust } from './signed-route.ts';

export interface IntakeContext {
  readonly trust: RouteTrust;
  readonly tenant: TenantId;
  readonly routeDistinguisher: string;
  /** This node's own Node-ID. */
  readonly nodeId: IpAddress;
  readonly peers: PeerTable;
  /** This node's own. */
  readonly keys: readonly KeySet[];
}

export type Intake =
  | { readonly kind: 'nothing' }
  /** Of this node, but made elsewhere, or before this boot. */
  | { readonly kind: 'impostor' }
  | { readonly kind: 'withdrawn'; readonly peer: PeerRecord }
  /** To be treated as withdrawn by this speaker (RFC 7606). */
  | { readonly kind: 'refused'; readonly peer: PeerRecord | undefined; readonly node: string; readonly cause: string }
  /** The newest key again. */
  | { readonly kind: 'seen'; readonly peer: PeerRecord }
  /** A lower rekey counter than the newest. */
  | { readonly kind: 'stale'; readonly peer: PeerRecord }
  /** The newest rekey counter with other content: the owner signed two. */
  | { readonly kind: 'conflict'; readonly peer: PeerRecord }
  | { readonly kind: 'newer'; readonly peer: PeerRecord | undefined; readonly route: KeyRoute; readonly tunnelEncapsulation: Uint8Array };

export function judgeKeyRoute(context: IntakeContext, input: RouteInput, unixMs: number): Intake {
  const { trust, tenant, routeDistinguisher, nodeId, peers } = context;
  const { nlri, tunnelEncapsulation } = input;
  const node = nodeOf(nlri);
  if (node === undefined) return { kind: 'refused', peer: undefined, node: 'unknown', cause: 'its NLRI is malformed or no key route' };
  const known = peers.get(node.nodeId);
  const peer = known?.siteId === node.siteId ? known : undefined;
  if (tunnelEncapsulation === undefined) return peer === undefined ? { kind: 'nothing' } : { kind: 'withdrawn', peer };
  if (node.nodeId === nodeId) {
    const mine = context.keys.some((key) => key.route !== undefined && equalBytes(key.route.tunnelEncapsulation, tunnelEncapsulation));
    return { kind: mine ? 'nothing' : 'impostor' };
  }
  const newest = peer?.newestKey;
  if (peer !== undefined && newest !== undefined && equalBytes(newest.tunnelEncapsulation, tunnelEncapsulation)) return { kind: 'seen', peer };
  const unfit = unfitness(context, known, node.siteId);
  if (unfit !== undefined) return { kind: 'refused', peer, node: node.nodeId, cause: unfit };
  const verdict = verifyKeyRoute(trust, { nlri, tunnelEncapsulation }, tenant, routeDistinguisher, unixMs);
  if (!verdict.ok) return { kind: 'refused', peer, node: node.nodeId, cause: verdict.cause };
  const { route } = verdict;
  const counter = route.published.rekeyCounter;
  if (peer === undefined || newest === undefined || counter > newest.published.rekeyCounter) return { kind: 'newer', peer, route, tunnelEncapsulation };
  return { kind: counter === newest.published.rekeyCounter ? 'conflict' : 'stale', peer };
}

function unfitness(context: IntakeContext, known: PeerRecord | undefined, siteId: SiteId): string | undefined {
  if (known !== undefined && known.siteId !== siteId) return `its Node-ID belongs to site ${known.siteId}`;
  if (known === undefined && context.peers.size >= PEERS_MAX) return `${PEERS_MAX} peers are known already`;
  return undefined;
}

/** The node that a key route is of; undefined for anything else. */
function nodeOf(nlri: Uint8Array): { readonly nodeId: IpAddress; readonly siteId: SiteId } | undefined {
  try {
    const item = decodeSdwanItem(nlri);
    return item.kind === 'key' ? { nodeId: addressText(item.nodeId), siteId: item.color } : undefined;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}
