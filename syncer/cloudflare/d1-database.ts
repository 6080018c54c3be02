import { drizzle, type SqliteRemoteDatabase } from 'drizzle-orm/sqlite-proxy';
import * as v from 'valibot';
import type { CloudflareApi } from './api.ts';
import { CloudflareError, type Operation } from './error.ts';

interface Query {
  readonly sql: string;
  readonly params: readonly unknown[];
  readonly method: 'run' | 'all' | 'values' | 'get';
}

/** D1 takes 100 bound parameters of up to 2 MB and 100 KB of SQL in one statement. */
const PARAMS_MAX = 100;
const SQL_BYTES_MAX = 100_000;

const RawAnswer = v.array(v.object({ results: v.object({ rows: v.array(v.array(v.unknown())) }) }));

/**
 * One D1 database, over the REST API.
 *
 * `orm.batch` is one call. Whether Cloudflare runs it in one transaction is not documented, and an
 * answer can be lost after the work was done and the call repeated: so every batch must be safe
 * when only its first statements ran, and come to the same when it runs twice.
 */
export class D1Database {
  readonly orm: SqliteRemoteDatabase;
  readonly #api: CloudflareApi;
  readonly #databaseId: string;

  constructor(api: CloudflareApi, databaseId: string) {
    this.#api = api;
    this.#databaseId = databaseId;
    this.orm = drizzle(
      async (sql, params, method) => {
        const [result] = await this.#run([{ sql, params, method }]);
        return result ?? { rows: [] };
      },
      (queries) => this.#run(queries),
    );
  }

  /** @throws CloudflareError */
  async #run(queries: readonly Query[]): Promise<{ rows: unknown[] }[]> {
    const operation: Operation = {
      name: 'D1 query',
      permission: 'D1 Edit',
      target: `D1 database ${this.#databaseId} of account ${this.#api.accountId}`,
    };
    const batch = queries.map(statement);
    const account_id = this.#api.accountId;
    const page = await this.#api.call(operation, ({ d1 }) =>
      d1.database.raw(this.#databaseId, { account_id, batch }),
    );
    const answer = v.safeParse(RawAnswer, page.result);
    if (!answer.success || answer.output.length !== queries.length) {
      const text = answer.success ? 'another number of results' : answer.issues[0].message;
      throw new CloudflareError(`${operation.name}: unexpected answer: ${text}`);
    }
    return answer.output.map(({ results: { rows } }, index) => ({
      // For `get`, drizzle takes one row where it takes rows otherwise.
      rows: queries[index]?.method === 'get' ? ((rows[0] ?? undefined) as unknown[]) : rows,
    }));
  }
}

function statement({ sql, params }: Query): { sql: string; params: string[] } {
  if (params.length > PARAMS_MAX || Buffer.byteLength(sql) > SQL_BYTES_MAX) {
    throw new RangeError(`D1 does not take this statement: ${sql.slice(0, 80)}`);
  }
  return { sql, params: params.map(text) };
}

/** The API documents strings only; a column's affinity makes numbers of them where it has to. */
function text(param: unknown): string {
  if (typeof param === 'string') return param;
  if (typeof param === 'number' || typeof param === 'bigint') return String(param);
  if (typeof param === 'boolean') return param ? '1' : '0';
  throw new TypeError('D1 parameters are strings, numbers and booleans');
}
