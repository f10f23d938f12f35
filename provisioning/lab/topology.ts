// The lab's network as data: places joined by wires. Addresses come from the documentation ranges (RFC 5737, RFC 3849)
// outside and from private ranges inside. Both tenants use the same LAN prefixes, so that a leak between tenants shows.
import type { AddressingMethod, CircuitConfiguration, LanPortConfiguration } from '../../firmware/configuration.ts';
import type { IpAddress, TenantId } from '../../firmware/model.ts';

export type PlaceKind = 'appliance' | 'director' | 'router' | 'nat' | 'host';

/** What its packets meet at a NAT box that no binding and no service expects: RFC 4787's filtering in practice. */
export type NatPolicy = 'drop' | 'accept';

export interface Place {
  readonly name: string;
  /** Appliances and Director have a view of the machine of their own; the lab configures all others. */
  readonly kind: PlaceKind;
  /** Next hops of the default routes, at most one per family. */
  readonly gateways: readonly IpAddress[];
}

export type WireUse =
  /** `automatic`: which addresses of the appliance the other end gives it; it has no others. */
  | { readonly kind: 'wan'; readonly transport: string; readonly circuit: number; readonly automatic?: readonly AddressingMethod[] }
  | { readonly kind: 'lan'; readonly tenant: TenantId }
  | { readonly kind: 'southbound' }
  | { readonly kind: 'link' };

export interface WireEnd {
  readonly place: string;
  /** Linux device name; an appliance's firmware finds `vni-0/0` as `vni-0_0` (a slash is not legal there). */
  readonly device: string;
  /** With prefix length. On an appliance the firmware sets them from its configuration, or gets them from the other end. */
  readonly addresses: readonly string[];
}

export interface Wire {
  readonly use: WireUse;
  readonly ends: readonly [WireEnd, WireEnd];
}

export interface LabTopology {
  readonly places: readonly Place[];
  readonly wires: readonly Wire[];
}

const INTERNET = 'INTERNET';
const LAN_TENANTS: readonly TenantId[] = [2, 3];

function end(place: string, device: string, ...addresses: string[]): WireEnd {
  return { place, device, addresses };
}

/** Name of the host of a tenant at a branch, which is also what the host answers. */
export function hostName(tenant: TenantId, branch: number): string {
  return `tenant${tenant}-branch${branch}`;
}

function lanPlaces(branch: number): Place[] {
  return LAN_TENANTS.map((tenant) => ({
    name: hostName(tenant, branch),
    kind: 'host',
    gateways: [`10.${branch}.0.1`, `fd00:${branch}::1`],
  }));
}

function lanWires(branch: number): Wire[] {
  return LAN_TENANTS.map((tenant) => ({
    use: { kind: 'lan', tenant },
    ends: [
      end(`branch-${branch}`, `vni-0_${tenant}`, `10.${branch}.0.1/24`, `fd00:${branch}::1/64`),
      end(hostName(tenant, branch), 'eth0', `10.${branch}.0.10/24`, `fd00:${branch}::10/64`),
    ],
  }));
}

/** Director, a Controller, a branch with public addresses and a branch behind a NAT box. */
export function labTopology(): LabTopology {
  const wan = { kind: 'wan', transport: INTERNET, circuit: 1 } as const;
  return {
    places: [
      { name: 'internet', kind: 'router', gateways: [] },
      { name: 'nat-2', kind: 'nat', gateways: ['198.51.100.33'] },
      // The overlay's prefixes are reached through the Controller.
      { name: 'director', kind: 'director', gateways: ['172.16.100.2', 'fd00:100::2'] },
      { name: 'controller-1', kind: 'appliance', gateways: [] },
      { name: 'branch-1', kind: 'appliance', gateways: [] },
      { name: 'branch-2', kind: 'appliance', gateways: [] },
      ...lanPlaces(1),
      ...lanPlaces(2),
    ],
    wires: [
      {
        use: { kind: 'southbound' },
        ends: [
          end('controller-1', 'vni-0_1', '172.16.100.2/24', 'fd00:100::2/64'),
          end('director', 'eth0', '172.16.100.10/24', 'fd00:100::10/64'),
        ],
      },
      {
        use: wan,
        ends: [
          end('controller-1', 'vni-0_0', '198.51.100.2/28', '2001:db8:0:1::2/64'),
          end('internet', 'controller-1', '198.51.100.1/28', '2001:db8:0:1::1/64'),
        ],
      },
      {
        use: wan,
        ends: [
          end('branch-1', 'vni-0_0', '198.51.100.18/28', '2001:db8:0:2::2/64'),
          end('internet', 'branch-1', '198.51.100.17/28', '2001:db8:0:2::1/64'),
        ],
      },
      {
        use: { kind: 'link' },
        ends: [end('nat-2', 'outside', '198.51.100.34/28'), end('internet', 'nat-2', '198.51.100.33/28')],
      },
      {
        use: { ...wan, automatic: ['dhcp'] },
        ends: [end('branch-2', 'vni-0_0', '192.168.2.2/24'), end('nat-2', 'inside', '192.168.2.1/24')],
      },
      ...lanWires(1),
      ...lanWires(2),
    ],
  };
}

/** An appliance's wires, each seen from its own end. */
function attachments(topology: LabTopology, place: string): { use: WireUse; near: WireEnd; far: WireEnd }[] {
  return topology.wires.flatMap(({ use, ends: [a, b] }) => {
    if (a.place === place) return [{ use, near: a, far: b }];
    if (b.place === place) return [{ use, near: b, far: a }];
    return [];
  });
}

function portName(device: string): string {
  return device.replace('_', '/');
}

export function withoutPrefix(address: string): IpAddress {
  return address.split('/')[0]!;
}

/** The circuits of an appliance as its configuration has them. */
export function circuitsOf(topology: LabTopology, appliance: string): CircuitConfiguration[] {
  return attachments(topology, appliance).flatMap(({ use, near, far }) => {
    if (use.kind !== 'wan') return [];
    const circuit = { id: use.circuit, name: portName(near.device), transport: use.transport };
    if (use.automatic !== undefined) return [{ ...circuit, addresses: [], gateways: [], automatic: use.automatic }];
    return [{ ...circuit, addresses: near.addresses, gateways: far.addresses.map(withoutPrefix) }];
  });
}

/** The LAN ports of a tenant on an appliance. */
export function lanPortsOf(topology: LabTopology, appliance: string, tenant: TenantId): LanPortConfiguration[] {
  return attachments(topology, appliance).flatMap(({ use, near }) =>
    use.kind === 'lan' && use.tenant === tenant ? [{ name: portName(near.device), addresses: near.addresses }] : [],
  );
}

/** The Controller's port towards Director, and Director's own addresses on it. */
export function southboundOf(topology: LabTopology, controller: string): { name: string; addresses: readonly string[]; director: IpAddress[] } | undefined {
  const wire = attachments(topology, controller).find(({ use }) => use.kind === 'southbound');
  if (wire === undefined) return undefined;
  return { name: portName(wire.near.device), addresses: wire.near.addresses, director: wire.far.addresses.map(withoutPrefix) };
}

export interface LabHost {
  readonly name: string;
  readonly tenant: TenantId;
  readonly branch: string;
  readonly addresses: readonly IpAddress[];
}

/** Every LAN host, for a table of what must reach what: the same tenant reaches each other, tenants never do. */
export function hostsOf(topology: LabTopology): LabHost[] {
  return topology.wires.flatMap(({ use, ends: [near, far] }) =>
    use.kind === 'lan' ? [{ name: far.place, tenant: use.tenant, branch: near.place, addresses: far.addresses.map(withoutPrefix) }] : [],
  );
}
