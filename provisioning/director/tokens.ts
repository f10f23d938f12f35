// Bearer tokens: the operator's, and one-use enrolment tokens. Only their digests are stored.
import { toHex, utf8 } from '../../platform/bytes.ts';
import type { SiteId } from '../../firmware/model.ts';
import type { DirectorContext } from './context.ts';
import { refusal } from './refusal.ts';
import type { Db } from './store/tables.ts';

const TOKEN_BYTES = 32;

function digest(context: DirectorContext, token: string): string {
  return toHex(context.suite.hash('sha256', utf8(token)));
}

/** Stores a fresh token's digest and returns the token, which exists nowhere else. */
export async function issueToken(context: DirectorContext, db: Db, kind: 'operator' | 'enrolment', siteId: SiteId | null, expiresUnixMs: number | null): Promise<string> {
  const token = Buffer.from(context.random.bytes(TOKEN_BYTES)).toString('base64url');
  await db.deleteFrom('tokens').where('expires_unix_ms', '<', context.clock.unixMs()).execute();
  await db.insertInto('tokens').values({ sha256: digest(context, token), kind, site_id: siteId, expires_unix_ms: expiresUnixMs, used_unix_ms: null }).execute();
  return token;
}

export async function isOperatorToken(context: DirectorContext, token: string): Promise<boolean> {
  const row = await context.db.selectFrom('tokens').select('sha256').where('sha256', '=', digest(context, token)).where('kind', '=', 'operator').executeTakeFirst();
  return row !== undefined;
}

/**
 * Spends an enrolment token. Call inside the transaction that enrols.
 * @throws OperationalError `unauthorized`
 */
export async function spendEnrolmentToken(context: DirectorContext, db: Db, token: string): Promise<SiteId> {
  const now = context.clock.unixMs();
  const row = await db.selectFrom('tokens').selectAll().where('sha256', '=', digest(context, token)).where('kind', '=', 'enrolment').executeTakeFirst();
  const next = 'order a new enrolment for the Controller';
  if (!row || row.site_id === null) throw refusal('unauthorized', 'the enrolment token is not known', next);
  if (row.used_unix_ms !== null) throw refusal('unauthorized', 'the enrolment token was used before', next);
  if (row.expires_unix_ms !== null && row.expires_unix_ms <= now) throw refusal('unauthorized', 'the enrolment token has expired', next);
  await db.updateTable('tokens').set({ used_unix_ms: now }).where('sha256', '=', row.sha256).execute();
  return row.site_id;
}
