// Orders to Controllers: rekey a tenant. They travel in the Controllers' poll; the Controller floods them by BGP.
import type { SiteId, TenantId } from '../../firmware/model.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { refusal } from './refusal.ts';
import type { Db } from './store/tables.ts';

/** 1 scheduled, 2 policy change, 3 key compromise, 4 node revoked, 5 operator. */
export type RekeyReason = 1 | 2 | 3 | 4 | 5;

export interface RekeyDirective {
  /** Rises over all tenants; a Controller acknowledges by asking for what is after it. */
  readonly id: number;
  readonly tenant: TenantId;
  /** Rises per tenant; a node acts once per epoch. */
  readonly epoch: number;
  readonly reason: RekeyReason;
  readonly notBeforeUnixSeconds: number;
  readonly spreadSeconds: number;
  /** Counted from notBefore. */
  readonly deadlineSeconds: number;
  /** Reason 4: whose SAs end at once. */
  readonly revokedSite?: SiteId;
}

export interface RekeyRequest {
  readonly reason?: RekeyReason;
  readonly delaySeconds?: number;
  readonly spreadSeconds?: number;
  readonly deadlineSeconds?: number;
}

const DEFAULT_DEADLINE_SECONDS = 300;
/** Directives kept for Controllers that were away; older ones are past their deadline anyway. */
const DIRECTIVE_LIMIT = 1000;

async function insertDirective(context: DirectorContext, db: Db, tenant: TenantId, request: RekeyRequest, revokedSite?: SiteId): Promise<RekeyDirective> {
  const organization = await db.updateTable('organizations').set((eb) => ({ rekey_epoch: eb('rekey_epoch', '+', 1) })).where('tenant', '=', tenant).returning('rekey_epoch').executeTakeFirst();
  if (!organization) throw refusal('not-found', `there is no tenant ${tenant}`, 'list the organisations and check the tenant id');
  const directive = {
    tenant,
    epoch: organization.rekey_epoch,
    reason: request.reason ?? 5,
    notBeforeUnixSeconds: Math.floor(context.clock.unixMs() / 1000) + (request.delaySeconds ?? 0),
    spreadSeconds: request.spreadSeconds ?? 0,
    deadlineSeconds: request.deadlineSeconds ?? DEFAULT_DEADLINE_SECONDS,
  };
  const row = await db
    .insertInto('directives')
    .values({
      tenant,
      epoch: directive.epoch,
      reason: directive.reason,
      not_before_unix_seconds: directive.notBeforeUnixSeconds,
      spread_seconds: directive.spreadSeconds,
      deadline_seconds: directive.deadlineSeconds,
      revoked_site: revokedSite ?? null,
    })
    .returning('id')
    .executeTakeFirstOrThrow();
  await db.deleteFrom('directives').where('id', '<=', row.id - DIRECTIVE_LIMIT).execute();
  return { id: row.id, ...directive, ...(revokedSite === undefined ? {} : { revokedSite }) };
}

/** Orders every node of a tenant to make new keys. */
export async function orderRekey(context: DirectorContext, actor: string, tenant: TenantId, request: RekeyRequest): Promise<RekeyDirective> {
  const directive = await context.db.transaction().execute(async (db) => {
    const inserted = await insertDirective(context, db, tenant, request);
    await audit(context, db, actor, 'order-rekey', `tenant ${tenant}`, `epoch ${inserted.epoch}, reason ${inserted.reason}`);
    return inserted;
  });
  context.changes.announce();
  return directive;
}

/** After a revocation the site's peers make new keys at once. Call inside the revoking transaction. */
export async function orderRekeyAfterRevocation(context: DirectorContext, db: Db, siteId: SiteId): Promise<void> {
  const tenants = await db.selectFrom('site_tenants').select('tenant').where('site_id', '=', siteId).execute();
  for (const { tenant } of tenants) await insertDirective(context, db, tenant, { reason: 4 }, siteId);
}

/** Directives after `id` whose deadline has not passed. */
export async function directivesAfter(context: DirectorContext, id: number): Promise<readonly RekeyDirective[]> {
  const rows = await context.db.selectFrom('directives').selectAll().where('id', '>', id).orderBy('id').execute();
  const nowSeconds = context.clock.unixMs() / 1000;
  return rows
    .filter((row) => row.not_before_unix_seconds + row.deadline_seconds > nowSeconds)
    .map((row) => ({
      id: row.id,
      tenant: row.tenant,
      epoch: row.epoch,
      reason: row.reason as RekeyReason,
      notBeforeUnixSeconds: row.not_before_unix_seconds,
      spreadSeconds: row.spread_seconds,
      deadlineSeconds: row.deadline_seconds,
      ...(row.revoked_site === null ? {} : { revokedSite: row.revoked_site }),
    }));
}
