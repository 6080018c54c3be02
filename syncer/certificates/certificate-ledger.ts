import { eq, ne, type SQL, sql } from 'drizzle-orm';
import { certificates, pointers } from '../../snapshot/tables.ts';
import type { D1Database } from '../cloudflare/d1-database.ts';

type Stored = typeof certificates.$inferSelect;

/** One row of the table: see there. */
export interface CertificateRow
  extends Omit<Stored, 'cluster' | 'names' | 'idsBefore' | 'keyType'> {
  readonly keyType: 'rsa' | 'ecdsa' | '';
  readonly names: readonly string[];
  readonly idsBefore: readonly string[];
}

/** What is known of a row of another cluster. */
export type OtherRow = Pick<CertificateRow, 'zone' | 'remoteId' | 'names' | 'state' | 'begunAtMs'>;

/** Somebody newer leads this cluster: what was to be written was not. */
export class FencedOff extends Error {
  override readonly name = 'FencedOff';
}

/** So many writes in one call. */
const BATCH_MAX = 50;

/**
 * The certificates of one cluster in D1. Every write does nothing when the pointer has a higher
 * fencing token than ours, and is safe when only its first statements ran and when it runs twice
 * (see {@link D1Database}).
 *
 * Rows are read once: nobody but the leader writes them.
 */
export class CertificateLedger {
  readonly #d1: D1Database;
  readonly #cluster: string;
  readonly #fencingToken: number;
  #rows: Map<string, CertificateRow> | null = null;

  constructor(d1: D1Database, cluster: string, fencingToken: number) {
    this.#d1 = d1;
    this.#cluster = cluster;
    this.#fencingToken = fencingToken;
  }

  get cluster(): string {
    return this.#cluster;
  }

  /** @throws CloudflareError */
  async rows(): Promise<readonly CertificateRow[]> {
    this.#rows ??= await this.#read();
    return [...this.#rows.values()];
  }

  /**
   * What other clusters have, as far as this database knows, read anew each time.
   *
   * @throws CloudflareError
   */
  async others(): Promise<readonly OtherRow[]> {
    const { zone, remoteId, names, state, begunAtMs } = certificates;
    const { orm } = this.#d1;
    const isOther = ne(certificates.cluster, this.#cluster);
    const select = { zone, remoteId, names, state, begunAtMs };
    // As a batch: alone, drizzle wraps what is thrown in an error of its own.
    const [rows] = await orm.batch([orm.select(select).from(certificates).where(isOther)]);
    return rows.map((row) => ({ ...row, names: JSON.parse(row.names) as string[] }));
  }

  /**
   * Makes these rows what they are.
   *
   * @throws CloudflareError, and nobody knows what was written
   * @throws FencedOff
   */
  async write(rows: readonly CertificateRow[]): Promise<void> {
    const known = new Map((await this.rows()).map((row) => [row.id, row]));
    await this.#run(rows.map((row) => this.#insert(row)));
    for (const row of rows) known.set(row.id, row);
    this.#rows = known;
  }

  /** As {@link write}. */
  async remove(rows: readonly CertificateRow[]): Promise<void> {
    const known = new Map((await this.rows()).map((row) => [row.id, row]));
    await this.#run(
      rows.map(
        ({ id }) => sql`delete from ${certificates}
          where id = ${id} and cluster = ${this.#cluster} and ${this.#fence()}`,
      ),
    );
    for (const { id } of rows) known.delete(id);
    this.#rows = known;
  }

  async #run(statements: readonly SQL[]): Promise<void> {
    const { orm } = this.#d1;
    // After a failure nothing is known about D1 any more.
    this.#rows = null;
    for (let start = 0; start < statements.length; start += BATCH_MAX) {
      const [first, ...rest] = statements.slice(start, start + BATCH_MAX).map((it) => orm.run(it));
      if (!first) return;
      // Read after the writes: who may write then could write before, for tokens only grow.
      const fence = orm
        .select({ token: pointers.fencingToken })
        .from(pointers)
        .where(eq(pointers.cluster, this.#cluster));
      const results: unknown[] = await orm.batch([first, ...rest, fence]);
      const [row] = results.at(-1) as { readonly token: number }[];
      if (row && row.token <= this.#fencingToken) continue;
      const found = row ? `has ${row.token}` : 'is gone';
      throw new FencedOff(`the pointer ${found}, and our fencing token is ${this.#fencingToken}`);
    }
  }

  async #read(): Promise<Map<string, CertificateRow>> {
    const { orm } = this.#d1;
    const isOwn = eq(certificates.cluster, this.#cluster);
    const [own] = await orm.batch([orm.select().from(certificates).where(isOwn)]);
    return new Map(own.map((stored) => [stored.id, toRow(stored)]));
  }

  #insert(row: CertificateRow): SQL {
    const values = [
      row.id,
      this.#cluster,
      row.kind,
      row.zone,
      row.secretNamespace,
      row.secretName,
      row.keyType,
      row.remoteId,
      row.fingerprint,
      JSON.stringify(row.names),
      row.notAfterMs,
      row.state,
      JSON.stringify(row.idsBefore),
      row.begunAtMs,
      row.uploadedAtMs,
      row.unusedSinceMs,
    ];
    const columns = sql.raw(COLUMNS.join(', '));
    const excluded = sql.raw(COLUMNS.map((name) => `excluded.${name}`).join(', '));
    return sql`insert into ${certificates} (${columns})
      select ${sql.join(
        values.map((value) => sql`${value}`),
        sql`, `,
      )} where ${this.#fence()}
      on conflict (id) do update set (${columns}) = (${excluded})
      where certificates.cluster = excluded.cluster`;
  }

  /** True in SQL unless somebody holds a higher token. */
  #fence(): SQL {
    return sql`exists (select 1 from ${pointers} where cluster = ${this.#cluster}
      and fencing_token <= ${this.#fencingToken})`;
  }
}

/** In the order of the values of an insert. */
const COLUMNS = [
  'id',
  'cluster',
  'kind',
  'zone',
  'secret_namespace',
  'secret_name',
  'key_type',
  'remote_id',
  'fingerprint',
  'names',
  'not_after_ms',
  'state',
  'ids_before',
  'begun_at_ms',
  'uploaded_at_ms',
  'unused_since_ms',
] as const;

function toRow({ cluster: _, keyType, names, idsBefore, ...stored }: Stored): CertificateRow {
  return {
    ...stored,
    keyType: keyType === 'rsa' || keyType === 'ecdsa' ? keyType : '',
    names: JSON.parse(names) as string[],
    idsBefore: JSON.parse(idsBefore) as string[],
  };
}
