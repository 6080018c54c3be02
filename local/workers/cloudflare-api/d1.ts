import type { Env } from './env.ts';
import { ApiError, readJson, succeed } from './envelope.ts';

/** Limits of D1 (developers.cloudflare.com/d1/platform/limits). */
const SQL_BYTES_MAX = 100_000;
const PARAMS_MAX = 100;
const PARAM_BYTES_MAX = 2_000_000;

interface Statement {
  readonly sql: string;
  readonly params?: readonly string[];
}

const utf8 = new TextEncoder();

/**
 * `POST …/query` and `POST …/raw`, with one statement or a batch. Parameters are strings and
 * nothing else, as the API's documentation has them; a column's affinity makes numbers of them.
 *
 * `raw` gives rows as lists. They are made of the binding's objects, so columns of one name in one
 * statement would be one here: give them aliases.
 *
 * @param only the statements that are run, by index, as an injected fault asks; `null` for all
 */
export async function runStatements(
  request: Request,
  env: Env,
  form: 'query' | 'raw',
  only: readonly number[] | null,
): Promise<Response> {
  const all = readStatements(await readJson(request));
  const statements = only ? all.filter((_, index) => only.includes(index)) : all;
  const prepared = statements.map(({ sql, params }) => env.DB.prepare(sql).bind(...(params ?? [])));
  let results: D1Result<Record<string, unknown>>[];
  try {
    results = prepared.length > 0 ? await env.DB.batch(prepared) : [];
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new ApiError(400, 7500, text.replace(/^D1_ERROR: /, ''));
  }
  if (statements.length < all.length) throw new ApiError(500, 7500, 'injected: internal error');
  return succeed(
    results.map(({ results: rows, meta }) => ({
      results: form === 'query' ? rows : inColumns(rows),
      success: true,
      meta,
    })),
  );
}

function inColumns(rows: readonly Record<string, unknown>[]) {
  const columns = Object.keys(rows[0] ?? {});
  return { columns, rows: rows.map((row) => columns.map((column) => row[column])) };
}

function readStatements(body: unknown): readonly Statement[] {
  const { sql, params, batch } = (body ?? {}) as Partial<Statement> & { batch?: unknown };
  if ((sql === undefined) === (batch === undefined)) {
    throw new ApiError(400, 7400, 'body must have either "sql" or "batch"');
  }
  const statements = batch ?? [params === undefined ? { sql } : { sql, params }];
  if (!Array.isArray(statements) || statements.length === 0) {
    throw new ApiError(400, 7400, '"batch" must be a list of statements');
  }
  for (const statement of statements) assertStatement(statement);
  return statements;
}

function assertStatement({ sql, params = [] }: Statement): void {
  if (typeof sql !== 'string') throw new ApiError(400, 7400, '"sql" must be a string');
  if (utf8.encode(sql).length > SQL_BYTES_MAX) {
    throw new ApiError(400, 7500, 'statement too long: SQLITE_TOOBIG');
  }
  if (!Array.isArray(params) || params.length > PARAMS_MAX) {
    throw new ApiError(400, 7500, 'too many SQL variables: SQLITE_ERROR');
  }
  for (const param of params) {
    if (typeof param !== 'string') throw new ApiError(400, 7400, 'parameters must be strings');
    if (utf8.encode(param).length > PARAM_BYTES_MAX) {
      throw new ApiError(400, 7500, 'string or blob too big: SQLITE_TOOBIG');
    }
  }
}
