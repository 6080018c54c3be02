import { expect, test } from 'vitest';
import { clusterState } from '../../syncer/cluster-state.ts';
import { SILENT_LOGGER } from '../../syncer/log.ts';
import { type LoopOptions, ReconcileLoop } from '../../syncer/loop.ts';
import { ManualClock, settle } from './support/clocks.ts';

class FakeSource {
  synced = true;
  stopped = false;
  change: () => void = () => {};

  async start(onChange: () => void): Promise<void> {
    this.change = onChange;
  }

  state() {
    return clusterState([]);
  }

  async stop(): Promise<void> {
    this.stopped = true;
  }
}

function setUp(options: Partial<LoopOptions> = {}) {
  const clock = new ManualClock();
  const source = new FakeSource();
  const runsAtMs: number[] = [];
  const loop = new ReconcileLoop({
    source,
    run: async () => {
      runsAtMs.push(clock.now());
    },
    clock,
    random: () => 1,
    log: SILENT_LOGGER,
    ...options,
  });
  return { clock, source, loop, runsAtMs };
}

test('runs once after the start, and then after a quiet period', async () => {
  const { clock, source, loop, runsAtMs } = setUp();
  await loop.start();
  await clock.advance(1_000);
  expect(runsAtMs).toEqual([250]);
  source.change();
  await clock.advance(200);
  source.change();
  await clock.advance(249);
  expect(runsAtMs).toEqual([250]);
  await clock.advance(1);
  expect(runsAtMs).toEqual([250, 1_450]);
  await loop.stop();
});

test('without quiet it runs at the ceiling', async () => {
  const { clock, source, loop, runsAtMs } = setUp();
  await loop.start();
  await clock.advance(500);
  for (let i = 0; i < 25; i++) {
    source.change();
    await clock.advance(100);
  }
  expect(runsAtMs).toEqual([250, 1_500, 2_500]);
  await clock.advance(1_000);
  expect(runsAtMs).toHaveLength(4);
  await loop.stop();
});

test('never before the source is synced', async () => {
  const { clock, source, loop, runsAtMs } = setUp();
  source.synced = false;
  await loop.start();
  for (let i = 0; i < 10; i++) {
    source.change();
    await clock.advance(5_000);
  }
  expect(runsAtMs).toEqual([]);
  source.synced = true;
  await clock.advance(250);
  expect(runsAtMs).toHaveLength(1);
  await loop.stop();
});

test('one run at a time, and another for what changed meanwhile', async () => {
  let finish = () => {};
  let running = 0;
  let most = 0;
  let runs = 0;
  const { clock, source, loop } = setUp({
    run: async () => {
      most = Math.max(most, ++running);
      runs++;
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      running--;
    },
  });
  await loop.start();
  await clock.advance(250);
  expect(runs).toBe(1);
  source.change();
  await clock.advance(10_000);
  expect(runs).toBe(1);
  finish();
  await clock.advance(0);
  expect(runs).toBe(2);
  finish();
  await clock.advance(30_000);
  expect(runs).toBe(2);
  expect(most).toBe(1);
  await loop.stop();
});

test('backs off after failures, stays dirty, and is well again after a success', async () => {
  let failing = true;
  const runsAtMs: number[] = [];
  const { clock, source, loop } = setUp({
    run: async () => {
      runsAtMs.push(clock.now());
      if (failing) throw new Error('no');
    },
  });
  await loop.start();
  await clock.advance(250);
  source.change();
  await clock.advance(15_000);
  expect(runsAtMs).toEqual([250, 1_250, 3_250, 7_250, 15_250]);
  expect(loop.failures).toBe(5);
  failing = false;
  await clock.advance(16_000);
  expect(runsAtMs.at(-1)).toBe(31_250);
  expect(loop.failures).toBe(0);
  await clock.advance(30_000);
  expect(runsAtMs).toHaveLength(6);
  await loop.stop();
});

test('the back-off has a ceiling and jitter', async () => {
  const runsAtMs: number[] = [];
  const { clock, loop } = setUp({
    random: () => 0,
    run: async () => {
      runsAtMs.push(clock.now());
      throw new Error('no');
    },
  });
  await loop.start();
  await clock.advance(600_000);
  expect(runsAtMs.slice(1, 3)).toEqual([750, 1_750]);
  const [last = 0, before = 0] = [runsAtMs.at(-1), runsAtMs.at(-2)];
  expect(last - before).toBe(30_000);
  await loop.stop();
});

test('runs now and then without changes', async () => {
  const { clock, loop, runsAtMs } = setUp({ resyncMs: 10_000 });
  await loop.start();
  await clock.advance(25_000);
  expect(runsAtMs).toEqual([250, 10_250, 20_250]);
  await loop.stop();
});

test('stop waits for the run under way and starts no other', async () => {
  let finish = () => {};
  let runs = 0;
  const { clock, source, loop } = setUp({
    run: () => {
      runs++;
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    },
  });
  await loop.start();
  await clock.advance(250);
  source.change();
  let stopped = false;
  const stopping = loop.stop().then(() => {
    stopped = true;
  });
  await settle();
  expect(stopped).toBe(false);
  expect(source.stopped).toBe(false);
  finish();
  await stopping;
  expect(runs).toBe(1);
  expect(source.stopped).toBe(true);
});

test('stop ends a wait', async () => {
  const { clock, loop, runsAtMs } = setUp();
  await loop.start();
  await clock.advance(250);
  await loop.stop();
  await clock.advance(200_000);
  expect(runsAtMs).toEqual([250]);
});
