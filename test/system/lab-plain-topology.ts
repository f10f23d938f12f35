// A lab without an overlay: one router per tenant joins the tenant's two LANs, as a perfect SD-WAN would.
import type { LabTopology, Place, Wire, WireEnd } from '../../provisioning/lab/topology.ts';
import { hostName } from '../../provisioning/lab/topology.ts';

const TENANTS = [2, 3] as const;
const BRANCHES = [1, 2] as const;

function end(place: string, device: string, ...addresses: string[]): WireEnd {
  return { place, device, addresses };
}

/** Name of the router of a tenant; its device towards a branch is `branch-N`. */
export function tenantRouter(tenant: number): string {
  return `lan-${tenant}`;
}

export function plainTopology(): LabTopology {
  const places: Place[] = TENANTS.map((tenant) => ({ name: tenantRouter(tenant), kind: 'router', gateways: [] }));
  const wires: Wire[] = [];
  for (const tenant of TENANTS) {
    for (const branch of BRANCHES) {
      const host = hostName(tenant, branch);
      places.push({ name: host, kind: 'host', gateways: [`10.${branch}.0.1`, `fd00:${branch}::1`] });
      wires.push({
        use: { kind: 'lan', tenant },
        ends: [
          end(tenantRouter(tenant), `branch-${branch}`, `10.${branch}.0.1/24`, `fd00:${branch}::1/64`),
          end(host, 'eth0', `10.${branch}.0.10/24`, `fd00:${branch}::10/64`),
        ],
      });
    }
  }
  places.push({ name: 'outside', kind: 'host', gateways: ['198.51.100.1'] });
  wires.push({ use: { kind: 'link' }, ends: [end(tenantRouter(2), 'outside', '198.51.100.1/28'), end('outside', 'eth0', '198.51.100.2/28')] });
  return { places, wires };
}
