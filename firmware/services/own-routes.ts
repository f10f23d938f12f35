// The routes that a branch originates in a tenant, as BGP routes. Pure.
import { Reader } from '../../platform/bytes.ts';
import { makeRoute, type BgpRoute } from '../bgp/route.ts';
import type { CircuitConfiguration, DeviceConfiguration, TenantConfiguration } from '../configuration.ts';
import type { Endpoint } from '../model.ts';
import type { LocalCircuit } from '../sdwan/circuit-route.ts';
import type { RouteBytes } from '../sdwan/signed-route.ts';
import { parsePrefix, prefixText } from '../wire/address.ts';
import { colorCommunity, encapsulationCommunity, routeTarget } from '../wire/bgp/community.ts';
import { SDWAN4, SDWAN6, VPN4, VPN6, type Family } from '../wire/bgp/family.ts';
import { decodeNlri, type VpnNlri } from '../wire/bgp/nlri.ts';
import { isIpv6, vpnLabel, withoutLength } from './vr-plan.ts';

const TUNNEL_TYPE_SDWAN_HYBRID = 25;
const VXLAN_PORT = 4790;

/** Communities of every overlay route: the tenant's target and the tunnel type. */
function communities(tenant: TenantConfiguration): Uint8Array[] {
  return [routeTarget(tenant.routeTarget), encapsulationCommunity(TUNNEL_TYPE_SDWAN_HYBRID)];
}

/** One VPN route per connected LAN prefix; the next hop is the Node-ID. */
export function lanRoutes(config: DeviceConfiguration, tenant: TenantConfiguration): BgpRoute[] {
  const prefixes = new Set(tenant.lan?.ports.flatMap((port) => port.addresses.map(networkOf)) ?? []);
  const extendedCommunities = [...communities(tenant), colorCommunity(config.device.siteId)];
  return [...prefixes].map((prefix) => {
    const nlri: VpnNlri = { kind: 'vpn', rd: tenant.routeDistinguisher, prefix, label: vpnLabel(tenant.tenant) };
    return makeRoute(isIpv6(prefix) ? VPN6 : VPN4, nlri, tenant.clearAddress, { extendedCommunities });
  });
}

/** `10.1.0.1/24` -> `10.1.0.0/24` */
function networkOf(address: string): string {
  const { bytes, length } = parsePrefix(address);
  return prefixText(bytes, length);
}

/** Where a Controller saw packets of a circuit come from. */
export interface ObservedCircuit {
  /** `vni-0/0` */
  readonly circuit: string;
  readonly endpoint: Endpoint;
}

/** A circuit per WAN circuit and address family, with the endpoint at which a Controller saw it. */
export function localCircuits(circuits: readonly CircuitConfiguration[], observed: readonly ObservedCircuit[]): LocalCircuit[] {
  return circuits.flatMap((circuit) => {
    const addresses = circuit.addresses.map(withoutLength);
    return addresses.map((address) => ({
      id: circuit.id,
      transport: circuit.transport,
      interfaceName: circuit.name,
      local: { address, port: VXLAN_PORT },
      observed: observed.find((seen) => seen.circuit === circuit.name && isIpv6(seen.endpoint.address) === isIpv6(address))?.endpoint,
      secondFamily: isIpv6(address) && addresses.length > 1,
    }));
  });
}

/** SAFI 74 of the family of the tenant's Node-IDs. */
export function sdwanFamily(tenant: TenantConfiguration): Family {
  return isIpv6(tenant.clearAddress) ? SDWAN6 : SDWAN4;
}

/** A signed key or circuit route, or a directive, as a BGP route. */
export function sdwanRoute(tenant: TenantConfiguration, { nlri, tunnelEncapsulation }: RouteBytes): BgpRoute {
  const family = sdwanFamily(tenant);
  const item = decodeNlri(new Reader(nlri, 'own SD-WAN route'), family)[0]!;
  return makeRoute(family, item, tenant.clearAddress, { extendedCommunities: communities(tenant), tunnelEncapsulation });
}
