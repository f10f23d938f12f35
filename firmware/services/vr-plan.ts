// From a device's configuration to its virtual routers, devices and the fixed part of the forwarding state. Pure:
// the same configuration always gives the same plan, so that a restart changes nothing.
import type { AddressFamily, VrPlan, DevicePlan, KernelRoute } from '../../drivers/port.ts';
import type { CircuitConfiguration, DeviceConfiguration, TenantConfiguration } from '../configuration.ts';
import type { InsideSpec, IpAddress, LabelSpec, OutsideSpec, TenantId } from '../model.ts';
import { clearTviName, controlVrName, deviceName, encryptedTviName, lanVrName, transportVrName } from '../model.ts';
import type { ForwardingPart } from './forwarding.ts';

/** LAN cores until the path is probed: fits every IPv4 underlay from 1486 octets up. */
export const DEFAULT_INSIDE_MTU = 1400;
/** TVIs: what a tunnel over IPv6 carries on a 1500-octet path, so that control traffic fits whatever path it takes. */
export const TVI_MTU = 1394;
export const DEFAULT_PORT_MTU = 1500;
/** VPN labels start here (0-15 are reserved, 17 means Ethernet): one per LAN VR. */
export const FIRST_VPN_LABEL = 1024;

export type IdFor = (key: string) => number;

export function isIpv6(address: string): boolean {
  return address.includes(':');
}

export function hostPrefix(address: IpAddress): string {
  return `${address}/${isIpv6(address) ? 128 : 32}`;
}

export function withoutLength(prefix: string): IpAddress {
  return prefix.slice(0, prefix.indexOf('/'));
}

export function clearInsideId(idFor: IdFor, tenant: TenantId): number {
  return idFor(`inside:${clearTviName(tenant)}`);
}

export function encryptedInsideId(idFor: IdFor, tenant: TenantId): number {
  return idFor(`inside:${encryptedTviName(tenant)}`);
}

export function lanInsideId(idFor: IdFor, tenant: TenantId): number {
  return idFor(`inside:lan:${tenant}`);
}

export function outsideId(idFor: IdFor, circuit: string): number {
  return idFor(`outside:${circuit}`);
}

/** The label that this box advertises for a tenant's LAN VR. */
export function vpnLabel(tenant: TenantId): number {
  return FIRST_VPN_LABEL + tenant;
}

/** A port of the box that a VR takes over, by interface name. */
export interface PortAdoption {
  readonly vr: string;
  readonly name: string;
}

export interface Plan {
  readonly vrs: readonly VrPlan[];
  readonly adoptions: readonly PortAdoption[];
  readonly part: ForwardingPart;
}

/** Families of a circuit whose addresses the network gives. */
export function automaticFamilies({ automatic = [] }: CircuitConfiguration): readonly AddressFamily[] {
  return automatic.map((method) => (method === 'dhcp' ? 4 : 6));
}

/** `given`: the addresses that a circuit has from its network now, by its name. The kernel has them already. */
export function circuitPlan(circuits: readonly CircuitConfiguration[], idFor: IdFor, given: (circuit: string) => readonly string[] = () => []): Plan {
  const vrs = new Map<string, VrPlan>();
  const outsides: OutsideSpec[] = [];
  for (const circuit of circuits) {
    const vr = transportVrName(circuit.transport);
    const device = deviceName(circuit.name);
    const before = vrs.get(vr);
    vrs.set(vr, {
      vr,
      devices: [...(before?.devices ?? []), { device, addresses: circuit.addresses, mtu: DEFAULT_PORT_MTU, ...(circuit.automatic && { automatic: automaticFamilies(circuit) }) }],
      routes: [
        ...(before?.routes ?? []),
        ...circuit.gateways.map((via) => ({ prefix: isIpv6(via) ? '::/0' : '0.0.0.0/0', device, via })),
      ],
      forwarding: false,
    });
    outsides.push({ id: outsideId(idFor, circuit.name), name: circuit.name, vr, addresses: [...circuit.addresses, ...given(circuit.name)].map(withoutLength) });
  }
  const adoptions = circuits.map((c) => ({ vr: transportVrName(c.transport), name: c.name }));
  return { vrs: [...vrs.values()], adoptions, part: { outsides } };
}

/** The provider's control VR while staging: only the encrypted TVI, with the temporary management address. */
export function stagingPlan(provider: string, tenant: TenantId, assigned: IpAddress | undefined, director: readonly IpAddress[], idFor: IdFor): Plan {
  const vr = controlVrName(provider);
  const name = encryptedTviName(tenant);
  const device = deviceName(name);
  const addresses = assigned === undefined ? [] : [assigned];
  return {
    vrs: [
      {
        vr,
        devices: [{ device, addresses: addresses.map(hostPrefix), mtu: TVI_MTU }],
        routes: director.map((address) => ({ prefix: hostPrefix(address), device })),
        forwarding: false,
      },
    ],
    adoptions: [],
    part: {
      insides: [{ id: encryptedInsideId(idFor, tenant), tenant, kind: 'encrypted-tvi', vr, name, mtu: TVI_MTU, addresses }],
    },
  };
}

export interface TenantPlanInput {
  readonly config: DeviceConfiguration;
  /** Clear TVI addresses of peers that are routed to the clear TVI: Controllers for a branch, sites for a Controller. */
  readonly clearPeers: (tenant: TenantId) => readonly IpAddress[];
}

export function tenantPlan(input: TenantPlanInput, idFor: IdFor): Plan {
  const { config } = input;
  const vrs: VrPlan[] = [];
  const insides: InsideSpec[] = [];
  const labels: LabelSpec[] = [];
  const adoptions: PortAdoption[] = [];
  for (const tenant of config.tenants) {
    const control = controlVr(config, tenant, input.clearPeers(tenant.tenant), idFor);
    vrs.push(control.vr);
    insides.push(...control.insides);
    adoptions.push(...control.adoptions);
    if (tenant.lan === undefined) continue;
    const lan = lanVr(tenant, idFor);
    vrs.push(lan.vr);
    insides.push(lan.inside);
    adoptions.push(...lan.adoptions);
    labels.push({ label: vpnLabel(tenant.tenant), inside: lan.inside.id });
  }
  const tenants = config.tenants.map(({ tenant, vni }) => ({ tenant, vni }));
  return { vrs, adoptions, part: { tenants, insides, labels } };
}

function controlVr(
  config: DeviceConfiguration,
  tenant: TenantConfiguration,
  clearPeers: readonly IpAddress[],
  idFor: IdFor,
): { vr: VrPlan; insides: InsideSpec[]; adoptions: PortAdoption[] } {
  const vr = controlVrName(tenant.organization);
  const clear = clearTviName(tenant.tenant);
  const encrypted = encryptedTviName(tenant.tenant);
  const isProvider = tenant.organization === config.provider;
  const devices: DevicePlan[] = [
    { device: deviceName(clear), addresses: [hostPrefix(tenant.clearAddress)], mtu: TVI_MTU },
    { device: deviceName(encrypted), addresses: [hostPrefix(tenant.encryptedAddress)], mtu: TVI_MTU },
  ];
  const routes: KernelRoute[] = [
    { prefix: tenant.overlayPrefix, device: deviceName(encrypted), source: tenant.encryptedAddress },
    ...clearPeers.map((address) => ({ prefix: hostPrefix(address), device: deviceName(clear), source: tenant.clearAddress })),
  ];
  const adoptions: PortAdoption[] = [];
  if (isProvider && config.device.role === 'branch') {
    for (const address of config.director.addresses) {
      routes.push({ prefix: hostPrefix(address), device: deviceName(encrypted), source: tenant.encryptedAddress });
    }
  }
  if (isProvider && config.staging !== undefined) {
    routes.push({ prefix: config.staging.pool, device: deviceName(encrypted) });
  }
  if (isProvider && config.southbound !== undefined) {
    const device = deviceName(config.southbound.name);
    devices.push({ device, addresses: config.southbound.addresses, mtu: DEFAULT_PORT_MTU });
    routes.push(...config.southbound.gateways.map((via) => ({ prefix: isIpv6(via) ? '::/0' : '0.0.0.0/0', device, via })));
    adoptions.push({ vr, name: config.southbound.name });
  }
  const inside = (kind: InsideSpec['kind'], name: string, id: number, address: IpAddress): InsideSpec => ({
    id,
    tenant: tenant.tenant,
    kind,
    vr,
    name,
    mtu: TVI_MTU,
    addresses: [address],
  });
  return {
    vr: { vr, devices, routes, forwarding: isProvider && config.southbound !== undefined, ...confinement(config, isProvider, [clear, encrypted]) },
    insides: [
      inside('clear-tvi', clear, clearInsideId(idFor, tenant.tenant), tenant.clearAddress),
      inside('encrypted-tvi', encrypted, encryptedInsideId(idFor, tenant.tenant), tenant.encryptedAddress),
    ],
    adoptions,
  };
}

/** Boxes reach Director through a Controller and nothing else: not the southbound network around it, not each other. */
function confinement(config: DeviceConfiguration, isProvider: boolean, tvis: readonly string[]): Pick<VrPlan, 'confined'> {
  if (!isProvider || config.southbound === undefined) return {};
  const to = config.director.addresses.map(hostPrefix);
  return { confined: tvis.map((name) => ({ device: deviceName(name), to })) };
}

/** The name of a LAN VR's core device; every LAN VR has one. */
export const LAN_CORE = 'core0';

function lanVr(tenant: TenantConfiguration, idFor: IdFor): { vr: VrPlan; inside: InsideSpec; adoptions: PortAdoption[] } {
  const vr = lanVrName(tenant.organization);
  const ports = tenant.lan!.ports;
  return {
    vr: {
      vr,
      devices: [
        { device: LAN_CORE, addresses: [], mtu: DEFAULT_INSIDE_MTU },
        ...ports.map((port) => ({ device: deviceName(port.name), addresses: port.addresses, mtu: DEFAULT_PORT_MTU })),
      ],
      // The only way out of a LAN is the core device: no kernel route leads around the forwarder.
      routes: ['0.0.0.0/0', '::/0'].map((prefix) => ({ prefix, device: LAN_CORE })),
      forwarding: true,
    },
    inside: {
      id: lanInsideId(idFor, tenant.tenant),
      tenant: tenant.tenant,
      kind: 'lan',
      vr,
      name: LAN_CORE,
      mtu: DEFAULT_INSIDE_MTU,
      addresses: [],
    },
    adoptions: ports.map((port) => ({ vr, name: port.name })),
  };
}

/** The provider's control VR with nothing but the port towards Director, before the first configuration. */
export function southboundPlan(
  provider: string,
  port: { readonly name: string; readonly addresses: readonly string[]; readonly gateways: readonly IpAddress[] },
): Plan {
  const vr = controlVrName(provider);
  const device = deviceName(port.name);
  const routes = port.gateways.map((via) => ({ prefix: isIpv6(via) ? '::/0' : '0.0.0.0/0', device, via }));
  return {
    vrs: [{ vr, devices: [{ device, addresses: port.addresses, mtu: DEFAULT_PORT_MTU }], routes, forwarding: false }],
    adoptions: [{ vr, name: port.name }],
    part: {},
  };
}
