// A Controller's control plane: it answers staging IKE on its WAN ports and post-staging IKE on each tenant's clear
// TVI, reflects each tenant's routes and orders rekeys. It is never in the data path between branches.
import { IkeEndpoint } from '../ike/endpoint.ts';
import type { Authorization, AuthorizationRequest } from '../ike/environment.ts';
import type { ChildUp, IkeOutput, IkeUp } from '../ike/input-output.ts';
import { identityText, type IkeIdentity, type IkeProfile, type PeerCredentials } from '../ike/profile.ts';
import type { DeviceConfiguration, SiteDirectory, SiteRecord } from '../configuration.ts';
import type { RekeyOrder } from '../sdwan/rekey-controller.ts';
import type { Endpoint, IpAddress, TenantId } from '../model.ts';
import { controlVrName, transportVrName } from '../model.ts';
import type { CertificatePath, RevocationCheck } from '../../platform/crypto.ts';
import { ENCRYPTED_MTU, EXPLICIT_NULL, IDLE_DUMMY_MS, STAGING_MTU } from './branch.ts';
import { ControllerTenant } from './controller-tenant.ts';
import type { ForwardingService } from './forwarding.ts';
import { IkeHistory } from './ike-history.ts';
import { IkeService, clearSocket, socketsOf, wanSocket } from './ike.ts';
import { STAGING_PROFILE, branchesProfile, branchesProfileName, profileName, stagingResponderProfile, type DeviceIdentity } from './ike-profiles.ts';
import type { TunnelContext } from './ike-tunnels.ts';
import type { KeyExport } from './key-export.ts';
import type { Service, ServiceStatus, Site } from './service.ts';
import { StagingPool } from './staging-pool.ts';
import type { VirtualRouters } from './virtual-routers.ts';
import { circuitPlan, encryptedInsideId, hostPrefix, isIpv6, outsideId, tenantPlan, withoutLength } from './vr-plan.ts';

/** A branch's first contact, for Director (`POST /api/v1/branch-connect`). */
export interface BranchConnect {
  readonly serial: string;
  readonly tenant: TenantId;
  readonly stagingIdentity: string;
  readonly observedEndpoint: Endpoint;
  readonly temporaryAddress: IpAddress;
}

export interface BranchFailed {
  /** What the box tried to reach: its staging tunnel, or a tenant's Controller with its certificate. */
  readonly stage: 'staging' | 'post-staging';
  /** Undefined when it could not be read. */
  readonly identity: string | undefined;
  readonly serial: string | undefined;
  readonly observedEndpoint: Endpoint;
  readonly cause: string;
}

export interface ControllerHooks {
  branchConnect(facts: BranchConnect): void;
  branchFailed(facts: BranchFailed): void;
  /** A peer has shown a certificate on this way to an anchor. */
  certificateSeen(path: CertificatePath): void;
  readonly keyExport?: KeyExport;
}

/** Site ids below are Controllers, this one among them; they are not served as branches. */
const FIRST_BRANCH_SITE = 100;

const EMPTY_DIRECTORY: SiteDirectory = { generation: 0, sites: [] };

export class ControllerControl implements Service {
  readonly name = 'controller';
  readonly #site: Site;
  readonly #forwarding: ForwardingService;
  readonly #routers: VirtualRouters;
  readonly #hooks: ControllerHooks;
  readonly ike: IkeService;
  readonly history: IkeHistory;
  #config: DeviceConfiguration | undefined;
  #directory: SiteDirectory = EMPTY_DIRECTORY;
  #profiles: IkeProfile[] = [];
  #pool: StagingPool | undefined;
  /** Live staging IKE SA -> identity that holds an address of the pool. */
  readonly #stagingIkeSas = new Map<number, string>();
  #tenants = new Map<TenantId, ControllerTenant>();
  #revocation: RevocationCheck | undefined;

  constructor(site: Site, forwarding: ForwardingService, routers: VirtualRouters, hooks: ControllerHooks) {
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
      responderProfile: ({ socket }) => this.#profileOfSocket(socket),
      lookupPeer: (_profile, identity) => this.#stagingCredential(identity),
      authorize: (request) => this.#authorize(request),
      revocation: () => this.#revocation,
    });
    hooks.keyExport?.attach(() => endpoint.sessionKeys());
    this.ike = new IkeService(site, forwarding, endpoint, {
      tunnelContext: (child, up) => this.#tunnelContext(child, up),
      onOutput: (output) => this.#ikeOutput(output),
    });
    this.history = new IkeHistory(site);
  }

  get configuration(): DeviceConfiguration | undefined {
    return this.#config;
  }

  get directory(): SiteDirectory {
    return this.#directory;
  }

  get tenants(): ReadonlyMap<TenantId, ControllerTenant> {
    return this.#tenants;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    for (const tenant of this.#tenants.values()) await tenant.stop();
    await this.ike.stop();
    this.history.stop();
  }

  status(): ServiceStatus {
    return this.#config === undefined ? { state: 'starting', detail: 'waiting for the configuration from Director' } : { state: 'up', detail: '' };
  }

  async applyConfiguration(config: DeviceConfiguration, identity: DeviceIdentity): Promise<void> {
    this.#config = config;
    if (config.staging !== undefined) this.#pool ??= new StagingPool(config.staging.pool);
    const idFor = (key: string): number => this.#forwarding.idFor(key);
    await this.#routers.apply('circuits', circuitPlan(config.circuits, idFor));
    await this.#applyTenantPlan();
    for (const circuit of config.circuits) {
      for (const address of circuit.addresses.map(withoutLength)) {
        this.ike.openSocket(wanSocket(outsideId(idFor, circuit.name), address), transportVrName(circuit.transport), address);
      }
    }
    this.#profiles = config.tenants.map((tenant) => branchesProfile(config, tenant, identity));
    if (config.staging !== undefined) this.#profiles.push(stagingResponderProfile(config));
    this.ike.push({ kind: 'profiles', profiles: this.#profiles });
    for (const tenant of config.tenants) {
      this.ike.openSocket(clearSocket(tenant.tenant), controlVrName(tenant.organization), tenant.clearAddress);
    }
    this.ike.retainSockets(socketsOf(config.circuits, config.tenants, (circuit) => outsideId(idFor, circuit)));
    await this.#startTenants(config);
    await this.#routers.prune();
  }

  /** A newer list of sites: new ones may connect at once, revoked ones are cut off at once. */
  async applyDirectory(received: SiteDirectory): Promise<void> {
    const before = this.#directory;
    const directory = { ...received, sites: received.sites.filter((site) => site.siteId >= FIRST_BRANCH_SITE) };
    this.#directory = directory;
    for (const tenant of this.#tenants.values()) tenant.setSites(directory.sites);
    if (this.#config !== undefined && clearAddresses(before) !== clearAddresses(directory)) await this.#applyTenantPlan();
    const enabled = new Set(directory.sites.filter((s) => s.state === 'enabled').flatMap((s) => s.tenants.map((t) => t.identity)));
    // A box that was onboarded has no staging identity any longer, but may still be about to leave its staging tunnel.
    const serials = new Set(directory.sites.filter((s) => s.state === 'enabled').map((s) => s.serial));
    for (const ike of this.ike.liveIkeSas()) {
      const isStaging = ike.profile === this.#stagingName();
      if (isStaging ? ike.serial !== undefined && serials.has(ike.serial) : enabled.has(ike.remoteIdentity.value)) continue;
      this.ike.push({ kind: 'terminate', ikeSa: ike.ikeSa, reason: 'the site was revoked or removed by Director' });
    }
  }

  /** What is known of revoked certificates, replaced as a whole. `more`: IKE SAs of branches that have shown one of them end. */
  revocations(check: RevocationCheck, more: boolean): void {
    this.#revocation = check;
    if (more) this.ike.push({ kind: 'revocations' });
  }

  /** Orders a rekey of every branch of a tenant (protocol text: directive). False for an unknown tenant. */
  orderRekey(tenant: TenantId, order: RekeyOrder): boolean {
    const found = this.#tenants.get(tenant);
    found?.orderRekey(order);
    return found !== undefined;
  }

  async #applyTenantPlan(): Promise<void> {
    const config = this.#config!;
    const clearPeers = (tenant: TenantId): IpAddress[] =>
      this.#directory.sites.flatMap((s) => s.tenants.filter((t) => t.tenant === tenant).map((t) => t.clearAddress));
    await this.#routers.apply('tenants', tenantPlan({ config, clearPeers }, (key) => this.#forwarding.idFor(key)));
  }

  /** A tenant whose configuration stays the same keeps its sessions. */
  async #startTenants(config: DeviceConfiguration): Promise<void> {
    const before = this.#tenants;
    this.#tenants = new Map();
    for (const [id, service] of before) {
      const tenant = config.tenants.find((t) => t.tenant === id);
      if (tenant !== undefined && service.serves(config, tenant)) this.#tenants.set(id, service);
      else await service.remove();
    }
    for (const tenant of config.tenants) {
      if (this.#tenants.has(tenant.tenant)) continue;
      const service = new ControllerTenant(this.#site, config, tenant);
      this.#tenants.set(tenant.tenant, service);
      await service.start();
      service.setSites(this.#directory.sites);
    }
  }

  #stagingName(): string | undefined {
    return this.#config === undefined ? undefined : profileName(this.#config.provider, STAGING_PROFILE);
  }

  #profileOfSocket(socket: string): IkeProfile | undefined {
    const config = this.#config;
    if (config === undefined) return undefined;
    const tenant = config.tenants.find((t) => clearSocket(t.tenant) === socket);
    const name = tenant === undefined ? this.#stagingName() : branchesProfileName(tenant);
    return this.#profiles.find((p) => p.name === name);
  }

  #stagingCredential(identity: IkeIdentity): PeerCredentials | undefined {
    const record = this.#stagingRecord(identity);
    return record === undefined ? undefined : { kind: 'psk', key: new Uint8Array(Buffer.from(record.staging!.psk, 'base64')) };
  }

  #stagingRecord(identity: IkeIdentity): SiteRecord | undefined {
    if (identity.kind !== 'email') return undefined;
    return this.#directory.sites.find((s) => s.state === 'enabled' && s.staging !== undefined && s.staging.identity === identity.value);
  }

  #authorize(request: AuthorizationRequest): Authorization {
    return request.profile.name === this.#stagingName() ? this.#authorizeStaging(request) : this.#authorizeSite(request);
  }

  #authorizeStaging(request: AuthorizationRequest): Authorization {
    const config = this.#config!;
    const record = this.#stagingRecord(request.identity);
    const provider = config.tenants.find((t) => t.organization === config.provider)!;
    if (record === undefined) return { ok: false, cause: `${identityText(request.identity)} is not enrolled for staging` };
    if (request.serial !== record.serial) {
      return { ok: false, cause: `serial ${request.serial ?? '(none)'} does not match ${record.serial}, which is enrolled for ${record.staging!.identity}` };
    }
    if (request.tenant !== provider.tenant) {
      return { ok: false, cause: `global tenant id ${request.tenant ?? '(none)'} does not match ${provider.tenant}, the provider's` };
    }
    const assignedAddress = this.#pool?.assign(record.staging!.identity);
    if (assignedAddress === undefined) return { ok: false, cause: `the staging pool ${config.staging?.pool} is exhausted` };
    return { ok: true, assignedAddress, directorAddresses: config.director.addresses, observed: true };
  }

  #authorizeSite(request: AuthorizationRequest): Authorization {
    const tenant = this.#config!.tenants.find((t) => branchesProfileName(t) === request.profile.name)!;
    const site = request.identity.kind === 'email' ? this.#siteOf(tenant.tenant, request.identity.value) : undefined;
    if (site === undefined) return { ok: false, cause: `${identityText(request.identity)} is not a site of ${tenant.organization}` };
    if (site.state !== 'enabled') return { ok: false, cause: `site ${site.siteId} (${site.device}) was revoked` };
    const uri = `urn:selvage:${this.#config!.provider}:site:${site.siteId}:tenant:${tenant.tenant}`;
    if (request.certificate === undefined || !request.certificate.uris.includes(uri)) {
      return { ok: false, cause: `the certificate does not name ${uri}` };
    }
    if (request.serial !== undefined && request.serial !== site.serial) {
      return { ok: false, cause: `serial ${request.serial} does not match ${site.serial}, which is enrolled for ${site.device}` };
    }
    return { ok: true };
  }

  #siteOf(tenant: TenantId, identity: string): SiteRecord | undefined {
    return this.#directory.sites.find((s) => s.tenants.some((t) => t.tenant === tenant && t.identity === identity));
  }

  #tunnelContext(child: ChildUp, up: IkeUp): TunnelContext | string {
    const config = this.#config!;
    const inside = encryptedInsideId((key) => this.#forwarding.idFor(key), child.tenant);
    if (child.profile === this.#stagingName()) {
      const circuit = config.circuits.find((c) => c.addresses.some((a) => withoutLength(a) === child.local.address));
      if (circuit === undefined) return `no circuit has the address ${child.local.address}`;
      return {
        peer: up.remoteIdentity.value,
        tenant: child.tenant,
        kind: child.natt ? 'esp-udp' : 'esp',
        inside,
        paths: [{ outside: outsideId((key) => this.#forwarding.idFor(key), circuit.name), remote: child.remote }],
        mtu: STAGING_MTU,
        idleDummyMs: 0,
        routes: [{ prefix: hostPrefix(up.assigned!), label: EXPLICIT_NULL }],
      };
    }
    const site = this.#siteOf(child.tenant, up.remoteIdentity.value);
    const addresses = site?.tenants.find((t) => t.tenant === child.tenant);
    if (site === undefined || addresses === undefined) return `${up.remoteIdentity.value} is no longer a site of tenant ${child.tenant}`;
    return {
      peer: site.device,
      tenant: child.tenant,
      kind: 'vxlan-esp',
      inside,
      // Learned by the forwarder from the first packet whose tag is good; a clear packet never sets it.
      paths: [],
      mtu: config.circuits.some((c) => c.addresses.some(isIpv6)) ? ENCRYPTED_MTU.ipv6 : ENCRYPTED_MTU.ipv4,
      idleDummyMs: IDLE_DUMMY_MS,
      routes: [{ prefix: hostPrefix(addresses.encryptedAddress), label: EXPLICIT_NULL }],
    };
  }

  #ikeOutput(output: IkeOutput): void {
    this.history.onOutput(output);
    this.#hooks.keyExport?.onOutput(output);
    const staging = this.#stagingName();
    switch (output.kind) {
      case 'certificate-seen':
        this.#hooks.certificateSeen(output.path);
        return;
      case 'ike-up':
        if (output.profile === staging && output.assigned !== undefined) {
          this.#stagingIkeSas.set(output.ikeSa, output.remoteIdentity.value);
          this.#hooks.branchConnect({
            serial: output.serial ?? '',
            tenant: output.peerTenant ?? output.tenant,
            stagingIdentity: output.remoteIdentity.value,
            observedEndpoint: output.remote,
            temporaryAddress: output.assigned,
          });
        }
        break;
      case 'peer-refused':
        this.#refused(output, output.profile === staging ? 'staging' : 'post-staging');
        break;
      case 'ike-down':
        if (output.profile === staging) this.#releaseAddress(output.ikeSa);
        break;
    }
  }

  #refused(output: Extract<IkeOutput, { kind: 'peer-refused' }>, stage: BranchFailed['stage']): void {
    this.#hooks.branchFailed({
      stage,
      identity: output.identity === undefined ? undefined : identityText(output.identity),
      serial: output.serial,
      observedEndpoint: output.remote,
      cause: output.cause,
    });
  }

  /** An identity that has connected anew keeps its address when its former IKE SA ends. */
  #releaseAddress(ikeSa: number): void {
    const identity = this.#stagingIkeSas.get(ikeSa);
    this.#stagingIkeSas.delete(ikeSa);
    if (identity !== undefined && ![...this.#stagingIkeSas.values()].includes(identity)) this.#pool?.release(identity);
  }
}

function clearAddresses(directory: SiteDirectory): string {
  return directory.sites.flatMap((s) => s.tenants.map((t) => `${t.tenant}:${t.clearAddress}`)).join();
}
