// Tasks, as the operator sees them: onboardings, and upgrades (upgrades.ts), whose rows are boxes instead of steps.
//
// Onboarding: A Task is opened by the first report about a box, never by an order: a
// box without a Task has not got through IKE. States come from reports only (Controller: ike and branch-connect; the
// box: the rest), never from a timer.
//
// Retry: until a Task is COMPLETED it stays the box's one Task. A report after a failure puts it back to PENDING with a
// progress message and keeps the old errors; after COMPLETED the next staging opens a new Task.
import type { SiteId } from '../../firmware/model.ts';
import type { DirectorContext } from './context.ts';
import { refusal } from './refusal.ts';
import type { Db, SiteTable, TaskTable } from './store/tables.ts';
import { shareOf } from './upgrade-waves.ts';
import type { UpgradeState } from './upgrade-waves.ts';
import type { Selectable } from 'kysely';

export const TASK_STEPS = ['ike', 'branch-connect', 'config', 'software', 'post-staging'] as const;
export type TaskStepName = (typeof TASK_STEPS)[number];
export type TaskStatus = 'PENDING' | 'COMPLETED' | 'FAILED' | 'CANCELLED';
export type StepState = 'PENDING' | 'RUNNING' | 'COMPLETED' | 'FAILED';

export interface TaskStep {
  readonly name: TaskStepName;
  readonly state: StepState;
  readonly startedUnixMs: number | undefined;
  readonly endedUnixMs: number | undefined;
  /** 0-100 of a step that takes its time: the download of software. */
  readonly percentage?: number;
}

/** How one box of an upgrade is. */
export interface TaskBox {
  readonly site: string;
  readonly wave: number;
  readonly state: UpgradeState;
  /** 0-100 of the box's whole way. */
  readonly percentage: number;
  /** 0-100 of the download. */
  readonly downloaded: number;
  readonly cause: string;
  readonly nextStep: string;
  /** Undefined until its wave begins. */
  readonly startedUnixMs: number | undefined;
  readonly updatedUnixMs: number;
}

export interface TaskMessage {
  readonly message: string;
  readonly unixMs: number;
  /** How often it came in a row. */
  readonly count: number;
}

export interface TaskError extends TaskMessage {
  readonly nextStep: string;
}

export interface TaskView {
  readonly id: number;
  readonly kind: 'onboarding' | 'upgrade';
  readonly status: TaskStatus;
  /** 0-100: the share of steps that are COMPLETED, or the mean over the boxes. */
  readonly percentage: number;
  readonly description: string;
  readonly siteId: SiteId | undefined;
  readonly serial: string;
  /** Empty for upgrades. */
  readonly steps: readonly TaskStep[];
  /** Empty for onboardings. */
  readonly boxes: readonly TaskBox[];
  readonly progressMessages: readonly TaskMessage[];
  readonly errorMessages: readonly TaskError[];
  readonly createdUnixMs: number;
  readonly updatedUnixMs: number;
}

/** What a report says about one box. */
export interface TaskReport {
  readonly step: TaskStepName;
  readonly state: 'started' | 'completed' | 'failed';
  readonly message: string;
  /** For failures: what the operator should do. */
  readonly nextStep?: string;
  /** 0-100 of a step that takes its time. */
  readonly percentage?: number;
}

const MESSAGES_PER_TASK_LIMIT = 200;
const TASK_LIMIT = 10_000;
const REPORT_LIMIT = 10_000;

type TaskRow = Selectable<TaskTable>;

function freshSteps(): TaskStep[] {
  return TASK_STEPS.map((name) => ({ name, state: 'PENDING', startedUnixMs: undefined, endedUnixMs: undefined }));
}

function stepsOf(row: TaskRow): TaskStep[] {
  return JSON.parse(row.steps_json) as TaskStep[];
}

async function newestTask(db: Db, serial: string): Promise<TaskRow | undefined> {
  return db.selectFrom('tasks').selectAll().where('serial', '=', serial).orderBy('id', 'desc').limit(1).executeTakeFirst();
}

async function openTask(context: DirectorContext, db: Db, serial: string, site: SiteTable | undefined): Promise<TaskRow> {
  const now = context.clock.unixMs();
  const row = await db
    .insertInto('tasks')
    .values({
      site_id: site?.site_id ?? null,
      serial,
      description: site ? `Onboard Appliance: ${site.name}` : `Onboard Appliance: unknown serial ${serial}`,
      status: 'PENDING',
      steps_json: JSON.stringify(freshSteps()),
      created_unix_ms: now,
      updated_unix_ms: now,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await db.deleteFrom('tasks').where('id', '<=', row.id - TASK_LIMIT).execute();
  return row;
}

export async function addMessage(context: DirectorContext, db: Db, taskId: number, kind: 'progress' | 'error', message: string, nextStep = ''): Promise<void> {
  const unixMs = context.clock.unixMs();
  const last = await db.selectFrom('task_messages').selectAll().where('task_id', '=', taskId).where('kind', '=', kind).orderBy('id', 'desc').limit(1).executeTakeFirst();
  if (last?.message === message && last.next_step === nextStep) {
    await db.updateTable('task_messages').set({ count: last.count + 1, unix_ms: unixMs }).where('id', '=', last.id).execute();
    return;
  }
  await db.insertInto('task_messages').values({ task_id: taskId, kind, message, next_step: nextStep, count: 1, unix_ms: unixMs }).execute();
  const oldest = await db.selectFrom('task_messages').select('id').where('task_id', '=', taskId).orderBy('id', 'desc').offset(MESSAGES_PER_TASK_LIMIT).limit(1).executeTakeFirst();
  if (oldest) await db.deleteFrom('task_messages').where('task_id', '=', taskId).where('id', '<=', oldest.id).execute();
}

/** Mentions a refusal in the box's open Task, whose state stays. The same one again is counted in place. */
export async function noteRefusal(context: DirectorContext, db: Db, serial: string, message: string, nextStep: string): Promise<void> {
  const task = await newestTask(db, serial);
  if (task === undefined || task.status === 'COMPLETED') return;
  const known = await db.selectFrom('task_messages').selectAll().where('task_id', '=', task.id).where('kind', '=', 'error').where('message', '=', message).executeTakeFirst();
  if (known === undefined) await addMessage(context, db, task.id, 'error', message, nextStep);
  else await db.updateTable('task_messages').set({ count: known.count + 1, unix_ms: context.clock.unixMs() }).where('id', '=', known.id).execute();
}

const STATE_OF_REPORT = { started: 'RUNNING', completed: 'COMPLETED', failed: 'FAILED' } as const;

function advance(step: TaskStep, report: TaskReport, unixMs: number): TaskStep {
  const { percentage: _, ...rest } = step;
  if (report.state !== 'started') return { ...rest, state: STATE_OF_REPORT[report.state], startedUnixMs: step.startedUnixMs ?? unixMs, endedUnixMs: unixMs };
  if (step.state === 'COMPLETED') return step;
  const startedUnixMs = step.state === 'RUNNING' ? step.startedUnixMs : unixMs;
  return { ...rest, state: 'RUNNING', startedUnixMs, endedUnixMs: undefined, ...(report.percentage === undefined ? {} : { percentage: report.percentage }) };
}

/**
 * Applies one report. Call inside a transaction.
 * @param isStaging whether the box is in staging right now, so that the report opens a new Task after a completed one
 * @returns the Task's id, or undefined when the report concerns an onboarding that is over
 */
export async function applyReport(context: DirectorContext, db: Db, serial: string, site: SiteTable | undefined, report: TaskReport, isStaging: boolean): Promise<number | undefined> {
  const newest = await newestTask(db, serial);
  const isOver = newest?.status === 'COMPLETED';
  if (!isStaging && site?.onboarded === 1 && (isOver || newest === undefined)) return undefined;
  const row = newest === undefined || isOver ? await openTask(context, db, serial, site) : newest;
  const now = context.clock.unixMs();
  const isRetry = row.status === 'FAILED' && report.state !== 'failed';
  const steps = stepsOf(row).map((step): TaskStep => {
    if (step.name === report.step) return advance(step, report, now);
    return isRetry && step.state === 'FAILED' ? { ...step, state: 'PENDING', startedUnixMs: undefined, endedUnixMs: undefined } : step;
  });
  const status: TaskStatus = report.state === 'failed' ? 'FAILED' : steps.every((step) => step.state === 'COMPLETED') ? 'COMPLETED' : 'PENDING';
  if (isRetry) await addMessage(context, db, row.id, 'progress', 'The appliance tries again after a failure');
  if (report.state === 'failed') await addMessage(context, db, row.id, 'error', report.message, report.nextStep ?? '');
  else await addMessage(context, db, row.id, 'progress', report.message);
  const named = site ? { site_id: site.site_id, description: `Onboard Appliance: ${site.name}` } : {};
  await db.updateTable('tasks').set({ ...named, status, steps_json: JSON.stringify(steps), updated_unix_ms: now }).where('id', '=', row.id).execute();
  if (status === 'COMPLETED' && site) {
    // The staging key has done its work; nobody needs to know it any longer.
    await db.updateTable('sites').set({ onboarded: 1, staging_psk: null }).where('site_id', '=', site.site_id).execute();
  }
  context.log.event({
    level: report.state === 'failed' ? 'warning' : 'info',
    sentence: 'Onboarding report',
    fields: { task: row.id, serial, site: site?.name, step: report.step, state: report.state, status, message: report.message },
  });
  return row.id;
}

/** Opens the Task of an upgrade; call inside the transaction that orders it. */
export async function openUpgradeTask(context: DirectorContext, db: Db, description: string): Promise<number> {
  const now = context.clock.unixMs();
  const row = await db
    .insertInto('tasks')
    .values({ kind: 'upgrade', site_id: null, serial: '', description, status: 'PENDING', steps_json: '[]', created_unix_ms: now, updated_unix_ms: now })
    .returning('id')
    .executeTakeFirstOrThrow();
  await db.deleteFrom('tasks').where('id', '<=', row.id - TASK_LIMIT).execute();
  return row.id;
}

export async function setTaskStatus(context: DirectorContext, db: Db, id: number, status: TaskStatus): Promise<void> {
  await db.updateTable('tasks').set({ status, updated_unix_ms: context.clock.unixMs() }).where('id', '=', id).execute();
}

/** The Task that a report id was already applied to. Call inside the transaction that applies it. */
export async function reportSeen(db: Db, id: string): Promise<number | undefined> {
  return (await db.selectFrom('reports').select('task_id').where('id', '=', id).executeTakeFirst())?.task_id;
}

export async function rememberReport(context: DirectorContext, db: Db, id: string, taskId: number): Promise<void> {
  await db.insertInto('reports').values({ id, task_id: taskId, unix_ms: context.clock.unixMs() }).execute();
  const oldest = await db.selectFrom('reports').select('unix_ms').orderBy('unix_ms', 'desc').offset(REPORT_LIMIT).limit(1).executeTakeFirst();
  if (oldest) await db.deleteFrom('reports').where('unix_ms', '<=', oldest.unix_ms).execute();
}

async function boxesOfTask(db: Db, id: number): Promise<TaskBox[]> {
  const rows = await db.selectFrom('upgrade_boxes').selectAll().where('task_id', '=', id).orderBy('id').execute();
  return rows.map(({ site, wave, state, percentage, cause, next_step, started_unix_ms, updated_unix_ms }) => ({
    site,
    wave,
    state,
    percentage: shareOf(state, percentage),
    downloaded: percentage,
    cause,
    nextStep: next_step,
    startedUnixMs: started_unix_ms ?? undefined,
    updatedUnixMs: updated_unix_ms,
  }));
}

function percentageOf(steps: readonly TaskStep[], boxes: readonly TaskBox[]): number {
  const shares = [...steps.map(({ state }) => (state === 'COMPLETED' ? 100 : 0)), ...boxes.map(({ percentage }) => percentage)];
  return Math.round(shares.reduce((sum, share) => sum + share, 0) / shares.length);
}

async function taskView(db: Db, row: TaskRow): Promise<TaskView> {
  const messages = await db.selectFrom('task_messages').selectAll().where('task_id', '=', row.id).orderBy('id').execute();
  const steps = stepsOf(row);
  const boxes = row.kind === 'upgrade' ? await boxesOfTask(db, row.id) : [];
  const view = (message: (typeof messages)[number]): TaskMessage => ({ message: message.message, unixMs: message.unix_ms, count: message.count });
  return {
    id: row.id,
    kind: row.kind,
    status: row.status,
    percentage: percentageOf(steps, boxes),
    description: row.description,
    siteId: row.site_id ?? undefined,
    serial: row.serial,
    steps,
    boxes,
    progressMessages: messages.filter((message) => message.kind === 'progress').map(view),
    errorMessages: messages.filter((message) => message.kind === 'error').map((message) => ({ ...view(message), nextStep: message.next_step })),
    createdUnixMs: row.created_unix_ms,
    updatedUnixMs: row.updated_unix_ms,
  };
}

/** Newest first. */
export async function listTasks(db: Db, limit: number): Promise<readonly TaskView[]> {
  const rows = await db.selectFrom('tasks').selectAll().orderBy('id', 'desc').limit(limit).execute();
  const views: TaskView[] = [];
  for (const row of rows) views.push(await taskView(db, row));
  return views;
}

/** @throws OperationalError `not-found` */
export async function taskById(db: Db, id: number): Promise<TaskView> {
  const row = await db.selectFrom('tasks').selectAll().where('id', '=', id).executeTakeFirst();
  if (!row) throw refusal('not-found', `there is no task ${id}`, 'list the tasks; one appears when a Controller reports the box');
  return taskView(db, row);
}

/** The shape that VOS scripts poll. */
export function vosTask(task: TaskView): unknown {
  return {
    'versa-tasks.task': {
      id: task.id,
      'task-status': task.status,
      'percentage-completion': task.percentage,
      'task-description': task.description,
      progressmessages: { progressmessage: task.progressMessages.map((entry) => ({ 'progress-message': entry.message, 'time-unix-ms': entry.unixMs })) },
      errormessages: { errormessage: task.errorMessages.map((entry) => ({ 'error-message': entry.nextStep ? `${entry.message}. ${entry.nextStep}` : entry.message })) },
    },
  };
}
