import { beforeEach, expect, test } from 'vitest';
import type { Problem, Snapshot } from '../../snapshot/types.ts';
import { FoundProblems } from '../../syncer/certificates/found-problems.ts';
import { clusterState } from '../../syncer/cluster-state.ts';
import { DEFAULTS } from '../../syncer/compile/options.ts';
import { type Follower, Followers, type Served } from '../../syncer/followers.ts';
import { SILENT_LOGGER } from '../../syncer/log.ts';
import { Metrics } from '../../syncer/metrics.ts';
import type { PublishResult } from '../../syncer/publish-result.ts';
import { Reconciler } from '../../syncer/reconciler.ts';
import { Term } from '../../syncer/term.ts';
import { ManualClock, settle } from '../publish/support/clocks.ts';

const VERSION = 'f'.repeat(64);
const UNCHANGED: PublishResult = { outcome: 'unchanged', version: VERSION };

let clock: ManualClock;
let metrics: Metrics;
let term: Term | null;
let outdated: number[];
let claims: (number | null)[];
let granted: boolean;
let published: number;
let publish: (snapshot: Snapshot, problems: readonly Problem[]) => Promise<PublishResult>;
let served: Served[];
let found: FoundProblems;
let reconciler: Reconciler;

const newTerm = (token: number) =>
  new Term(
    token,
    10_000,
    { monotonicMs: clock.now(), wallMs: 0 },
    { monotonicMs: () => clock.now(), wallMs: () => 0 },
  );

function reconcilerWith(followers: readonly Follower[]): Reconciler {
  return new Reconciler({
    source: {
      start: async () => {},
      stop: async () => {},
      synced: true,
      state: () => clusterState([]),
    },
    compile: DEFAULTS,
    wallMs: () => 0,
    leadership: {
      get term() {
        return term?.isOver ? null : term;
      },
      outdated: (_, token) => outdated.push(token),
    },
    publisherFor: () => ({
      claim: async (token = null) => {
        claims.push(token);
        return { granted, fencingToken: granted ? (token ?? 1) : 99 };
      },
      publish: (snapshot, problems) => {
        published++;
        return publish(snapshot, problems);
      },
    }),
    followers: new Followers(followers, SILENT_LOGGER),
    found,
    metrics,
    clock,
    log: SILENT_LOGGER,
  });
}

beforeEach(() => {
  clock = new ManualClock();
  metrics = new Metrics({
    clock,
    wallMs: () => 0,
    process: false,
    sources: {
      calls: () => ({
        ...{ calls: 0, callsInWindow: 0, callsLeft: 0, byStatus: {} },
        ...{ retries: 0, failures: 0, heldBackMs: 0 },
      }),
      kinds: () => [],
      synced: () => true,
      leads: () => term !== null,
      leaseTransitions: () => 0,
    },
  });
  term = null;
  outdated = [];
  claims = [];
  granted = true;
  published = 0;
  publish = async () => UNCHANGED;
  served = [];
  found = new FoundProblems();
  reconciler = reconcilerWith([async (it) => void served.push(it)]);
});

const metric = async (line: RegExp) => expect(await metrics.registry.metrics()).toMatch(line);

test('a standby compiles and does nothing else', async () => {
  await reconciler.run();
  expect(claims).toEqual([]);
  expect(published).toBe(0);
  expect(served).toEqual([]);
  await metric(/^causeway_compile_duration_seconds_count 1$/m);
});

test('a leader claims once in a term, and its followers hear of every run', async () => {
  term = newTerm(3);
  await reconciler.run();
  await reconciler.run();
  await settle();
  expect(claims).toEqual([3]);
  expect(served).toHaveLength(2);
  expect(served[0]).toMatchObject({ version: VERSION, result: UNCHANGED, term });
  term.end('test');
  term = newTerm(4);
  await reconciler.run();
  expect(claims).toEqual([3, 4]);
});

test('what followers found is told with the next run, by who leads', async () => {
  const problem: Problem = {
    object: { kind: 'Ingress', namespace: 'shop', name: 'web' },
    reason: 'CertificateNotCovered',
    message: 'app.example.com: no certificate is for it',
  };
  const told: (readonly Problem[])[] = [];
  publish = async (_, problems) => {
    told.push(problems);
    return UNCHANGED;
  };
  term = newTerm(3);
  await reconciler.run();
  found.replace([problem]);
  await reconciler.run();
  await settle();
  expect(told).toEqual([[], [problem]]);
  expect(served.map(({ compilation }) => compilation.problems)).toEqual([[], [problem]]);
  expect(served.map(({ fencingToken }) => fencingToken)).toEqual([3, 3]);
  await metric(/^causeway_problems{reason="CertificateNotCovered".*} 1$/m);
  term.end('over');
  await reconciler.run();
  await metric(/^causeway_problems{reason="CertificateNotCovered".*} 0$/m);
});

test('a token that is worth nothing is handed back, and nothing is published', async () => {
  term = newTerm(3);
  granted = false;
  await reconciler.run();
  expect(outdated).toEqual([99]);
  expect(published).toBe(0);
  expect(served).toEqual([]);
});

test('a publication that the end of the term ended is no failure', async () => {
  term = newTerm(3);
  publish = async () => {
    term?.end('the Lease went to "pod-b"');
    throw new Error('whatever the call says');
  };
  await reconciler.run();
  expect(reconciler.failingForMs).toBe(0);
  expect(served).toEqual([]);
  await metric(/^causeway_publications_total\{result="abandoned"\} 1$/m);
  await metric(/^causeway_publications_total\{result="failed"\} 0$/m);
});

test('failing lasts until a success, or until others lead', async () => {
  term = newTerm(3);
  publish = async () => {
    throw new Error('503');
  };
  await expect(reconciler.run()).rejects.toThrow('503');
  await clock.advance(4_000);
  await expect(reconciler.run()).rejects.toThrow('503');
  await clock.advance(1_000);
  expect(reconciler.failingForMs).toBe(5_000);
  publish = async () => UNCHANGED;
  await reconciler.run();
  expect(reconciler.failingForMs).toBe(0);
});

test('a claim that fails fails the run, and counts from the first', async () => {
  term = newTerm(3);
  granted = true;
  const failing = reconcilerWith([]);
  publish = async () => {
    throw new Error('no');
  };
  await expect(failing.run()).rejects.toThrow('no');
  await clock.advance(2_000);
  term = null;
  await failing.run();
  expect(failing.failingForMs).toBe(0);
});

test('a deposed leader says so, and nobody follows it', async () => {
  term = newTerm(3);
  publish = async () => ({ outcome: 'deposed', version: VERSION, fencingToken: 4 });
  await reconciler.run();
  await settle();
  expect(reconciler.isDeposed).toBe(true);
  expect(served).toEqual([]);
});

test('followers hold up no publication, skip what was overtaken, and fail alone', async () => {
  term = newTerm(3);
  let finish = () => {};
  const slow: Served[] = [];
  const quick: Served[] = [];
  const both = reconcilerWith([
    async (it) => {
      slow.push(it);
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    },
    async (it) => {
      quick.push(it);
      throw new Error('of this one only');
    },
  ]);
  for (let i = 0; i < 4; i++) {
    await both.run();
    await settle();
  }
  expect([slow.length, quick.length]).toEqual([1, 4]);
  finish();
  await settle();
  expect(slow).toHaveLength(2);
  expect(slow[1]).toBe(quick[3]);
});

test('followers do not begin after the term', async () => {
  term = newTerm(3);
  const followers: Served[] = [];
  const late = reconcilerWith([async (it) => void followers.push(it)]);
  const running = late.run();
  publish = async () => {
    term?.end('test');
    return UNCHANGED;
  };
  await running;
  await settle();
  expect(followers).toEqual([]);
});
