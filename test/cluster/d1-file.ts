import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * All rows of a table in the D1 that a gateway keeps in its state folder, as JSON: what there is,
 * not what some answer shows of it. Read only, while the gateway runs.
 */
export function rowsInD1(persist: string, table: string): string[] {
  const files = readdirSync(join(persist, 'd1'), { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.sqlite') && !file.endsWith('metadata.sqlite'))
    .flatMap((file) => {
      using database = new DatabaseSync(join(persist, 'd1', file), { readOnly: true });
      return database
        .prepare(`SELECT * FROM ${table}`)
        .all()
        .map((row) => JSON.stringify(row));
    });
}
