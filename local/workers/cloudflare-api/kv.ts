import type { Env } from './env.ts';
import { ApiError, readJson, succeed } from './envelope.ts';

/** Limits of Workers KV (developers.cloudflare.com/kv/platform/limits). */
const KEY_BYTES_MAX = 512;
const VALUE_BYTES_MAX = 25 * 1024 * 1024;
const METADATA_BYTES_MAX = 1024;
const BULK_PAIRS_MAX = 10_000;
const LIST_LIMIT_MIN = 10;
const LIST_LIMIT_MAX = 1000;

/** So many of the binding's own calls at a time; workerd holds the others back anyway. */
const CONCURRENCY = 32;

interface Pair {
  readonly key: string;
  readonly value: string;
  readonly base64?: boolean;
  readonly metadata?: unknown;
}

const utf8 = new TextEncoder();

/**
 * `PUT …/bulk`. Not atomic, in production neither: the answer names the keys that were not written.
 *
 * @param failing so many of the first pairs are left out, as an injected fault asks
 */
export async function bulkPut(request: Request, env: Env, failing: number): Promise<Response> {
  const pairs = (await readJson(request)) as readonly Pair[];
  assertBulk(pairs);
  const writes = pairs.map((pair) => ({ ...pair, bytes: decodeValue(pair) }));
  for (const { key, bytes, metadata } of writes) {
    assertKey(key);
    assertValue(bytes);
    assertMetadata(metadata);
  }
  await forEach(writes.slice(failing), async ({ key, bytes, metadata }) => {
    await env.KV.put(key, bytes, metadata === undefined ? {} : { metadata });
  });
  return counted(
    pairs.map((pair) => pair.key),
    failing,
  );
}

/** `POST …/bulk/delete`. A key that is not there counts as deleted. */
export async function bulkDelete(request: Request, env: Env, failing: number): Promise<Response> {
  const keys = (await readJson(request)) as readonly string[];
  assertBulk(keys);
  for (const key of keys) assertKey(key);
  await forEach(keys.slice(failing), (key) => env.KV.delete(key));
  return counted(keys, failing);
}

/** `PUT …/values/{key}`: the value as it stands, or a form with `value` and `metadata`. */
export async function putValue(request: Request, env: Env, key: string): Promise<Response> {
  assertKey(key);
  let value: ArrayBuffer | Uint8Array;
  let metadata: unknown;
  if (request.headers.get('content-type')?.startsWith('multipart/form-data')) {
    const form = await request.formData();
    const part: unknown = form.get('value');
    if (part === null) throw new ApiError(400, 10012, 'form has no part "value"');
    value = part instanceof Blob ? await part.arrayBuffer() : utf8.encode(String(part));
    const text = form.get('metadata');
    if (typeof text === 'string') metadata = JSON.parse(text);
  } else {
    value = await request.arrayBuffer();
  }
  assertValue(value);
  assertMetadata(metadata);
  await env.KV.put(key, value, metadata === undefined ? {} : { metadata });
  return succeed({});
}

/** `GET …/keys?prefix=&cursor=&limit=`: names and metadata, in the order of their bytes. */
export async function listKeys(url: URL, env: Env): Promise<Response> {
  const limit = Number(url.searchParams.get('limit') ?? LIST_LIMIT_MAX);
  if (!Number.isInteger(limit) || limit < LIST_LIMIT_MIN || limit > LIST_LIMIT_MAX) {
    throw new ApiError(400, 10028, `limit must be from ${LIST_LIMIT_MIN} to ${LIST_LIMIT_MAX}`);
  }
  const page = await env.KV.list({
    limit,
    prefix: url.searchParams.get('prefix') ?? '',
    cursor: url.searchParams.get('cursor') || null,
  });
  const cursor = page.list_complete ? '' : page.cursor;
  return succeed(page.keys, { count: page.keys.length, cursor });
}

function counted(keys: readonly string[], failing: number): Response {
  const unsuccessful = keys.slice(0, failing);
  return succeed({
    successful_key_count: keys.length - unsuccessful.length,
    unsuccessful_keys: unsuccessful,
  });
}

function decodeValue({ value, base64 }: Pair): Uint8Array {
  if (typeof value !== 'string') throw new ApiError(400, 10026, 'value is not a string');
  if (!base64) return utf8.encode(value);
  return Uint8Array.from(atob(value), (char) => char.charCodeAt(0));
}

function assertBulk(list: readonly unknown[]): void {
  if (!Array.isArray(list)) throw new ApiError(400, 10026, 'request body is not a list');
  if (list.length > BULK_PAIRS_MAX) {
    throw new ApiError(400, 10030, `more than ${BULK_PAIRS_MAX} pairs in one call`);
  }
}

function assertKey(key: unknown): void {
  if (typeof key !== 'string' || key === '' || key === '.' || key === '..') {
    throw new ApiError(400, 10011, `invalid key name ${JSON.stringify(key)}`);
  }
  const { length } = utf8.encode(key);
  if (length > KEY_BYTES_MAX) {
    const text = `UTF-8 encoded length of ${length} exceeds key length limit of ${KEY_BYTES_MAX}.`;
    throw new ApiError(414, 10021, text);
  }
}

function assertValue(value: ArrayBuffer | Uint8Array): void {
  if (value.byteLength > VALUE_BYTES_MAX) {
    const text = `Value length of ${value.byteLength} exceeds limit of ${VALUE_BYTES_MAX}.`;
    throw new ApiError(413, 10022, text);
  }
}

function assertMetadata(metadata: unknown): void {
  if (metadata === undefined) return;
  const { length } = utf8.encode(JSON.stringify(metadata));
  if (length > METADATA_BYTES_MAX) {
    const text = `Metadata length of ${length} exceeds limit of ${METADATA_BYTES_MAX}.`;
    throw new ApiError(413, 10023, text);
  }
}

async function forEach<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let start = 0; start < items.length; start += CONCURRENCY) {
    await Promise.all(items.slice(start, start + CONCURRENCY).map(work));
  }
}
