// Controllers: sites with ids 1-99 that carry every organisation, answer staging boxes and reflect routes.
import type { CircuitConfiguration, DeviceConfiguration } from '../../firmware/configuration.ts';
import type { SiteId } from '../../firmware/model.ts';
import { FIRST_CONTROLLER_SITE, LAST_CONTROLLER_SITE } from '../ztp/names.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { parseAddress, parsePrefix, prefixesOverlap, subPrefix } from './ipam.ts';
import { joinTenant, listOrganizations } from './organizations.ts';
import { refusal } from './refusal.ts';
import { checkAddresses, insertSite, listSites, nextSiteId, siteByName, siteView } from './sites.ts';
import type { SiteView } from './sites.ts';
import type { Db } from './store/tables.ts';

type Southbound = NonNullable<DeviceConfiguration['southbound']>;

export interface ControllerRequest {
  readonly name: string;
  readonly serial: string;
  readonly siteId?: SiteId;
  readonly circuits: readonly CircuitConfiguration[];
  /** The port towards Director, in the provider's control VR. */
  readonly southbound?: Southbound;
  /** Temporary addresses of staging boxes; a free /24 of Director's staging prefix when left out. */
  readonly stagingPool?: string;
  readonly softwareVersion?: string;
}

export interface ControllerView extends SiteView {
  readonly stagingPool: string;
  readonly southbound: Southbound | undefined;
}

const STAGING_POOL_LENGTH = 24;

async function stagingPool(db: Db, context: DirectorContext, wanted: string | undefined): Promise<string> {
  const used = (await db.selectFrom('controllers').select('staging_pool').execute()).map((row) => row.staging_pool);
  const isFree = (text: string): boolean => used.every((other) => !prefixesOverlap(parsePrefix(text)!, parsePrefix(other)!));
  if (wanted !== undefined) {
    if (!parsePrefix(wanted)) throw refusal('invalid', `stagingPool is ${wanted}`, 'give a network prefix such as 172.30.1.0/24');
    if (!isFree(wanted)) throw refusal('conflict', `staging pool ${wanted} overlaps another Controller's`, 'choose another prefix or leave it out');
    return wanted;
  }
  const all = parsePrefix(context.settings.stagingPools)!;
  for (let index = 0; ; index++) {
    const candidate = subPrefix(all, STAGING_POOL_LENGTH, index);
    if (candidate === undefined) throw refusal('exhausted', `no /${STAGING_POOL_LENGTH} is free in ${context.settings.stagingPools}`, 'give the Controller a stagingPool');
    if (isFree(candidate)) return candidate;
  }
}

async function controllerView(db: Db, view: SiteView): Promise<ControllerView> {
  const row = await db.selectFrom('controllers').selectAll().where('site_id', '=', view.siteId).executeTakeFirstOrThrow();
  return { ...view, stagingPool: row.staging_pool, southbound: row.southbound_json === null ? undefined : (JSON.parse(row.southbound_json) as Southbound) };
}

export async function createController(context: DirectorContext, actor: string, request: ControllerRequest): Promise<ControllerView> {
  const view = await context.db.transaction().execute(async (db) => {
    const siteId = request.siteId ?? (await nextSiteId(db, FIRST_CONTROLLER_SITE, LAST_CONTROLLER_SITE));
    if (siteId < FIRST_CONTROLLER_SITE || siteId > LAST_CONTROLLER_SITE) {
      throw refusal('invalid', `site id ${siteId} is not a Controller's`, `choose one from ${FIRST_CONTROLLER_SITE} to ${LAST_CONTROLLER_SITE} or leave it out`);
    }
    if (request.southbound) {
      checkAddresses(`southbound port ${request.southbound.name}`, request.southbound.addresses);
      for (const gateway of request.southbound.gateways) {
        if (!parseAddress(gateway)) throw refusal('invalid', `southbound port has gateway ${gateway}`, 'give an IPv4 or IPv6 address');
      }
    }
    const pool = await stagingPool(db, context, request.stagingPool);
    await insertSite(db, context, 'controller', siteId, request);
    await db
      .insertInto('controllers')
      .values({ site_id: siteId, staging_pool: pool, southbound_json: request.southbound ? JSON.stringify(request.southbound) : null })
      .execute();
    for (const organization of await listOrganizations(db)) await joinTenant(db, siteId, organization.tenant, organization.overlayPool, []);
    await audit(context, db, actor, 'create-controller', request.name, `site ${siteId}, serial ${request.serial}`);
    return controllerView(db, await siteView(db, context, await siteByName(db, request.name)));
  });
  context.changes.announce();
  return view;
}

export async function listControllers(context: DirectorContext): Promise<readonly ControllerView[]> {
  const views: ControllerView[] = [];
  for (const view of await listSites(context, 'controller')) views.push(await controllerView(context.db, view));
  return views;
}
