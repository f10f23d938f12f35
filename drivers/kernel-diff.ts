// From what a virtual router has to what its plan wants, as lines of `ip -batch`. Pure. Routes of ours carry a routing
// protocol number, so that a restarted appliance still knows them.
import { addressOctets, octetsText } from './address.ts';
import type { DevicePlan, KernelRoute, VrPlan } from './port.ts';

/** rtm_protocol of our routes: free for private use in rtnetlink's table of daemons. */
export const ROUTE_PROTOCOL = 213;
/** Several routes to one prefix are told apart by metric, in the order of the plan. */
const FIRST_METRIC = 100;

/** What `ip -j addr` says of a device, as far as it matters here. */
export interface ActualDevice {
  readonly ifname: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen: number; readonly scope: string; readonly dynamic?: boolean }[];
}

/** What `ip -j route` says of a route. */
export interface ActualRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly prefsrc?: string;
  readonly metric?: number;
}

export interface Actual {
  readonly devices: readonly ActualDevice[];
  /** Ours only, by protocol number. */
  readonly routes4: readonly ActualRoute[];
  readonly routes6: readonly ActualRoute[];
}

function canonicalAddress(text: string): string {
  const octets = addressOctets(text);
  return octets === undefined ? text : octetsText(octets, 0, octets.length === 4 ? 4 : 6);
}

/** `address/length` with the length always written. */
function canonicalPrefix(text: string): string {
  const [address = '', length] = text.split('/');
  return `${canonicalAddress(address)}/${length ?? (address.includes(':') ? 128 : 32)}`;
}

type Family = 4 | 6;

function familyOf(route: KernelRoute): Family {
  const telling = route.prefix === 'default' ? (route.via ?? route.source ?? '') : route.prefix;
  return telling.includes(':') ? 6 : 4;
}

function routeKey(family: Family, dst: string, via: string | undefined, device: string | undefined, source: string | undefined, metric: number): string {
  const prefix = dst === 'default' ? (family === 6 ? '::/0' : '0.0.0.0/0') : canonicalPrefix(dst);
  return [prefix, canonicalAddress(via ?? ''), device ?? '', canonicalAddress(source ?? ''), metric].join(' ');
}

/** The arguments of `ip route` for a key. */
function routeText(key: string): string {
  const [prefix, via, device, source, metric] = key.split(' ') as [string, string, string, string, string];
  // onlink: a gateway need not lie in a network of the device, as with /32 addresses.
  const gateway = via === '' ? '' : ` via ${via} onlink`;
  return `${prefix}${gateway} dev ${device}${source === '' ? '' : ` src ${source}`} metric ${metric} proto ${ROUTE_PROTOCOL}`;
}

function wantedRoutes(plan: VrPlan, family: Family): Set<string> {
  const wanted = new Set<string>();
  const metrics = new Map<string, number>();
  for (const route of plan.routes) {
    if (familyOf(route) !== family) continue;
    const bare = routeKey(family, route.prefix, undefined, undefined, undefined, 0);
    const metric = metrics.get(bare) ?? FIRST_METRIC;
    metrics.set(bare, metric + 1);
    wanted.add(routeKey(family, route.prefix, route.via, route.device, route.source, metric));
  }
  return wanted;
}

interface Lines {
  readonly stale: readonly string[];
  readonly missing: readonly string[];
}

function routeLines(plan: VrPlan, family: Family, actual: readonly ActualRoute[], renew: boolean): Lines {
  const wanted = wantedRoutes(plan, family);
  const present = new Set(actual.map((r) => routeKey(family, r.dst, r.gateway, r.dev, r.prefsrc, r.metric ?? 0)));
  return {
    stale: [...present].filter((key) => !wanted.has(key)).map((key) => `route del ${routeText(key)}`),
    missing: [...wanted].filter((key) => renew || !present.has(key)).map((key) => `route replace ${routeText(key)}`),
  };
}

function addressLines(device: ActualDevice, plan: DevicePlan | undefined, former: ReadonlySet<string>): Lines {
  const wanted = new Set((plan?.addresses ?? []).map(canonicalPrefix));
  const isAutomatic = (address: string): boolean => plan?.automatic?.includes(address.includes(':') ? 6 : 4) ?? false;
  const present = new Set<string>();
  const stale: string[] = [];
  for (const { local, prefixlen, scope, dynamic } of device.addr_info) {
    if (local === undefined) continue;
    const address = canonicalPrefix(`${local}/${prefixlen}`);
    present.add(address);
    // A planned device is all ours but for leases and what the kernel adds itself; of others, what a former plan had.
    const ours = former.has(address) || (plan !== undefined && scope === 'global' && dynamic !== true && !isAutomatic(address));
    if (ours && !wanted.has(address)) stale.push(`addr del ${address} dev ${device.ifname}`);
  }
  const missing = [...wanted].filter((address) => !present.has(address));
  return { stale, missing: missing.map((address) => `addr add ${address} dev ${device.ifname}${address.includes(':') ? ' nodad' : ''}`) };
}

/** Devices that the plan names and the virtual router lacks. */
export function missingDevices(plan: VrPlan, actual: Actual): string[] {
  const present = new Set(actual.devices.map((device) => device.ifname));
  return plan.devices.map((device) => device.device).filter((device) => !present.has(device));
}

/** The lines that lead from `actual` to `plan`; `former` is our last plan for this virtual router. */
export function planLines(plan: VrPlan, former: VrPlan | undefined, actual: Actual): string[] {
  const links: string[] = [];
  const addresses: Lines[] = [];
  for (const device of actual.devices) {
    const wanted = plan.devices.find((d) => d.device === device.ifname);
    const before = former?.devices.find((d) => d.device === device.ifname);
    if (wanted !== undefined && (device.mtu !== wanted.mtu || !device.flags.includes('UP'))) {
      links.push(`link set dev ${device.ifname} mtu ${wanted.mtu} up`);
    }
    if (wanted === undefined && before === undefined) continue;
    const formerly = new Set((before?.addresses ?? []).map(canonicalPrefix));
    addresses.push(addressLines(device, wanted, formerly));
  }
  // With an address the kernel removes the routes that lean on it: stale routes go before it, wanted ones are renewed.
  const renew = addresses.some((lines) => lines.stale.length > 0);
  const routes = [routeLines(plan, 4, actual.routes4, renew), routeLines(plan, 6, actual.routes6, renew)];
  return [
    ...links,
    ...routes.flatMap((lines) => lines.stale),
    ...addresses.flatMap((lines) => lines.missing),
    ...addresses.flatMap((lines) => lines.stale),
    ...routes.flatMap((lines) => lines.missing),
  ];
}
