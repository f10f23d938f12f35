// What every part of Director works with, and the audit trail that every change leaves.
import type { Logger } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Clock } from '../../platform/time.ts';
import type { Suite } from '../../platform/crypto.ts';
import type { Authority } from '../authority.ts';
import type { ChangeSignal } from './changes.ts';
import type { PackageStore } from './packages.ts';
import type { Db } from './store/tables.ts';

export interface DirectorSettings {
  /** Name of the provider's organisation; part of every identity and certificate. */
  readonly provider: string;
  /** Where devices reach this Director through the provider's control VR. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** Version that devices should run unless a site says otherwise. */
  readonly softwareVersion: string;
  readonly asNumber: number;
  /** Overlay pool of an organisation that names none. */
  readonly overlayPool: string;
  /** Staging pools of Controllers that name none are cut from this prefix. */
  readonly stagingPools: string;
}

export interface DirectorContext {
  readonly db: Db;
  readonly settings: DirectorSettings;
  readonly authority: Authority;
  readonly suite: Suite;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly changes: ChangeSignal;
  readonly packages: PackageStore;
}

/** Entries kept; the oldest go first. */
const AUDIT_LIMIT = 100_000;

/** Who acts: `operator`, a device name, or an address for callers that did not prove anything. */
export async function audit(context: DirectorContext, db: Db, actor: string, action: string, subject: string, detail = ''): Promise<void> {
  const row = await db
    .insertInto('audit')
    .values({ unix_ms: context.clock.unixMs(), actor, action, subject, detail })
    .returning('id')
    .executeTakeFirstOrThrow();
  if (row.id % 1000 === 0) await db.deleteFrom('audit').where('id', '<=', row.id - AUDIT_LIMIT).execute();
}
