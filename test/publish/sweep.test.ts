import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { encodeSnapshot } from '../../snapshot/codec.ts';
import { pointerKey, shardKey } from '../../snapshot/keys.ts';
import type { Snapshot } from '../../snapshot/types.ts';
import { LocalCloudflare } from './support/cloudflare.ts';
import { servedByD1, servedByKv } from './support/served.ts';
import { snapshotOf } from './support/snapshots.ts';

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const versionOf = (i: number) => snapshotOf(['a.example.com'], 1_000 + i);

async function shardKeysOf(snapshots: readonly Snapshot[]): Promise<readonly string[]> {
  const hashes = new Set<string>();
  for (const snapshot of snapshots) {
    for (const hash of (await encodeSnapshot(snapshot)).shards.keys()) hashes.add(hash);
  }
  return [...hashes].map(shardKey).toSorted();
}

async function publishedPorts(): Promise<readonly number[]> {
  const rows = await cf.rows<{ version: string }>('SELECT version FROM publications ORDER BY id');
  const versions = new Map<string, number>();
  for (let i = 0; i < 100; i++) versions.set((await encodeSnapshot(versionOf(i))).version, i);
  return rows.map((row) => versions.get(row.version) ?? -1);
}

test('20 versions stay, and all that were current within the hour', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  for (let i = 0; i < 25; i++) await publisher.publish(versionOf(i), []);
  cf.nowMs += 30 * MINUTE_MS;
  for (let i = 25; i < 50; i++) await publisher.publish(versionOf(i), []);
  cf.nowMs += 45 * MINUTE_MS;
  await publisher.publish(versionOf(50), []);
  // 24 is older than an hour, but took its leave only 45 minutes ago.
  const kept = Array.from({ length: 27 }, (_, i) => i + 24);
  expect(await publishedPorts()).toEqual(kept);
  expect(await cf.keys('causeway/1/shard/')).toEqual(await shardKeysOf(kept.map(versionOf)));

  cf.nowMs += 2 * HOUR_MS;
  await publisher.publish(versionOf(51), []);
  const last = Array.from({ length: 20 }, (_, i) => i + 32);
  expect(await publishedPorts()).toEqual(last);
  expect(await cf.keys('causeway/1/shard/')).toEqual(await shardKeysOf(last.map(versionOf)));
});

test('the version that a pinned pointer names stays, however old', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(versionOf(0), []);
  await cf.db.prepare('UPDATE pointers SET pinned = 1').run();
  for (let i = 1; i < 40; i++) {
    cf.nowMs += 10 * MINUTE_MS;
    expect((await publisher.publish(versionOf(i), [])).outcome).toBe('pinned');
  }
  expect((await publishedPorts()).slice(0, 2)).not.toContain(1);
  expect((await publishedPorts())[0]).toBe(0);
  expect((await servedByD1(cf))?.snapshot).toEqual(versionOf(0));
  expect((await servedByKv(cf))?.snapshot).toEqual(versionOf(0));
});

test('orphans of long ago are deleted; young ones and what is not ours stay', async () => {
  const put = (name: string, metadata: object | null) => cf.kv.put(name, '{}', { metadata });
  await put(shardKey('old'), { writtenAtMs: cf.nowMs - HOUR_MS - 1 });
  await put(shardKey('young'), { writtenAtMs: cf.nowMs - HOUR_MS + 1 });
  await put(shardKey('unknown'), null);
  await put('something/else', { writtenAtMs: 0 });
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(versionOf(0), []);
  const expected = [
    ...(await shardKeysOf([versionOf(0)])),
    shardKey('young'),
    shardKey('unknown'),
    pointerKey('test'),
    'something/else',
  ];
  expect(await cf.keys()).toEqual(expected.toSorted());

  await cf.clearFaults();
  cf.nowMs += HOUR_MS / 2;
  await publisher.publish(versionOf(1), []);
  expect(await cf.calls()).not.toContain('GET keys');
});

test('more keys than one page has', async () => {
  const old = Array.from({ length: 2_300 }, (_, i) => shardKey(`old-${i}`));
  const { kv } = cf.clients();
  await kv.putAll(old.map((key) => ({ key, value: '{}', metadata: { writtenAtMs: 0 } })));
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(versionOf(0), []);
  expect(await cf.keys('causeway/1/shard/')).toEqual(await shardKeysOf([versionOf(0)]));
});

test('shards of another cluster in the same database stay', async () => {
  const [east, west] = [cf.publisher({ cluster: 'east' }), cf.publisher({ cluster: 'west' })];
  await east.claim();
  await east.publish(versionOf(0), []);
  cf.nowMs += 5 * HOUR_MS;
  await west.claim();
  await west.publish(versionOf(1), []);
  expect((await servedByD1(cf, 'east'))?.snapshot).toEqual(versionOf(0));
  expect((await servedByD1(cf, 'west'))?.snapshot).toEqual(versionOf(1));
});

test('nothing is deleted where clusters of another database have their shards too', async () => {
  await cf.kv.put(shardKey('of-another'), '{}', { metadata: { writtenAtMs: 0 } });
  await cf.kv.put(pointerKey('foreign'), '{}');
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(versionOf(0), []);
  expect(await cf.keys()).toContain(shardKey('of-another'));
  const warning = cf.lines.find(({ level }) => level === 'warn');
  expect(warning).toMatchObject({ fields: { clusters: ['foreign'] } });
});

test('shards that somebody deleted are written again by the next process', async () => {
  const first = cf.publisher();
  await first.claim();
  await first.publish(versionOf(0), []);
  for (const key of await cf.keys()) await cf.kv.delete(key);
  await expect(servedByD1(cf)).rejects.toThrow(/KV has no shard/);
  const second = cf.publisher();
  await second.claim();
  expect((await second.publish(versionOf(0), [])).outcome).toBe('unchanged');
  expect((await servedByD1(cf))?.snapshot).toEqual(versionOf(0));
  expect((await servedByKv(cf))?.snapshot).toEqual(versionOf(0));
});

test('tidying up that fails is told and hurts nobody', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await cf.inject({ match: '/keys$', times: 100, respond: { kind: 'status', status: 500 } });
  expect((await publisher.publish(versionOf(0), [])).outcome).toBe('published');
  expect(cf.lines.some(({ message }) => message.startsWith('tidying up failed'))).toBe(true);
});

test('a deposed publisher deletes nothing', async () => {
  const { kv, d1 } = cf.clients();
  let takeOver: () => Promise<unknown> = async () => {};
  const old = cf.publisher({
    d1,
    kv: {
      put: (pair) => kv.put(pair),
      putAll: (pairs) => kv.putAll(pairs),
      deleteAll: (keys) => kv.deleteAll(keys),
      async *list(prefix) {
        yield* kv.list(prefix);
        await takeOver();
      },
    },
  });
  await old.claim();
  for (let i = 0; i < 25; i++) await old.publish(versionOf(i), []);
  cf.nowMs += 2 * HOUR_MS;
  await cf.kv.put(shardKey('orphan'), '{}', { metadata: { writtenAtMs: 0 } });
  takeOver = () => cf.publisher().claim();
  await old.publish(versionOf(30), []);
  expect(await cf.keys()).toContain(shardKey('orphan'));
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 26 }]);
});
