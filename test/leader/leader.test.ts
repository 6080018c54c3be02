import { expect, test } from 'vitest';
import { Candidate, TokenLedger } from './support/candidate.ts';
import { World } from './support/world.ts';

function setUp(clocks: readonly { skewMs?: number; rate?: number }[] = [{}, {}]) {
  const world = new World();
  const ledger = new TokenLedger();
  const candidates = clocks.map((it, i) => new Candidate(`pod-${i}`, world, ledger, it));
  const leading = () => candidates.filter((it) => it.leads);
  const only = () => {
    const [leader, ...others] = leading();
    expect(others).toEqual([]);
    if (!leader) throw new Error('nobody leads');
    return leader;
  };
  const standby = () => {
    const found = candidates.find((it) => !it.leads);
    if (!found) throw new Error('all lead');
    return found;
  };
  const start = async () => {
    for (const { leader } of candidates) leader.start();
    await world.run(5_000);
    return only();
  };
  return { world, ledger, candidates, leading, only, standby, start };
}

test('the first makes the Lease, and goes on leading', async () => {
  const { world, ledger, only, start } = setUp();
  const first = await start();
  await world.run(600_000);
  expect(only()).toBe(first);
  expect(first.publishes).toBe(true);
  expect(world.server.holders).toHaveLength(1);
  expect(ledger.granted).toEqual([1]);
});

test('a leader that is killed is followed when its Lease was seen unchanged for 15 s', async () => {
  const { world, only, standby, start } = setUp([{}, { skewMs: 3_600_000 }]);
  const first = await start();
  const second = standby();
  first.machine.befall('stopped', true);
  await world.run(14_000);
  expect(second.leads).toBe(false);
  await world.run(5_000);
  expect(only()).toBe(second);
  expect(second.leader.term?.token).toBe(2);
});

test('a Lease whose writer has another time of day is left alone', async () => {
  for (const skewMs of [-86_400_000, 86_400_000]) {
    const { world, candidates, start } = setUp([{ skewMs }, {}]);
    const [, second] = candidates;
    const first = await start();
    await world.run(120_000);
    expect(first.leads).toBe(true);
    expect(second === first || second?.leads === false).toBe(true);
    expect(world.server.holders).toHaveLength(1);
  }
});

test('a Lease that is released is taken without waiting for it to expire', async () => {
  const { world, only, standby, start } = setUp();
  const first = await start();
  const second = standby();
  const stopping = first.leader.stop();
  await world.run(4_000);
  await stopping;
  expect(only()).toBe(second);
  expect(world.server.lease?.holder).toMatch(/^pod-/);
  expect(world.server.holders).toHaveLength(3);
  expect(second.publishes).toBe(true);
});

test('a standby that ends leaves the Lease alone', async () => {
  const { world, only, standby, start } = setUp();
  const first = await start();
  const stopping = standby().leader.stop();
  await world.run(5_000);
  await stopping;
  expect(only()).toBe(first);
  expect(world.server.holders).toHaveLength(1);
});

test('without the API server a leader steps down before anybody could follow it', async () => {
  const { world, candidates, leading, only, start } = setUp();
  const first = await start();
  const term = first.leader.term;
  for (const { machine } of candidates) machine.befall('cutOff', true);
  await world.run(7_500);
  expect(first.leads).toBe(true);
  expect(term?.signal.aborted).toBe(false);
  await world.run(2_500);
  expect(leading()).toEqual([]);
  expect(term?.signal.aborted).toBe(true);
  expect(term?.endedBecause).toMatch(/not renewed for 10 s/);
  await world.run(600_000);
  expect(leading()).toEqual([]);
  for (const { machine } of candidates) machine.befall('cutOff', false);
  await world.run(30_000);
  expect(only().publishes).toBe(true);
});

test('two calls may fail without anybody noticing', async () => {
  const { world, ledger, start } = setUp();
  const first = await start();
  first.machine.befall('cutOff', true);
  await world.run(5_000);
  first.machine.befall('cutOff', false);
  await world.run(60_000);
  expect(first.publishes).toBe(true);
  expect(ledger.granted).toEqual([1]);
});

test('whose answers are lost holds the Lease, does not lead, and leads when it hears again', async () => {
  const { world, ledger, candidates, leading } = setUp([{}]);
  const [alone] = candidates;
  alone?.machine.befall('deaf', true);
  alone?.leader.start();
  await world.run(30_000);
  expect(leading()).toEqual([]);
  alone?.machine.befall('deaf', false);
  await world.run(15_000);
  expect(alone?.publishes).toBe(true);
  expect(ledger.granted).toHaveLength(1);
});

test('stopped through the expiry, it wakes deposed: before any timer of its own', async () => {
  const { world, ledger, standby, start } = setUp();
  const first = await start();
  const second = standby();
  const { term } = first.leader;
  first.machine.befall('stopped', true);
  await world.run(40_000);
  expect(second.publishes).toBe(true);
  // Its very next instruction, in the middle of whatever it did.
  expect(() => term?.check()).toThrow(/not renewed/);
  first.machine.befall('stopped', false);
  await world.run(60_000);
  expect(first.leads).toBe(false);
  expect(second.publishes).toBe(true);
  expect(ledger.granted).toEqual([1, 2]);
});

test('suspended with its machine, when the monotonic clock stands still, as well', async () => {
  const { world, standby, start } = setUp();
  const first = await start();
  const second = standby();
  const { term } = first.leader;
  first.machine.befall('suspended', true);
  await world.run(40_000);
  first.machine.befall('suspended', false);
  expect(() => term?.check()).toThrow(/not renewed/);
  await world.run(30_000);
  expect(second.publishes).toBe(true);
  expect(first.leads).toBe(false);
});

test('a time of day that is set forward costs a term and no more, set back not even that', async () => {
  const { world, ledger, standby, start } = setUp();
  const first = await start();
  first.machine.skewMs -= 3_600_000;
  await world.run(30_000);
  expect(ledger.granted).toEqual([1]);
  first.machine.skewMs += 7_200_000;
  await world.run(30_000);
  expect(ledger.granted).toEqual([1, 2]);
  expect(first.publishes).toBe(true);
  expect(standby().leads).toBe(false);
});

test('a Lease that is deleted locks nobody out: tokens go on from what D1 has', async () => {
  const { world, ledger, only, start } = setUp();
  ledger.highest = 41;
  await start();
  await world.run(5_000);
  expect(only().publishes).toBe(true);
  expect(ledger.granted).toEqual([42]);
  expect(world.server.lease?.transitions).toBe(42);
  for (let i = 0; i < 5; i++) {
    world.server.lease = null;
    await world.run(30_000);
    expect(only().publishes).toBe(true);
    expect(only().leader.term?.token).toBe(ledger.highest);
  }
  expect(world.server.lease?.transitions).toBe(ledger.highest);
});

test('a Lease that somebody changed without taking it is renewed on', async () => {
  const { world, ledger, start } = setUp();
  const first = await start();
  for (let i = 0; i < 20; i++) {
    const { lease } = world.server;
    // A label, for example: only the resourceVersion is another.
    if (lease) world.server.write(lease, lease.version);
    await world.run(1_000);
  }
  expect(first.publishes).toBe(true);
  expect(ledger.granted).toEqual([1]);
});

test('a Lease without a duration or holder, as kubectl might make it, is taken', async () => {
  const { world, only, candidates } = setUp();
  const spec = { durationMs: 0, transitions: 3, acquiredAtMs: 0, renewedAtMs: 0 };
  world.server.write({ ...spec, holder: 'a person' }, null);
  for (const { leader } of candidates) leader.start();
  await world.run(10_000);
  expect(candidates.some((it) => it.leads)).toBe(false);
  await world.run(10_000);
  expect(only().leader.term?.token).toBe(4);
});
