// The queries that the monitor service answers, by role: configuration joined with state, so that what is configured
// but down is listed as down.
import type { Alarms } from '../../platform/alarms.ts';
import { UsageError } from '../../platform/errors.ts';
import { rfc3339 } from '../../platform/time.ts';
import { formatEndpoint, type Endpoint, type ForwarderCounters, type TenantId } from '../model.ts';
import type { AlarmView, BgpNeighborView, ChildSaView, DhkeyView, DropView, DynamicTunnelView, IkeHistoryView, IkeSaView, RekeyView, SystemView, WorkerView } from '../views.ts';
import { PLATFORM_VERSION } from '../version.ts';
import type { HistoryEntry } from '../ike/input-output.ts';
import type { BgpSpeaker } from '../bgp/speaker.ts';
import type { BranchControl } from './branch.ts';
import type { ControllerControl } from './controller.ts';
import type { ForwardingService } from './forwarding.ts';
import type { IkeHistory } from './ike-history.ts';
import type { IkeService } from './ike.ts';
import type { KeyExport } from './key-export.ts';
import { branchesProfileName, controllerProfileName, organizationOf, profileName, shortProfileName } from './ike-profiles.ts';
import type { Query } from './monitor.ts';
import type { Service } from './service.ts';
import { staticRows } from './wan-circuits.ts';

type Queries = readonly (readonly [string, Query])[];

interface ControlPlane {
  readonly ike: IkeService;
  readonly history: IkeHistory;
  organizations(): readonly { readonly tenant: TenantId; readonly organization: string }[];
  /** Profiles that are configured, with the peer each is for (undefined: whoever comes). */
  profiles(): readonly { readonly profile: string; readonly peer: string | undefined; readonly cause: string }[];
  bgp(): readonly { readonly organization: string; readonly snapshot: ReturnType<BgpSpeaker['snapshot']> }[];
}

export function branchQueries(control: BranchControl, forwarding: ForwardingService, keyExport: KeyExport): Queries {
  const tenants = () => control.configuration?.tenants ?? [];
  const plane: ControlPlane = {
    ike: control.ike,
    history: control.history,
    organizations: tenants,
    profiles: () =>
      control.connections.map(({ profile, lastCause }) => ({
        profile,
        peer: tenants().flatMap((t) => t.controllers.filter((c) => controllerProfileName(t, c) === profile).map((c) => c.identity))[0],
        cause: lastCause,
      })),
    bgp: () => [...control.tenants].map(([tenant, service]) => ({ organization: organizationName(plane, tenant), snapshot: service.bgpSnapshot() })),
  };
  return [
    ...commonQueries(plane, forwarding),
    ...debugQueries(plane, keyExport),
    ['wan-interfaces', () => control.circuits.view()],
    ['dhkey', ({ tenant, site }) => dhkey(control, plane, tenant!, site!)],
    [
      'request-rekey',
      ({ tenant }) => {
        control.tenants.get(tenantOf(plane, tenant!))?.orderRekey();
      },
    ],
  ];
}

export function controllerQueries(control: ControllerControl, forwarding: ForwardingService, keyExport: KeyExport): Queries {
  const tenants = () => control.configuration?.tenants ?? [];
  const plane: ControlPlane = {
    ike: control.ike,
    history: control.history,
    organizations: tenants,
    profiles: () =>
      tenants().flatMap((t) =>
        control.directory.sites.flatMap((site) =>
          site.tenants
            .filter((entry) => entry.tenant === t.tenant)
            .map((entry) => ({ profile: branchesProfileName(t), peer: entry.identity, cause: site.state === 'revoked' ? 'the site is revoked' : '' })),
        ),
      ),
    bgp: () => [...control.tenants].map(([tenant, service]) => ({ organization: organizationName(plane, tenant), snapshot: service.bgpSnapshot() })),
  };
  return [
    ...commonQueries(plane, forwarding),
    ...debugQueries(plane, keyExport),
    ['wan-interfaces', () => (control.configuration?.circuits ?? []).flatMap(staticRows)],
    [
      'rekey',
      ({ tenant }): RekeyView => {
        const id = tenantOf(plane, tenant!);
        const { epoch, done, total, laggards } = control.tenants.get(id)!.rekeySnapshot();
        return { organization: organizationName(plane, id), epoch, done, total, laggards: laggards.map((l) => `site ${l.siteId}`) };
      },
    ],
    [
      'request-rekey',
      ({ tenant }) => {
        control.orderRekey(tenantOf(plane, tenant!), { reason: 5, spreadSeconds: 0 });
      },
    ],
  ];
}

export interface SystemFacts {
  readonly name: string;
  readonly role: string;
  readonly serial: string;
  readonly drivers: string;
}

export function systemQuery(facts: SystemFacts, services: readonly Service[], alarms: Alarms): Queries {
  return [
    ['alarms', (): AlarmView[] => alarms.active().map(({ sinceUnixMs, ...rest }) => ({ ...rest, since: rfc3339(sinceUnixMs) }))],
    [
      'system',
      (): SystemView => ({
        ...facts,
        version: PLATFORM_VERSION,
        processId: process.pid,
        services: services.map((service) => ({ service: service.name, ...service.status() })),
      }),
    ],
  ];
}

function commonQueries(plane: ControlPlane, forwarding: ForwardingService): Queries {
  return [
    ['ike-history', ({ tenant, profile }) => ikeHistory(plane, tenant!, profile!)],
    ['ike-security-associations', ({ tenant, profile }) => ikeSecurityAssociations(plane, tenant!, profile!)],
    ['bgp-neighbors', () => bgpNeighbors(plane)],
    ['dynamic-tunnels', () => dynamicTunnels(plane, forwarding)],
    [
      'drops',
      (): DropView[] => [
        ...forwarding.counters().drops.map(({ reason, packets }) => ({ reason, packets })),
        ...plane.ike.drops().map(({ reason, datagrams }) => ({ reason: `ike-${reason}`, packets: datagrams })),
        ...plane.ike.refusals().map(({ answer, requests }) => ({ reason: `ike-refused-${answer.toLowerCase().replaceAll('_', '-')}`, packets: requests })),
      ],
    ],
    ['workers', () => forwarding.countersByWorker().map(workerView)],
    ['request-rekey-child', ({ tenant }) => rekeyChildren(plane, tenant!)],
  ];
}

function debugQueries(plane: ControlPlane, keyExport: KeyExport): Queries {
  return [
    ['debug-keys', () => keyExport.view()],
    [
      'request-debug-keys',
      ({ tenant, peer, minutes }) => {
        keyExport.begin({ tenant: tenant === undefined ? undefined : tenantOf(plane, tenant), peer, minutes: Number(minutes) });
        return keyExport.view();
      },
    ],
    [
      'request-debug-keys-off',
      () => {
        keyExport.end();
        return keyExport.view();
      },
    ],
  ];
}

/** By number or by name. Throws UsageError naming what there is. */
function tenantOf(plane: ControlPlane, text: string): TenantId {
  const found = plane.organizations().find((o) => o.organization === text || String(o.tenant) === text);
  if (found !== undefined) return found.tenant;
  const known = plane.organizations().map((o) => `${o.tenant} (${o.organization})`);
  throw new UsageError(`no tenant ${text} is configured; known are ${known.length === 0 ? 'none' : known.join(', ')}`);
}

function organizationName(plane: ControlPlane, tenant: TenantId): string {
  return plane.organizations().find((o) => o.tenant === tenant)?.organization ?? String(tenant);
}

function ikeHistory(plane: ControlPlane, tenant: string, profile: string): IkeHistoryView[] {
  return plane.history.of(fullProfileName(plane, tenant, profile)).map(historyView);
}

function historyView(entry: HistoryEntry): IkeHistoryView {
  return { ...entry, time: rfc3339(entry.unixMs) };
}

/** A box that still stages has no tenants yet; its provider's name then stands before the profile. */
function fullProfileName(plane: ControlPlane, tenant: string, profile: string): string {
  const staging = plane.history.profiles().find((name) => organizationOf(name) === tenant && shortProfileName(name) === profile);
  return staging ?? profileName(organizationName(plane, tenantOf(plane, tenant)), profile);
}

function ikeSecurityAssociations(plane: ControlPlane, tenant: string, profile: string): IkeSaView[] {
  const name = fullProfileName(plane, tenant, profile);
  const live = plane.ike.endpoint.snapshot().ikeSas.filter((sa) => sa.profile === name);
  const up = live.map(
    (sa): IkeSaView => ({
      profile: shortProfileName(sa.profile),
      peer: sa.peer,
      state: sa.state,
      local: formatEndpoint(sa.local),
      remote: formatEndpoint(sa.remote),
      role: sa.role,
      spis: sa.spis,
      suite: sa.suite,
      cause: '',
      children: sa.children.map((child): ChildSaView => ({
        spis: child.spis,
        suite: child.suite,
        state: child.state,
        encapsulation: child.vxlanVni === undefined ? (sa.natt ? 'UDP' : 'none') : `VXLAN ${child.vxlanVni}`,
      })),
      history: plane.history.lifeOf(name, [sa.spis, ...sa.children.map((child) => child.spis)]).map(historyView),
    }),
  );
  const down = plane
    .profiles()
    .filter((p) => p.profile === name && !live.some((sa) => p.peer === undefined || sa.peer === p.peer))
    .map((p): IkeSaView => ({
      profile: shortProfileName(name),
      peer: p.peer ?? '-',
      state: 'down',
      local: '-',
      remote: '-',
      role: '-',
      spis: '-',
      suite: '-',
      cause: p.cause === '' ? 'no IKE SA' : p.cause,
      children: [],
      history: plane.history.of(name).filter((entry) => entry.peer === p.peer).map(historyView),
    }));
  return [...up, ...down];
}

function bgpNeighbors(plane: ControlPlane): BgpNeighborView[] {
  return plane.bgp().flatMap(({ organization, snapshot }) =>
    snapshot.neighbors.map((n) => ({
      organization,
      neighbor: n.id,
      address: n.remote,
      remoteAs: n.remoteAs,
      state: n.state,
      uptimeSeconds: Math.floor(n.uptimeMs / 1000),
      received: n.families.map((f) => `${f.name} ${f.received}`).join(', '),
      refused: n.counters.routesRefused,
      lastError: n.lastError,
    })),
  );
}

function spiText(spi: number | undefined): string {
  return spi === undefined ? '-' : `0x${spi.toString(16).padStart(8, '0')}`;
}

function endpointText(endpoint: Endpoint | undefined): string {
  return endpoint === undefined ? 'learned from the peer' : formatEndpoint(endpoint);
}

function dynamicTunnels(plane: ControlPlane, forwarding: ForwardingService): DynamicTunnelView[] {
  const counts = new Map(forwarding.counters().tunnels.map((t) => [t.tunnel, t]));
  return forwarding.state.tunnels.map((t) => ({
    organization: organizationName(plane, t.tenant),
    peer: t.peer,
    kind: t.kind,
    state: t.tx !== undefined || t.kind === 'vxlan-clear' ? 'up' : 'down',
    endpoint: endpointText(t.paths[0]?.remote),
    mtu: forwarding.pathMtuOf(t.id) ?? t.mtu,
    txSpi: spiText(t.tx?.spi),
    rxSpis: t.rx.map((sa) => spiText(sa.spi)).join(' '),
    txPackets: counts.get(t.id)?.txPackets ?? 0,
    rxPackets: counts.get(t.id)?.rxPackets ?? 0,
  }));
}

function workerView({ tunnels, handedOver, drops }: ForwarderCounters, worker: number): WorkerView {
  return {
    worker,
    tunnels: tunnels.filter(({ txPackets, rxPackets }) => txPackets + rxPackets > 0).length,
    txPackets: tunnels.reduce((sum, { txPackets }) => sum + txPackets, 0),
    rxPackets: tunnels.reduce((sum, { rxPackets }) => sum + rxPackets, 0),
    handedOver,
    dropped: drops.reduce((sum, { packets }) => sum + packets, 0),
  };
}

function rekeyChildren(plane: ControlPlane, tenant: string): { children: number } {
  const id = tenantOf(plane, tenant);
  const children = plane.ike.endpoint.snapshot().ikeSas.filter((sa) => sa.tenant === id).flatMap((sa) => sa.children);
  for (const { child } of children) plane.ike.push({ kind: 'rekey-child', child });
  return { children: children.length };
}

/** `site` is this box's own site id, or a peer's: then only what belongs to that peer is shown. */
function dhkey(control: BranchControl, plane: ControlPlane, tenant: string, site: string): DhkeyView {
  const service = control.tenants.get(tenantOf(plane, tenant));
  if (service === undefined) throw new UsageError(`tenant ${tenant} has no keys on this box`);
  const view = service.keyingSnapshot();
  const siteId = Number(site);
  if (siteId === view.siteId) return { ...view, counters: { ...view.counters } };
  const peerKeys = view.peerKeys.filter((k) => k.siteId === siteId);
  if (peerKeys.length === 0) {
    const known = [view.siteId, ...new Set(view.peerKeys.map((k) => k.siteId))];
    throw new UsageError(`site ${site} is not known in tenant ${tenant}; known are ${known.join(', ')}`);
  }
  const nodes = new Set(peerKeys.map((k) => k.nodeId));
  return { ...view, peerKeys, associations: view.associations.filter((a) => nodes.has(a.nodeId)), counters: { ...view.counters } };
}
