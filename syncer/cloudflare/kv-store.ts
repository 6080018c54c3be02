import * as v from 'valibot';
import type { CloudflareApi } from './api.ts';
import { CloudflareError, type Operation } from './error.ts';

export interface KvPair {
  readonly key: string;
  readonly value: string;
  /** At most 1 KiB as JSON. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface KvKey {
  readonly name: string;
  readonly metadata: unknown;
}

/** A bulk call takes 10,000 pairs and less than 100 MB. */
const BULK_PAIRS_MAX = 10_000;
/** Far below what is allowed: a call has to end within its timeout. One larger pair goes alone. */
const BULK_BYTES_MAX = 25_000_000;
const BULK_ROUNDS_MAX = 5;
const LIST_LIMIT = 1000;

const BulkAnswer = v.nullish(
  v.object({
    successful_key_count: v.optional(v.number()),
    unsuccessful_keys: v.optional(v.array(v.string())),
  }),
);
const KeysAnswer = v.array(v.object({ name: v.string(), metadata: v.optional(v.unknown()) }));

/** One Workers KV namespace, over the REST API. All methods throw {@link CloudflareError}. */
export class KvStore {
  readonly #api: CloudflareApi;
  readonly #namespaceId: string;

  constructor(api: CloudflareApi, namespaceId: string) {
    this.#api = api;
    this.#namespaceId = namespaceId;
  }

  /** Writes all pairs; values are text. When it throws, any of them may have been written. */
  async putAll(pairs: readonly KvPair[]): Promise<void> {
    const operation = this.#operation('KV bulk write');
    for (const chunk of chunks(pairs)) {
      const byKey = new Map(chunk.map((pair) => [pair.key, pair]));
      await this.#untilDone(operation, [...byKey.keys()], (keys, params) => {
        const body = keys.flatMap((key) => byKey.get(key) ?? []);
        return this.#api.call(operation, ({ kv }) =>
          kv.namespaces.bulkUpdate(this.#namespaceId, { ...params, body }),
        );
      });
    }
  }

  /** Workers KV refuses more than one write a second to one key; the retries sit that out. */
  async put({ key, value, metadata }: KvPair): Promise<void> {
    await this.#api.call(this.#operation('KV write'), ({ kv }) =>
      kv.namespaces.values.update(key, {
        account_id: this.#api.accountId,
        namespace_id: this.#namespaceId,
        value,
        // The SDK would make a form field of each property; the API reads one field of JSON.
        ...(metadata && { metadata: JSON.stringify(metadata) }),
      }),
    );
  }

  /** Keys that are not there count as deleted. Not retried: whoever deletes decides anew first. */
  async deleteAll(keys: readonly string[]): Promise<void> {
    const operation = this.#operation('KV bulk delete');
    for (let start = 0; start < keys.length; start += BULK_PAIRS_MAX) {
      const body = keys.slice(start, start + BULK_PAIRS_MAX);
      const params = { account_id: this.#api.accountId, body };
      const remove = () =>
        this.#api.call(
          operation,
          ({ kv }) => kv.namespaces.bulkDelete(this.#namespaceId, params),
          1,
        );
      const left = unsuccessful(await remove(), body, operation);
      if (left.length > 0) {
        throw new CloudflareError(`${operation.name}: ${left.length} keys were not deleted`);
      }
    }
  }

  /** Every key that begins with `prefix`, in the order of their bytes, as of up to a minute ago. */
  async *list(prefix: string): AsyncGenerator<KvKey> {
    const operation = this.#operation('KV list');
    const params = { account_id: this.#api.accountId, prefix, limit: LIST_LIMIT };
    for (let cursor = ''; ; ) {
      const page = await this.#api.call(operation, ({ kv }) =>
        kv.namespaces.keys.list(this.#namespaceId, { ...params, ...(cursor && { cursor }) }),
      );
      const keys = parse(KeysAnswer, page.result, operation);
      for (const { name, metadata } of keys) yield { name, metadata };
      cursor = page.result_info?.cursor ?? '';
      if (!cursor) return;
    }
  }

  async #untilDone(
    operation: Operation,
    keys: readonly string[],
    write: (keys: readonly string[], params: { account_id: string }) => Promise<unknown>,
  ): Promise<void> {
    let left = keys;
    for (let round = 1; left.length > 0; round++) {
      const answer = await write(left, { account_id: this.#api.accountId });
      left = unsuccessful(answer, left, operation);
      if (left.length === 0) return;
      if (round >= BULK_ROUNDS_MAX) {
        const text = `${left.length} keys were not written in ${round} calls, first ${left[0]}`;
        throw new CloudflareError(`${operation.name}: ${text}`, { isTransient: true });
      }
      await this.#api.backOff(round);
    }
  }

  #operation(name: string): Operation {
    return {
      name,
      permission: 'Workers KV Storage Edit',
      target: `KV namespace ${this.#namespaceId} of account ${this.#api.accountId}`,
    };
  }
}

/** A count that is too small, without names, means that any of the keys may be missing. */
function unsuccessful(
  answer: unknown,
  keys: readonly string[],
  operation: Operation,
): readonly string[] {
  const result = parse(BulkAnswer, answer, operation);
  const named = new Set(result?.unsuccessful_keys);
  if (named.size > 0) return keys.filter((key) => named.has(key));
  return (result?.successful_key_count ?? keys.length) < keys.length ? keys : [];
}

function parse<T>(schema: v.GenericSchema<unknown, T>, answer: unknown, { name }: Operation): T {
  const parsed = v.safeParse(schema, answer);
  if (parsed.success) return parsed.output;
  throw new CloudflareError(`${name}: unexpected answer: ${parsed.issues[0].message}`);
}

function* chunks(pairs: readonly KvPair[]): Generator<readonly KvPair[]> {
  let chunk: KvPair[] = [];
  let bytes = 0;
  for (const pair of pairs) {
    const size = Buffer.byteLength(JSON.stringify(pair)) + 1;
    if (chunk.length > 0 && (chunk.length === BULK_PAIRS_MAX || bytes + size > BULK_BYTES_MAX)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(pair);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}
