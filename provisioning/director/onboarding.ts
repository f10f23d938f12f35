// What devices ask of Director: certificates, bundles, and their reports about onboarding.
import type { DeviceConfiguration, SiteDirectory } from '../../firmware/configuration.ts';
import type { Endpoint, SiteId, TenantId } from '../../firmware/model.ts';
import { formatEndpoint } from '../../firmware/model.ts';
import type { OperationalError } from '../../platform/errors.ts';
import { rfc3339 } from '../../platform/time.ts';
import { UsageError } from '../../platform/errors.ts';
import { equalConstantTime } from '../../platform/bytes.ts';
import { signBundle } from '../ztp/bundle.ts';
import { csrProof } from '../ztp/enrolment.ts';
import { PROVIDER_TENANT } from '../ztp/names.ts';
import { revokeCertificates } from './certificates.ts';
import { buildConfiguration, buildDirectory } from './configuration.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { refusal } from './refusal.ts';
import { stagingKeyOf } from './staging-key.ts';
import type { Db, SiteTable } from './store/tables.ts';
import { applyReport, noteRefusal, rememberReport, reportSeen } from './tasks.ts';
import type { TaskReport } from './tasks.ts';
import { spendEnrolmentToken } from './tokens.ts';

export interface CertificateRequest {
  readonly serial: string;
  readonly identity: string;
  readonly csr: Uint8Array;
  readonly proof: Uint8Array;
}

export interface BranchConnectReport {
  readonly reportId: string;
  readonly serial: string;
  readonly tenant: TenantId;
  readonly identity: string;
  readonly observed: Endpoint;
  readonly temporaryAddress: string;
}

export interface BranchFailedReport {
  readonly reportId: string;
  readonly step: 'ike' | 'branch-connect' | 'post-staging';
  /** As far as the box got to tell them. */
  readonly serial: string | undefined;
  readonly identity: string | undefined;
  readonly cause: string;
  readonly nextStep: string;
}

export interface ProgressReport {
  readonly step: 'config' | 'software' | 'post-staging';
  readonly state: TaskReport['state'];
  readonly message: string;
  readonly nextStep?: string;
  readonly percentage?: number;
}

async function siteBy(db: Db, column: 'serial' | 'staging_identity' | 'site_id', value: string | SiteId): Promise<SiteTable | undefined> {
  return db.selectFrom('sites').selectAll().where(column, '=', value).executeTakeFirst();
}

// ------------------------------------------------------------------------------------------- certificates

/**
 * Issues and records a certificate. Earlier ones of the site are revoked at once or, for a renewal, when the new one is
 * first used (caller.ts): a device that did not get the answer must still be able to ask again.
 */
async function certify(context: DirectorContext, site: SiteTable, csr: Uint8Array, former: 'revoke' | 'keep'): Promise<readonly Uint8Array[]> {
  const tenants = await context.db
    .selectFrom('site_tenants')
    .innerJoin('organizations', 'organizations.tenant', 'site_tenants.tenant')
    .select(['site_tenants.tenant', 'organizations.name as organization'])
    .where('site_id', '=', site.site_id)
    .orderBy('site_tenants.tenant')
    .execute();
  let issued;
  try {
    issued = await context.authority.issueDevice(csr, { device: site.name, serial: site.serial, siteId: site.site_id, tenants });
  } catch (error) {
    if (error instanceof UsageError) throw refusal('invalid', error.message, 'send a PKCS #10 request of a P-256 key');
    throw error;
  }
  await context.db.transaction().execute(async (db) => {
    if (former === 'revoke') await revokeCertificates(context, db, site.site_id);
    await db
      .insertInto('certificates')
      .values({ serial_number: issued.serialNumber, site_id: site.site_id, certificate_der: issued.certificate, not_after_unix_ms: issued.notAfterUnixMs, revoked_unix_ms: null })
      .execute();
    await audit(context, db, site.name, 'issue-certificate', site.name, issued.serialNumber);
  });
  context.log.info('Certificate issued', { site: site.name, serialNumber: issued.serialNumber, notAfter: rfc3339(issued.notAfterUnixMs), renewal: former === 'keep' });
  return [issued.certificate];
}

/** Why a staging box may not have a certificate, or undefined when it may. */
function certificateProblem(context: DirectorContext, site: SiteTable | undefined, request: CertificateRequest): OperationalError | undefined {
  if (!site || site.role !== 'branch') return refusal('serial-unknown', `no site has serial ${request.serial}`, 'create the site with this serial, or correct the serial of the box');
  if (site.state === 'revoked') return refusal('revoked', `site ${site.name} is revoked`, 'delete the site and create it again if the box may come back');
  if (site.staging_identity !== request.identity) {
    return refusal('identity-mismatch', `staging identity ${request.identity} does not match ${site.staging_identity} of serial ${request.serial}`, 'load the prestaging record that was made for this serial');
  }
  const key = stagingKeyOf(context, site);
  if (key === undefined) {
    return refusal('not-prestaged', `site ${site.name} has no prestaging record in force`, 'order a new prestaging record and load it on the box');
  }
  const expected = csrProof(context.suite, Buffer.from(key, 'base64'), request.csr);
  if (!equalConstantTime(expected, request.proof)) {
    return refusal('credential-mismatch', `the certificate request of serial ${request.serial} is not proven with its pre-shared key`, 'load the newest prestaging record of the site; each order voids the one before');
  }
  return undefined;
}

/** What the Task says of an unproven request: none of its own words, so that a stranger cannot fill the list. */
const REFUSED_REQUESTS: Readonly<Record<string, string>> = {
  revoked: 'the site is revoked',
  'identity-mismatch': 'it names another staging identity',
  'not-prestaged': 'no prestaging record is in force',
  'credential-mismatch': 'it is not proven with the pre-shared key',
};

/**
 * A branch's certificate over the staging tunnel.
 * @returns DER, leaf first
 * @throws OperationalError with the cause; an open Task mentions it, and goes on
 */
export async function certifyBranch(context: DirectorContext, request: CertificateRequest): Promise<readonly Uint8Array[]> {
  const decided = await context.db.transaction().execute(async (db) => {
    const site = await siteBy(db, 'serial', request.serial);
    const problem = certificateProblem(context, site, request);
    // Who has not shown the key may be anybody: a Task's state is for the box and for Controllers to change.
    const refused = problem && REFUSED_REQUESTS[problem.code];
    if (problem && refused !== undefined) await noteRefusal(context, db, request.serial, `A certificate request for this serial was refused: ${refused}`, problem.nextStep);
    if (!problem) await applyReport(context, db, request.serial, site, { step: 'config', state: 'started', message: 'The appliance asks for its certificate' }, false);
    return { site, problem };
  });
  if (decided.problem) throw decided.problem;
  return certify(context, decided.site!, request.csr, 'revoke');
}

/** A new certificate for a device that still has a good one: more tenants, or the old one ends soon. */
export async function renewCertificate(context: DirectorContext, site: SiteTable, csr: Uint8Array): Promise<readonly Uint8Array[]> {
  return certify(context, site, csr, 'keep');
}

/** A Controller's first contact. The token is spent even when the request turns out to be unusable. */
export async function enrolController(context: DirectorContext, token: string, serial: string, csr: Uint8Array): Promise<{ readonly chain: readonly Uint8Array[]; readonly bundle: Uint8Array }> {
  const site = await context.db.transaction().execute(async (db) => {
    const found = await siteBy(db, 'site_id', await spendEnrolmentToken(context, db, token));
    await audit(context, db, found?.name ?? 'unknown', 'enrol', found?.name ?? serial, `serial ${serial}`);
    return found;
  });
  const next = 'correct the serial of the Controller or of its site, then order a new enrolment';
  if (!site || site.serial !== serial) throw refusal('identity-mismatch', `serial ${serial} does not match enrolled ${site?.serial ?? 'none'}`, next);
  if (site.state === 'revoked') throw refusal('revoked', `Controller ${site.name} is revoked`, 'delete the Controller and create it again');
  const chain = await certify(context, site, csr, 'revoke');
  await context.db.updateTable('sites').set({ onboarded: 1 }).where('site_id', '=', site.site_id).execute();
  return { chain, bundle: (await bundleFor(context, site.site_id)).bytes };
}

// ------------------------------------------------------------------------------------------- documents

/** The newest configuration of a site. */
export async function configurationFor(context: DirectorContext, siteId: SiteId): Promise<DeviceConfiguration> {
  return context.db.transaction().execute(async (db) => {
    const site = await db.selectFrom('sites').selectAll().where('site_id', '=', siteId).executeTakeFirstOrThrow();
    return buildConfiguration(context, db, site);
  });
}

/** The same, signed. */
export async function bundleFor(context: DirectorContext, siteId: SiteId): Promise<{ readonly generation: number; readonly bytes: Uint8Array }> {
  const configuration = await configurationFor(context, siteId);
  const { certificate, privateKey } = context.authority.bundleSigner;
  return { generation: configuration.generation, bytes: signBundle(context.suite, configuration, { chain: [certificate], privateKey }) };
}

export async function directory(context: DirectorContext): Promise<SiteDirectory> {
  return context.db.transaction().execute((db) => buildDirectory(context, db));
}

// ------------------------------------------------------------------------------------------- reports

/** Applies reports once: a Controller repeats a report whose answer it did not get. */
async function once(context: DirectorContext, reportId: string, apply: (db: Db) => Promise<number | undefined>): Promise<number | undefined> {
  return context.db.transaction().execute(async (db) => {
    const seen = await reportSeen(db, reportId);
    if (seen !== undefined) return seen;
    const task = await apply(db);
    if (task !== undefined) await rememberReport(context, db, reportId, task);
    return task;
  });
}

function connectProblem(context: DirectorContext, site: SiteTable | undefined, report: BranchConnectReport): OperationalError | undefined {
  if (!site || site.role !== 'branch') {
    return refusal('serial-unknown', `no site has serial ${report.serial} or staging identity ${report.identity}`, 'create the site with this serial, or correct the serial of the box');
  }
  if (site.state === 'revoked') return refusal('revoked', `site ${site.name} is revoked`, 'delete the site and create it again if the box may come back');
  if (site.serial !== report.serial) {
    return refusal('identity-mismatch', `serial ${report.serial} does not match enrolled ${site.serial}`, `correct the serial of site ${site.name}, or load the record that was made for this box`);
  }
  if (site.staging_identity !== report.identity) {
    return refusal('identity-mismatch', `staging identity ${report.identity} does not match ${site.staging_identity}`, 'load the prestaging record that was made for this serial');
  }
  if (report.tenant !== PROVIDER_TENANT) {
    return refusal('tenant-mismatch', `the box staged in tenant ${report.tenant}, staging belongs to tenant ${PROVIDER_TENANT}`, `set the tenant of the prestaging record to ${PROVIDER_TENANT}`);
  }
  if (stagingKeyOf(context, site) === undefined) return refusal('not-prestaged', `site ${site.name} has no prestaging record in force`, 'order a new prestaging record and load it on the box');
  return undefined;
}

/**
 * branch-connect: a box has a staging tunnel and a temporary address.
 * @returns the Task's id
 * @throws OperationalError with the cause when the box must not be onboarded; the Task shows it
 */
export async function branchConnect(context: DirectorContext, controller: string, report: BranchConnectReport): Promise<number> {
  let problem: OperationalError | undefined;
  const task = await once(context, report.reportId, async (db) => {
    const site = (await siteBy(db, 'staging_identity', report.identity)) ?? (await siteBy(db, 'serial', report.serial));
    problem = connectProblem(context, site, report);
    if (problem) {
      return applyReport(context, db, site?.serial ?? report.serial, site, { step: 'branch-connect', state: 'failed', message: problem.message, nextStep: problem.nextStep }, true);
    }
    const observed = formatEndpoint(report.observed);
    await db
      .updateTable('sites')
      .set({ observed_endpoint: observed, temporary_address: report.temporaryAddress, last_seen_unix_ms: context.clock.unixMs() })
      .where('site_id', '=', site!.site_id)
      .execute();
    await applyReport(context, db, report.serial, site, { step: 'ike', state: 'completed', message: `${controller} has a staging tunnel from ${observed}` }, true);
    const message = `${controller} verified serial ${report.serial} and assigned ${report.temporaryAddress}`;
    return applyReport(context, db, report.serial, site, { step: 'branch-connect', state: 'completed', message }, true);
  });
  if (problem) throw problem;
  return task!;
}

/** A Controller refused a box, or IKE with it failed. */
export async function branchFailed(context: DirectorContext, controller: string, report: BranchFailedReport): Promise<number | undefined> {
  return once(context, report.reportId, async (db) => {
    const byIdentity = report.identity === undefined ? undefined : await siteBy(db, 'staging_identity', report.identity);
    const site = byIdentity ?? (report.serial === undefined ? undefined : await siteBy(db, 'serial', report.serial));
    const failure = { step: report.step, state: 'failed', message: `${controller}: ${report.cause}`, nextStep: report.nextStep } as const;
    // After staging a box has an identity per tenant, so only its serial tells which one it is.
    if (report.step === 'post-staging') return site && applyReport(context, db, site.serial, site, failure, false);
    if (site === undefined) {
      // Anybody who reaches a Controller can make one up.
      context.log.event({ level: 'info', sentence: 'Onboarding failure of an unknown box', fields: { controller, serial: report.serial, identity: report.identity, cause: report.cause } });
      return undefined;
    }
    // Nor does a stranger who claims a box's name begin its onboarding anew when that is over.
    return applyReport(context, db, site.serial, site, failure, site.staging_psk !== null);
  });
}

/** The box's own account of its onboarding, in the order in which it happened. */
export async function deviceProgress(context: DirectorContext, site: SiteTable, reports: readonly ProgressReport[]): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    for (const report of reports) {
      const current = await siteBy(db, 'site_id', site.site_id);
      await applyReport(context, db, site.serial, current, report, false);
    }
    await db.updateTable('sites').set({ last_seen_unix_ms: context.clock.unixMs() }).where('site_id', '=', site.site_id).execute();
  });
  context.changes.announce();
}
