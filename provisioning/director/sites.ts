// Sites: the branches and Controllers that an operator ordered, with their serials, circuits, tenants and addresses.
import type { CircuitConfiguration, LanPortConfiguration } from '../../firmware/configuration.ts';
import type { SiteId, TenantId } from '../../firmware/model.ts';
import { circuitProblem } from '../ztp/circuit-check.ts';
import { FIRST_BRANCH_SITE, LAST_BRANCH_SITE, PROVIDER_TENANT, deviceIdentity, stagingIdentity } from '../ztp/names.ts';
import { revokeCertificates } from './certificates.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { parseAddress } from './ipam.ts';
import { joinTenant } from './organizations.ts';
import { refusal } from './refusal.ts';
import type { Db, OrganizationTable, SiteTable } from './store/tables.ts';

export interface SiteTenantRequest {
  readonly organization: string;
  readonly lanPorts: readonly LanPortConfiguration[];
}

export interface SiteRequest {
  readonly name: string;
  readonly serial: string;
  readonly siteId?: SiteId;
  readonly circuits: readonly CircuitConfiguration[];
  /** The provider's organisation is always joined and is not listed. */
  readonly tenants: readonly SiteTenantRequest[];
  readonly softwareVersion?: string;
}

export interface SiteChange {
  readonly circuits?: readonly CircuitConfiguration[];
  readonly tenants?: readonly SiteTenantRequest[];
  readonly softwareVersion?: string | null;
}

export interface SiteView {
  readonly siteId: SiteId;
  readonly name: string;
  readonly role: 'branch' | 'controller';
  readonly serial: string;
  readonly state: 'enabled' | 'revoked';
  readonly onboarded: boolean;
  readonly circuits: readonly CircuitConfiguration[];
  readonly tenants: readonly {
    readonly tenant: TenantId;
    readonly organization: string;
    readonly identity: string;
    readonly encryptedAddress: string;
    readonly clearAddress: string;
    readonly lanPorts: readonly LanPortConfiguration[];
  }[];
  /** Wanted. */
  readonly softwareVersion: string;
  /** As the box last told; undefined before that. */
  readonly runningVersion: string | undefined;
  /** Product and architecture of its bundles; undefined without system slots. */
  readonly compatible: string | undefined;
  readonly configurationGeneration: number;
  /** As the Controller saw the box last; undefined before its first staging. */
  readonly observedEndpoint: string | undefined;
  readonly temporaryAddress: string | undefined;
  readonly lastSeenUnixMs: number | undefined;
}

/** @throws OperationalError `not-found` */
export async function siteByName(db: Db, name: string): Promise<SiteTable> {
  const site = await db.selectFrom('sites').selectAll().where('name', '=', name).executeTakeFirst();
  if (!site) throw refusal('not-found', `there is no site ${name}`, 'list the sites and check the name');
  return site;
}

/** @throws OperationalError `conflict`, `invalid` or `not-found`, naming what is wrong with the circuits */
export async function checkCircuits(db: Db, circuits: readonly CircuitConfiguration[], role: SiteTable['role']): Promise<void> {
  const known = new Set((await db.selectFrom('transports').select('name').execute()).map((row) => row.name));
  const seen = new Set<string | number>();
  for (const circuit of circuits) {
    if (!known.has(circuit.transport)) throw refusal('not-found', `circuit ${circuit.id} uses transport ${circuit.transport}, which does not exist`, 'create the transport first');
    if (seen.has(circuit.id) || seen.has(circuit.name)) throw refusal('conflict', `circuit ${circuit.id} (${circuit.name}) is listed twice`, 'give every circuit its own id and port');
    seen.add(circuit.id).add(circuit.name);
    checkAddresses(`circuit ${circuit.id}`, circuit.addresses);
    for (const gateway of circuit.gateways) {
      if (!parseAddress(gateway)) throw refusal('invalid', `circuit ${circuit.id} has gateway ${gateway}`, 'give an IPv4 or IPv6 address');
    }
    if (role === 'controller' && circuit.automatic !== undefined && circuit.automatic.length > 0) {
      throw refusal('invalid', `circuit ${circuit.id} of a Controller has automatic addresses`, 'give it static addresses: branches are told where it is');
    }
    const problem = circuitProblem(circuit);
    if (problem !== undefined) throw refusal('invalid', `circuit ${circuit.id} has ${problem.key} ${problem.value}; allowed: ${problem.allowed}`, 'correct the circuit and send it again');
  }
}

/** @throws OperationalError `invalid` unless every entry is `address/length` */
export function checkAddresses(where: string, addresses: readonly string[]): void {
  for (const text of addresses) {
    const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
    const address = match ? parseAddress(match[1]!) : undefined;
    if (!address || Number(match![2]) > (address.family === 4 ? 32 : 128)) {
      throw refusal('invalid', `${where} has address ${text}`, 'write address and prefix length, such as 192.0.2.10/24 or 2001:db8::10/64');
    }
  }
}

async function organizationByName(db: Db, name: string): Promise<OrganizationTable> {
  const row = await db.selectFrom('organizations').selectAll().where('name', '=', name).executeTakeFirst();
  if (!row) throw refusal('not-found', `there is no organisation ${name}`, 'create the organisation first');
  if (row.tenant === PROVIDER_TENANT) throw refusal('invalid', `${name} is the provider's own organisation`, "leave it out: every site joins it, and it has no LAN");
  return row;
}

function checkTenants(tenants: readonly SiteTenantRequest[]): void {
  const names = new Set<string>();
  const ports = new Set<string>();
  for (const { organization, lanPorts } of tenants) {
    if (names.has(organization)) throw refusal('conflict', `organisation ${organization} is listed twice`, 'list it once with all its LAN ports');
    names.add(organization);
    for (const port of lanPorts) {
      if (ports.has(port.name)) throw refusal('conflict', `LAN port ${port.name} is used twice`, 'give every LAN port to one organisation');
      ports.add(port.name);
      checkAddresses(`LAN port ${port.name}`, port.addresses);
    }
  }
}

/** Inserts the row that branches and Controllers share. */
export async function insertSite(
  db: Db,
  context: DirectorContext,
  role: 'branch' | 'controller',
  siteId: SiteId,
  request: { readonly name: string; readonly serial: string; readonly circuits: readonly CircuitConfiguration[]; readonly softwareVersion?: string },
): Promise<void> {
  for (const [column, value] of [['name', request.name], ['serial', request.serial], ['site_id', siteId]] as const) {
    const taken = await db.selectFrom('sites').select('name').where(column, '=', value).executeTakeFirst();
    if (taken) throw refusal('conflict', `${column.replace('_', ' ')} ${value} belongs to site ${taken.name}`, `use another ${column.replace('_', ' ')}`);
  }
  await checkCircuits(db, request.circuits, role);
  await db
    .insertInto('sites')
    .values({
      site_id: siteId,
      name: request.name,
      role,
      serial: request.serial,
      state: 'enabled',
      onboarded: 0,
      staging_identity: stagingIdentity(request.serial, context.settings.provider),
      staging_psk: null,
      staging_expires_unix_ms: null,
      circuits_json: JSON.stringify(request.circuits),
      software_version: request.softwareVersion ?? null,
      observed_endpoint: null,
      temporary_address: null,
      last_seen_unix_ms: null,
      configuration_digest: '',
      configuration_generation: 0,
      running_version: null,
      compatible: null,
    })
    .execute();
}

/** @throws OperationalError `exhausted` */
export async function nextSiteId(db: Db, first: SiteId, last: SiteId): Promise<SiteId> {
  const rows = await db.selectFrom('sites').select('site_id').where('site_id', '>=', first).where('site_id', '<=', last).orderBy('site_id').execute();
  let next = first;
  for (const row of rows) {
    if (row.site_id !== next) break;
    next++;
  }
  if (next > last) throw refusal('exhausted', `all site ids from ${first} to ${last} are in use`, 'delete sites that are no longer used');
  return next;
}

export async function createSite(context: DirectorContext, actor: string, request: SiteRequest): Promise<SiteView> {
  const view = await context.db.transaction().execute(async (db) => {
    const siteId = request.siteId ?? (await nextSiteId(db, FIRST_BRANCH_SITE, LAST_BRANCH_SITE));
    if (siteId < FIRST_BRANCH_SITE || siteId > LAST_BRANCH_SITE) {
      throw refusal('invalid', `site id ${siteId} is not a branch's`, `choose one from ${FIRST_BRANCH_SITE} to ${LAST_BRANCH_SITE} or leave it out`);
    }
    checkTenants(request.tenants);
    await insertSite(db, context, 'branch', siteId, request);
    const provider = await db.selectFrom('organizations').selectAll().where('tenant', '=', PROVIDER_TENANT).executeTakeFirstOrThrow();
    await joinTenant(db, siteId, provider.tenant, provider.overlay_pool, []);
    for (const tenant of request.tenants) {
      const organization = await organizationByName(db, tenant.organization);
      await joinTenant(db, siteId, organization.tenant, organization.overlay_pool, tenant.lanPorts);
    }
    await audit(context, db, actor, 'create-site', request.name, `site ${siteId}, serial ${request.serial}`);
    return siteView(db, context, await siteByName(db, request.name));
  });
  context.changes.announce();
  return view;
}

async function replaceTenants(db: Db, siteId: SiteId, tenants: readonly SiteTenantRequest[]): Promise<void> {
  checkTenants(tenants);
  const wanted = new Map<TenantId, SiteTenantRequest & { readonly pool: string }>();
  for (const tenant of tenants) {
    const organization = await organizationByName(db, tenant.organization);
    wanted.set(organization.tenant, { ...tenant, pool: organization.overlay_pool });
  }
  const present = await db.selectFrom('site_tenants').select('tenant').where('site_id', '=', siteId).where('tenant', '!=', PROVIDER_TENANT).execute();
  for (const { tenant } of present) {
    const stays = wanted.get(tenant);
    const row = { site_id: siteId, tenant };
    if (stays === undefined) {
      await db.deleteFrom('site_tenants').where('site_id', '=', row.site_id).where('tenant', '=', tenant).execute();
    } else {
      await db.updateTable('site_tenants').set({ lan_ports_json: JSON.stringify(stays.lanPorts) }).where('site_id', '=', siteId).where('tenant', '=', tenant).execute();
      wanted.delete(tenant);
    }
  }
  for (const [tenant, request] of wanted) await joinTenant(db, siteId, tenant, request.pool, request.lanPorts);
}

/** Changes a branch; what is left out stays. The device fetches the new configuration by itself. */
export async function updateSite(context: DirectorContext, actor: string, name: string, change: SiteChange): Promise<SiteView> {
  const view = await context.db.transaction().execute(async (db) => {
    const site = await siteByName(db, name);
    if (change.circuits) {
      await checkCircuits(db, change.circuits, site.role);
      await db.updateTable('sites').set({ circuits_json: JSON.stringify(change.circuits) }).where('site_id', '=', site.site_id).execute();
    }
    if (change.tenants) {
      if (site.role !== 'branch') throw refusal('invalid', `${name} is a Controller`, 'Controllers carry every organisation; leave tenants out');
      await replaceTenants(db, site.site_id, change.tenants);
    }
    if (change.softwareVersion !== undefined) {
      await db.updateTable('sites').set({ software_version: change.softwareVersion }).where('site_id', '=', site.site_id).execute();
    }
    await audit(context, db, actor, 'update-site', name, Object.keys(change).join(' '));
    return siteView(db, context, await siteByName(db, name));
  });
  context.changes.announce();
  return view;
}

/** Removes a site and frees its addresses; its certificates stay revoked for good. */
export async function deleteSite(context: DirectorContext, actor: string, name: string): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const site = await siteByName(db, name);
    await revokeCertificates(context, db, site.site_id);
    await db.deleteFrom('sites').where('site_id', '=', site.site_id).execute();
    await audit(context, db, actor, 'delete-site', name, `site ${site.site_id}, serial ${site.serial}`);
  });
  context.changes.announce();
}

export async function siteView(db: Db, context: DirectorContext, site: SiteTable): Promise<SiteView> {
  const tenants = await db
    .selectFrom('site_tenants')
    .innerJoin('organizations', 'organizations.tenant', 'site_tenants.tenant')
    .select(['site_tenants.tenant', 'organizations.name', 'encrypted_address', 'clear_address', 'lan_ports_json'])
    .where('site_id', '=', site.site_id)
    .orderBy('site_tenants.tenant')
    .execute();
  return {
    siteId: site.site_id,
    name: site.name,
    role: site.role,
    serial: site.serial,
    state: site.state,
    onboarded: site.onboarded === 1,
    circuits: JSON.parse(site.circuits_json) as CircuitConfiguration[],
    tenants: tenants.map((row) => ({
      tenant: row.tenant,
      organization: row.name,
      identity: deviceIdentity(site.name, row.name, context.settings.provider),
      encryptedAddress: row.encrypted_address,
      clearAddress: row.clear_address,
      lanPorts: JSON.parse(row.lan_ports_json) as LanPortConfiguration[],
    })),
    softwareVersion: site.software_version ?? context.settings.softwareVersion,
    runningVersion: site.running_version ?? undefined,
    compatible: site.compatible ?? undefined,
    configurationGeneration: site.configuration_generation,
    observedEndpoint: site.observed_endpoint ?? undefined,
    temporaryAddress: site.temporary_address ?? undefined,
    lastSeenUnixMs: site.last_seen_unix_ms ?? undefined,
  };
}

export async function listSites(context: DirectorContext, role: 'branch' | 'controller'): Promise<readonly SiteView[]> {
  const rows = await context.db.selectFrom('sites').selectAll().where('role', '=', role).orderBy('site_id').execute();
  const views: SiteView[] = [];
  for (const row of rows) views.push(await siteView(context.db, context, row));
  return views;
}
