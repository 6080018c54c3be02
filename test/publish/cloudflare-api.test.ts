import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LocalCloudflare, TOKEN } from './support/cloudflare.ts';

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const ACCOUNT = '/client/v4/accounts/account-1';
const KV = `${ACCOUNT}/storage/kv/namespaces/namespace-1`;
const D1 = `${ACCOUNT}/d1/database/database-1`;

async function call(method: string, path: string, body?: unknown, token: string | null = TOKEN) {
  const answer = await fetch(cf.origin + path, {
    method,
    ...(token !== null && { headers: { authorization: `Bearer ${token}` } }),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, envelope: await answer.json() };
}

const failure = (status: number, code: number) => ({
  status,
  envelope: { success: false, result: null, errors: [{ code, message: expect.any(String) }] },
});

test.each([
  ['no token', 'GET', `${KV}/keys`, null, 400, 9106],
  ['another token', 'GET', `${KV}/keys`, 'x', 401, 10000],
  ['another account', 'GET', KV.replace('account-1', 'x').concat('/keys'), TOKEN, 403, 10000],
  ['another namespace', 'GET', `${KV}x/keys`, TOKEN, 404, 10013],
  ['another database', 'POST', `${D1}x/raw`, TOKEN, 404, 7404],
  ['another path', 'GET', `${ACCOUNT}/workers`, TOKEN, 404, 7000],
  ['no control route with the API token', 'GET', '/client/v4/__calls', TOKEN, 404, 7000],
] as const)('refuses %s', async (_name, method, path, token, status, code) => {
  expect(await call(method, path, undefined, token)).toMatchObject(failure(status, code));
});

describe('KV', () => {
  test.each([
    ['a key of 513 bytes', [{ key: 'ä'.repeat(256).concat('x'), value: '' }], 414],
    ['an empty key', [{ key: '', value: '' }], 400],
    ['a value that is no string', [{ key: 'a', value: 1 }], 400],
    ['metadata above 1 KiB', [{ key: 'a', value: '', metadata: 'x'.repeat(1024) }], 413],
    ['no list', {}, 400],
    ['10,001 pairs', Array.from({ length: 10_001 }, () => ({ key: 'a', value: '' })), 400],
  ])('refuses %s, and writes nothing', async (_name, body, status) => {
    const pairs = Array.isArray(body) ? [{ key: 'first', value: '' }, ...body] : body;
    const answer = await call('PUT', `${KV}/bulk`, pairs);
    expect(answer).toMatchObject({ status, envelope: { success: false } });
    expect(await cf.keys()).toEqual([]);
  });

  test('takes base64, and lists by prefix and page', async () => {
    const pairs = Array.from({ length: 25 }, (_, i) => ({
      key: `p/${String(i).padStart(2, '0')}`,
      value: 'w6Q=',
      base64: true,
    }));
    const answer = await call('PUT', `${KV}/bulk`, [...pairs, { key: 'q', value: '' }]);
    expect(answer.envelope).toMatchObject({
      success: true,
      errors: [],
      messages: [],
      result: { successful_key_count: 26, unsuccessful_keys: [] },
    });
    expect(await cf.kv.get('p/07', 'text')).toBe('ä');
    const first = await call('GET', `${KV}/keys?prefix=p/&limit=20`);
    expect(first.envelope).toMatchObject({ result_info: { count: 20 } });
    const { cursor } = (first.envelope as { result_info: { cursor: string } }).result_info;
    const second = await call('GET', `${KV}/keys?prefix=p/&limit=20&cursor=${cursor}`);
    expect(second.envelope).toMatchObject({ result_info: { count: 5, cursor: '' } });
    expect(await call('GET', `${KV}/keys?limit=5`)).toMatchObject(failure(400, 10028));
  });
});

describe('D1', () => {
  test('answers query with objects, raw with columns and rows, for one or several', async () => {
    const statement = { sql: 'SELECT ? AS a, 2 AS b', params: ['1'] };
    expect((await call('POST', `${D1}/query`, statement)).envelope).toMatchObject({
      success: true,
      result: [{ success: true, results: [{ a: '1', b: 2 }], meta: {} }],
    });
    const batch = [statement, { sql: 'SELECT 3 AS c' }];
    expect((await call('POST', `${D1}/raw`, { batch })).envelope).toMatchObject({
      result: [
        { results: { columns: ['a', 'b'], rows: [['1', 2]] } },
        { results: { columns: ['c'], rows: [[3]] } },
      ],
    });
  });

  test.each([
    ['SQL that is wrong', { sql: 'SELEKT' }],
    ['101 parameters', { sql: 'SELECT 1', params: Array(101).fill('') }],
    ['a string above 2 MB', { sql: 'SELECT ?', params: ['x'.repeat(2_000_001)] }],
    ['SQL above 100 KB', { sql: `SELECT '${'x'.repeat(100_000)}'` }],
    ['a parameter that is no string', { sql: 'SELECT ?', params: [1] }],
    ['neither sql nor batch', {}],
    ['both', { sql: 'SELECT 1', batch: [{ sql: 'SELECT 1' }] }],
  ])('refuses %s', async (_name, body) => {
    const answer = await call('POST', `${D1}/raw`, body);
    expect(answer).toMatchObject({ status: 400, envelope: { success: false, result: null } });
  });
});
