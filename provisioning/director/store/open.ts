// Opens Director's database: SQLite inside Node behind Kysely. The file, its log and its index are readable by the
// owner only, because staging keys are in it.
import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { SQLInputValue } from 'node:sqlite';
import { Kysely, SqliteDialect } from 'kysely';
import type { SqliteDatabase } from 'kysely';
import { migrate } from './migrations.ts';
import type { Db, DirectorTables } from './tables.ts';

/** Kysely's SQLite dialect expects better-sqlite3's calls; this maps them to node:sqlite. */
function asKyselyDatabase(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql);
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...(parameters as SQLInputValue[])),
        run: (parameters) => statement.run(...(parameters as SQLInputValue[])),
        iterate: (parameters) => statement.iterate(...(parameters as SQLInputValue[])),
      };
    },
  };
}

/**
 * Opens (and creates or upgrades) the database.
 * @param path file name, or `:memory:`
 * @throws OperationalError when a newer Director wrote the file
 */
export function openDatabase(path: string): Db {
  if (path !== ':memory:') {
    closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
  }
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: 5000 });
  // FULL: an answered request survives a power cut, which is what a device that was told "done" relies on.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  migrate(database);
  const db = new Kysely<DirectorTables>({ dialect: new SqliteDialect({ database: asKyselyDatabase(database) }) });
  return db;
}
