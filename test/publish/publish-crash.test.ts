import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FaultResponse } from '../../local/workers/cloudflare-api/faults.ts';
import type { Snapshot } from '../../snapshot/types.ts';
import { LocalCloudflare } from './support/cloudflare.ts';
import { servedByD1, servedByKv } from './support/served.ts';
import { problemsOf, snapshotOf } from './support/snapshots.ts';

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const OLD = snapshotOf(['a.example.com', 'b.example.org']);
const NEW = snapshotOf(['a.example.com', 'c.example.net'], 30_081);
const HOUR_MS = 60 * 60_000;

/** Claim, state, shards, pointer, mirror, problems, and then the sweep: list, prune, delete. */
const CALLS_OF_A_RUN = 9;

/** The process dies at call `k`: that one is answered so, and no later one is done. */
async function dieAt(k: number, respond: FaultResponse): Promise<void> {
  await cf.clearFaults();
  await cf.inject(
    { match: '.', skip: k, times: 1, respond },
    { match: '.', skip: k, times: 1_000_000, respond: { kind: 'refuse' } },
  );
}

/** What a new process does: it claims, and publishes what the cluster is like. */
async function run(snapshot: Snapshot): Promise<void> {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(snapshot, problemsOf(2));
}

/** OLD is served, and there are rows to prune and a shard to delete, all of long ago. */
async function publishHistory(): Promise<void> {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(snapshotOf(['gone.example.com']), []);
  cf.nowMs += 1_000;
  await publisher.publish(OLD, []);
  const columns = `cluster, manifest, signature, published_at_ms, published_by, fencing_token,
    virtual_hosts, routes, upstreams, endpoints, problems, size_bytes, changes`;
  await cf.db
    .prepare(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25)
       INSERT INTO publications (version, ${columns})
       SELECT version || CASE i WHEN 25 THEN '' ELSE i END, ${columns} FROM n, publications
       WHERE id = (SELECT max(id) FROM publications)`,
    )
    .run();
  cf.nowMs += 2 * HOUR_MS;
}

async function checkIntact(possible: readonly Snapshot[]): Promise<void> {
  for (const served of [await servedByD1(cf), await servedByKv(cf)]) {
    if (served) expect(possible).toContainEqual(served.snapshot);
  }
}

async function checkRepaired(snapshot: Snapshot): Promise<void> {
  await cf.clearFaults();
  cf.nowMs += 1_000;
  await run(snapshot);
  expect((await servedByD1(cf))?.snapshot).toEqual(snapshot);
  expect(await servedByKv(cf)).toEqual(await servedByD1(cf));
  expect(await cf.rows('SELECT count(*) AS n FROM problems')).toEqual([{ n: 2 }]);
}

const DEATHS: readonly FaultResponse[] = [
  { kind: 'refuse' },
  { kind: 'drop' },
  { kind: 'only', statements: [0] },
  { kind: 'only', statements: [0, 1] },
  { kind: 'only', statements: [1] },
  { kind: 'partial', failing: 1 },
];

describe.each(DEATHS)('a process that dies by %j', (respond) => {
  test('in its first publication', async () => {
    for (let k = 0; k < CALLS_OF_A_RUN; k++) {
      await cf.reset();
      await dieAt(k, respond);
      await run(NEW).catch(() => {});
      await checkIntact([NEW]);
      await checkRepaired(NEW);
    }
  });

  test('in an update with a history to tidy up', async () => {
    for (let k = 0; k < CALLS_OF_A_RUN; k++) {
      await cf.reset();
      await publishHistory();
      await dieAt(k, respond);
      await run(NEW).catch(() => {});
      await checkIntact([OLD, NEW]);
      await checkRepaired(NEW);
    }
  });
});

test('a process that dies and finds the cluster as it was before', async () => {
  for (let k = 0; k < CALLS_OF_A_RUN; k++) {
    await cf.reset();
    await run(OLD);
    await dieAt(k, { kind: 'drop' });
    await run(NEW).catch(() => {});
    await checkIntact([OLD, NEW]);
    await checkRepaired(OLD);
  }
});

test('the run that dies really has as many calls', async () => {
  await publishHistory();
  await cf.clearFaults();
  await run(NEW);
  expect(await cf.calls()).toHaveLength(CALLS_OF_A_RUN - 1);
  expect(await cf.calls()).toContain('POST delete');
});

test('a process that does not know how far it came finds out', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(OLD, problemsOf(2));
  for (const match of ['/raw$', '/values/']) {
    await cf.inject(
      { match, respond: { kind: 'drop' } },
      { match, times: 4, respond: { kind: 'refuse' } },
    );
    await expect(publisher.publish(NEW, problemsOf(2))).rejects.toThrow(/no answer/);
    await cf.clearFaults();
    cf.nowMs += 1_000;
    await publisher.publish(OLD, problemsOf(2));
    expect((await servedByD1(cf))?.snapshot).toEqual(OLD);
    expect((await servedByKv(cf))?.snapshot).toEqual(OLD);
  }
});

test('one process that fails at every call goes on as soon as it can', async () => {
  const publisher = cf.publisher();
  await publisher.claim();
  await publisher.publish(OLD, []);
  for (let k = 0; k < 4; k++) {
    const next = snapshotOf(['a.example.com'], 40_000 + k);
    await dieAt(k, { kind: 'refuse' });
    await publisher.publish(next, problemsOf(k)).catch(() => {});
    await checkIntact([OLD, next]);
    await cf.clearFaults();
    cf.nowMs += 1_000;
    await publisher.publish(next, problemsOf(k));
    expect((await servedByD1(cf))?.snapshot).toEqual(next);
    expect((await servedByKv(cf))?.snapshot).toEqual(next);
    await publisher.publish(OLD, []);
  }
});
