import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Candidate, TokenLedger } from './support/candidate.ts';
import { World } from './support/world.ts';

/** Any number of syncers, whatever befalls them: never do two lead, and in the end one does. */

const plight = fc.constantFrom('stopped', 'cutOff', 'deaf', 'slow', 'plagued');
const event = fc.record({
  afterMs: fc.integer({ min: 0, max: 20_000 }),
  who: fc.nat(3),
  what: fc.oneof(plight, fc.constant('Lease deleted'), fc.constant('token claimed elsewhere')),
  isSo: fc.boolean(),
});
const scenario = fc.record({
  seed: fc.integer(),
  candidates: fc.array(
    fc.record({
      skewMs: fc.integer({ min: -1e8, max: 1e8 }),
      // Clocks of machines may differ by 500 ppm; this is more than ten times as much.
      rate: fc.double({ min: 0.99, max: 1.01, noNaN: true }),
      // Both clocks cannot lie at once: a machine sleeps, or its time of day is set, but not both.
      plague: fc.constantFrom<'suspended' | 'clock set'>('suspended', 'clock set'),
    }),
    { minLength: 2, maxLength: 4 },
  ),
  events: fc.array(event, { maxLength: 25 }),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

async function play({ seed, candidates: kinds, events }: Scenario, mayDelete: boolean) {
  const world = new World(seed);
  const ledger = new TokenLedger();
  const all = kinds.map((kind, i) => new Candidate(`pod-${i}`, world, ledger, kind));
  const check = () => {
    // Who does not run can do nothing; but it counts all the same where its clocks go on.
    const leading = all.filter((it) => !it.machine.plight.suspended && it.leads);
    if (!mayDelete) expect(leading.length).toBeLessThanOrEqual(1);
    const fenced = leading.filter((it) => it.publishes && it.leader.term?.token === ledger.highest);
    expect(fenced.length).toBeLessThanOrEqual(1);
    expect(new Set(ledger.granted).size).toBe(ledger.granted.length);
  };
  for (const { leader } of all) leader.start();
  for (const { afterMs, who, what, isSo } of events) {
    await world.run(afterMs, check);
    const { machine } = all[who % all.length] ?? {};
    const { plague } = kinds[who % all.length] ?? {};
    if (!machine) continue;
    if (what === 'Lease deleted') world.server.lease = mayDelete ? null : world.server.lease;
    else if (what === 'token claimed elsewhere') ledger.highest += isSo ? 1 : 7;
    else if (what === 'slow') machine.latencyMs = isSo ? 6_000 : 20;
    else if (what === 'stopped' || what === 'cutOff' || what === 'deaf') machine.befall(what, isSo);
    else if (plague === 'suspended') machine.befall('suspended', isSo);
    else machine.skewMs += isSo ? 3_600_000 : -3_600_000;
  }
  for (const { machine } of all) {
    machine.latencyMs = 20;
    for (const each of ['stopped', 'suspended', 'cutOff', 'deaf'] as const) {
      machine.befall(each, false);
    }
  }
  await world.run(60_000, check);
  const leading = all.filter((it) => it.leads);
  expect(leading).toHaveLength(1);
  // A claim from elsewhere in the middle of a term deposes it: then it is no more the highest.
  if (!events.some(({ what }) => what === 'token claimed elsewhere')) {
    expect(leading[0]?.publishes).toBe(true);
    expect(leading[0]?.leader.term?.token).toBe(ledger.highest);
  }
}

test('never two lead at once, and once all is well one does', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, (it) => play(it, false)),
    { numRuns: 150 },
  );
});

test('also when the Lease is deleted: then no two have a token that D1 lets pass', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, (it) => play(it, true)),
    { numRuns: 150 },
  );
});
