// What an operator orders for a site beyond its description: the prestaging record, a Controller's enrolment, revocation.
import type { CircuitConfiguration, PrestagingRecord } from '../../firmware/configuration.ts';
import { toHex } from '../../platform/bytes.ts';
import { encodeActivationLink } from '../ztp/activation-link.ts';
import { PROVIDER_TENANT, stagingControllerIdentity } from '../ztp/names.ts';
import type { EnrolmentRecord } from '../ztp/enrolment.ts';
import { controllerEndpoints } from './configuration.ts';
import { revokeCertificates } from './certificates.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { orderRekeyAfterRevocation } from './directives.ts';
import { refusal } from './refusal.ts';
import { siteByName } from './sites.ts';
import { issueToken } from './tokens.ts';

const STAGING_PSK_BYTES = 32;
const ACTIVATION_LIFETIME_SECONDS = 7 * 24 * 3600;
const ENROLMENT_LIFETIME_MS = 24 * 3600 * 1000;

function anchorSha256(context: DirectorContext): string {
  return toHex(context.suite.hash('sha256', context.authority.anchor));
}

/**
 * All that the factory-fresh box gets. Each order makes a new pre-shared key, so an older record of the box is void.
 * @param expiresUnixMs when the record is void although it was not used; null = never
 * @throws OperationalError when no Controller can be reached over the site's transports
 */
export async function orderPrestaging(context: DirectorContext, actor: string, name: string, expiresUnixMs: number | null = null): Promise<PrestagingRecord> {
  const record = await context.db.transaction().execute(async (db): Promise<PrestagingRecord> => {
    const site = await siteByName(db, name);
    if (site.role !== 'branch') throw refusal('invalid', `${name} is a Controller`, 'order an enrolment for it instead');
    if (site.state === 'revoked') throw refusal('revoked', `site ${name} is revoked`, 'delete the site and create it again if the box may come back');
    const circuits = JSON.parse(site.circuits_json) as CircuitConfiguration[];
    const transports = new Set(circuits.map((circuit) => circuit.transport));
    const controllers = await db.selectFrom('sites').selectAll().where('role', '=', 'controller').where('state', '=', 'enabled').orderBy('site_id').execute();
    const endpoints = controllers.flatMap((controller) => controllerEndpoints(controller, transports));
    if (endpoints.length === 0) {
      throw refusal('conflict', `no Controller has a circuit on ${[...transports].join(', ')}`, 'create a Controller with a circuit on one of these transports');
    }
    const psk = Buffer.from(context.random.bytes(STAGING_PSK_BYTES)).toString('base64');
    await db.updateTable('sites').set({ staging_psk: psk, staging_expires_unix_ms: expiresUnixMs, onboarded: 0 }).where('site_id', '=', site.site_id).execute();
    await audit(context, db, actor, 'order-prestaging', name);
    const { provider } = context.settings;
    return {
      serial: site.serial,
      provider,
      circuits,
      controllers: endpoints,
      trustAnchorSha256: anchorSha256(context),
      staging: { localIdentity: site.staging_identity, remoteIdentity: stagingControllerIdentity(provider), psk, tenant: PROVIDER_TENANT },
    };
  });
  context.changes.announce();
  return record;
}

export interface ActivationOrder {
  readonly link: string;
  readonly expiresUnixMs: number;
}

/** The prestaging record as a link that is good for one onboarding within its time. */
export async function orderActivation(context: DirectorContext, actor: string, name: string, lifetimeSeconds = ACTIVATION_LIFETIME_SECONDS): Promise<ActivationOrder> {
  const expiresUnixMs = context.clock.unixMs() + lifetimeSeconds * 1000;
  const record = await orderPrestaging(context, actor, name, expiresUnixMs);
  return { link: encodeActivationLink(record, expiresUnixMs), expiresUnixMs };
}

/** A one-use, expiring token for a Controller's first contact. */
export async function orderEnrolment(context: DirectorContext, actor: string, name: string, url: string): Promise<EnrolmentRecord> {
  return context.db.transaction().execute(async (db) => {
    const site = await siteByName(db, name);
    if (site.role !== 'controller') throw refusal('invalid', `${name} is a branch`, 'order a prestaging record for it instead');
    if (site.state === 'revoked') throw refusal('revoked', `Controller ${name} is revoked`, 'delete the Controller and create it again');
    const expiresUnixMs = context.clock.unixMs() + ENROLMENT_LIFETIME_MS;
    const token = await issueToken(context, db, 'enrolment', site.site_id, expiresUnixMs);
    await audit(context, db, actor, 'order-enrolment', name);
    return { url, provider: context.settings.provider, name, serial: site.serial, anchorSha256: anchorSha256(context), token, expiresUnixMs };
  });
}

/** Ends a site's trust: certificates, staging key, and new keys for everyone who shared a tenant with it. */
export async function revokeSite(context: DirectorContext, actor: string, name: string): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const site = await siteByName(db, name);
    if (site.state === 'revoked') return;
    await db.updateTable('sites').set({ state: 'revoked', staging_psk: null }).where('site_id', '=', site.site_id).execute();
    await revokeCertificates(context, db, site.site_id);
    await orderRekeyAfterRevocation(context, db, site.site_id);
    await audit(context, db, actor, 'revoke-site', name, `site ${site.site_id}`);
  });
  context.log.warning('Site revoked', { site: name });
  context.changes.announce();
}

