// A branch's control plane: the staging tunnel of a factory-fresh box, then one control VR, IKE connection, BGP session
// and set of keys per tenant. ZTP decides when to move (provisioning/ztp); this file only does what it is told.
import type { ChildUp, IkeOutput, IkeUp } from '../ike/input-output.ts';
import { IkeEndpoint } from '../ike/endpoint.ts';
import type { DeviceConfiguration, PrestagingRecord, TenantConfiguration, TenantController } from '../configuration.ts';
import type { Endpoint, IpAddress, PathSpec, RouteSpec, TunnelSpec } from '../model.ts';
import { controlVrName, transportVrName } from '../model.ts';
import type { CertificatePath, RevocationCheck } from '../../platform/crypto.ts';
import { after } from '../../platform/time.ts';
import { nextBootCount } from './boot.ts';
import { Connector, type ConnectionState, type Initiate } from './connector.ts';
import type { ForwardingService } from './forwarding.ts';
import { IkeHistory } from './ike-history.ts';
import { IKE_NATT_PORT, IKE_PORT, IkeService, clearSocket, nattSocket, socketsOf, wanSocket } from './ike.ts';
import { controllerProfile, controllerProfileName, organizationOf, profileName, stagingProfile, STAGING_PROFILE, type DeviceIdentity } from './ike-profiles.ts';
import type { TunnelContext } from './ike-tunnels.ts';
import type { KeyExport } from './key-export.ts';
import type { Service, ServiceStatus, Site } from './service.ts';
import { TenantService } from './tenant.ts';
import type { VirtualRouters } from './virtual-routers.ts';
import { clearInsideId, encryptedInsideId, hostPrefix, isIpv6, outsideId, stagingPlan, tenantPlan, withoutLength } from './vr-plan.ts';
import { WanCircuits } from './wan-circuits.ts';

export const VXLAN_PORT = 4790;
/** Inner MTU of the encrypted overlay on a 1500-octet path, by the outer family; and of the clear one. */
export const ENCRYPTED_MTU = { ipv4: 1414, ipv6: 1394 } as const;
export const CLEAR_MTU = 1428;
/** Staging: ESP tunnel mode, in UDP at worst: 1500 - 40 - 8 - 16 - 18 - 16, rounded down to the alignment. */
export const STAGING_MTU = 1400;
/** While nothing else is sent, a dummy packet tells the peer that the newest SA is in use. */
export const IDLE_DUMMY_MS = 2_000;
/** How long the sessions of a tenant that is removed may say so. */
const FAREWELL_MS = 200;
/** IPv4 explicit null (RFC 3032): the packet belongs to the control VR itself. */
export const EXPLICIT_NULL = 0;

export interface BranchHooks {
  stagingUp(facts: { readonly assignedAddress: IpAddress; readonly directorAddresses: readonly IpAddress[] }): void;
  stagingDown(cause: string): void;
  /** A Controller says that a site was revoked. */
  revocationOrdered(): void;
  /** A peer has shown a certificate on this way to an anchor. */
  certificateSeen(path: CertificatePath): void;
  /** Something that `controlStatus` shows has changed. */
  changed(): void;
  readonly keyExport?: KeyExport;
}

export interface ControlStatus {
  readonly controlTunnels: 'up' | 'down';
  readonly bgp: 'up' | 'down';
  /** What is still missing, with its last cause. */
  readonly detail: string;
}

interface Staging {
  readonly record: PrestagingRecord;
  director: readonly IpAddress[];
  /** Profile and virtual router are there. */
  isReady: boolean;
}

export class BranchControl implements Service {
  readonly name = 'branch';
  readonly #site: Site;
  readonly #forwarding: ForwardingService;
  readonly #routers: VirtualRouters;
  readonly #hooks: BranchHooks;
  readonly ike: IkeService;
  readonly history: IkeHistory;
  readonly #connector: Connector;
  /** Counted when keys are first made: by then what Director signed has corrected a clock that is behind. */
  #bootCount: number | undefined;
  readonly circuits: WanCircuits;
  #staging: Staging | undefined;
  #config: DeviceConfiguration | undefined;
  readonly #tenants = new Map<number, TenantService>();
  #revocation: RevocationCheck | undefined;

  constructor(site: Site, forwarding: ForwardingService, routers: VirtualRouters, hooks: BranchHooks) {
    this.#site = site;
    this.#forwarding = forwarding;
    this.#routers = routers;
    this.#hooks = hooks;
    const endpoint = new IkeEndpoint({
      suite: site.suite,
      random: site.random,
      unixMs: () => site.clock.unixMs(),
      nextSaId: forwarding.nextSaId,
      exportsKeys: (owner) => hooks.keyExport?.wants(owner) ?? false,
      profiles: [],
      responderProfile: () => undefined,
      revocation: () => this.#revocation,
    });
    hooks.keyExport?.attach(() => endpoint.sessionKeys());
    this.ike = new IkeService(site, forwarding, endpoint, {
      tunnelContext: (child, up) => this.#tunnelContext(child, up),
      onOutput: (output) => this.#ikeOutput(output),
    });
    this.history = new IkeHistory(site);
    this.#connector = new Connector(site, (input) => this.ike.push(input));
    this.circuits = new WanCircuits(site, routers, (key) => forwarding.idFor(key), () => this.#addressesChanged());
  }

  get configuration(): DeviceConfiguration | undefined {
    return this.#config;
  }

  get tenants(): ReadonlyMap<number, TenantService> {
    return this.#tenants;
  }

  get connections(): readonly ConnectionState[] {
    return this.#connector.states();
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#connector.stop();
    for (const tenant of this.#tenants.values()) await tenant.stop();
    await this.ike.stop();
    this.history.stop();
    await this.circuits.stop();
  }

  status(): ServiceStatus {
    const control = this.controlStatus();
    return control.controlTunnels === 'up' && control.bgp === 'up' ? { state: 'up', detail: '' } : { state: 'starting', detail: control.detail };
  }

  /** Opens the WAN and the staging tunnel with nothing but the prestaging record. Rejects with an OperationalError of the host. */
  async startStaging(record: PrestagingRecord): Promise<void> {
    const staging: Staging = { record, director: [], isReady: false };
    this.#staging = staging;
    await this.circuits.open(record.circuits);
    if (this.#staging !== staging) return;
    this.#openSockets();
    await this.#routers.apply('staging', stagingPlan(record.provider, record.staging.tenant, undefined, [], (k) => this.#forwarding.idFor(k)));
    // ZTP may have gone on meanwhile.
    if (this.#staging !== staging) return;
    this.#updateProfiles();
    staging.isReady = true;
    this.#connectForStaging(staging);
  }

  #connectForStaging({ record }: Staging): void {
    const profile = profileName(record.provider, STAGING_PROFILE);
    const candidates = this.#wanCandidates(profile, record.controllers);
    this.#connector.want({ profile, candidates });
    // A tunnel that is up waits for an address to move to, as long as its peer is patient.
    if (candidates.length > 0 || this.ike.liveIkeSas().some((up) => up.profile === profile)) return;
    const { cause, nextStep } = this.circuits.missing() ?? { cause: 'no circuit has an address of the family of a Controller', nextStep: 'compare circuits and Controllers of the prestaging record' };
    this.#hooks.stagingDown(`${cause}; ${nextStep}`);
  }

  stopStaging(reason: string): void {
    if (this.#staging === undefined) return;
    this.#connector.forget(profileName(this.#staging.record.provider, STAGING_PROFILE), reason);
    this.#staging = undefined;
    this.#routers.remove('staging');
  }

  /** Moves to post-staging, or to a newer configuration. */
  async applyConfiguration(config: DeviceConfiguration, identity: DeviceIdentity): Promise<void> {
    this.stopStaging('the box moves to its post-staging configuration');
    await this.#endTenants(config);
    await this.circuits.open(config.circuits);
    this.#openSockets();
    this.#config = config;
    const idFor = (key: string): number => this.#forwarding.idFor(key);
    const clearPeers = (tenant: number): IpAddress[] =>
      config.tenants.find((t) => t.tenant === tenant)!.controllers.map((c) => c.clearAddress);
    await this.#routers.apply('tenants', tenantPlan({ config, clearPeers }, idFor));
    this.#forwarding.setPart('controllers', this.#clearTunnels(config));
    this.#forwarding.flush();
    this.#updateProfiles(identity);
    await this.#startTenants(config, identity);
    const wanted = config.tenants.flatMap((tenant) => tenant.controllers.map((controller) => controllerProfileName(tenant, controller)));
    this.#connector.retain(new Set(wanted), 'the Controller is no longer configured');
    this.ike.retainSockets(this.#sockets(config));
    for (const tenant of config.tenants) for (const controller of tenant.controllers) this.#connectTo(tenant, controller);
    this.ike.renewContexts();
    await this.#routers.prune();
    this.#hooks.changed();
  }

  /** What is known of revoked certificates, replaced as a whole. `more`: SAs of peers that have shown one of them end. */
  revocations(check: RevocationCheck, more: boolean): void {
    this.#revocation = check;
    if (!more) return;
    this.ike.push({ kind: 'revocations' });
    for (const tenant of this.#tenants.values()) tenant.revocations();
  }

  /** Up as soon as every tenant has one Controller: a second one that is away is shown but holds nothing up. */
  controlStatus(): ControlStatus {
    const connections = this.#connector.states();
    const unconnected = [...Map.groupBy(connections, (c) => organizationOf(c.profile)).values()].filter((group) => group.every((c) => c.state !== 'up'));
    const sessions = [...this.#tenants.values()].filter((t) => t.bgp.status().state !== 'up');
    const detail = [
      ...connections.filter((c) => c.state !== 'up').map((c) => `${c.profile}: ${c.lastCause === '' ? 'connecting' : c.lastCause}`),
      ...sessions.map((t) => `${t.name}: ${t.bgp.status().detail}`),
    ].join('; ');
    return {
      controlTunnels: connections.length > 0 && unconnected.length === 0 ? 'up' : 'down',
      bgp: this.#tenants.size > 0 && sessions.length === 0 ? 'up' : 'down',
      detail,
    };
  }

  #openSockets(): void {
    for (const { name, transport, addresses } of this.circuits.actual) {
      for (const address of addresses.map(withoutLength)) {
        const outside = outsideId((k) => this.#forwarding.idFor(k), name);
        this.ike.openSocket(wanSocket(outside, address), transportVrName(transport), address);
      }
    }
  }

  #sockets(config: DeviceConfiguration | undefined): Set<string> {
    return socketsOf(this.circuits.actual, config?.tenants ?? [], (circuit) => outsideId((k) => this.#forwarding.idFor(k), circuit));
  }

  /** The network gave circuits of this box other addresses, or none. */
  #addressesChanged(): void {
    const config = this.#config;
    this.#openSockets();
    this.ike.retainSockets(this.#sockets(config));
    if (this.#staging?.isReady === true) this.#moveStaging(this.#staging);
    if (config !== undefined) {
      this.#forwarding.setPart('controllers', this.#clearTunnels(config));
      for (const tenant of this.#tenants.values()) tenant.changeCircuits(this.circuits.actual);
      this.ike.renewContexts();
      this.#forwarding.flush();
    }
    this.#hooks.changed();
  }

  /** A staging tunnel whose address is gone goes on from another one of the same family (MOBIKE); without one it waits. */
  #moveStaging(staging: Staging): void {
    const profile = profileName(staging.record.provider, STAGING_PROFILE);
    for (const { ikeSa, local, remote, profile: name, role } of this.ike.liveIkeSas()) {
      if (name !== profile || role !== 'initiator') continue;
      const possible = staging.record.controllers.filter((c) => c.address === remote.address).flatMap((c) => this.#localAddresses(c.transport, c.address));
      const [there] = possible;
      if (there === undefined || possible.some(({ address }) => address === local.address)) continue;
      const { outside, address } = there;
      this.ike.push({ kind: 'move', ikeSa, socket: wanSocket(outside, address), nattSocket: nattSocket(outside), local: { address, port: IKE_PORT } });
    }
    this.#connectForStaging(staging);
  }

  #updateProfiles(identity?: DeviceIdentity): void {
    const profiles = this.#staging === undefined ? [] : [stagingProfile(this.#staging.record)];
    if (this.#config !== undefined && identity !== undefined) {
      const config = this.#config;
      for (const tenant of config.tenants) {
        for (const controller of tenant.controllers) profiles.push(controllerProfile(config, tenant, controller, identity));
      }
    }
    this.ike.push({ kind: 'profiles', profiles });
  }

  /** Every circuit address towards every Controller endpoint of the same family, in the order of both lists. */
  #wanCandidates(profile: string, controllers: PrestagingRecord['controllers']): Initiate[] {
    const candidates: Initiate[] = [];
    for (const controller of controllers) {
      for (const { outside, address } of this.#localAddresses(controller.transport, controller.address)) {
        candidates.push({
          kind: 'initiate',
          profile,
          socket: wanSocket(outside, address),
          nattSocket: nattSocket(outside),
          local: { address, port: IKE_PORT },
          remote: { address: controller.address, port: IKE_PORT },
          nattLocal: { address, port: IKE_NATT_PORT },
        });
      }
    }
    return candidates;
  }

  #localAddresses(transport: string, remote: IpAddress): { outside: number; address: IpAddress }[] {
    return this.circuits.actual
      .filter((c) => c.transport === transport)
      .flatMap((c) => c.addresses.map(withoutLength).map((address) => ({ outside: outsideId((k) => this.#forwarding.idFor(k), c.name), address })))
      .filter(({ address }) => isIpv6(address) === isIpv6(remote));
  }

  #controllerPaths(controller: TenantController): PathSpec[] {
    return controller.endpoints.flatMap((e) =>
      this.#localAddresses(e.transport, e.address).map(({ outside }) => ({ outside, remote: { address: e.address, port: VXLAN_PORT } })),
    );
  }

  /** Clear tunnels carry IKE to the Controllers, nothing else. */
  #clearTunnels(config: DeviceConfiguration): { tunnels: TunnelSpec[]; routes: RouteSpec[] } {
    const tunnels: TunnelSpec[] = [];
    const routes: RouteSpec[] = [];
    for (const tenant of config.tenants) {
      const inside = clearInsideId((k) => this.#forwarding.idFor(k), tenant.tenant);
      for (const controller of tenant.controllers) {
        const tunnel = this.#forwarding.idFor(`clear:${tenant.tenant}:${controller.siteId}`);
        tunnels.push({
          id: tunnel,
          tenant: tenant.tenant,
          peer: controller.name,
          kind: 'vxlan-clear',
          inside,
          paths: this.#controllerPaths(controller),
          mtu: CLEAR_MTU,
          tx: undefined,
          rx: [],
          idleDummyMs: 0,
        });
        routes.push({ inside, prefix: hostPrefix(controller.clearAddress), tunnel, label: EXPLICIT_NULL });
      }
    }
    return { tunnels, routes };
  }

  #connectTo(tenant: TenantConfiguration, controller: TenantController): void {
    const socket = clearSocket(tenant.tenant);
    this.ike.openSocket(socket, controlVrName(tenant.organization), tenant.clearAddress);
    const profile = controllerProfileName(tenant, controller);
    const local: Endpoint = { address: tenant.clearAddress, port: IKE_PORT };
    const remote: Endpoint = { address: controller.clearAddress, port: IKE_PORT };
    this.#connector.want({ profile, candidates: [{ kind: 'initiate', profile, socket, nattSocket: undefined, local, remote }] });
  }

  /** Tenants that are gone, or have another configuration now. Their farewells need the tunnels that go next. */
  async #endTenants(config: DeviceConfiguration): Promise<void> {
    const ended = [...this.#tenants].filter(([id, service]) => {
      const tenant = config.tenants.find((t) => t.tenant === id);
      return tenant === undefined || !service.serves(config, tenant);
    });
    for (const [id, service] of ended) {
      this.#tenants.delete(id);
      await service.remove();
    }
    const { clock } = this.#site;
    if (ended.length > 0) await new Promise<void>((resolve) => void clock.at(after(clock.now(), FAREWELL_MS), resolve));
  }

  /** A tenant whose configuration stays the same keeps its sessions and keys; only a renewed certificate and other circuits reach it. */
  async #startTenants(config: DeviceConfiguration, identity: DeviceIdentity): Promise<void> {
    const hooks = { changed: () => this.#hooks.changed(), revocation: () => this.#revocation, revocationOrdered: () => this.#hooks.revocationOrdered() };
    for (const tenant of config.tenants) {
      const kept = this.#tenants.get(tenant.tenant);
      if (kept !== undefined) {
        kept.renew(identity);
        kept.changeCircuits(this.circuits.actual);
        continue;
      }
      this.#bootCount ??= nextBootCount(this.#site.store, this.#site.clock.unixMs());
      const options = { config, circuits: this.circuits.actual, tenant, identity, bootCount: this.#bootCount, ...hooks };
      const service = new TenantService(this.#site, this.#forwarding, options);
      this.#tenants.set(tenant.tenant, service);
      await service.start();
    }
  }

  #tunnelContext(
    child: ChildUp,
    up: IkeUp,
  ): TunnelContext | string {
    const staging = this.#staging;
    if (staging !== undefined && child.profile === profileName(staging.record.provider, STAGING_PROFILE)) {
      const outside = this.#localAddresses(staging.record.controllers[0]!.transport, child.remote.address).find(
        (l) => l.address === child.local.address,
      )?.outside;
      if (outside === undefined) return `no circuit has the address ${child.local.address}`;
      return {
        peer: up.remoteIdentity.value,
        tenant: child.tenant,
        kind: child.natt ? 'esp-udp' : 'esp',
        inside: encryptedInsideId((k) => this.#forwarding.idFor(k), child.tenant),
        paths: [{ outside, remote: child.remote }],
        mtu: STAGING_MTU,
        idleDummyMs: 0,
        routes: (up.directorAddresses ?? []).map((address) => ({ prefix: hostPrefix(address), label: EXPLICIT_NULL })),
      };
    }
    return this.#controllerContext(child);
  }

  #controllerContext(child: ChildUp): TunnelContext | string {
    const config = this.#config;
    for (const tenant of config?.tenants ?? []) {
      const controller = tenant.controllers.find((c) => controllerProfileName(tenant, c) === child.profile);
      if (controller === undefined) continue;
      const paths = this.#controllerPaths(controller);
      const director = tenant.organization === config!.provider ? config!.director.addresses : [];
      return {
        peer: controller.name,
        tenant: tenant.tenant,
        kind: 'vxlan-esp',
        inside: encryptedInsideId((k) => this.#forwarding.idFor(k), tenant.tenant),
        paths,
        mtu: paths.some((p) => isIpv6(p.remote.address)) ? ENCRYPTED_MTU.ipv6 : ENCRYPTED_MTU.ipv4,
        idleDummyMs: IDLE_DUMMY_MS,
        routes: [controller.encryptedAddress, ...director].map((address) => ({ prefix: hostPrefix(address), label: EXPLICIT_NULL })),
      };
    }
    return `VPN profile ${child.profile} is no longer configured`;
  }

  #ikeOutput(output: IkeOutput): void {
    this.history.onOutput(output);
    this.#hooks.keyExport?.onOutput(output);
    this.#connector.onOutput(output);
    const stagingName = this.#staging === undefined ? undefined : profileName(this.#staging.record.provider, STAGING_PROFILE);
    switch (output.kind) {
      case 'certificate-seen':
        this.#hooks.certificateSeen(output.path);
        return;
      case 'ike-up':
        if (output.profile === stagingName) this.#stagingUp(output);
        break;
      case 'ike-down':
        if (output.profile === stagingName) this.#hooks.stagingDown(output.reason);
        break;
      case 'connect-failed':
        if (output.profile === stagingName) this.#hooks.stagingDown(`${output.cause}; ${output.nextStep}`);
        break;
      case 'observed':
        this.#observed(output.ikeSa, output.endpoint);
        break;
      default:
        return;
    }
    this.#hooks.changed();
  }

  /** What a Controller sees is the circuit that the tunnel to it leaves by. */
  #observed(ikeSa: number, endpoint: Endpoint): void {
    const outside = this.ike.outsideOf(ikeSa);
    const circuit = this.circuits.actual.find(({ name }) => outsideId((key) => this.#forwarding.idFor(key), name) === outside)?.name;
    if (circuit === undefined) return;
    for (const tenant of this.#tenants.values()) tenant.observed({ circuit, endpoint });
  }

  #stagingUp(up: IkeUp): void {
    const staging = this.#staging!;
    const director = up.directorAddresses ?? [];
    if (up.assigned === undefined || director.length === 0) {
      this.#hooks.stagingDown('the Controller assigned no management address or named no Director; check its staging pool');
      return;
    }
    staging.director = director;
    const assignedAddress = up.assigned;
    const plan = stagingPlan(staging.record.provider, staging.record.staging.tenant, assignedAddress, director, (k) => this.#forwarding.idFor(k));
    this.#routers.apply('staging', plan).then(
      () => {
        if (this.#staging === staging) this.#hooks.stagingUp({ assignedAddress, directorAddresses: director });
      },
      (error: unknown) => {
        if (this.#staging === staging) this.#hooks.stagingDown(error instanceof Error ? error.message : String(error));
      },
    );
  }
}
