import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { encodeSnapshot } from '../../snapshot/codec.ts';
import {
  generateKeyPair,
  importPrivateKey,
  importPublicKey,
  verifyVersion,
} from '../../snapshot/signature.ts';
import type { Problem } from '../../snapshot/types.ts';
import type { UnfinishedPublication } from '../../syncer/publish-result.ts';
import { LocalCloudflare, START_MS } from './support/cloudflare.ts';
import { servedByD1, servedByKv } from './support/served.ts';
import { bigSnapshot, problemsOf, snapshotOf } from './support/snapshots.ts';

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const A = snapshotOf(['a.example.com']);
const AB = snapshotOf(['a.example.com', 'b.example.org']);

test('the first publication is served by D1 and by the mirror', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const result = await publisher.publish(A, []);
  expect(result).toMatchObject({ outcome: 'published', replaced: '', shardsWritten: 2 });
  expect(await servedByD1(cf)).toEqual({ version: result.version, snapshot: A });
  expect(await servedByKv(cf)).toEqual({ version: result.version, snapshot: A });
  const [row] = await cf.rows('SELECT * FROM publications');
  expect(row).toMatchObject({
    cluster: 'test',
    version: result.version,
    published_at_ms: START_MS,
    published_by: 'a test',
    fencing_token: 1,
    virtual_hosts: 1,
    routes: 1,
    upstreams: 1,
    endpoints: 1,
    problems: 0,
    changes: 'null',
  });
  expect(await cf.rows('SELECT typeof(moved_at_ms) AS type FROM pointers')).toEqual([
    { type: 'integer' },
  ]);
});

test('a publication costs three calls, and none when nothing changed', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(A, []);
  await cf.clearFaults();
  expect((await publisher.publish(A, [])).outcome).toBe('unchanged');
  expect(await cf.calls()).toEqual([]);
  expect(await publisher.publish(AB, [])).toMatchObject({ outcome: 'published' });
  expect(await cf.calls()).toEqual(['PUT bulk', 'POST raw', 'PUT value']);
  expect((await servedByD1(cf))?.snapshot).toEqual(AB);
});

test('a restart publishes nothing that is published already', async () => {
  const first = cf.publisher();
  await first.claim();
  await first.publish(AB, []);
  await cf.clearFaults();
  const second = cf.publisher();
  await second.claim();
  expect((await second.publish(AB, [])).outcome).toBe('unchanged');
  // Claim and state in one, the mirror and the problems (not known to be right), and the sweep.
  expect((await cf.calls()).toSorted()).toEqual(
    ['POST raw', 'PUT value', 'POST raw', 'GET keys', 'POST raw'].toSorted(),
  );
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 1 }]);
});

test('only the shards that changed are written, and a version may come back', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const before = bigSnapshot(40, 60);
  const after = {
    ...before,
    upstreams: before.upstreams.map((upstream, i) =>
      i === 7 ? { ...upstream, endpoints: [{ host: '192.0.2.9', port: 1 }] } : upstream,
    ),
  };
  const { version, ...first } = await publisher.publish(before, []);
  const shardCount = (await encodeSnapshot(before)).shards.size;
  expect(shardCount).toBeGreaterThan(8);
  expect(first).toMatchObject({ shardsWritten: shardCount });
  cf.nowMs += 1_000;
  expect(await publisher.publish(after, [])).toMatchObject({ shardsWritten: 1 });
  cf.nowMs += 1_000;
  expect(await publisher.publish(before, [])).toMatchObject({ version, shardsWritten: 1 });
  expect(await servedByD1(cf)).toEqual({ version, snapshot: before });
  const rows = await cf.rows<{ version: string; changes: string }>(
    'SELECT version, changes FROM publications ORDER BY id',
  );
  expect(rows.map((row) => row.version === version)).toEqual([true, false, true]);
  expect(JSON.parse(rows[1]?.changes ?? '')).toMatchObject({
    hostsAdded: { count: 0 },
    hostsChanged: { count: 0 },
    endpointsChanged: 2,
  });
});

test('a big snapshot comes back whole, in more than one bulk call', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const snapshot = bigSnapshot(700, 260);
  const { shards } = await encodeSnapshot(snapshot);
  const result = await publisher.publish(snapshot, []);
  expect(result).toMatchObject({ outcome: 'published', shardsWritten: shards.size });
  expect((await cf.calls()).filter((call) => call === 'PUT bulk').length).toBeGreaterThan(1);
  expect(await servedByD1(cf)).toEqual({ version: result.version, snapshot });
});

test('versions are signed, and signed anew when the key changes', async () => {
  const [one, two] = [await generateKeyPair(), await generateKeyPair()];
  for (const pair of [one, two]) {
    const publisher = cf.publisher({ signingKey: await importPrivateKey(pair.privateKey) });
    await publisher.claim();
    const { outcome, version } = await publisher.publish(A, []);
    expect(outcome).toBe('published');
    const [row] = await cf.rows<{ signature: string }>(
      'SELECT signature FROM publications ORDER BY id DESC LIMIT 1',
    );
    const key = await importPublicKey(pair.publicKey);
    expect(await verifyVersion(key, 'test', version, row?.signature ?? '')).toBe(true);
    expect(await verifyVersion(key, 'other', version, row?.signature ?? '')).toBe(false);
    const mirror = JSON.parse((await cf.kv.get('causeway/1/pointer/test', 'text')) ?? '{}');
    expect(mirror.signature).toBe(row?.signature);
  }
});

test('a pinned pointer stays, with body and publication written, until it is unpinned', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const { version: serving } = await publisher.publish(A, []);
  await cf.db.prepare('UPDATE pointers SET pinned = 1').run();
  const pinned = await publisher.publish(AB, []);
  expect(pinned).toMatchObject({ outcome: 'pinned', serving });
  expect((await servedByD1(cf))?.version).toBe(serving);
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 2 }]);

  await cf.clearFaults();
  expect(await publisher.publish(AB, [])).toEqual(pinned);
  expect(await cf.calls()).toEqual(['POST raw']);
  const told = cf.lines.filter(({ level }) => level === 'warn');
  expect(told).toHaveLength(1);
  expect(told[0]?.message).toMatch(/pinned/);

  await cf.db.prepare('UPDATE pointers SET pinned = 0').run();
  expect(await publisher.publish(AB, [])).toMatchObject({ outcome: 'published' });
  expect((await servedByD1(cf))?.snapshot).toEqual(AB);
});

test('a pointer that was moved by hand, but not pinned, is moved on', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const { version: old } = await publisher.publish(A, []);
  await publisher.publish(AB, []);
  await cf.db.prepare('UPDATE pointers SET version = ?').bind(old).run();
  const next = snapshotOf(['c.example.net']);
  expect(await publisher.publish(next, [])).toMatchObject({ outcome: 'published', replaced: old });
  expect((await servedByD1(cf))?.snapshot).toEqual(next);
  expect(cf.lines.some(({ message }) => /somebody moved the pointer/.test(message))).toBe(true);
});

test('moving on from there to an old version is a publication of its own', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const { version: first } = await publisher.publish(A, []);
  await publisher.publish(AB, []);
  await publisher.publish(snapshotOf(['c.example.net']), []);
  await cf.db.prepare('UPDATE pointers SET version = ?').bind(first).run();
  cf.nowMs += 1_000;
  expect(await publisher.publish(AB, [])).toMatchObject({ outcome: 'published', replaced: first });
  expect(await cf.rows('SELECT count(*) AS n FROM publications')).toEqual([{ n: 4 }]);
});

test('a manifest in D1 that lies is not believed', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(A, []);
  const { manifest } = await encodeSnapshot(AB);
  await cf.db.prepare('UPDATE publications SET manifest = ?').bind(manifest).run();
  const next = cf.publisher();
  await next.claim();
  expect(await next.publish(AB, [])).toMatchObject({ shardsWritten: 2 });
  expect((await servedByD1(cf))?.snapshot).toEqual(AB);

  await cf.db.prepare('UPDATE publications SET manifest = ?').bind('{}').run();
  cf.nowMs += 1_000;
  const last = cf.publisher();
  await last.claim();
  expect(await last.publish(AB, [])).toMatchObject({ outcome: 'published' });
  expect((await servedByD1(cf))?.snapshot).toEqual(AB);
});

test('rows that are gone are made again', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(A, []);
  await cf.db.prepare('DELETE FROM pointers').run();
  await cf.db.prepare('DELETE FROM publications').run();
  expect(await publisher.publish(AB, [])).toMatchObject({ outcome: 'published' });
  await cf.db.prepare('DELETE FROM publications').run();
  cf.nowMs += 6 * 60_000;
  expect(await publisher.publish(AB, [])).toMatchObject({ outcome: 'published' });
  expect((await servedByD1(cf))?.snapshot).toEqual(AB);
});

test('5,000 problems are replaced as a whole, and written only when they changed', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const many = problemsOf(5_000);
  await publisher.publish(A, many);
  expect(await readProblems()).toEqual(many);
  const [row] = await cf.rows<{ problems: number }>('SELECT problems FROM publications');
  expect(row?.problems).toBe(5_000);

  await cf.clearFaults();
  await publisher.publish(A, [...many]);
  expect(await cf.calls()).toEqual([]);

  const fewer = [...many.slice(0, 10), ...problemsOf(3, 'changed')];
  expect((await publisher.publish(A, fewer)).outcome).toBe('unchanged');
  expect(await cf.calls()).toEqual(['POST raw']);
  expect(await readProblems()).toEqual(fewer);
  await publisher.publish(A, []);
  expect(await readProblems()).toEqual([]);
});

test('odd texts of problems pass', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  const object = { kind: 'Ingress', namespace: '', name: `it's "x" \\ $[0]` };
  const message = `a\u0001b \ud800 ${'y'.repeat(10_000)}`;
  await publisher.publish(A, [{ object, reason: 'InvalidObject', message }]);
  const [problem] = await readProblems();
  expect(problem?.object).toEqual(object);
  expect(problem?.message.startsWith('a\u0001b \ufffd yyy')).toBe(true);
  expect(problem?.message.length).toBeLessThan(5_000);
});

test('without its mirror or problems a publication is unfinished, and the next run ends it', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(A, []);
  await cf.inject({ match: '^PUT .*/values/', times: 5, respond: { kind: 'status', status: 500 } });
  const failed = publisher.publish(AB, problemsOf(1));
  const error = await failed.catch((thrown: UnfinishedPublication) => thrown);
  expect(error).toMatchObject({
    name: 'UnfinishedPublication',
    message: expect.stringMatching(/^published, but KV write: 500 /),
    result: { outcome: 'published' },
  });
  expect((await servedByD1(cf))?.snapshot).toEqual(AB);
  expect(await readProblems()).toEqual(problemsOf(1));
  expect((await servedByKv(cf))?.snapshot).toEqual(A);
  expect((await publisher.publish(AB, problemsOf(1))).outcome).toBe('unchanged');
  expect((await servedByKv(cf))?.snapshot).toEqual(AB);
});

test('publish comes after claim', async () => {
  await expect(cf.publisher().publish(A, [])).rejects.toThrow(/claim/);
});

async function readProblems(): Promise<readonly Problem[]> {
  const rows = await cf.rows<Problem['object'] & Omit<Problem, 'object'>>(
    'SELECT * FROM problems ORDER BY position',
  );
  return rows.map(({ kind, namespace, name, reason, message }) => ({
    object: { kind, namespace, name },
    reason,
    message,
  }));
}
