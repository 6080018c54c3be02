import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CallBudget, WINDOW_MS } from '../../syncer/cloudflare/budget.ts';
import { CloudflareError } from '../../syncer/cloudflare/error.ts';
import { SecretText } from '../../syncer/secret-text.ts';
import { LeapingClock } from './support/clocks.ts';
import { LocalCloudflare, TOKEN } from './support/cloudflare.ts';
import { snapshotOf } from './support/snapshots.ts';

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const PAIRS = [
  { key: 'a', value: '1' },
  { key: 'b', value: '2' },
  { key: 'c', value: 'ä € 😀 \r\n "quoted"' },
];

describe('retries', () => {
  test('429 waits as long as it is told, and every other call waits too', async () => {
    const { kv, clock, api } = cf.clients();
    await cf.inject({
      match: '/bulk$',
      respond: { kind: 'status', status: 429, retryAfter: '77' },
    });
    await kv.putAll(PAIRS);
    expect(clock.sleepsMs).toEqual([77_000]);
    expect(api.counts).toMatchObject({ calls: 2, retries: 1, failures: 0, heldBackMs: 77_000 });
    expect(await cf.kv.get('c', 'text')).toBe(PAIRS[2]?.value);
  });

  test.each([
    { kind: 'status', status: 429 },
    { kind: 'status', status: 500 },
    { kind: 'html', status: 502 },
    { kind: 'refuse' },
    { kind: 'drop' },
  ] as const)('%j backs off and goes on', async (respond) => {
    const { kv, clock } = cf.clients();
    await cf.inject({ match: '/bulk$', times: 3, respond });
    await kv.putAll(PAIRS);
    expect(clock.sleepsMs).toEqual([750, 1_500, 3_000]);
    expect(await cf.keys()).toEqual(['a', 'b', 'c']);
  });

  test('they end', async () => {
    const { kv, api } = cf.clients();
    await cf.inject({ match: '.', times: 100, respond: { kind: 'status', status: 503 } });
    const error = await kv.put(PAIRS[0] ?? { key: '', value: '' }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(CloudflareError);
    expect(error).toMatchObject({ status: 503, isTransient: true });
    expect(api.counts).toMatchObject({ calls: 5, retries: 4, failures: 1 });
  });

  test('a broken connection says why', async () => {
    const { kv } = cf.clients();
    await cf.inject({ match: '.', times: 100, respond: { kind: 'refuse' } });
    await expect(kv.putAll(PAIRS)).rejects.toThrow(
      /^KV bulk write: no answer from Cloudflare \(.+/,
    );
  });

  test('the end of the process ends them', async () => {
    const abort = new AbortController();
    const { kv } = cf.clients({ signal: abort.signal });
    abort.abort(new Error('stopping'));
    await expect(kv.putAll(PAIRS)).rejects.toThrow('stopping');
  });
});

describe('what is refused for good', () => {
  test.each([
    [
      { kind: 'status', status: 403 },
      /lacks the permission "Workers KV Storage Edit" .*namespace-1/,
    ],
    [{ kind: 'status', status: 401 }, /API token is not valid.*Workers KV Storage Edit/],
  ] as const)('%j at KV', async (respond, message) => {
    const { kv, api } = cf.clients();
    await cf.inject({ match: '.', respond });
    await expect(kv.putAll(PAIRS)).rejects.toThrow(message);
    expect(api.counts.calls).toBe(1);
  });

  test('403 at D1', async () => {
    await cf.inject({ match: '.', respond: { kind: 'status', status: 403 } });
    await expect(cf.publisher().claim()).rejects.toThrow(
      /"D1 Edit" .*database-1 of account account-1/,
    );
  });

  test('another token, account, namespace or database', async () => {
    const bad = cf.clients({ token: 'not-the-token' });
    await expect(bad.kv.putAll(PAIRS)).rejects.toThrow(/401 .*not valid/);
    const account = cf.clients({ accountId: 'nope' });
    await expect(account.kv.putAll(PAIRS)).rejects.toThrow(/403 .*account nope/);
    const namespace = cf.clients({ namespaceId: 'nope' });
    await expect(namespace.kv.putAll(PAIRS)).rejects.toThrow(/404 .*no such KV namespace nope/);
    const { d1 } = cf.clients({ databaseId: 'nope' });
    await expect(cf.publisher({ d1 }).claim()).rejects.toThrow(/404 .*no such D1 database nope/);
  });

  test('a database without tables', async () => {
    await cf.db.prepare('ALTER TABLE pointers RENAME TO hidden').run();
    try {
      await expect(cf.publisher().claim()).rejects.toThrow(/wrangler d1 migrations apply/);
    } finally {
      await cf.db.prepare('ALTER TABLE hidden RENAME TO pointers').run();
    }
  });
});

describe('bulk calls', () => {
  test('keys that were not written are written then', async () => {
    const { kv } = cf.clients();
    await cf.inject(
      { match: '/bulk$', respond: { kind: 'partial', failing: 2 } },
      { match: '/bulk$', respond: { kind: 'partial', failing: 1 } },
    );
    await kv.putAll(PAIRS);
    expect(await cf.keys()).toEqual(['a', 'b', 'c']);
    expect(await cf.calls()).toEqual(['PUT bulk', 'PUT bulk', 'PUT bulk']);
  });

  test('keys that are never written are an error', async () => {
    const { kv } = cf.clients();
    await cf.inject({ match: '/bulk$', times: 99, respond: { kind: 'partial', failing: 1 } });
    await expect(kv.putAll(PAIRS)).rejects.toThrow(/1 keys were not written in 5 calls, first a/);
  });

  test('keys that were not deleted are an error', async () => {
    const { kv } = cf.clients();
    await kv.putAll(PAIRS);
    await cf.inject({ match: '/delete$', respond: { kind: 'partial', failing: 1 } });
    await expect(kv.deleteAll(['a', 'b'])).rejects.toThrow(/1 keys were not deleted/);
    await kv.deleteAll(['a', 'b', 'never-there']);
    expect(await cf.keys()).toEqual(['c']);
  });

  test('25 MB to a call, and one value of 25 MiB alone', async () => {
    const { kv } = cf.clients();
    const value = 'v'.repeat(25 * 1024 * 1024);
    await kv.putAll([...PAIRS, { key: 'large', value }, { key: 'last', value: '' }]);
    expect(await cf.calls()).toEqual(['PUT bulk', 'PUT bulk', 'PUT bulk']);
    expect((await cf.kv.get('large', 'text'))?.length).toBe(value.length);
    await expect(kv.putAll([{ key: 'larger', value: `${value}v` }])).rejects.toThrow(/413 /);
  });
});

test('one key: slashes and metadata arrive as they are, and the listing shows them', async () => {
  const { kv } = cf.clients();
  const [key, value, metadata] = ['a/b c?d#e%2F', '{"x":"ä\\n"}', { writtenAtMs: 5 }];
  await kv.put({ key, value, metadata });
  expect(await cf.kv.getWithMetadata(key, 'text')).toMatchObject({ value, metadata });
  const keys: unknown[] = [];
  for await (const listed of kv.list('a/')) keys.push(listed);
  expect(keys).toEqual([{ name: key, metadata }]);
});

describe('the budget', () => {
  test('holds back what would be too much in five minutes', async () => {
    const { kv, clock, api } = cf.clients({ callsMax: 3 });
    for (let i = 0; i < 7; i++) await kv.put({ key: 'k', value: String(i) });
    expect(clock.sleepsMs).toEqual([WINDOW_MS, WINDOW_MS]);
    expect(api.counts).toMatchObject({ calls: 7, callsInWindow: 1, heldBackMs: 2 * WINDOW_MS });
  });

  test('lets callers through in the order in which they came', async () => {
    const budget = new CallBudget(new LeapingClock(), 1);
    const signal = new AbortController().signal;
    const order: number[] = [];
    await Promise.all([0, 1, 2, 3].map((i) => budget.take(signal).then(() => order.push(i))));
    expect(order).toEqual([0, 1, 2, 3]);
  });
});

test('the token is in no log line, error or printout', async () => {
  const { api, kv, d1 } = cf.clients();
  const publisher = cf.publisher({ kv, d1 });
  await publisher.claim();
  await publisher.publish(snapshotOf(['a.example.com']), []);
  const errors: unknown[] = [];
  for (const respond of [
    { kind: 'status', status: 403 },
    { kind: 'status', status: 500 },
    { kind: 'refuse' },
  ] as const) {
    await cf.inject({ match: '.', times: 10, respond });
    errors.push(await publisher.publish(snapshotOf(['b.example.com']), []).catch((e) => e));
    await cf.clearFaults();
  }
  errors.push(
    await cf
      .clients({ token: `${TOKEN}x` })
      .kv.putAll(PAIRS)
      .catch((e) => e),
  );
  expect(errors.every((error) => error instanceof CloudflareError)).toBe(true);
  const printed = [cf.lines, errors, api, kv, d1, publisher, new SecretText(TOKEN)]
    .map((value) => inspect(value, { depth: 20, showHidden: true }) + JSON.stringify(value))
    .join('\n');
  expect(printed).not.toContain(TOKEN);
});
