// Schema versions in order; `PRAGMA user_version` says how many were applied. A published version never changes.
import type { DatabaseSync } from 'node:sqlite';
import { OperationalError } from '../../../platform/errors.ts';

const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE organizations (
    tenant INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, vni INTEGER NOT NULL UNIQUE, overlay_pool TEXT NOT NULL,
    keying_json TEXT NOT NULL, rekey_epoch INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE transports (name TEXT PRIMARY KEY) STRICT;
  CREATE TABLE sites (
    site_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, serial TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
    onboarded INTEGER NOT NULL, staging_identity TEXT NOT NULL, staging_psk TEXT, circuits_json TEXT NOT NULL,
    software_version TEXT, observed_endpoint TEXT, temporary_address TEXT, last_seen_unix_ms INTEGER,
    configuration_digest TEXT NOT NULL, configuration_generation INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE controllers (
    site_id INTEGER PRIMARY KEY REFERENCES sites ON DELETE CASCADE, staging_pool TEXT NOT NULL UNIQUE, southbound_json TEXT
  ) STRICT;
  CREATE TABLE site_tenants (
    site_id INTEGER NOT NULL REFERENCES sites ON DELETE CASCADE, tenant INTEGER NOT NULL REFERENCES organizations,
    slot INTEGER NOT NULL, encrypted_address TEXT NOT NULL, clear_address TEXT NOT NULL, lan_ports_json TEXT NOT NULL,
    PRIMARY KEY (site_id, tenant), UNIQUE (tenant, slot)
  ) STRICT;
  CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, site_id INTEGER REFERENCES sites ON DELETE SET NULL, serial TEXT NOT NULL,
    description TEXT NOT NULL, status TEXT NOT NULL, steps_json TEXT NOT NULL, created_unix_ms INTEGER NOT NULL, updated_unix_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX tasks_by_serial ON tasks (serial, id);
  CREATE TABLE task_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task_id INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE, kind TEXT NOT NULL,
    message TEXT NOT NULL, next_step TEXT NOT NULL, count INTEGER NOT NULL, unix_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX task_messages_by_task ON task_messages (task_id, id);
  CREATE TABLE certificates (
    id INTEGER PRIMARY KEY AUTOINCREMENT, serial_number TEXT NOT NULL UNIQUE, site_id INTEGER NOT NULL, certificate_der BLOB NOT NULL,
    not_after_unix_ms INTEGER NOT NULL, revoked_unix_ms INTEGER
  ) STRICT;
  CREATE INDEX certificates_by_site ON certificates (site_id);
  CREATE TABLE tokens (
    sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, site_id INTEGER REFERENCES sites ON DELETE CASCADE,
    expires_unix_ms INTEGER, used_unix_ms INTEGER
  ) STRICT;
  CREATE TABLE directives (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, epoch INTEGER NOT NULL, reason INTEGER NOT NULL,
    not_before_unix_seconds INTEGER NOT NULL, spread_seconds INTEGER NOT NULL, deadline_seconds INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE reports (id TEXT PRIMARY KEY, task_id INTEGER NOT NULL, unix_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE signing_keys (name TEXT PRIMARY KEY, certificate_der BLOB NOT NULL, private_key_der BLOB NOT NULL) STRICT;
  CREATE TABLE documents (name TEXT PRIMARY KEY, digest TEXT NOT NULL, generation INTEGER NOT NULL) STRICT;
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, unix_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, detail TEXT NOT NULL
  ) STRICT;
  `,
  `
  ALTER TABLE directives ADD COLUMN revoked_site INTEGER;
  ALTER TABLE certificates ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0;
  `,
  `
  CREATE TABLE site_alarms (
    site_id INTEGER PRIMARY KEY REFERENCES sites ON DELETE CASCADE, alarms_json TEXT NOT NULL, unix_ms INTEGER NOT NULL
  ) STRICT;
  `,
  `
  ALTER TABLE sites ADD COLUMN staging_expires_unix_ms INTEGER;
  `,
  `
  ALTER TABLE sites ADD COLUMN running_version TEXT;
  ALTER TABLE sites ADD COLUMN compatible TEXT;
  ALTER TABLE tasks ADD COLUMN kind TEXT NOT NULL DEFAULT 'onboarding';
  CREATE TABLE software_packages (
    sha256 TEXT PRIMARY KEY, compatible TEXT NOT NULL, version TEXT NOT NULL, bytes INTEGER NOT NULL, created_unix_ms INTEGER NOT NULL,
    UNIQUE (compatible, version)
  ) STRICT;
  CREATE TABLE upgrades (
    task_id INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE, version TEXT NOT NULL, bytes_per_second INTEGER NOT NULL,
    failures_allowed INTEGER NOT NULL, answer_seconds INTEGER NOT NULL, reinstall INTEGER NOT NULL, cancelled INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE upgrade_boxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task_id INTEGER NOT NULL REFERENCES upgrades ON DELETE CASCADE,
    site_id INTEGER REFERENCES sites ON DELETE SET NULL, site TEXT NOT NULL, wave INTEGER NOT NULL, state TEXT NOT NULL,
    percentage INTEGER NOT NULL, cause TEXT NOT NULL, next_step TEXT NOT NULL, started_unix_ms INTEGER, updated_unix_ms INTEGER NOT NULL,
    UNIQUE (task_id, site)
  ) STRICT;
  CREATE INDEX upgrade_boxes_by_site ON upgrade_boxes (site_id);
  `,
];

/**
 * Brings the database to the newest schema; every version is one transaction.
 * @throws OperationalError when a newer Director wrote the database
 */
export function migrate(database: DatabaseSync): void {
  const applied = Number(database.prepare('PRAGMA user_version').get()!['user_version']);
  if (applied > MIGRATIONS.length) {
    throw new OperationalError(
      'database-newer',
      `the database has schema ${applied}, this Director knows ${MIGRATIONS.length}`,
      'start the newer Director version, or restore the database from before the upgrade',
    );
  }
  for (let version = applied; version < MIGRATIONS.length; version++) {
    database.exec(`BEGIN IMMEDIATE; ${MIGRATIONS[version]!} PRAGMA user_version = ${version + 1}; COMMIT;`);
  }
}
