import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { sql } from 'drizzle-orm';
import { afterEach, expect, test } from 'vitest';
import { CloudflareApi } from '../../syncer/cloudflare/api.ts';
import { D1Database } from '../../syncer/cloudflare/d1-database.ts';
import { KvStore } from '../../syncer/cloudflare/kv-store.ts';
import { SecretText } from '../../syncer/secret-text.ts';
import { LeapingClock } from './support/clocks.ts';

/** Answers that the local API never gives, but Cloudflare or something in between may. */

interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: unknown;
}

let server: Server | null = null;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function clients(answer: (body: string, call: number) => Answer) {
  let calls = 0;
  server = createServer(async (request, response) => {
    const { status = 200, headers, body } = answer(await text(request), calls++);
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const clock = new LeapingClock();
  const api = new CloudflareApi({
    baseUrl: `http://127.0.0.1:${port}`,
    accountId: 'account',
    token: new SecretText('token'),
    clock,
    random: () => 0,
    signal: new AbortController().signal,
  });
  return { kv: new KvStore(api, 'kv'), d1: new D1Database(api, 'd1'), clock, api };
}

const ok = (result: unknown): Answer => ({
  body: { success: true, errors: [], messages: [], result },
});

test('10,000 pairs to a call', async () => {
  const sizes: number[] = [];
  const { kv } = await clients((body) => {
    sizes.push(JSON.parse(body).length);
    return ok({ successful_key_count: sizes.at(-1), unsuccessful_keys: [] });
  });
  const keys = Array.from({ length: 20_001 }, (_, i) => `key-${i}`);
  await kv.putAll(keys.map((key) => ({ key, value: '' })));
  await kv.deleteAll(keys);
  expect(sizes).toEqual([10_000, 10_000, 1, 10_000, 10_000, 1]);
});

test('no result at all, as the API once gave it, counts as done', async () => {
  const { kv, api } = await clients(() => ok(null));
  await kv.putAll([{ key: 'a', value: '1' }]);
  expect(api.counts.calls).toBe(1);
});

test('a count that is too small without names writes all of them again', async () => {
  const { kv, api } = await clients((_, call) => ok({ successful_key_count: call }));
  await kv.putAll([{ key: 'a', value: '1' }]);
  expect(api.counts.calls).toBe(2);
});

test('a page of some proxy is not taken for success', async () => {
  const html = { headers: { 'content-type': 'text/html' }, body: '<html>login</html>' };
  const { kv, d1 } = await clients(() => html);
  const expected = /no answer from Cloudflare .*200 with something that is no answer of the API/;
  await expect(kv.putAll([{ key: 'a', value: '1' }])).rejects.toThrow(expected);
  await expect(d1.orm.batch([d1.orm.run(sql`select 1`)])).rejects.toThrow(expected);
});

test('a redirect is not followed', async () => {
  const away = { status: 302, headers: { location: 'http://192.0.2.1/' }, body: '' };
  const { kv } = await clients(() => away);
  await expect(kv.putAll([{ key: 'a', value: '1' }])).rejects.toThrow(/KV bulk write: 302/);
});

test('a malformed token is told by its code', async () => {
  const error = { code: 6003, message: 'Invalid request headers' };
  const { kv } = await clients(() => ({ status: 400, body: { success: false, errors: [error] } }));
  await expect(kv.putAll([{ key: 'a', value: '1' }])).rejects.toThrow(/token is not valid/);
});

test('retry-after may be a date', async () => {
  const date = 'Sun, 22 Nov 2026 10:00:00 GMT';
  const headers = { date, 'retry-after': 'Sun, 22 Nov 2026 10:00:30 GMT' };
  const { kv, clock } = await clients((_, call) =>
    call === 0 ? { status: 429, headers, body: {} } : ok({ successful_key_count: 1 }),
  );
  await kv.putAll([{ key: 'a', value: '1' }]);
  expect(clock.sleepsMs).toEqual([30_000]);
});

test('D1: another number of results than of statements is an error', async () => {
  const { d1 } = await clients(() => ok([]));
  await expect(d1.orm.batch([d1.orm.run(sql`select 1`)])).rejects.toThrow(/number of results/);
});

test('D1: what it would refuse is refused here', async () => {
  const { d1 } = await clients(() => ok([]));
  const many = sql.join(
    Array.from({ length: 101 }, (_, i) => sql`${i}`),
    sql`, `,
  );
  await expect(d1.orm.batch([d1.orm.run(sql`select ${many}`)])).rejects.toThrow(RangeError);
  await expect(d1.orm.batch([d1.orm.run(sql`select ${null}`)])).rejects.toThrow(TypeError);
});
