// Orders to boxes to run another version: an upgrade is a Task with a row per box. Boxes hear of their order when they
// poll, and tell how it goes; what they do not tell is decided by time (sweepUpgrades). All of it is in the database.
import type { Selectable } from 'kysely';
import { DEFAULT_BYTES_PER_SECOND } from '../ztp/software-messages.ts';
import type { OrderReport, SoftwareOrder } from '../ztp/software-messages.ts';
import { audit } from './context.ts';
import type { DirectorContext } from './context.ts';
import { packageFor } from './packages.ts';
import { refusal } from './refusal.ts';
import { siteByName } from './sites.ts';
import type { Db, SiteTable, UpgradeBoxTable, UpgradeTable } from './store/tables.ts';
import { addMessage, openUpgradeTask, setTaskStatus } from './tasks.ts';
import { OVER, isFailure, isOver, isRecallable, nextStep, silenceSeconds, waveSizes } from './upgrade-waves.ts';
import type { UpgradeState } from './upgrade-waves.ts';

export interface UpgradeRequest {
  readonly version: string;
  /** Names, in the order in which they are upgraded. */
  readonly sites: readonly string[];
  /** So many waves of about equal size; 1 when both are left out. */
  readonly waves?: number;
  /** Sizes of the first waves; what is left is the last one. */
  readonly waveSizes?: readonly number[];
  /** More boxes that fail keep the waves from beginning that have not. */
  readonly failuresAllowed?: number;
  /** Of each box's download. */
  readonly bytesPerSecond?: number;
  /** How long a box may be silent before it counts as failed. */
  readonly answerSeconds?: number;
  /** Boxes that run this version already install it in their other slot all the same. */
  readonly reinstall?: boolean;
}

const DEFAULT_ANSWER_SECONDS = 900;
const LONGEST_DETAIL = 1000;

type Box = Selectable<UpgradeBoxTable>;

async function boxesOf(db: Db, taskId: number): Promise<Box[]> {
  return db.selectFrom('upgrade_boxes').selectAll().where('task_id', '=', taskId).orderBy('id').execute();
}

async function activeBoxOf(db: Db, siteId: number): Promise<Box | undefined> {
  return db.selectFrom('upgrade_boxes').selectAll().where('site_id', '=', siteId).where('state', 'not in', OVER).executeTakeFirst();
}

async function siteForUpgrade(db: Db, name: string, version: string): Promise<SiteTable> {
  const site = await siteByName(db, name);
  if (site.state === 'revoked') throw refusal('revoked', `site ${name} is revoked`, 'leave it out');
  const busy = await activeBoxOf(db, site.site_id);
  if (busy) throw refusal('conflict', `site ${name} belongs to upgrade ${busy.task_id}, which is under way`, 'wait until that is over, or cancel it');
  if (site.compatible !== null && !(await packageFor(db, site.compatible, version))) {
    throw refusal('not-found', `there is no software package of ${version} for ${site.compatible}, which ${name} needs`, 'upload the bundle of that architecture, or leave the site out');
  }
  return site;
}

/** Orders an upgrade and begins its first wave. Resolves with the Task's number; throws OperationalError with what is wrong. */
export async function orderUpgrade(context: DirectorContext, actor: string, request: UpgradeRequest): Promise<number> {
  const { version, sites } = request;
  if (request.waves !== undefined && request.waveSizes !== undefined) throw refusal('invalid', 'waves and waveSizes are both given', 'keep one of them');
  if (new Set(sites).size !== sites.length) throw refusal('invalid', 'a site is listed twice', 'list every site once');
  return context.db.transaction().execute(async (db) => {
    const known = await db.selectFrom('software_packages').select('sha256').where('version', '=', version).executeTakeFirst();
    if (!known) throw refusal('not-found', `there is no software package of version ${version}`, 'upload its bundle first');
    const rows: SiteTable[] = [];
    for (const name of sites) rows.push(await siteForUpgrade(db, name, version));
    const taskId = await openUpgradeTask(context, db, `Upgrade Appliances to ${version}: ${sites.length} ${sites.length === 1 ? 'site' : 'sites'}`);
    await db
      .insertInto('upgrades')
      .values({
        task_id: taskId,
        version,
        bytes_per_second: request.bytesPerSecond ?? DEFAULT_BYTES_PER_SECOND,
        failures_allowed: request.failuresAllowed ?? 0,
        answer_seconds: request.answerSeconds ?? DEFAULT_ANSWER_SECONDS,
        reinstall: request.reinstall === true ? 1 : 0,
        cancelled: 0,
      })
      .execute();
    const waves = waveSizes(rows.length, request).flatMap((size, i) => Array.from({ length: size }, () => i + 1));
    const now = context.clock.unixMs();
    for (const [i, site] of rows.entries()) {
      await db
        .insertInto('upgrade_boxes')
        .values({ task_id: taskId, site_id: site.site_id, site: site.name, wave: waves[i]!, state: 'pending', percentage: 0, cause: '', next_step: '', started_unix_ms: null, updated_unix_ms: now })
        .execute();
    }
    await audit(context, db, actor, 'order-upgrade', version, `task ${taskId}: ${sites.join(' ')}`.slice(0, LONGEST_DETAIL));
    context.log.info('Upgrade ordered', { task: taskId, version, sites: sites.length, waves: waves.at(-1) });
    await goOn(context, db, taskId);
    return taskId;
  });
}

/** Calls back every box that has not begun to install; the others finish. Throws OperationalError when the upgrade is over. */
export async function cancelUpgrade(context: DirectorContext, actor: string, taskId: number): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const { status } = await upgradeById(db, taskId);
    if (status !== 'PENDING') throw refusal('conflict', `upgrade ${taskId} is over: ${status}`, 'nothing: it does not need to be cancelled');
    await db.updateTable('upgrades').set({ cancelled: 1 }).where('task_id', '=', taskId).execute();
    for (const box of await boxesOf(db, taskId)) if (isRecallable(box.state)) await setBox(context, db, box, { state: 'cancelled', cause: 'the upgrade was cancelled', nextStep: '' });
    await addMessage(context, db, taskId, 'progress', 'The upgrade is cancelled; boxes that have begun to install finish');
    await audit(context, db, actor, 'cancel-upgrade', `task ${taskId}`);
    await goOn(context, db, taskId);
  });
}

async function upgradeById(db: Db, taskId: number): Promise<UpgradeTable & { readonly status: string }> {
  const row = await db.selectFrom('upgrades').innerJoin('tasks', 'tasks.id', 'upgrades.task_id').selectAll('upgrades').select('status').where('task_id', '=', taskId).executeTakeFirst();
  if (!row) throw refusal('not-found', `there is no upgrade ${taskId}`, 'list the tasks');
  return row;
}

interface BoxChange {
  readonly state: UpgradeState;
  readonly percentage?: number | undefined;
  readonly cause: string;
  readonly nextStep: string;
}

/** Changes a row; the Task and the log hear of another state, not of every percent. */
async function setBox(context: DirectorContext, db: Db, box: Box, change: BoxChange): Promise<void> {
  const { state, cause, nextStep: next_step, percentage = box.percentage } = change;
  await db.updateTable('upgrade_boxes').set({ state, percentage, cause, next_step, updated_unix_ms: context.clock.unixMs() }).where('id', '=', box.id).execute();
  if (state === box.state) return;
  context.log.event({ level: isFailure(state) ? 'warning' : 'info', sentence: 'Upgrade report', fields: { task: box.task_id, site: box.site, state, cause: cause === '' ? undefined : cause } });
  if (isFailure(state)) await addMessage(context, db, box.task_id, 'error', `${box.site} ${state}: ${cause}`, next_step);
  else if (isOver(state)) await addMessage(context, db, box.task_id, 'progress', `${box.site} ${state}`);
}

/** Begins waves, stops, and ends the Task, as its rows say. Call after every change of a row, in the same transaction. */
async function goOn(context: DirectorContext, db: Db, taskId: number): Promise<void> {
  const upgrade = await upgradeById(db, taskId);
  if (upgrade.status !== 'PENDING') return;
  for (;;) {
    const boxes = await boxesOf(db, taskId);
    const step = nextStep(boxes.map((box) => ({ ...box, startedUnixMs: box.started_unix_ms ?? undefined })), upgrade.failures_allowed, upgrade.cancelled === 1);
    switch (step.kind) {
      case 'begin': {
        const now = context.clock.unixMs();
        const names = boxes.filter(({ wave }) => wave === step.wave).map(({ site }) => site);
        await db.updateTable('upgrade_boxes').set({ started_unix_ms: now, updated_unix_ms: now }).where('task_id', '=', taskId).where('wave', '=', step.wave).execute();
        await addMessage(context, db, taskId, 'progress', `Wave ${step.wave} begins: ${names.length} of ${boxes.length} boxes`);
        context.log.info('Upgrade wave begins', { task: taskId, wave: step.wave, sites: names.length });
        continue;
      }
      case 'stop': {
        const cause = upgrade.cancelled === 1 ? 'the upgrade was cancelled' : 'boxes before it failed';
        for (const box of boxes) if (box.state === 'pending' && box.started_unix_ms === null) await setBox(context, db, box, { state: 'cancelled', cause, nextStep: 'look at the boxes that failed, then order the upgrade anew' });
        continue;
      }
      case 'over':
        await setTaskStatus(context, db, taskId, step.status);
        context.log.info('Upgrade is over', { task: taskId, status: step.status });
        return;
      case 'wait':
        await setTaskStatus(context, db, taskId, 'PENDING');
        return;
    }
  }
}

/** Who was silent for too long has failed. To be called from time to time. */
export async function sweepUpgrades(context: DirectorContext): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const open = await db.selectFrom('upgrades').innerJoin('tasks', 'tasks.id', 'upgrades.task_id').selectAll('upgrades').where('status', '=', 'PENDING').execute();
    for (const { task_id, answer_seconds } of open) {
      const before = await boxesOf(db, task_id);
      const late = before.filter((box) => !isOver(box.state) && box.started_unix_ms !== null && (box.site_id === null || context.clock.unixMs() - box.updated_unix_ms > silenceSeconds(box.state, answer_seconds) * 1000));
      for (const box of late) {
        const cause = box.site_id === null ? 'its site was deleted' : `it has not answered for ${silenceSeconds(box.state, answer_seconds)} s in state ${box.state}`;
        await setBox(context, db, box, { state: 'failed', cause, nextStep: 'look whether the box has power and reaches its Controllers, then order the upgrade anew' });
      }
      if (late.length > 0) await goOn(context, db, task_id);
    }
  });
}

/** The order that a box has to carry out now, if any. What can be decided without the box is decided here. */
export async function orderFor(context: DirectorContext, db: Db, site: SiteTable, running: string | undefined): Promise<SoftwareOrder | undefined> {
  const box = await activeBoxOf(db, site.site_id);
  if (!box || box.started_unix_ms === null) return undefined;
  const { version, bytes_per_second, reinstall } = await upgradeById(db, box.task_id);
  const end = async (change: BoxChange): Promise<undefined> => {
    await setBox(context, db, box, change);
    await goOn(context, db, box.task_id);
    return undefined;
  };
  if (box.state === 'pending' && running === version && reinstall === 0) return end({ state: 'good', cause: 'it runs this version already', nextStep: '' });
  const found = site.compatible === null ? undefined : await packageFor(db, site.compatible, version);
  if (found === undefined && isRecallable(box.state)) {
    const cause = site.compatible === null ? 'the box has no system slots' : `there is no software package of ${version} for ${site.compatible}`;
    return end({ state: 'refused', cause, nextStep: site.compatible === null ? 'upgrade its Debian package instead' : 'upload the bundle of that architecture, then order the upgrade anew' });
  }
  if (found === undefined) return undefined;
  const { createdUnixMs: _, ...wanted } = found;
  return { id: box.task_id, package: wanted, bytesPerSecond: bytes_per_second };
}

/**
 * A box tells how its order goes. A box that was given up as silent may still tell how it ended.
 * Throws OperationalError `conflict` when the order is over: the box stops.
 */
export async function upgradeReported(context: DirectorContext, site: SiteTable, report: OrderReport): Promise<void> {
  await context.db.transaction().execute(async (db) => {
    const box = await db.selectFrom('upgrade_boxes').selectAll().where('task_id', '=', report.order).where('site_id', '=', site.site_id).executeTakeFirst();
    const isLateEnd = box?.state === 'failed' && (report.state === 'good' || report.state === 'returned');
    if (!box || (isOver(box.state) && box.state !== report.state && !isLateEnd)) {
      throw refusal('conflict', `order ${report.order} is over: ${box?.state ?? 'there is none for this site'}`, 'nothing: the box stops by itself');
    }
    if (isOver(box.state) && !isLateEnd) return;
    await setBox(context, db, box, { state: report.state, percentage: report.percentage, cause: report.cause ?? '', nextStep: report.nextStep ?? '' });
    if (report.state === 'good') {
      // Onboarded anew, the box comes to the same version.
      const { version } = await upgradeById(db, box.task_id);
      await db.updateTable('sites').set({ software_version: version, running_version: version }).where('site_id', '=', site.site_id).execute();
    }
    if (report.state !== box.state) await goOn(context, db, box.task_id);
  });
}
