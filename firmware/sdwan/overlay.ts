// From the keying machine's SAs, the peers' circuits and the best VPN routes to the branch-to-branch part of the
// forwarding state of one tenant. A pure function: same input, same output, and ids that stay with their peer.
//
// A peer without a sending SA gets no route at all: traffic for it is dropped, never sent clear.
import type { IpAddress, PathSpec, RouteSpec, TenantId, TunnelSpec } from '../model.ts';
import type { PeerCircuit } from './circuit-route.ts';
import type { PeerAssociations } from './keying-messages.ts';

/** RFC 3032: explicit null of IPv4 and IPv6; on a VPN route it means the peer's control VR. */
const EXPLICIT_NULL_IPV4 = 0;
const EXPLICIT_NULL_IPV6 = 2;
/** While no SLA probe keeps the SAs in use, dummies do (rules R3 and R4 need a first packet). */
const IDLE_DUMMY_MS = 2000;

const OUTER_BYTES_MAX = 1500;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
/** UDP, VXLAN, its extension, ESP header, IV, ICV. */
const FRAME_BYTES = 8 + 8 + 8 + 8 + 8 + 16;
/** GRE, MPLS, and ESP's pad length and next header inside the encrypted part. */
const INNER_BYTES = 4 + 4 + 2;

/** The largest inner IP packet that fits: the encrypted part is a multiple of 4 octets (RFC 4303 2.4). */
export function overlayMtu(outerBytes: number, ipv6Outside: boolean): number {
  const encrypted = outerBytes - FRAME_BYTES - (ipv6Outside ? IPV6_BYTES : IPV4_BYTES);
  return encrypted - (encrypted % 4) - INNER_BYTES;
}

/** A best route of the tenant's VPN table. */
export interface OverlayVpnRoute {
  /** `10.1.0.0/16` */
  readonly prefix: string;
  /** The Node-ID of the announcing site. */
  readonly nextHop: IpAddress;
  /** The peer's VPN label; explicit null for an address of its control VR. */
  readonly label: number;
}

/** One circuit of this box. */
export interface OverlayCircuit {
  /** Id of its `OutsideSpec`. */
  readonly outside: number;
  readonly transport: string;
  /** Without prefix length. */
  readonly addresses: readonly IpAddress[];
}

export interface OverlayInput {
  readonly tenant: TenantId;
  /** Inside ids: of the encrypted TVI, and of the LAN VR where the tenant has one. */
  readonly encryptedInside: number;
  readonly lanInside: number | undefined;
  /** In order of preference. */
  readonly circuits: readonly OverlayCircuit[];
  readonly associations: readonly PeerAssociations[];
  readonly peerCircuits: readonly PeerCircuit[];
  readonly vpnRoutes: readonly OverlayVpnRoute[];
  /** A tunnel id that is stable for the peer and unique in the process. */
  readonly tunnelId: (nodeId: IpAddress) => number;
  /** Outer packet that a path is known to carry; 1500 where nothing is known. */
  readonly outerBytes?: ((path: PathSpec) => number) | undefined;
}

export interface OverlayForwarding {
  readonly tunnels: readonly TunnelSpec[];
  readonly routes: readonly RouteSpec[];
}

export function overlayForwarding(input: OverlayInput): OverlayForwarding {
  const circuits = Map.groupBy(input.peerCircuits, (circuit) => circuit.nodeId);
  const tunnels: TunnelSpec[] = [];
  const reachable = new Map<IpAddress, number>();
  for (const peer of input.associations) {
    if (peer.associations.length === 0) continue;
    const tunnel = tunnelTo(peer, circuits.get(peer.nodeId) ?? [], input);
    tunnels.push(tunnel);
    if (tunnel.tx !== undefined) reachable.set(peer.nodeId, tunnel.id);
  }
  return { tunnels, routes: routesTo(reachable, input) };
}

function tunnelTo(peer: PeerAssociations, peerCircuits: readonly PeerCircuit[], input: OverlayInput): TunnelSpec {
  const { tenant, encryptedInside, circuits, outerBytes = () => OUTER_BYTES_MAX } = input;
  const paths = pathsTo(peerCircuits, circuits);
  const mtus = paths.map((path) => overlayMtu(outerBytes(path), isIpv6(path.remote.address)));
  return {
    id: input.tunnelId(peer.nodeId), tenant, peer: peer.name, kind: 'vxlan-esp', inside: encryptedInside, paths,
    mtu: mtus.length > 0 ? Math.min(...mtus) : overlayMtu(OUTER_BYTES_MAX, true),
    tx: peer.tx, rx: peer.associations.map((association) => association.rx), idleDummyMs: IDLE_DUMMY_MS, probesMtu: true,
  };
}

/**
 * Every circuit of mine with every endpoint of the peer in a family that the circuit has. Paths within one transport
 * come first: between transports there may be no way at all.
 */
function pathsTo(peerCircuits: readonly PeerCircuit[], circuits: readonly OverlayCircuit[]): readonly PathSpec[] {
  const ordered = peerCircuits.toSorted((a, b) => a.portLocalId - b.portLocalId);
  const same: PathSpec[] = [];
  const other: PathSpec[] = [];
  for (const mine of circuits) {
    for (const theirs of ordered) {
      const ipv6 = isIpv6(theirs.endpoint.address);
      if (!mine.addresses.some((address) => isIpv6(address) === ipv6)) continue;
      (mine.transport === theirs.transport ? same : other).push({ outside: mine.outside, remote: theirs.endpoint });
    }
  }
  return [...same, ...other];
}

function routesTo(reachable: ReadonlyMap<IpAddress, number>, input: OverlayInput): readonly RouteSpec[] {
  const routes: RouteSpec[] = [];
  for (const [nodeId, tunnel] of reachable) {
    const ipv6 = isIpv6(nodeId);
    routes.push({ inside: input.encryptedInside, prefix: `${nodeId}/${ipv6 ? 128 : 32}`, tunnel, label: ipv6 ? EXPLICIT_NULL_IPV6 : EXPLICIT_NULL_IPV4 });
  }
  for (const route of input.vpnRoutes) {
    const tunnel = reachable.get(route.nextHop);
    const control = route.label === EXPLICIT_NULL_IPV4 || route.label === EXPLICIT_NULL_IPV6;
    const inside = control ? input.encryptedInside : input.lanInside;
    if (tunnel !== undefined && inside !== undefined) routes.push({ inside, prefix: route.prefix, tunnel, label: route.label });
  }
  return routes;
}

function isIpv6(address: IpAddress): boolean {
  return address.includes(':');
}
