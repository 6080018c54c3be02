import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The part of a D1 binding that migrations need (`await miniflare.getD1Database('DB')`). */
export interface MigratedDatabase {
  prepare(sql: string): MigrationStatement;
  batch(statements: MigrationStatement[]): Promise<unknown>;
}

interface MigrationStatement {
  run(): Promise<unknown>;
  all(): Promise<{ readonly results: readonly Record<string, unknown>[] }>;
}

/** As wrangler 4.164.0 creates it (`src/d1/migrations/helpers.ts`), to the letter. */
const CREATE_TABLE = `CREATE TABLE IF NOT EXISTS "d1_migrations"(
		id         INTEGER PRIMARY KEY AUTOINCREMENT,
		name       TEXT UNIQUE,
		applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);`;

const BREAKPOINT = '--> statement-breakpoint';

/**
 * Brings a local database up to date, as `wrangler d1 migrations apply` would: a database that one
 * of the two migrated is left alone by the other. Each file is one batch, together with the row
 * that says it was applied, so a file is applied whole or not at all.
 *
 * @param directory holds the `*.sql` files that drizzle-kit generated
 * @returns the names of the files that were applied now
 */
export async function applyMigrations(
  database: MigratedDatabase,
  directory: string,
): Promise<readonly string[]> {
  await database.prepare(CREATE_TABLE).run();
  const { results } = await database.prepare('SELECT name FROM "d1_migrations" ORDER BY id').all();
  const applied = new Set(results.map((row) => row.name));
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
  const missing = names.filter((name) => !applied.has(name));
  for (const name of missing) {
    const text = await readFile(join(directory, name), 'utf8');
    const done = `INSERT INTO "d1_migrations" (name) values ('${name.replaceAll("'", "''")}')`;
    const statements = [...splitStatements(text), done];
    await database.batch(statements.map((sql) => database.prepare(sql)));
  }
  return missing;
}

function splitStatements(text: string): readonly string[] {
  return text
    .split(BREAKPOINT)
    .map((part) => part.trim().replace(/;$/, ''))
    .filter((part) => part !== '');
}
