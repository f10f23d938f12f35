// The circuit route (SAFI 74, route type 1): one per WAN circuit and address family of a node, on each tenant's
// session, signed like the key route. It says where the node's overlay packets may be sent.
//
// Port-Local-ID is the circuit's id; the IPv6 endpoint of a circuit that also has an IPv4 one adds 0x100, because one
// route has one endpoint. The observed (public) address stands in sub-TLV 6 and 65, its port in 8 and 65.
import { equalBytes } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Endpoint, IpAddress, SiteId, TenantId } from '../model.ts';
import { sameEndpoint } from '../model.ts';
import { addressBytes, addressText } from '../wire/address.ts';
import type { NodeIdentity } from './key-route.ts';
import { decodeRoute, refusal, signRoute, verifySignature } from './signed-route.ts';
import type { RouteBytes, RouteSigner, RouteTrust, Verdict } from './signed-route.ts';

const SECOND_FAMILY = 0x100;
const CIRCUIT_MASK = 0xff;
/** Extended Port Property's encapsulation octet; the value is ours. */
const ENCAPSULATION_VXLAN_GPE = 1;
const NAT_NONE = 0;
const NAT_UNKNOWN = 6;
const WIRED = 1;
const ETHERNET = 1;

export interface LocalCircuit {
  /** 1 to 16. */
  readonly id: number;
  readonly transport: string;
  readonly interfaceName: string;
  readonly local: Endpoint;
  /** As a Controller saw it; undefined until one has told. */
  readonly observed: Endpoint | undefined;
  /** The circuit also has an IPv4 route and this one is its IPv6 endpoint. */
  readonly secondFamily: boolean;
}

export interface PeerCircuit {
  readonly nodeId: IpAddress;
  readonly siteId: SiteId;
  readonly name: string;
  readonly circuitId: number;
  readonly portLocalId: number;
  readonly transport: string;
  readonly interfaceName: string;
  /** Where to send. */
  readonly endpoint: Endpoint;
  /** Behind NAT the endpoint's private form. */
  readonly local: Endpoint;
  readonly natType: number;
}

export function buildCircuitRoute(suite: Suite, signer: RouteSigner, node: NodeIdentity, circuit: LocalCircuit): RouteBytes {
  const id = addressBytes(node.nodeId);
  const reached = circuit.observed ?? circuit.local;
  const portLocalId = circuit.id + (circuit.secondFamily ? SECOND_FAMILY : 0);
  return signRoute(suite, signer, { kind: 'circuit', portLocalId, color: node.siteId, nodeId: id }, {
    egressEndpoint: addressBytes(reached.address),
    color: node.siteId,
    udpPort: reached.port,
    extendedPort: {
      natType: sameEndpoint(reached, circuit.local) ? NAT_NONE : NAT_UNKNOWN,
      encapsulationType: ENCAPSULATION_VXLAN_GPE, transportNetworkId: 0, rdId: 0,
      localAddress: addressBytes(circuit.local.address), localPort: circuit.local.port,
      publicAddress: addressBytes(reached.address), publicPort: reached.port,
    },
    underlay: { flags: 0, connectionType: WIRED, portType: ETHERNET, speedGbps: 0 },
    keyExchanges: [], proposals: [],
    site: { siteId: node.siteId, name: node.name, model: node.model, version: node.version },
    circuit: { transport: circuit.transport, interfaceName: circuit.interfaceName },
  });
}

/** Checks everything that makes a circuit route believable for `tenant`; never throws for what was received. */
export function verifyCircuitRoute(trust: RouteTrust, bytes: RouteBytes, tenant: TenantId, unixMs: number): Verdict<PeerCircuit> {
  const decoded = decodeRoute(bytes);
  if (!decoded.ok) return decoded;
  const { nlri, fields } = decoded.route;
  if (nlri.kind !== 'circuit') return refusal(`it is a ${nlri.kind} route`);
  const cause = verifySignature(trust, bytes, fields, nlri.color, tenant, unixMs);
  if (cause !== undefined) return refusal(cause);
  const { egressEndpoint, udpPort, extendedPort: port, circuit } = fields;
  if (egressEndpoint === undefined || egressEndpoint.length === 0 || udpPort === undefined || udpPort === 0) return refusal('it names no endpoint');
  if (port !== undefined && !(equalBytes(port.publicAddress, egressEndpoint) && port.publicPort === udpPort)) {
    return refusal('its sub-TLVs name two different endpoints');
  }
  const endpoint = { address: addressText(egressEndpoint), port: udpPort };
  return {
    ok: true,
    route: {
      nodeId: addressText(nlri.nodeId), siteId: nlri.color, name: fields.site?.name ?? `site ${nlri.color}`,
      circuitId: nlri.portLocalId & CIRCUIT_MASK, portLocalId: nlri.portLocalId,
      transport: circuit?.transport ?? '', interfaceName: circuit?.interfaceName ?? '',
      endpoint, natType: port?.natType ?? NAT_UNKNOWN,
      local: port === undefined ? endpoint : { address: addressText(port.localAddress), port: port.localPort },
    },
  };
}
