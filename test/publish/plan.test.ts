import { expect, test } from 'vitest';
import { pointerKey, shardKey } from '../../snapshot/keys.ts';
import {
  countSnapshot,
  foreignClusters,
  KEEP_MS,
  orphans,
  problemChunks,
  summariseChanges,
} from '../../syncer/plan.ts';
import { bigSnapshot, problemsOf, snapshotOf } from './support/snapshots.ts';

test('what changed, for people', () => {
  const before = snapshotOf(['a.example', 'b.example', 'c.example']);
  const [, host] = before.virtualHosts;
  const after = {
    virtualHosts: [
      ...before.virtualHosts.slice(0, 1),
      ...(host ? [{ ...host, routes: [] }] : []),
      ...snapshotOf(['d.example']).virtualHosts,
    ],
    upstreams: snapshotOf(['a.example', 'b.example', 'd.example']).upstreams,
  };
  expect(summariseChanges(before, after)).toEqual({
    hostsAdded: { count: 1, names: ['d.example'] },
    hostsRemoved: { count: 1, names: ['c.example'] },
    hostsChanged: { count: 1, names: ['b.example'] },
    endpointsChanged: 2,
  });
  expect(summariseChanges(null, after)).toBeNull();
});

test('long lists of hosts are counted and cut', () => {
  const summary = summariseChanges(bigSnapshot(0, 1), bigSnapshot(500, 1));
  expect(summary?.hostsAdded.count).toBe(500);
  expect(summary?.hostsAdded.names).toHaveLength(50);
});

test('counts', () => {
  expect(countSnapshot(bigSnapshot(3, 5))).toEqual({
    virtualHosts: 3,
    routes: 15,
    upstreams: 3,
    endpoints: 3,
  });
});

test('problems come in chunks below what D1 takes, and in order', () => {
  const chunks = problemChunks(problemsOf(20_000));
  expect(chunks.length).toBeGreaterThan(5);
  for (const chunk of chunks) expect(Buffer.byteLength(chunk)).toBeLessThan(1_900_000);
  const positions = chunks.flatMap((chunk) => JSON.parse(chunk).map((row: unknown[]) => row[0]));
  expect(positions).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
  expect(problemChunks([])).toEqual(['[]']);
});

test('which keys are orphans', () => {
  const now = 10 * KEEP_MS;
  const listed = (name: string, metadata: unknown) => ({ name, metadata });
  const old = { writtenAtMs: now - KEEP_MS - 1 };
  const keys = [
    listed(shardKey('old'), old),
    listed(shardKey('named'), old),
    listed(shardKey('young'), { writtenAtMs: now - KEEP_MS }),
    listed(shardKey('strange'), { writtenAtMs: 'long ago' }),
    listed(shardKey('bare'), undefined),
    listed(pointerKey('default'), old),
  ];
  expect(orphans(keys, new Set(['named']), now)).toEqual([shardKey('old')]);
  expect(foreignClusters(keys, ['default'])).toEqual([]);
  expect(foreignClusters(keys, ['other'])).toEqual(['default']);
});
