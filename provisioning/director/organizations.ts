// Organisations (tenants) and transport domains. The provider's own organisation is tenant 1 and always exists.
import type { KeyingPolicy } from '../../firmware/configuration.ts';
import type { TenantId } from '../../firmware/model.ts';
import { PROVIDER_TENANT } from '../ztp/names.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { allocateOverlay, parsePrefix, poolSlots } from './ipam.ts';
import { refusal } from './refusal.ts';
import type { Db, OrganizationTable } from './store/tables.ts';

export interface Organization {
  readonly name: string;
  readonly tenant: TenantId;
  readonly vni: number;
  readonly overlayPool: string;
  readonly keying: KeyingPolicy;
}

export interface OrganizationRequest {
  readonly name: string;
  readonly tenant?: TenantId;
  readonly overlayPool?: string;
  readonly keying?: Partial<KeyingPolicy>;
}

const DEFAULT_KEYING: KeyingPolicy = {
  lifetimeSeconds: 28_800,
  rekeyPercent: 70,
  groups: [31, 19],
  suites: ['aes-256-gcm-16', 'aes-128-gcm-16', 'chacha20-poly1305'],
  replayWindowPackets: 4096,
};

/** Tenant 2 gets 0x112 from this base. A VNI is allocated, not computed: receivers must not derive tenants from it. */
const VNI_BASE = 0x110;
const LAST_VNI = 0xff_ffff;
/** A route distinguisher of type 2 leaves 16 bits for the tenant. */
const LAST_TENANT = 0xffff;

function organizationOf(row: OrganizationTable): Organization {
  return { name: row.name, tenant: row.tenant, vni: row.vni, overlayPool: row.overlay_pool, keying: JSON.parse(row.keying_json) as KeyingPolicy };
}

async function lowestFree(used: readonly number[], first: number, last: number, what: string): Promise<number> {
  const taken = new Set(used);
  for (let value = first; value <= last; value++) if (!taken.has(value)) return value;
  throw refusal('exhausted', `no ${what} is free between ${first} and ${last}`, 'delete organisations that are no longer used');
}

async function insert(db: Db, context: DirectorContext, request: OrganizationRequest): Promise<Organization> {
  const existing = await db.selectFrom('organizations').select(['name', 'tenant', 'vni']).execute();
  if (existing.some((row) => row.name === request.name)) {
    throw refusal('conflict', `organisation ${request.name} exists already`, 'choose another name');
  }
  const tenant = request.tenant ?? (await lowestFree(existing.map((row) => row.tenant), PROVIDER_TENANT + 1, LAST_TENANT, 'tenant id'));
  if (existing.some((row) => row.tenant === tenant)) throw refusal('conflict', `tenant ${tenant} exists already`, 'choose another tenant id or leave it out');
  const overlayPool = request.overlayPool ?? context.settings.overlayPool;
  const pool = parsePrefix(overlayPool);
  if (!pool || poolSlots(pool) < 1) {
    throw refusal('invalid', `overlayPool is ${overlayPool}`, 'give a network prefix with room for two addresses per device, such as 10.0.0.0/8');
  }
  const vni = await lowestFree(existing.map((row) => row.vni), VNI_BASE + tenant, LAST_VNI, 'VNI');
  const keying = { ...DEFAULT_KEYING, ...request.keying };
  const row: OrganizationTable = { tenant, name: request.name, vni, overlay_pool: overlayPool, keying_json: JSON.stringify(keying), rekey_epoch: 0 };
  await db.insertInto('organizations').values(row).execute();
  // Every Controller carries every organisation.
  for (const controller of await db.selectFrom('controllers').select('site_id').orderBy('site_id').execute()) {
    await joinTenant(db, controller.site_id, tenant, overlayPool, []);
  }
  return organizationOf(row);
}

/** Gives a site its two addresses on a tenant. */
export async function joinTenant(db: Db, siteId: number, tenant: TenantId, overlayPool: string, lanPorts: readonly unknown[]): Promise<void> {
  const addresses = await allocateOverlay(db, tenant, overlayPool);
  await db
    .insertInto('site_tenants')
    .values({
      site_id: siteId,
      tenant,
      slot: addresses.slot,
      encrypted_address: addresses.encryptedAddress,
      clear_address: addresses.clearAddress,
      lan_ports_json: JSON.stringify(lanPorts),
    })
    .execute();
}

/** Makes sure that the provider's organisation is there; called at every start. */
export async function ensureProvider(context: DirectorContext): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const provider = await db.selectFrom('organizations').selectAll().where('tenant', '=', PROVIDER_TENANT).executeTakeFirst();
    if (!provider) {
      await insert(db, context, { name: context.settings.provider, tenant: PROVIDER_TENANT });
    } else if (provider.name !== context.settings.provider) {
      throw refusal(
        'conflict',
        `the database belongs to provider ${provider.name}, the configuration says ${context.settings.provider}`,
        'start with the former provider name, or with an empty data directory',
      );
    }
  });
}

export async function createOrganization(context: DirectorContext, actor: string, request: OrganizationRequest): Promise<Organization> {
  const organization = await context.db.transaction().execute(async (db) => {
    const created = await insert(db, context, request);
    await audit(context, db, actor, 'create-organization', created.name, `tenant ${created.tenant}`);
    return created;
  });
  context.changes.announce();
  return organization;
}

export async function listOrganizations(db: Db): Promise<readonly Organization[]> {
  return (await db.selectFrom('organizations').selectAll().orderBy('tenant').execute()).map(organizationOf);
}

export async function createTransport(context: DirectorContext, actor: string, name: string): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const result = await db.insertInto('transports').values({ name }).onConflict((conflict) => conflict.doNothing()).executeTakeFirst();
    if (result.numInsertedOrUpdatedRows === 0n) throw refusal('conflict', `transport ${name} exists already`, 'use it as it is');
    await audit(context, db, actor, 'create-transport', name);
  });
}

export async function listTransports(db: Db): Promise<readonly { readonly name: string }[]> {
  return db.selectFrom('transports').selectAll().orderBy('name').execute();
}
