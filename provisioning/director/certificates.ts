// Which device certificates have ended, and which of those the revocation list names. A renewal has the same key and
// speaks for the same site, so the certificate before it only ends at Director's own door: to list it would cut off a
// box whose routes still carry it. Everything else that ends is listed.
import type { Selectable } from 'kysely';
import { equalBytes } from '../../platform/bytes.ts';
import type { Revocation } from '../../platform/x509.ts';
import { certificateFacts } from '../../platform/x509.ts';
import type { DirectorContext } from './context.ts';
import type { CertificateTable, Db } from './store/tables.ts';

/** Ends all certificates of a site, also those that a renewal replaced. */
export async function revokeCertificates(context: DirectorContext, db: Db, siteId: number): Promise<void> {
  const ofSite = db.updateTable('certificates').where('site_id', '=', siteId);
  await ofSite.set({ revoked_unix_ms: context.clock.unixMs() }).where('revoked_unix_ms', 'is', null).execute();
  await ofSite.set({ superseded: 0 }).where('superseded', '=', 1).execute();
}

/** A device that shows a renewed certificate has it for good: the ones before it end. */
export async function supersedeFormer(context: DirectorContext, issued: Selectable<CertificateTable>): Promise<void> {
  const { db } = context;
  const former = await db.selectFrom('certificates').selectAll().where('site_id', '=', issued.site_id).where('id', '<', issued.id).where('revoked_unix_ms', 'is', null).execute();
  const { publicKey } = certificateFacts(issued.certificate_der);
  for (const { id, certificate_der } of former) {
    const superseded = equalBytes(certificateFacts(certificate_der).publicKey, publicKey) ? 1 : 0;
    await db.updateTable('certificates').set({ revoked_unix_ms: context.clock.unixMs(), superseded }).where('id', '=', id).execute();
  }
}

/** What the revocation list names. */
export async function listedRevocations({ db }: DirectorContext): Promise<readonly Revocation[]> {
  const rows = await db.selectFrom('certificates').select(['serial_number', 'revoked_unix_ms']).where('revoked_unix_ms', 'is not', null).where('superseded', '=', 0).execute();
  return rows.map((row) => ({ serialNumber: row.serial_number, revokedUnixMs: row.revoked_unix_ms! }));
}
