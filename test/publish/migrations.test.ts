import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unstable_splitSqlQuery } from 'wrangler';
import { applyMigrations } from '../../local/migrations.ts';

let miniflare: Miniflare;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'causeway-migrations-'));
  await copyFile('migrations/0000_init.sql', join(directory, '0000_init.sql'));
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      workers: [
        {
          name: 'databases',
          modules: true,
          script: 'export default {}',
          d1Databases: { ONE: 'one', TWO: 'two' },
        },
      ],
    }),
  );
});
afterAll(async () => {
  await miniflare.dispose();
  await rm(directory, { recursive: true });
});

test('files are applied once, in order, and each whole or not at all', async () => {
  const db = await miniflare.getD1Database('ONE');
  expect(await applyMigrations(db, directory)).toEqual(['0000_init.sql']);
  expect(await applyMigrations(db, directory)).toEqual([]);
  const half = 'CREATE TABLE half (a);\n--> statement-breakpoint\nCREATE TABLE pointers (a);';
  await writeFile(join(directory, '0001_half.sql'), half);
  await expect(applyMigrations(db, directory)).rejects.toThrow(/pointers/);
  const named = "SELECT name FROM sqlite_schema WHERE name = 'half'";
  expect((await db.prepare(named).all()).results).toEqual([]);
  const whole = 'CREATE TABLE whole (a);\n--> statement-breakpoint\nALTER TABLE whole ADD b;\n';
  await writeFile(join(directory, '0001_half.sql'), whole);
  expect(await applyMigrations(db, directory)).toEqual(['0001_half.sql']);
});

test('the database is the one that wrangler makes', async () => {
  const [ours, theirs] = [
    await miniflare.getD1Database('ONE'),
    await miniflare.getD1Database('TWO'),
  ];
  // What `wrangler d1 migrations apply --local` runs (wrangler 4.164.0), by its own splitter.
  for (const name of ['0000_init.sql', '0001_half.sql']) {
    const text = await readFile(join(directory, name), 'utf8');
    const create = `CREATE TABLE IF NOT EXISTS "d1_migrations"(
		id         INTEGER PRIMARY KEY AUTOINCREMENT,
		name       TEXT UNIQUE,
		applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);`;
    await theirs.prepare(create).run();
    const query = `${text}\nINSERT INTO "d1_migrations" (name)\nvalues ('${name}');`;
    await theirs.batch(unstable_splitSqlQuery(query).map((part) => theirs.prepare(part)));
  }
  const schema = 'SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name';
  const applied = 'SELECT id, name FROM d1_migrations';
  for (const sql of [schema, applied]) {
    const expected = (await theirs.prepare(sql).all()).results;
    expect((await ours.prepare(sql).all()).results).toEqual(expected);
  }
  expect(await applyMigrations(theirs, directory)).toEqual([]);
});
