import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { PublishResult } from '../../syncer/publish-result.ts';
import { LocalCloudflare } from './support/cloudflare.ts';
import { servedByD1, servedByKv } from './support/served.ts';
import { snapshotOf } from './support/snapshots.ts';

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const A = snapshotOf(['a.example.com']);
const B = snapshotOf(['b.example.com']);
const C = snapshotOf(['c.example.com']);

test('the newest starter wins, and who is deposed moves nothing', async () => {
  const old = cf.publisher();
  await old.claim();
  await old.publish(A, []);
  const young = cf.publisher();
  await young.claim();
  expect(await old.publish(B, [])).toMatchObject({ outcome: 'deposed', fencingToken: 2 });
  expect((await servedByD1(cf))?.snapshot).toEqual(A);
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 1 }]);
  expect(await young.publish(C, [])).toMatchObject({ outcome: 'published' });

  await cf.clearFaults();
  expect(await old.publish(B, [])).toMatchObject({ outcome: 'deposed' });
  expect(await cf.calls()).toEqual([]);
  expect((await servedByD1(cf))?.snapshot).toEqual(C);
  expect(cf.lines.filter(({ message }) => message.startsWith('deposed'))).toHaveLength(1);
});

test('who is deposed does not go back to a version that is published already, either', async () => {
  const old = cf.publisher();
  await old.claim();
  await old.publish(A, []);
  await old.publish(B, []);
  const young = cf.publisher();
  await young.claim();
  expect(await old.publish(A, [])).toMatchObject({ outcome: 'deposed' });
  expect((await servedByD1(cf))?.snapshot).toEqual(B);
  expect((await servedByKv(cf))?.snapshot).toEqual(B);
});

test('who is deposed between bodies and pointer moves nothing', async () => {
  const { kv, d1 } = cf.clients();
  const young = cf.publisher();
  let takeOver: () => Promise<unknown> = async () => {};
  const old = cf.publisher({
    d1,
    kv: {
      put: (pair) => kv.put(pair),
      deleteAll: (keys) => kv.deleteAll(keys),
      list: (prefix) => kv.list(prefix),
      putAll: async (pairs) => {
        await kv.putAll(pairs);
        await takeOver();
      },
    },
  });
  await old.claim();
  await old.publish(A, []);
  takeOver = async () => {
    await young.claim();
    await young.publish(C, []);
  };
  expect(await old.publish(B, [])).toMatchObject({ outcome: 'deposed' });
  expect((await servedByD1(cf))?.snapshot).toEqual(C);
  expect((await servedByKv(cf))?.snapshot).toEqual(C);
});

test('two at once: what is served is whole, and the younger one has the last word', async () => {
  for (let round = 0; round < 10; round++) {
    cf.nowMs += 1_000;
    const [one, two] = [cf.publisher(), cf.publisher()];
    await one.claim();
    const outcomes: PublishResult[] = await Promise.all([
      one.publish(snapshotOf(['a.example.com'], 1_000 + round), []),
      two.claim().then(() => two.publish(snapshotOf(['b.example.com'], 2_000 + round), [])),
    ]);
    expect(['published', 'deposed']).toContain(outcomes[0]?.outcome);
    expect(outcomes[1]?.outcome).toBe('published');
    expect((await servedByD1(cf))?.version).toBe(outcomes[1]?.version);
  }
});

test('both claims at once give two tokens', async () => {
  const publishers = Array.from({ length: 8 }, () => cf.publisher());
  await Promise.all(publishers.map((publisher) => publisher.claim()));
  const results: PublishResult[] = [];
  for (const publisher of publishers) results.push(await publisher.publish(A, []));
  expect(results.filter(({ outcome }) => outcome !== 'deposed')).toHaveLength(1);
});

test('a token may come from a lease', async () => {
  const lease = cf.publisher();
  expect(await lease.claim(7)).toEqual({ granted: true, fencingToken: 7 });
  expect(await lease.publish(A, [])).toMatchObject({ outcome: 'published' });
  const outdated = cf.publisher();
  expect(await outdated.claim(6)).toEqual({ granted: false, fencingToken: 7 });
  expect(await outdated.publish(B, [])).toMatchObject({ outcome: 'deposed', fencingToken: 7 });
  const next = cf.publisher();
  expect(await next.claim(10)).toEqual({ granted: true, fencingToken: 10 });
  expect(await next.publish(C, [])).toMatchObject({ outcome: 'published' });
  const rows = await cf.rows('SELECT fencing_token, typeof(fencing_token) AS type FROM pointers');
  expect(rows).toEqual([{ fencing_token: 10, type: 'integer' }]);
});

test('no token is given twice, whoever it was that claimed it', async () => {
  const first = cf.publisher();
  await first.claim(7);
  const second = cf.publisher();
  expect(await second.claim(7)).toEqual({ granted: false, fencingToken: 7 });
  expect(await second.publish(B, [])).toMatchObject({ outcome: 'deposed', fencingToken: 7 });
  expect(await first.publish(A, [])).toMatchObject({ outcome: 'published' });
  await cf.inject({ match: '/raw$', respond: { kind: 'drop' } });
  const third = cf.publisher();
  expect(await third.claim(8)).toEqual({ granted: false, fencingToken: 8 });
  expect(await third.claim(9)).toEqual({ granted: true, fencingToken: 9 });
});

test('a lost answer of the pointer is found out, and the publication has one row', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(A, []);
  await cf.clearFaults();
  await cf.inject({ match: '/raw$', times: 2, respond: { kind: 'drop' } });
  expect(await publisher.publish(B, [])).toMatchObject({ outcome: 'published' });
  expect(await cf.calls()).toEqual(['PUT bulk', 'POST raw', 'POST raw', 'POST raw', 'PUT value']);
  expect((await servedByD1(cf))?.snapshot).toEqual(B);
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 2 }]);
});

test('a publication that was written without the move has one row all the same', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await cf.inject({ match: '/raw$', times: 3, respond: { kind: 'only', statements: [0] } });
  expect(await publisher.publish(A, [])).toMatchObject({ outcome: 'published' });
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 1 }]);
});

test('a lost answer of the claim costs a token and nothing else', async () => {
  await cf.inject({ match: '/raw$', respond: { kind: 'drop' } });
  const publisher = cf.publisher();
  await publisher.claim();
  expect(await publisher.publish(A, [])).toMatchObject({ outcome: 'published' });
  expect(await cf.rows('SELECT fencing_token FROM pointers')).toEqual([{ fencing_token: 2 }]);
});

test('clusters in one database and one namespace do not meet', async () => {
  const [east, west] = [cf.publisher({ cluster: 'east' }), cf.publisher({ cluster: 'west' })];
  await east.claim();
  await west.claim();
  await east.publish(A, []);
  await west.publish(B, []);
  expect((await servedByD1(cf, 'east'))?.snapshot).toEqual(A);
  expect((await servedByD1(cf, 'west'))?.snapshot).toEqual(B);
  expect(await east.publish(C, [])).toMatchObject({ outcome: 'published' });
});
