// Alarms of all boxes, as each box last told them. A box tells its whole list whenever it has changed.
import type { Alarm } from '../../platform/alarms.ts';
import { rfc3339 } from '../../platform/time.ts';
import type { DirectorContext } from './context.ts';
import type { SiteTable } from './store/tables.ts';

export interface AlarmView extends Omit<Alarm, 'sinceUnixMs'> {
  readonly site: string;
  readonly since: string;
}

/** Replaces what is known of a box; times are the box's own. */
export async function tellAlarms(context: DirectorContext, site: SiteTable, alarms: readonly Alarm[]): Promise<void> {
  const row = { site_id: site.site_id, alarms_json: JSON.stringify(alarms), unix_ms: context.clock.unixMs() };
  await context.db
    .insertInto('site_alarms')
    .values(row)
    .onConflict((conflict) => conflict.column('site_id').doUpdateSet(row))
    .execute();
}

/** Oldest first. */
export async function listAlarms(context: DirectorContext): Promise<AlarmView[]> {
  const rows = await context.db.selectFrom('site_alarms').innerJoin('sites', 'sites.site_id', 'site_alarms.site_id').select(['sites.name as site', 'alarms_json']).execute();
  return rows
    .flatMap(({ site, alarms_json }) => (JSON.parse(alarms_json) as Alarm[]).map((alarm) => ({ site, alarm })))
    .toSorted((a, b) => a.alarm.sinceUnixMs - b.alarm.sinceUnixMs)
    .map(({ site, alarm: { sinceUnixMs, ...rest } }) => ({ site, ...rest, since: rfc3339(sinceUnixMs) }));
}
