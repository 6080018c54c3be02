import { and, desc, eq, lte, type SQL, sql } from 'drizzle-orm';
import { pointers, problems, publications } from '../snapshot/tables.ts';
import type { Problem, Sha256 } from '../snapshot/types.ts';
import type { D1Database } from './cloudflare/d1-database.ts';
import { KEEP_MS, KEEP_PUBLICATIONS, problemChunks } from './plan.ts';

export interface PointerRow {
  /** Empty until the first publication. */
  readonly version: Sha256 | '';
  readonly fencingToken: number;
  readonly isPinned: boolean;
}

export interface PublishedManifest {
  readonly version: Sha256;
  readonly manifest: string;
  readonly signature: string;
}

/** What D1 says about one cluster. */
export interface LedgerState {
  readonly pointer: PointerRow | null;
  /** The publication that the pointer names. */
  readonly serving: PublishedManifest | null;
  /** The last publication, which a pinned pointer does not name. */
  readonly newest: PublishedManifest | null;
}

/** A publication to be written; everything but the id that D1 gives it. */
export type NewPublication = Omit<typeof publications.$inferSelect, 'id' | 'cluster'>;

/** What may be deleted and what must not be, after old publications were deleted. */
export interface PruneResult {
  readonly pointer: PointerRow | null;
  /** Every shard that a publication of any cluster in this database names. */
  readonly named: ReadonlySet<Sha256>;
  readonly clusters: readonly string[];
}

const POINTER = {
  version: pointers.version,
  fencingToken: pointers.fencingToken,
  isPinned: pointers.pinned,
};
const MANIFEST = {
  version: publications.version,
  manifest: publications.manifest,
  signature: publications.signature,
};

/**
 * The rows of one cluster in D1: pointer, publications, problems. Every method that writes is safe
 * when only its first statements ran and when it runs twice (see {@link D1Database}), and does
 * nothing when the pointer has a higher fencing token than the caller's.
 */
export class Ledger {
  readonly #d1: D1Database;
  readonly #cluster: string;

  constructor(d1: D1Database, cluster: string) {
    this.#d1 = d1;
    this.#cluster = cluster;
  }

  /**
   * Takes a fencing token: the next one, or `token` when a lease gives it and nobody has claimed it
   * or a higher one. After a lost answer `token` counts as claimed by somebody else, since who it
   * was cannot be told.
   *
   * @returns whether it was taken, and the token that the pointer has now
   */
  async claim(
    token: number | null,
    nowMs: number,
  ): Promise<{ granted: boolean; fencingToken: number; state: LedgerState }> {
    const { orm } = this.#d1;
    const taken =
      token === null ? sql`${pointers.fencingToken} + 1` : sql`cast(${token} as integer)`;
    const isFree = token === null ? undefined : sql`${pointers.fencingToken} < ${taken}`;
    // RETURNING and not the row read after it: in between somebody else may have claimed.
    const claim = orm
      .insert(pointers)
      .values({
        cluster: this.#cluster,
        version: '',
        fencingToken: token ?? 1,
        pinned: false,
        movedAtMs: nowMs,
      })
      .onConflictDoUpdate({
        target: pointers.cluster,
        set: { fencingToken: taken },
        ...(isFree && { setWhere: isFree }),
      })
      .returning({ fencingToken: pointers.fencingToken });
    const [claimed, ...read] = await orm.batch([claim, ...this.#reads()]);
    const state = toState(read);
    const fencingToken = claimed[0]?.fencingToken ?? state.pointer?.fencingToken;
    if (fencingToken === undefined) throw new Error('D1 returned no fencing token');
    return { granted: claimed.length > 0, fencingToken, state };
  }

  async read(): Promise<LedgerState> {
    return toState(await this.#d1.orm.batch(this.#reads()));
  }

  /**
   * Writes the publication and moves the pointer to it, if the pointer is still what `expected`
   * says, not pinned and not fenced off. For a pinned pointer the publication alone is written.
   *
   * @returns the pointer as it is afterwards, which alone says what happened
   */
  async move(publication: NewPublication, expected: string): Promise<PointerRow | null> {
    const { orm } = this.#d1;
    const { version, signature, fencingToken, publishedAtMs } = publication;
    const move = orm
      .update(pointers)
      .set({ version, fencingToken, movedAtMs: publishedAtMs })
      .where(
        and(
          eq(pointers.cluster, this.#cluster),
          lte(pointers.fencingToken, fencingToken),
          eq(pointers.pinned, false),
          eq(pointers.version, expected),
          // Law 4 by the database itself, whatever became of the statement before.
          sql`exists (select 1 from ${publications} where cluster = ${this.#cluster}
            and version = ${version} and signature = ${signature})`,
        ),
      );
    const [, , rows] = await orm.batch([
      orm.run(this.#insert(publication, expected)),
      move,
      this.#readPointer(),
    ]);
    return rows[0] ?? null;
  }

  /** Makes `list` the cluster's problems. Rows that are the same are not written again. */
  async replaceProblems(list: readonly Problem[], fencingToken: number): Promise<void> {
    const { orm } = this.#d1;
    const fence = this.#fence(fencingToken);
    const columns = sql.raw('kind, namespace, name, reason, message');
    const excluded = sql.raw(
      'excluded.kind, excluded.namespace, excluded.name, excluded.reason, excluded.message',
    );
    for (const chunk of problemChunks(list)) {
      const write = sql`insert into ${problems} (cluster, position, ${columns})
        select ${this.#cluster}, json_extract(value, '$[0]'), json_extract(value, '$[1]'),
          json_extract(value, '$[2]'), json_extract(value, '$[3]'), json_extract(value, '$[4]'),
          json_extract(value, '$[5]') from json_each(${chunk}) where ${fence}
        on conflict (cluster, position) do update set (${columns}) = (${excluded})
        where (problems.kind, problems.namespace, problems.name, problems.reason, problems.message)
          is not (${excluded})`;
      const trim = sql`delete from ${problems} where cluster = ${this.#cluster}
        and position >= ${list.length} and ${fence}`;
      await orm.batch([orm.run(write), orm.run(trim)]);
    }
  }

  /**
   * Deletes publications that nobody can need: not among the last {@link KEEP_PUBLICATIONS}, not
   * the pointer's, and not current at any time in the last {@link KEEP_MS} (which the newest one
   * from before that time was).
   */
  async prune(fencingToken: number, nowMs: number): Promise<PruneResult> {
    const { orm } = this.#d1;
    const cluster = this.#cluster;
    const cutoff = nowMs - KEEP_MS;
    const remove = sql`delete from ${publications} where cluster = ${cluster}
      and id < (select max(id) from ${publications}
        where cluster = ${cluster} and published_at_ms < ${cutoff})
      and id not in (select id from ${publications} where cluster = ${cluster}
        order by id desc limit ${sql.raw(String(KEEP_PUBLICATIONS))})
      and version not in (select version from ${pointers} where cluster = ${cluster})
      and ${this.#fence(fencingToken)}`;
    // Of all clusters: they may share a namespace, and shards that are equal.
    const named = sql`select shard.value as hash from ${publications},
        json_each(publications.manifest, '$.shards') as shard
      union select json_extract(manifest, '$.catchAllShard') as hash from ${publications}`;
    const [, rows, hashes, clusters] = await orm.batch([
      orm.run(remove),
      this.#readPointer(),
      orm.values<[string]>(named),
      orm.select({ cluster: pointers.cluster }).from(pointers),
    ]);
    return {
      pointer: rows[0] ?? null,
      named: new Set(hashes.map(([hash]) => hash)),
      clusters: clusters.map((row) => row.cluster),
    };
  }

  /** True in SQL unless somebody holds a higher token. */
  #fence(fencingToken: number): SQL {
    return sql`exists (select 1 from ${pointers} where cluster = ${this.#cluster}
      and fencing_token <= ${fencingToken})`;
  }

  /** One row for each move: not when the move cannot happen, and not twice for one call. */
  #insert(row: NewPublication, expected: string): SQL {
    return sql`insert into ${publications} (cluster, version, manifest, signature,
        published_at_ms, published_by, fencing_token, virtual_hosts, routes, upstreams, endpoints,
        problems, size_bytes, changes)
      select ${this.#cluster}, ${row.version}, ${row.manifest}, ${row.signature},
        ${row.publishedAtMs}, ${row.publishedBy}, ${row.fencingToken}, ${row.virtualHosts},
        ${row.routes}, ${row.upstreams}, ${row.endpoints}, ${row.problems}, ${row.sizeBytes},
        ${row.changes}
      where exists (select 1 from ${pointers} where cluster = ${this.#cluster}
          and fencing_token <= ${row.fencingToken} and (pinned = 1 or version = ${expected}))
        and not exists (select 1 from ${publications} where cluster = ${this.#cluster}
          and version = ${row.version} and signature = ${row.signature}
          and fencing_token = ${row.fencingToken} and published_at_ms = ${row.publishedAtMs})`;
  }

  #readPointer() {
    return this.#d1.orm.select(POINTER).from(pointers).where(eq(pointers.cluster, this.#cluster));
  }

  #reads() {
    const { orm } = this.#d1;
    const ofCluster = eq(publications.cluster, this.#cluster);
    const current = sql`${publications.version} =
      (select version from ${pointers} where cluster = ${this.#cluster})`;
    const newest = () => orm.select(MANIFEST).from(publications).$dynamic();
    return [
      this.#readPointer(),
      newest().where(and(ofCluster, current)).orderBy(desc(publications.id)).limit(1),
      newest().where(ofCluster).orderBy(desc(publications.id)).limit(1),
    ] as const;
  }
}

type Reads = readonly [PointerRow[], PublishedManifest[], PublishedManifest[]];

function toState([pointer, serving, newest]: Reads): LedgerState {
  return {
    pointer: pointer[0] ?? null,
    serving: serving[0] ?? null,
    newest: newest[0] ?? null,
  };
}
