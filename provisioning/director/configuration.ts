// Builds what a device must know from the database: its configuration, and for Controllers the directory of sites.
// Generations are assigned here: a document whose content differs from the last one built gets a higher number.
import type { CircuitConfiguration, ControllerEndpoint, DeviceConfiguration, LanPortConfiguration, SiteDirectory, SiteRecord, TenantConfiguration, TenantController } from '../../firmware/configuration.ts';
import type { SiteId, TenantId } from '../../firmware/model.ts';
import { toHex, utf8 } from '../../platform/bytes.ts';
import { canonicalJson } from '../ztp/canonical.ts';
import { PROVIDER_TENANT, deviceIdentity, stagingControllerIdentity } from '../ztp/names.ts';
import type { DirectorContext } from './context.ts';
import { listOrganizations } from './organizations.ts';
import type { Organization } from './organizations.ts';
import { stagingKeyOf } from './staging-key.ts';
import type { Db, SiteTable, SiteTenantTable } from './store/tables.ts';

function digestOf(context: DirectorContext, document: unknown): string {
  return toHex(context.suite.hash('sha256', utf8(canonicalJson(document))));
}

/**
 * Unix seconds at least: a Director that was restored from a backup, or a site that was deleted and ordered again, does
 * not fall behind what its devices have already accepted.
 */
function nextGeneration(context: DirectorContext, last: number): number {
  return Math.max(last + 1, Math.floor(context.clock.unixMs() / 1000));
}

/** WAN endpoints of a Controller on the transports that `transports` has; all of them when it is undefined. */
export function controllerEndpoints(controller: SiteTable, transports: ReadonlySet<string> | undefined): ControllerEndpoint[] {
  const circuits = JSON.parse(controller.circuits_json) as CircuitConfiguration[];
  return circuits
    .filter((circuit) => transports === undefined || transports.has(circuit.transport))
    .flatMap((circuit) => circuit.addresses.map((address) => ({ transport: circuit.transport, address: address.split('/')[0]! })));
}

interface Network {
  readonly organizations: ReadonlyMap<TenantId, Organization>;
  readonly controllers: readonly { readonly site: SiteTable; readonly tenants: ReadonlyMap<TenantId, SiteTenantTable> }[];
}

async function tenantsOf(db: Db, siteId: SiteId): Promise<Map<TenantId, SiteTenantTable>> {
  const rows = await db.selectFrom('site_tenants').selectAll().where('site_id', '=', siteId).orderBy('tenant').execute();
  return new Map(rows.map((row) => [row.tenant, row]));
}

async function loadNetwork(db: Db): Promise<Network> {
  const organizations = new Map((await listOrganizations(db)).map((organization) => [organization.tenant, organization]));
  const sites = await db.selectFrom('sites').selectAll().where('role', '=', 'controller').where('state', '=', 'enabled').orderBy('site_id').execute();
  const controllers = [];
  for (const site of sites) controllers.push({ site, tenants: await tenantsOf(db, site.site_id) });
  return { organizations, controllers };
}

function tenantConfiguration(context: DirectorContext, network: Network, site: SiteTable, row: SiteTenantTable): TenantConfiguration {
  const organization = network.organizations.get(row.tenant)!;
  const { asNumber, provider } = context.settings;
  const transports = new Set((JSON.parse(site.circuits_json) as CircuitConfiguration[]).map((circuit) => circuit.transport));
  const controllers: TenantController[] = [];
  for (const controller of network.controllers) {
    const addresses = controller.tenants.get(row.tenant);
    const endpoints = controllerEndpoints(controller.site, transports);
    if (controller.site.site_id === site.site_id || !addresses || endpoints.length === 0) continue;
    controllers.push({
      siteId: controller.site.site_id,
      name: controller.site.name,
      clearAddress: addresses.clear_address,
      encryptedAddress: addresses.encrypted_address,
      identity: deviceIdentity(controller.site.name, organization.name, provider),
      endpoints,
    });
  }
  const hasLan = site.role === 'branch' && row.tenant !== PROVIDER_TENANT;
  return {
    tenant: row.tenant,
    organization: organization.name,
    vni: organization.vni,
    clearAddress: row.clear_address,
    encryptedAddress: row.encrypted_address,
    overlayPrefix: organization.overlayPool,
    identity: deviceIdentity(site.name, organization.name, provider),
    asNumber,
    routeDistinguisher: `${asNumber}:${row.tenant}`,
    routeTarget: `${asNumber}:${row.tenant}`,
    keying: organization.keying,
    controllers,
    lan: hasLan ? { ports: JSON.parse(row.lan_ports_json) as LanPortConfiguration[] } : undefined,
  };
}

/** The newest configuration of a site. Call inside a transaction: it may assign a new generation. */
export async function buildConfiguration(context: DirectorContext, db: Db, site: SiteTable): Promise<DeviceConfiguration> {
  const network = await loadNetwork(db);
  const { settings } = context;
  const controller = site.role === 'controller' ? await db.selectFrom('controllers').selectAll().where('site_id', '=', site.site_id).executeTakeFirstOrThrow() : undefined;
  const tenants = [...(await tenantsOf(db, site.site_id)).values()];
  const configuration: DeviceConfiguration = {
    schema: 1,
    generation: 0,
    device: { name: site.name, serial: site.serial, siteId: site.site_id, role: site.role },
    provider: settings.provider,
    softwareVersion: site.software_version ?? settings.softwareVersion,
    director: { addresses: settings.addresses, port: settings.port },
    trustAnchors: [Buffer.from(context.authority.anchor).toString('base64')],
    circuits: JSON.parse(site.circuits_json) as CircuitConfiguration[],
    tenants: tenants.map((row) => tenantConfiguration(context, network, site, row)),
    staging: controller ? { pool: controller.staging_pool, identity: stagingControllerIdentity(settings.provider) } : undefined,
    southbound: controller?.southbound_json ? (JSON.parse(controller.southbound_json) as DeviceConfiguration['southbound']) : undefined,
  };
  const digest = digestOf(context, configuration);
  if (digest === site.configuration_digest) return { ...configuration, generation: site.configuration_generation };
  const generation = nextGeneration(context, site.configuration_generation);
  await db.updateTable('sites').set({ configuration_digest: digest, configuration_generation: generation }).where('site_id', '=', site.site_id).execute();
  return { ...configuration, generation };
}

/** The directory that every Controller gets. Call inside a transaction: it may assign a new generation. */
export async function buildDirectory(context: DirectorContext, db: Db): Promise<SiteDirectory> {
  const { provider } = context.settings;
  const rows = await db.selectFrom('sites').selectAll().orderBy('site_id').execute();
  const memberships = await db
    .selectFrom('site_tenants')
    .innerJoin('organizations', 'organizations.tenant', 'site_tenants.tenant')
    .select(['site_id', 'site_tenants.tenant', 'organizations.name', 'clear_address', 'encrypted_address'])
    .orderBy('site_tenants.tenant')
    .execute();
  const bySite = Map.groupBy(memberships, (row) => row.site_id);
  const stagingOf = (site: SiteTable): SiteRecord['staging'] => {
    const psk = stagingKeyOf(context, site);
    return psk === undefined || site.state === 'revoked' ? undefined : { identity: site.staging_identity, psk };
  };
  const sites = rows.map((site) => ({
    siteId: site.site_id,
    device: site.name,
    serial: site.serial,
    state: site.state,
    staging: stagingOf(site),
    tenants: (bySite.get(site.site_id) ?? []).map((row) => ({
      tenant: row.tenant,
      identity: deviceIdentity(site.name, row.name, provider),
      clearAddress: row.clear_address,
      encryptedAddress: row.encrypted_address,
    })),
  }));
  const digest = digestOf(context, sites);
  const last = await db.selectFrom('documents').selectAll().where('name', '=', 'directory').executeTakeFirst();
  if (last?.digest === digest) return { generation: last.generation, sites };
  const generation = nextGeneration(context, last?.generation ?? 0);
  const row = { name: 'directory', digest, generation };
  await db.insertInto('documents').values(row).onConflict((conflict) => conflict.column('name').doUpdateSet({ digest, generation })).execute();
  return { generation, sites };
}
