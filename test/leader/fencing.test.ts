import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { KvStore } from '../../syncer/cloudflare/kv-store.ts';
import type { Publisher } from '../../syncer/publish.ts';
import { Term } from '../../syncer/term.ts';
import { LocalCloudflare } from '../publish/support/cloudflare.ts';
import { servedByD1, servedByKv } from '../publish/support/served.ts';
import { problemsOf, snapshotOf } from '../publish/support/snapshots.ts';

/** A leader that is stopped anywhere in a publication and goes on after another has taken over. */

let cf: LocalCloudflare;
beforeAll(async () => {
  cf = await LocalCloudflare.start();
});
afterAll(() => cf.stop());
beforeEach(() => cf.reset());

const BEFORE = snapshotOf(['before.example.com']);
const OLD = snapshotOf(['old.example.com']);
const NEW = snapshotOf(['new.example.com']);

/** Claim, shards, pointer, and then the mirror and the problems, side by side. */
const CALLS_OF_A_RUN = 5;

async function takeOver(token: number): Promise<void> {
  const young = cf.publisher();
  expect(await young.claim(token)).toMatchObject({ granted: true });
  await young.publish(NEW, problemsOf(1, 'of the new one'));
}

async function expectNew(): Promise<void> {
  expect((await servedByD1(cf))?.snapshot).toEqual(NEW);
  expect((await servedByKv(cf))?.snapshot).toEqual(NEW);
  const rows = await cf.rows<{ message: string }>('SELECT message FROM problems');
  expect(rows.map(({ message }) => message.slice(0, 14))).toEqual(['of the new one']);
}

test('stopped before any of its calls, it makes none of them', async () => {
  for (let k = 1; k <= CALLS_OF_A_RUN; k++) {
    await cf.reset();
    const before = cf.publisher();
    await before.claim(1);
    await before.publish(BEFORE, []);

    let elapsedMs = 0;
    const clocks = { monotonicMs: () => elapsedMs, wallMs: () => 0 };
    const term = new Term(2, 10_000, { monotonicMs: 0, wallMs: 0 }, clocks);
    let calls = 0;
    let stopped: () => void = () => {};
    const isStopped = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    // What stands for SIGSTOP: between being asked and the call, time goes by and others act.
    const permit = () => {
      if (++calls === k) {
        elapsedMs = 60_000;
        stopped();
      }
      term.check();
    };
    const old = cf.publisher(cf.clients({ permit, signal: term.signal }));
    const work = old
      .claim(2)
      .then(() => old.publish(OLD, problemsOf(3, 'of the old one')))
      .catch((error) => error);
    await isStopped;
    const outcome = await work;
    if (outcome instanceof Error) expect(outcome.message).toMatch(/not renewed/);
    await takeOver(3);
    await expectNew();
  }
});

test('stopped after it was allowed and before the call went out, D1 refuses it', async () => {
  for (const method of ['putAll', 'put'] as const) {
    await cf.reset();
    let isTaken = false;
    const { kv, d1 } = cf.clients();
    const old: Publisher = cf.publisher({
      d1,
      kv: stoppedBefore(kv, method, async () => {
        if (isTaken) return;
        isTaken = true;
        await takeOver(3);
      }),
    });
    await old.claim(2);
    await old.publish(OLD, problemsOf(3, 'of the old one')).catch(() => {});
    expect((await servedByD1(cf))?.snapshot).toEqual(NEW);
    // The next word of the new leader mends the mirror, which nothing can fence.
    const young = cf.publisher();
    await young.claim(4);
    await young.publish(NEW, problemsOf(1, 'of the new one'));
    await expectNew();
  }
});

type Kv = Pick<KvStore, 'putAll' | 'put' | 'deleteAll' | 'list'>;

function stoppedBefore(kv: KvStore, method: 'putAll' | 'put', stop: () => Promise<void>): Kv {
  return {
    put: async (pair) => {
      if (method === 'put') await stop();
      await kv.put(pair);
    },
    putAll: async (pairs) => {
      if (method === 'putAll') await stop();
      await kv.putAll(pairs);
    },
    deleteAll: (keys) => kv.deleteAll(keys),
    list: (prefix) => kv.list(prefix),
  };
}
